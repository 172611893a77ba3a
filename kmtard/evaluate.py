"""`python -m kmtard.evaluate`: the same as `kmtard evaluate`.

In code, `from kmtard.evaluate import evaluate` is another name of
`kmtard.evaluation.evaluate`.
"""

import sys

from kmtard.commands.evaluate import main


def __getattr__(name: str) -> object:
    # The command must choose the backend before Keras is imported.
    if name == "evaluate":
        from kmtard.evaluation.evaluator import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.evaluate"))
