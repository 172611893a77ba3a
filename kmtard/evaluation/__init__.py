"""Evaluations: batches of attacks that survive a kill, and what their results mean.

`evaluate` is the one way in, an `Evaluation` its one record. `diagnostics` tells
whether a number can be trusted. This room may import attacks, data, networks, methods
and the light rooms `kmtard.runs` and `kmtard.registry`; it knows no recipe.

Example:
    >>> import kmtard
    >>> found = kmtard.evaluation.evaluate(model, (x, y), attacks="fgsm", epsilon=0.1)
    >>> 0 <= found.w_robust_accuracy["fgsm"] <= 1
    True
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmtard.evaluation.evaluator import evaluate
    from kmtard.evaluation.result import Evaluation

__all__ = ["Evaluation", "evaluate"]


def __getattr__(name: str) -> object:
    # A command imports this package before it has chosen the backend of Keras.
    if name == "Evaluation":
        from kmtard.evaluation.result import Evaluation

        return Evaluation
    if name == "evaluate":
        from kmtard.evaluation.evaluator import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
