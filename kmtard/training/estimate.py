"""The dry run: networks, their memory, and the time estimated from measured steps."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from kmtard import registry
from kmtard.data.pipeline import DataSet
from kmtard.recipe import Recipe
from kmtard.registry import label
from kmtard.registry.roles import LABELS, TEACHERS, Role
from kmtard.runs.tables import rich_text
from kmtard.runs.visible import tell
from kmtard.training.build import build_network, load_data
from kmtard.training.callbacks.event_log import INTERVAL
from kmtard.training.schedules import EvaluationEpochs
from kmtard.training.teachers import cached_weights, needed_teachers
from kmtard.training.trial import Trial, generated, parameters

ROLES: tuple[Role, ...] = (*TEACHERS, "student")
NOT_BUILT = "your own network: not built"


@dataclass(frozen=True)
class Facts:
    """The facts about a data set that a dry run needs.

    Args:
        train: number of training images.
        test: number of test images.
        shape: `(height, width, channels)` of an image.
        classes: number of classes.
        validation: number of images to choose the best epoch by; None if these are
            held out of the training images.
    """

    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    validation: int | None = None


KNOWN = {
    "cifar10": Facts(50_000, 10_000, (32, 32, 3), 10),
    "cifar100": Facts(50_000, 10_000, (32, 32, 3), 100),
    "svhn_cropped": Facts(73_257, 26_032, (32, 32, 3), 10),
    "fashion_mnist": Facts(60_000, 10_000, (28, 28, 1), 10),
    "tiny_imagenet": Facts(100_000, 10_000, (64, 64, 3), 200),
}
"""Data sets that may not be on the disk yet, because a dry run downloads nothing."""


def facts_of(recipe: Recipe) -> Facts:
    """Return the facts about the recipe's data set. Only an unknown one is read.

    Raises:
        DataError: the data set cannot be read.
    """
    if recipe.data.name in KNOWN:
        return KNOWN[recipe.data.name]
    data = load_data(recipe)
    own = len(data.validation) if data.validation is not None else None
    return Facts(
        len(data.train), len(data.test), data.input_shape, data.num_classes, own
    )


@dataclass(frozen=True)
class Counts:
    """The numbers of images and batches in a training.

    Args:
        images: training images per epoch.
        steps: training steps per epoch.
        chosen: images on which the best epoch is chosen.
        batches: batches of an evaluation on those images.
    """

    images: int
    steps: int
    chosen: int
    batches: int


def counts_of(recipe: Recipe, facts: Facts) -> Counts:
    """Return the numbers of images and batches that a run of the recipe would have."""
    data, evaluation = recipe.data, recipe.evaluation
    held_out = round(data.held_out * facts.train)
    images = facts.train - held_out
    if facts.validation is not None:
        images, held_out = facts.train, facts.validation
    images = min(images, data.limit or images)
    chosen = facts.test if evaluation.selection == "test" else held_out
    chosen = min(chosen, evaluation.limit or chosen)
    steps, batches = (math.ceil(count / data.batch_size) for count in (images, chosen))
    return Counts(images, steps, chosen, batches)


def dry_run(
    recipe: Recipe, screen: Console, *, measure: bool = False, build_own: bool = False
) -> None:
    """Show the size of what a recipe would run, without writing or downloading.

    With `measure`, steps are run with the recipe's networks, method and batch size,
    which takes a while for large networks. Each line is shown as soon as it is known.
    Code that the recipe names (`module:function`) is imported only if `build_own` is
    true.

    Args:
        recipe: the resolved recipe.
        screen: console to print on.
        measure: whether to measure steps, to estimate the time of the run.
        build_own: whether to import and measure the code that the recipe names.

    Raises:
        DataError: the user's own data cannot be read.
    """
    if registry.is_code("datasets", recipe.data.name) and not build_own:
        text = "your own data set: not read, nothing measured; --trust runs its code"
        tell(screen, text)
        return
    facts = facts_of(recipe)
    counts = counts_of(recipe, facts)
    chosen_by = recipe.evaluation.selection.replace("_", "-")
    lines = (
        f"{counts.images:,} training images, {counts.steps:,} steps per epoch",
        f"{counts.chosen:,} {chosen_by} images choose the best epoch",
    )
    for line in lines:
        tell(screen, line)
    data = generated(recipe, facts.shape, facts.classes)
    sources, unbuilt = _sources(recipe), {} if build_own else _unbuilt(recipe)
    tried = [role for role in ROLES if role not in sources | unbuilt]
    trials = {role: Trial(recipe, role, data) for role in tried}
    screen.print(_networks(recipe, data, trials, sources, unbuilt))
    for role, reason in unbuilt.items():
        if role not in sources:
            text = f"{_named(role)}: {reason}, not measured; --trust runs its code"
            tell(screen, text)
    if trials and not measure:
        tell(screen, "The time was not measured; --dry-run=measure runs some steps.")
    elif trials:
        screen.print(_times(trials, counts, screen, unbuilt.keys() - sources.keys()))


def _sources(recipe: Recipe) -> dict[Role, str]:
    """Return the origin of each network that the run does not train."""
    sources: dict[Role, str] = {}
    for role in TEACHERS:
        teacher = getattr(recipe, role)
        if teacher is None or role not in needed_teachers(recipe):
            sources[role] = "not needed"
        elif teacher.weights is not None:
            there = Path(teacher.weights).is_file()
            sources[role] = "from file" if there else "missing file"
        elif cached_weights(recipe, role).exists():
            sources[role] = "cached"
    return sources


def _unbuilt(recipe: Recipe) -> dict[Role, str]:
    """Return why a network cannot be measured without running code from the recipe."""
    unbuilt: dict[Role, str] = {}
    for role in ROLES:  # the teachers first
        party = getattr(recipe, role)
        method = recipe.method if role == "student" else getattr(party, "method", None)
        if party is None:
            continue
        taken = registry.positional("methods", method.name) if method else ()
        if registry.is_code("networks", party.network):
            unbuilt[role] = NOT_BUILT
        elif method is not None and registry.is_code("methods", method.name):
            unbuilt[role] = "your own method"
        elif any(unbuilt.get(each) == NOT_BUILT for each in TEACHERS if each in taken):
            unbuilt[role] = "a teacher is not built"
    return unbuilt


def _networks(
    recipe: Recipe,
    data: DataSet,
    trials: Mapping[Role, Trial],
    sources: Mapping[Role, str],
    unbuilt: Mapping[Role, str],
) -> Table:
    columns = ("network", "kind", "parameters", "trained by", "epochs", "memory")
    table = _table("Networks", columns)
    counts = ChainMap(*(trial.parameters for trial in trials.values()))
    for role in ROLES:
        party = getattr(recipe, role)
        if party is None:
            continue
        cells = [_named(role), party.network]
        if unbuilt.get(role) == NOT_BUILT:
            cells += ["not built"]
        else:
            count = counts.get(role) or parameters(build_network(recipe, role, data))
            cells += [f"{count:,}"]
        if role in trials:
            training, memory = trials[role].training, trials[role].memory()
            cells += [label(training.method), f"{training.schedule.epochs}"]
            cells += ["unknown" if memory is None else _size(memory)]
        elif role not in sources:
            training = recipe.training(role)
            cells += [label(training.method), f"{training.schedule.epochs}", "unknown"]
        else:
            learns = any(
                role in each.model.trained_networks for each in trials.values()
            )
            cells += [f"{sources[role]}, learns" if learns else sources[role]]
        table.add_row(*map(rich_text, cells))
    table.caption = "memory: estimate for a training step"
    return table


def _times(
    trials: dict[Role, Trial], counts: Counts, screen: Console, left_out: Set[Role]
) -> Table:
    several = any(trial.recipe.runtime.devices != 1 for trial in trials.values())
    place = ", on one device" if several else ""
    tell(screen, f"Measured on generated images{place}:")
    table = _table(
        "Time of the run, an estimate",
        ("phase", "epochs", "steps", "evaluations", "time", "beside steps"),
    )
    total = 0.0
    for role in reversed(trials):
        trial = trials[role]
        step = trial.step()
        tell(screen, f"  {_named(role)}: a training step takes {step}")
        evaluation = trial.evaluation()
        tell(screen, f"  {_named(role)}: a batch of an evaluation takes {evaluation}")
        checkpoint, event = trial.checkpoint(), trial.event()
        tell(screen, f"  {_named(role)}: a checkpoint takes {checkpoint:.3g} s")
        epochs = trial.training.schedule.epochs
        steps = counts.steps * epochs
        # One more evaluation at the end of the run.
        evaluations = 1 + len(EvaluationEpochs(trial.training, lambda: False))
        training = step.total(steps)
        events = epochs + training / INTERVAL
        beside = evaluation.total(counts.batches * evaluations)
        beside += epochs * checkpoint + events * event
        seconds = training + beside
        total += seconds
        numbers = (f"{each:,}" for each in (epochs, steps, evaluations))
        share = f"{100 * beside / seconds:.1f} %"
        table.add_row(_named(role), *numbers, _span(seconds), share)
    table.add_section()
    table.add_row(
        "what was measured" if left_out else "whole run", "", "", "", _span(total), ""
    )
    table.caption = (
        "without attacks other than PGD in the final evaluation; beside steps: share "
        "of evaluations, checkpoints and events"
    )
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, collapse_padding=True)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _named(role: Role) -> str:
    return LABELS[role]


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    days, minutes = divmod(math.ceil(seconds / 60), 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown)
