"""Small programs in Java, Go and JavaScript, built at first use into the git-ignored `.cache/`.

Libraries come through each language's ordinary client: Maven, Go modules (go.sum holds their
hashes) and npm (exact versions in package.json).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.interop import jvm

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
BUILD_WAIT_S = 300


class BuildError(Exception):
    """A program does not build, or its libraries cannot be fetched."""


def _run(command: list[str], directory: Path) -> None:
    result = subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_WAIT_S,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")


def java_missing() -> str | None:
    """Return why no Java program can be compiled and run here, or None."""
    if shutil.which("javac") is None:
        return "javac is not installed"
    return jvm.missing()


def go_missing() -> str | None:
    """Return why no Go program can be built here, or None."""
    return None if shutil.which("go") else "go is not installed"


def javascript_missing() -> str | None:
    """Return why no JavaScript program can run here, or None."""
    lacking = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else None


def go_build(directory: Path) -> Path:
    """Build the Go module in a directory; Go itself knows when nothing has changed.

    Raises:
        BuildError: it does not compile, or a module cannot be fetched.
    """
    program = CACHE / "go" / "-".join(directory.relative_to(ROOT).parts)
    _run(["go", "build", "-o", str(program), "."], directory)
    return program


def java_build(directory: Path) -> Path:
    """Compile the Java programs in a directory; return the directory of their classes.

    For what is started often: `java NAME.java` compiles anew each time, for a second of a core.

    Raises:
        BuildError: they do not compile.
    """
    classes = CACHE / "java" / "-".join(directory.relative_to(ROOT).parts)
    sources = sorted(directory.glob("*.java"))
    wanted = "".join(source.read_text() for source in sources)
    compiled = classes / "compiled.java"
    if not compiled.exists() or compiled.read_text() != wanted:
        classes.mkdir(parents=True, exist_ok=True)
        options = ["-encoding", "UTF-8", "-cp", jvm.class_path(), "-d", str(classes)]
        _run(["javac", *options, *map(str, sources)], directory)
        compiled.write_text(wanted)
    return classes


def npm_install(directory: Path) -> Path:
    """Copy a JavaScript package beside its installed libraries; return the copy's directory.

    Raises:
        BuildError: npm cannot install what package.json names.
    """
    copy = CACHE / "javascript" / "-".join(directory.relative_to(ROOT).parts)
    wanted = (directory / "package.json").read_text()
    installed = copy / "installed-package.json"
    shutil.copytree(directory, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_*"))
    if not installed.exists() or installed.read_text() != wanted:
        options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run(["npm", "install", *options], copy)
        installed.write_text(wanted)
    return copy
