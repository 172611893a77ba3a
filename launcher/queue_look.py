"""What is told about the queue, read in one go."""

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
    "You did not queue some of these entries on this computer. They start only after "
    "you confirm them."
)


@dataclass(frozen=True)
class Look:
    """What was read of the queue.

    Attributes:
        unconfirmed: what waits and starts only once the user has confirmed it.
        problem: why it cannot be read, and other things to say.
        log: the last lines of the selected entry.
    """

    entries: tuple[Entry, ...] = ()
    limit: int = 1
    has_runner: bool = False
    unconfirmed: tuple[Entry, ...] = ()
    problem: str = ""
    selected: str = ""
    log: tuple[str, ...] = ()


def read_look(queue: Queue, selected: Entry | None) -> Look:
    """Return what is to be told; the log is that of `selected`, or of the first."""
    try:
        content = queue.read()
    except RunError as error:
        return Look(problem=str(error))
    waiting = [entry for entry in content.entries if entry.state == "waiting"]
    unconfirmed = [entry for entry in waiting if not queue.may_start(entry)]
    notes = [f"It was no queue, and is kept: {path}." for path in queue.damaged()]
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
    """Return whether something waits to be confirmed, or has no runner."""
    if look.unconfirmed:
        return True
    return not look.has_runner and any(not entry.is_ended for entry in look.entries)


def runner_text(look: Look) -> str:
    """Return what the runner does."""
    if look.unconfirmed:
        return f"{len(look.unconfirmed)} to confirm: s asks"
    if is_stuck(look):
        return "runner not running: s starts it"
    return "runner working" if look.has_runner else "runner not needed"


def about(entry: Entry) -> Text:
    """Return an entry's command line, and how it went."""
    text = Text.assemble((visible(command_text(entry.command)), "bold"), "\n")
    facts = [f"in {entry.cwd}", _end_of(entry)]
    if entry.run:
        facts.append(f"run {Path(entry.run).name}")
    return text.append(visible(" · ".join(filter(None, facts))), "dim")


def confirmation(entries: Sequence[Entry]) -> str:
    """Return what is shown of entries before they are confirmed."""
    lines = []
    for entry in entries:
        line = visible(f"{command_text(entry.command)}  (in {entry.cwd})")
        line = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
        lines.append(line if entry.task else f"never starts: {line}")
    return "\n".join(["You did not queue this on this computer. It would run:", *lines])


def _end_of(entry: Entry) -> str:
    if entry.is_elsewhere:
        return f"on {entry.host}: watch only"
    if entry.state == "unknown":
        return "ended while no runner watched"
    if entry.exit_code is None:
        return f"process {entry.pid}" if entry.state == "running" else ""
    return f"exit code {entry.exit_code}"
