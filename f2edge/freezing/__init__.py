"""Hooks for PyInstaller, which finds them through the entry point ``pyinstaller40`` of the installed package."""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return the directory of the hooks."""
    return [str(Path(__file__).parent)]
