"""The user's own keys, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

from kmtard.runs.files import read_regular

MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
NAMED = {key.value for key in Keys} | set(KEY_NAME_REPLACEMENTS.values())

EVERYWHERE = {"app", "every", "run", "plot"}
"""Tables of keys that several screens have."""


class KeyFile(NamedTuple):
    """The content of `keys.toml`.

    Attributes:
        keys: binding id, such as `runs.filter` -> keys with commas between.
        mistakes: one line per entry that is ignored, with the reason.
    """

    keys: dict[str, str]
    mistakes: list[str]


def read_keys(path: Path) -> KeyFile:
    """Read lines such as `"screen.action" = "key, other"`; no file means no keys."""
    try:
        document = tomllib.loads(read_regular(path).decode("utf-8-sig"))
    except FileNotFoundError:
        return KeyFile({}, [])
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        return KeyFile({}, [f"{path}: expected a readable TOML file: {reason}"])
    keys, mistakes = {}, []
    for name, value in _flat(document):
        if wrong := _wrong(value):
            mistakes.append(f"{path}: {name}: {wrong}")
        else:
            keys[name] = ",".join(_split(value))
    return KeyFile(keys, mistakes)


def unknown_ids(keys: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Return one line per id that no binding has."""
    known = set(known)
    return [
        f"keys.toml: {name}: no such action; kmtard-launch --keys lists all actions"
        for name in keys
        if name not in known
    ]


def clashes(keys: Mapping[str, str], known: Mapping[str, Binding]) -> list[str]:
    """Return one line per key that is also the key of another action."""
    lines = []
    for name, chosen in keys.items():
        for other, binding in known.items():
            taken = set(_split(keys.get(other, binding.key))) & set(_split(chosen))
            if taken and other != name and name in known and _meet(name, other):
                shared = ", ".join(sorted(taken))
                lines.append(f"keys.toml: {name}: {shared} is also the key of {other}")
    return lines


def _meet(name: str, other: str) -> bool:
    """Return whether both actions can be on one screen."""
    scopes = {name.partition(".")[0], other.partition(".")[0]}
    return len(scopes) == 1 or bool(scopes & EVERYWHERE)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _split(text: str) -> list[str]:
    # The comma key is written as "comma".
    return [part.strip() for part in text.split(",")]


def _wrong(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"expected keys in quotes, received {value!r}"
    for key in _split(value):
        *modifiers, last = key.split("+") if len(key) > 1 else [key]
        if not (set(modifiers) <= MODIFIERS and _is_key(last)):
            return f'expected keys such as "f5", "ctrl+r" or "r, R", received {key!r}'
    return None


def _is_key(name: str) -> bool:
    return len(name) == 1 or name in NAMED or key_to_character(name) is not None
