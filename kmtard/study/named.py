"""The studies of the paper's tables, by name."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from kmtard.recipe.schema import Study
from kmtard.registry import nearest

PAPER_METHODS = (
    *("natural", "sat", "trades", "ard", "rslad", "score", "fair_ard", "absld"),
    *("mtard", "b_mtard"),
)
"""The methods of the paper's Tables 3 to 6."""


def named_studies() -> dict[str, Study]:
    """Return the named studies, by name.

    Example:
        >>> named_studies()["beta"].axes
        {'method.beta': [0.5, 1.0, 4.0, 10.0]}
    """
    text = files("kmtard.study").joinpath("named.toml").read_text("utf-8")
    return {
        name: Study.model_validate(table) for name, table in tomllib.loads(text).items()
    }


def named_study(name: str) -> Study:
    """Return the study of a table of the paper.

    Raises:
        ValueError: no study has this name; the error lists the names.

    Example:
        >>> named_study("ablation").methods
        ('baseline', 'baseline_ebb', 'mtard', 'b_mtard')
    """
    known = named_studies()
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f"Did you mean {near}?" if near else f"Known names: {', '.join(known)}."
    raise ValueError(f"Expected the name of a study. Received: {name!r}. {hint}")
