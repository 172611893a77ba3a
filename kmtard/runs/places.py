"""Folders for the user's own files, outside all runs folders."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

DIRS = PlatformDirs("kmtard", appauthor=False)


def config_dir() -> Path:
    """Return the folder for files that the user writes, such as `keys.toml`."""
    return DIRS.user_config_path


def cache_dir() -> Path:
    """Return the folder for files that can be made again, such as compiled programs."""
    return DIRS.user_cache_path


def state_dir() -> Path:
    """Return the folder for state that is kept from one start to the next."""
    return DIRS.user_state_path
