"""Evaluate models under attacks, and check whether the results can be trusted.

`evaluate` returns an `Evaluation`; `curve` returns one per radius. Finished batches are
stored, so that an interrupted evaluation can continue. `diagnostics` looks for signs
that a result is wrong. This package may import attacks, data, networks, methods,
`kmtard.runs` and `kmtard.registry`. It does not use recipes.

Example:
    >>> import kmtard
    >>> found = kmtard.evaluation.evaluate(model, (x, y), attacks="fgsm", epsilon=0.1)
    >>> 0 <= found.w_robust_accuracy["fgsm"] <= 1
    True
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmtard.evaluation.evaluator import evaluate
    from kmtard.evaluation.radii import curve
    from kmtard.evaluation.result import Evaluation

__all__ = ["Evaluation", "curve", "evaluate"]


def __getattr__(name: str) -> object:
    # Imported lazily, because commands import this package before they set the backend.
    if name == "Evaluation":
        from kmtard.evaluation.result import Evaluation

        return Evaluation
    if name == "curve":
        from kmtard.evaluation.radii import curve

        return curve
    if name == "evaluate":
        from kmtard.evaluation.evaluator import evaluate

        return evaluate
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}. Its attributes are "
        f"{', '.join(__all__)}."
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
