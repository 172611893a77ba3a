"""Ways in which a file can be damaged or replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

Damage = Callable[[Path], None]


def cuts(size: int) -> Iterator[tuple[str, Damage]]:
    """Yield a cut at each eighth of a file's length, and the empty file."""
    for eighth in range(8):
        length = size * eighth // 8
        yield f"cut to {eighth}/8", lambda path, n=length: os.truncate(path, n)


def flips(size: int, count: int, random: Random) -> Iterator[tuple[str, Damage]]:
    """Yield the given number of random bit flips of a file."""
    for _ in range(count if size else 0):
        place, bit = random.randrange(size), random.randrange(8)

        def flip(path: Path, place: int = place, bit: int = bit) -> None:
            content = bytearray(path.read_bytes())
            content[place] ^= 1 << bit
            path.write_bytes(content)

        yield f"bit {bit} of byte {place} flipped", flip


def replacements() -> Iterator[tuple[str, Damage]]:
    """Yield replacements of a file by something that is not a regular file."""

    def folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def link(path: Path) -> None:
        moved = path.with_name(f"moved-{path.name}")
        path.rename(moved)
        path.symlink_to(moved.name)

    def dangling(path: Path) -> None:
        path.unlink()
        path.symlink_to("nowhere")

    def endless(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    def pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    for replace in (folder, link, dangling, endless, pipe):
        yield f"replaced by a {replace.__name__}", replace


def all_damages(size: int, random: Random, bits: int) -> Iterator[tuple[str, Damage]]:
    """Yield every kind of damage, with the given number of bit flips."""
    yield from cuts(size)
    yield from flips(size, bits, random)
    yield from replacements()


def put_back(path: Path, content: bytes) -> None:
    """Restore a file with its original content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.with_name(f"moved-{path.name}").unlink(missing_ok=True)
    path.write_bytes(content)
