"""One file for each API: its cases, its declared differences, and what surprised us."""
