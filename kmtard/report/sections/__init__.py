"""The sections of a report, one module per subject, and the order on the page.

Each module has functions that turn a `Source` into a `Section`. A section shows only
what the runs contain. Its `missing` lists what they lack, with the command that
measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kmtard.report.claim import Claim
from kmtard.report.section import Section
from kmtard.report.sections import (
    ablation,
    accuracy,
    claim,
    classes,
    corruptions,
    curves,
    effort,
    pairs,
    pictures,
    plane,
    provenance,
)
from kmtard.report.source import Source

ALL: Sequence[Callable[[Source], Section]] = (
    accuracy.summary,
    accuracy.white_box,
    accuracy.black_box,
    accuracy.estimated_gradients,
    accuracy.teachers,
    pairs.tests,
    ablation.bars,
    plane.plane,
    plane.radii,
    curves.losses,
    curves.relative_losses,
    curves.entropies,
    curves.balance,
    curves.knowledge_scale,
    curves.epochs,
    classes.per_class,
    classes.confusions,
    pictures.pictures,
    corruptions.by_group,
    effort.cost,
    effort.diagnostics,
    provenance.provenance,
)
"""The sections of a report of runs, in the order of the page."""


def build(source: Source) -> list[Section]:
    """Return all sections of a report, in the order of the page.

    A report on one run begins with the verdict on its student, and ends with what a
    reviewer needs to repeat the evaluation.

    Example:
        >>> [section.name for section in build(Source([]))][:3]
        ['summary', 'white-box', 'black-box']
    """
    built = [section(source) for section in ALL]
    runs = source.runs
    about = Claim.of_run(runs[0]) if len(runs) == 1 else None
    if about is None:
        return built
    first = [claim.judgment(about), claim.accuracies(about)]
    last = [claim.reproduction(about)]
    if about.network.corruptions:
        last.insert(0, claim.corruptions(about))
    return [*first, *built, *last]
