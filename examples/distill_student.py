"""Distill a student from a clean and a robust teacher, on the digits.

python examples/distill_student.py --epochs 4
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import kmtard
from kmtard.methods import TRADES, AdversarialModel, Natural
from kmtard.networks import small_cnn

SHAPE, CLASSES = (8, 8, 1), 10


def main(argv: Sequence[str] | None = None) -> None:
    """Train two teachers and a student, and save the student."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--epochs", type=int, default=4, help="for each network")
    parser.add_argument("--limit", type=int, help="number of images to use")
    parser.add_argument("--output", default="student.keras", help="file to write")
    options = parser.parse_args(argv)

    data = kmtard.data.digits()
    x = data.train.images[: options.limit].astype("float32") / 255
    y = data.train.labels[: options.limit]
    x_test = data.test.images[: options.limit].astype("float32") / 255
    y_test = data.test.labels[: options.limit]
    attack = kmtard.attacks.PGD(0.1, step_size=0.025, steps=10)

    def train(model: AdversarialModel) -> None:
        model.compile(kmtard.optimizers.L2SGD(0.1, momentum=0.9, weight_decay=2e-4))
        model.fit(
            x,
            y,
            batch_size=64,
            epochs=options.epochs,
            callbacks=model.default_callbacks(),
            verbose=2,
        )

    nat_teacher, adv_teacher = small_cnn(CLASSES, SHAPE), small_cnn(CLASSES, SHAPE)
    train(Natural(nat_teacher))
    train(TRADES(adv_teacher, attack=attack))

    student = small_cnn(CLASSES, SHAPE)
    model = kmtard.methods.BMTARD(student, nat_teacher, adv_teacher, attack=attack)
    train(model)
    scores = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"W-Robust accuracy: {scores['w_robust_accuracy']:.2%}")
    student.save(options.output)


if __name__ == "__main__":
    main()
