"""The folders of the user's own files, outside every runs folder."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

DIRS = PlatformDirs("kmtard", appauthor=False)


def config_dir() -> Path:
    """Return the folder of what the user writes, such as `keys.toml`."""
    return DIRS.user_config_path


def state_dir() -> Path:
    """Return the folder of what is remembered from one start to the next."""
    return DIRS.user_state_path
