"""The version of this project; read by pyproject.toml."""

VERSION = "0.1.0"
