"""Evaluate a Keras model under several attacks, and print the result.

python examples/evaluate_model.py student.keras --attacks pgd_trades,autoattack
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import keras

import kmtard


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate a model on the digits. It must map images in [0, 1] to logits."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument(
        "--attacks",
        default="fgsm,pgd_trades,autoattack",
        help="names, separated by commas",
    )
    parser.add_argument("--epsilon", type=float, default=0.1, help="radius of the ball")
    parser.add_argument("--limit", type=int, help="number of images to use")
    options = parser.parse_args(argv)

    model = keras.models.load_model(options.model)
    test = kmtard.data.digits().test
    x = test.images[: options.limit].astype("float32") / 255
    y = test.labels[: options.limit]

    result = kmtard.evaluation.evaluate(
        model, (x, y), attacks=options.attacks.split(","), epsilon=options.epsilon
    )
    print(result.to_markdown())
    strongest = min(
        result.robust_accuracy, key=lambda name: result.robust_accuracy[name]
    )
    print(f"The strongest attack is {strongest}. Quote its robust accuracy.")


if __name__ == "__main__":
    main()
