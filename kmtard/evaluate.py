"""`python -m kmtard.evaluate`: the same as `kmtard evaluate`.

In code, `evaluate` and `Evaluation` are those of `kmtard.evaluation`.
"""

import sys

from kmtard.commands.evaluate import main


def __getattr__(name: str) -> object:
    # The command must choose the backend before Keras is imported.
    if name in ("Evaluation", "evaluate"):
        from kmtard import evaluation

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.evaluate"))
