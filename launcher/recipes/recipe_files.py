"""The recipes to choose from: where they are, and what their headers say."""

from __future__ import annotations

import contextlib
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmtard.recipe import Mistake, RecipeError, load, parse, read_text, table_at
from kmtard.registry import canonical

TABLES = ("data", "student", "method")
FACT = re.compile(r"([A-Z][A-Za-z ]{0,20}):\s+(.+)")


@dataclass(frozen=True)
class RecipeFile:
    """A TOML file that is a recipe, or was given as one.

    Attributes:
        path: absolute path.
        place: where it was found, in words.
        text: its content; empty if it cannot be read.
        document: its tables; empty if it is not TOML.
        mistakes: the mistakes in the file.
        title: the first sentence of its header.
        facts: the lines of the header such as `Expected:` and `Time:`, in order.
    """

    path: Path
    place: str
    text: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    title: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> str:
        """Name of the data set."""
        return str(table_at(self.document, "data").get("name", "-"))

    @property
    def student(self) -> str:
        """Name of the student's network."""
        return str(table_at(self.document, "student").get("network", "-"))

    @property
    def method(self) -> str:
        """Name of the method that trains the student."""
        name = str(table_at(self.document, "method").get("name", "-"))
        return canonical("methods", name)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that the recipe has a table for."""
        names = table_at(self.document, "methods")
        return tuple(canonical("methods", name) for name in names)


class Shelf:
    """The recipes at given paths, in the working folder and in the shipped folder.

    Args:
        given: folders, or TOML files that are listed even if they are not recipes.
        working: a folder to search, together with its folder `recipes`.
    """

    def __init__(self, given: Sequence[Path], working: Path) -> None:
        self.given = list(given)
        self._working = working
        self._known: dict[Path, tuple[object, RecipeFile]] = {}

    def scan(self) -> list[RecipeFile]:
        """Return every recipe once, and read only the files that have changed."""
        found: dict[str, RecipeFile] = {}
        for path, place, named in self._candidates():
            resolved = os.path.realpath(path)
            if resolved not in found:
                recipe = self._read(path, place)
                if named or any(name in recipe.document for name in TABLES):
                    found[resolved] = recipe
        return list(found.values())

    def _candidates(self) -> Iterator[tuple[Path, str, bool]]:
        given = [path.absolute() for path in self.given]
        yield from ((path, "given", True) for path in given if not os.path.isdir(path))
        folders = [(path, "given") for path in given]
        folders += [
            (self._working, "working folder"),
            (self._working / "recipes", "working folder"),
            (shipped_folder(), "shipped"),
        ]
        for folder, place in folders:
            for path in sorted(folder.glob("[!.]*.toml")):
                yield path.absolute(), place, False

    def _read(self, path: Path, place: str) -> RecipeFile:
        try:
            status = path.stat()
        except OSError as error:
            return _unreadable(path, place, str(error.strerror))
        stamp = (place, status.st_mtime_ns, status.st_size, status.st_ino)
        if path not in self._known or self._known[path][0] != stamp:
            self._known[path] = stamp, _guarded(path, place)
        return self._known[path][1]


def shipped_folder() -> Path:
    """Return the folder with the recipes of the package."""
    beside = Path(__file__).absolute().parents[2] / "recipes"
    installed = Path(sysconfig.get_path("data"), "share", "kmtard", "recipes")
    return beside if beside.is_dir() else installed


def _unreadable(path: Path, place: str, reason: str) -> RecipeFile:
    message = f"expected a readable TOML file: {reason}"
    return RecipeFile(path, place, mistakes=(Mistake("", message, place=str(path)),))


def _guarded(path: Path, place: str) -> RecipeFile:
    try:
        return _read(path, place)
    except Exception as error:  # one bad file must not hide the others
        return _unreadable(path, place, f"{type(error).__name__}: {error}")


def _read(path: Path, place: str) -> RecipeFile:
    text, document, mistakes = "", {}, []
    try:
        load(path)
    except RecipeError as error:
        mistakes = error.mistakes
    with contextlib.suppress(RecipeError, ValueError):  # which `load` has reported
        text = read_text(path)
        document = parse(text)
    title, facts = header(text)
    return RecipeFile(path, place, text, document, tuple(mistakes), title, facts)


def header(text: str) -> tuple[str, dict[str, str]]:
    """Return the first sentence of a recipe's header, and its `Name:  value` lines.

    A value continues in the lines below that are indented further than its name.
    """
    title: list[str] = []
    facts: dict[str, str] = {}
    name = ""
    for line in _comments(text):
        if match := FACT.fullmatch(line):
            name = match[1]
            facts[name] = match[2].strip()
        elif name and line.startswith("  "):
            facts[name] += f" {line.strip()}"
        else:
            name = ""
            title += [line] if not facts else []
    paragraph = " ".join(title).partition("  ")[0].strip()
    return paragraph.partition(". ")[0].rstrip("."), facts


def _comments(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line.removeprefix("#").removeprefix(" ").rstrip()
