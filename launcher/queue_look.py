"""The state of the queue, read at once, and its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from kmtard.runs import RunError
from kmtard.runs.log_file import last_lines
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from kmtard.runs.visible import visible
from launcher.commands import command_text

LOG_LINES = 100
LONGEST = 200
FOREIGN = (
    "Some of these entries are not from you on this computer. They start only after "
    "you confirm them: press s."
)


@dataclass(frozen=True)
class Look:
    """The state of the queue.

    Attributes:
        unconfirmed: waiting entries that start only after the user confirms them.
        problem: why the queue cannot be read, or other notes; may be empty.
        selected: id of the entry that `log` is of.
        log: the last lines of its output.
    """

    entries: tuple[Entry, ...] = ()
    limit: int = 1
    has_runner: bool = False
    unconfirmed: tuple[Entry, ...] = ()
    problem: str = ""
    selected: str = ""
    log: tuple[str, ...] = ()


def read_look(queue: Queue, selected: Entry | None) -> Look:
    """Return the state of the queue, with the log of `selected` or the first entry."""
    try:
        content = queue.read()
    except RunError as error:
        return Look(problem=str(error))
    waiting = [entry for entry in content.entries if entry.state == "waiting"]
    unconfirmed = [entry for entry in waiting if not queue.may_start(entry)]
    notes = [
        f"This file was not a queue, and is kept: {path}." for path in queue.damaged()
    ]
    entry = selected or next(iter(content.entries), None)
    look = Look(
        entries=tuple(content.entries),
        limit=content.limit,
        unconfirmed=tuple(unconfirmed),
        has_runner=queue.runner_begins() or queue.runner_alive(),
        selected=entry.id if entry else "",
        log=tuple(last_lines(entry.log, LOG_LINES)) if entry else (),
    )
    if unconfirmed:
        notes.append(FOREIGN)
    elif is_stuck(look):
        notes += last_lines(queue.runner_log, 1)
    return replace(look, problem="\n".join(notes))


def is_stuck(look: Look) -> bool:
    """Return whether something waits for a confirmation or a runner."""
    if look.unconfirmed:
        return True
    return not look.has_runner and any(not entry.is_ended for entry in look.entries)


def runner_text(look: Look) -> str:
    """Return the state of the runner in words."""
    if look.unconfirmed:
        return f"{len(look.unconfirmed)} to confirm: press s"
    if is_stuck(look):
        return "not started: press s"
    return "working" if look.has_runner else "nothing to do"


def about(entry: Entry) -> Text:
    """Return an entry's command line and how it ended."""
    text = Text.assemble((visible(command_text(entry.command)), "bold"), "\n")
    facts = [f"in {entry.cwd}", _end_of(entry)]
    if entry.run:
        facts.append(f"run {Path(entry.run).name}")
    return text.append(visible(" · ".join(filter(None, facts))), "dim")


def confirmation(entries: Sequence[Entry]) -> str:
    """Return the details of a question about entries of somebody else."""
    lines = []
    for entry in entries:
        line = visible(f"{command_text(entry.command)}  (in {entry.cwd})")
        line = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
        lines.append(line if entry.task else f"never starts: {line}")
    return "\n".join(["This is not from you on this computer. It would run:", *lines])


def _end_of(entry: Entry) -> str:
    if entry.is_elsewhere:
        return f"on {entry.host}: watch only"
    if entry.state == "unknown":
        return "ended while nothing watched it"
    if entry.exit_code is None:
        return f"process {entry.pid}" if entry.state == "running" else ""
    return f"exit code {entry.exit_code}"
