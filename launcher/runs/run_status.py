"""What is known of a run beside its events, whatever its files are."""

from __future__ import annotations

from dataclasses import dataclass

from kmtard.registry import label
from kmtard.runs import Run
from launcher.runs.documents import last_lines, read_toml, table

DAMAGED = "damaged"
LAST_LINES = 3


@dataclass(frozen=True)
class Status:
    """What is known of a run beside its events.

    Attributes:
        state: as of `Run.state`.
        host: of its process.
        about: data, method, network and the like.
        last_lines: of its log, where it failed or crashed.
    """

    state: str = ""
    host: str = ""
    about: tuple[str, ...] = ()
    last_lines: tuple[str, ...] = ()


def read_status(run: Run, known: Status) -> Status:
    """Return the status as of now.

    Args:
        run: its folder.
        known: the status before; of what does not change, it is not read again.
    """
    state, host = _state(run)
    ended_badly = state in ("failed", "crashed")
    lines = last_lines(run.log_path, LAST_LINES) if ended_badly else ()
    return Status(state, host, known.about or _about(run), tuple(lines))


def _state(run: Run) -> tuple[str, str]:
    """Return the state and the host of a run, whatever its files are."""
    # A pipe in place of a file would block whoever opens it.
    for path in (run.events_path, run.info_path, run.log_path, run.recipe_path):
        if path.exists() and not path.is_file():
            return DAMAGED, ""
    try:
        return run.state(), str(run.info().get("host", ""))
    # A number that is too large for a process id overflows.
    except (OSError, OverflowError):
        return DAMAGED, ""


def _about(run: Run) -> tuple[str, ...]:
    if not run.recipe_path.is_file():
        return ()
    recipe = read_toml(run.recipe_path)
    names = (("data", "name"), ("method", "name"), ("student", "network"))
    return tuple(label(str(table(recipe, part).get(key, ""))) for part, key in names)
