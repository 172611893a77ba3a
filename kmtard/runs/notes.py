"""What the user writes about a run: a note and tags, in a file of the run's folder.

```
notes.json   {"schema": 1, "note": "...", "tags": ["final"]}
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kmtard.runs.documents import whole
from kmtard.runs.files import RunError, read_regular, refuse_links, write_atomic
from kmtard.runs.folder import Run

SCHEMA = 1
MOST_TAGS = 16
LONGEST_TAG = 24  # characters
LONGEST_NOTE = 2_000  # characters
LARGEST = 1 << 16  # bytes
TAG = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class Notes:
    """A note and tags.

    Attributes:
        text: the note, one line; empty without one.
        tags: each once, sorted.
    """

    text: str = ""
    tags: tuple[str, ...] = ()


def read_notes(run: Run) -> Notes:
    """Return the note and tags of a run; none if there is no readable file.

    Raises:
        RunError: a newer version of kmtard wrote the file.
    """
    try:
        content = json.loads(read_regular(run.notes_path, limit=LARGEST))
    except (OSError, ValueError, RecursionError):
        return Notes()
    if not isinstance(content, dict):
        return Notes()
    if (whole(content.get("schema")) or SCHEMA) > SCHEMA:
        raise RunError(
            f"{run.notes_path} has schema {content['schema']}; this version of kmtard "
            f"reads schemas up to {SCHEMA}. Update kmtard."
        )
    text, tags = content.get("note"), content.get("tags")
    listed = tags if isinstance(tags, list) else []
    words = [each for each in listed if isinstance(each, str)]
    known = [word for word in words[:MOST_TAGS] if not wrong_tag(word)]
    return Notes(
        text[:LONGEST_NOTE] if isinstance(text, str) else "", tuple(sorted({*known}))
    )


def write_notes(run: Run, notes: Notes) -> None:
    """Replace the note and tags of a run.

    Args:
        run: the run, in any state.
        notes: the new note and tags.

    Raises:
        RunError: a tag or the note is not allowed, or the file cannot be written or
            belongs to a newer version.

    Example:
        >>> import tempfile
        >>> run = Run.create(tempfile.mkdtemp(), "example", "", {})
        >>> write_notes(run, Notes("seed 1 looks odd", ("final",)))
        >>> read_notes(run).tags
        ('final',)
    """
    if mistake := wrong_note(notes.text) or wrong_tags(notes.tags):
        raise RunError(mistake)
    read_notes(run)
    refuse_links(run.path, run.notes_path)
    content = {
        "schema": SCHEMA,
        "note": notes.text,
        "tags": sorted({*notes.tags}),
    }
    write_atomic(run.notes_path, json.dumps(content, indent=2) + "\n")


def changed_tags(
    run: Run, removed: Iterable[str], added: Iterable[str]
) -> tuple[str, ...]:
    """Remove and add tags of a run; return those that it has then.

    Raises:
        RunError: as in `write_notes`.
    """
    known = read_notes(run)
    tags = tuple(sorted({*known.tags}.difference(removed) | {*added}))
    if tags != known.tags:
        write_notes(run, Notes(known.text, tags))
    return tags


def wrong_tags(tags: Collection[str]) -> str | None:
    """Return what is wrong with the tags of a run, or None."""
    for tag in tags:
        if mistake := wrong_tag(tag):
            return mistake
    if len({*tags}) > MOST_TAGS:
        return f"A run has at most {MOST_TAGS} tags. Received: {len({*tags})}."
    return None


def wrong_tag(word: str) -> str | None:
    """Return what is wrong with a tag, or None.

    Example:
        >>> wrong_tag("a,b")
        "A tag has letters, digits and ._+- only, at most 24. Received: 'a,b'."
    """
    if TAG.fullmatch(word) and len(word) <= LONGEST_TAG:
        return None
    return (
        f"A tag has letters, digits and ._+- only, at most {LONGEST_TAG}. "
        f"Received: {word!r}."
    )


def wrong_note(text: str) -> str | None:
    """Return what is wrong with a note, or None."""
    if len(text) > LONGEST_NOTE:
        return f"A note has at most {LONGEST_NOTE} characters. Received: {len(text)}."
    return None if "\n" not in text else "A note is one line."
