"""Diagnostics that compare the accuracies of an evaluation with each other."""

from __future__ import annotations

from collections.abc import Mapping

from kmtard.evaluation.diagnostics.finding import Findings, when

TOLERANCE = 0.002
"""Share of images by which a weaker attack may be ahead."""


def check_results(
    accuracies: Mapping[str, float], kinds: Mapping[str, str]
) -> Findings:
    """Compare the robust accuracies of the attacks with each other.

    Args:
        accuracies: attack -> share in [0, 1].
        kinds: attack -> "white-box", "black-box" or "transfer"; others are left out.
    """
    return [*square_better(accuracies), *white_box_weaker(accuracies, kinds)]


def square_better(accuracies: Mapping[str, float]) -> Findings:
    """Find Square ahead of all others: a sign that gradients are masked."""
    others = [value for name, value in accuracies.items() if name != "square"]
    if "square" not in accuracies or len(others) < 2:
        return []
    return when(
        accuracies["square"] < min(others) - TOLERANCE,
        "square-better",
        f"Square leaves {accuracies['square']:.2%}, all others at least "
        f"{min(others):.2%}: gradients are probably masked. Adapt the attack.",
    )


def white_box_weaker(
    accuracies: Mapping[str, float], kinds: Mapping[str, str]
) -> Findings:
    """Find black-box or transfer attacks ahead of every white-box attack."""
    white = [a for name, a in accuracies.items() if kinds.get(name) == "white-box"]
    found = []
    for name, accuracy in accuracies.items() if white else ():
        found += when(
            kinds.get(name) in ("black-box", "transfer")
            and accuracy < min(white) - TOLERANCE,
            "white-box-weaker",
            f"{name} leaves {accuracy:.2%}, the best white-box attack "
            f"{min(white):.2%}: gradients are probably masked. Adapt the attack.",
        )
    return found
