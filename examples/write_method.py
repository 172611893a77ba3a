"""Write a training method: adversarial logit pairing (Kannan et al. 2018).

    python examples/write_method.py --epochs 4

To use it in a recipe, start `kmtard fit` in this folder with
`--method write_method:LogitPairing`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

import kmtard
from kmtard import losses
from kmtard.methods import Batch, Logits


@keras.saving.register_keras_serializable(package="examples")
class LogitPairing(kmtard.AdversarialModel):
    """Cross-entropy on clean and adversarial images, and a distance of their logits.

    Args:
        student: any Keras model that maps images in [0, 1] to logits.
        weight: weight of the distance, >= 0.
        **kwargs: arguments of `AdversarialModel`.
    """

    passes = ("adv", "nat")  # the student's training passes, in this order
    tracked = ("pairing",)  # averages for the logs

    def __init__(self, student: Any, *, weight: float = 0.5, **kwargs: Any) -> None:
        super().__init__(student, **kwargs)
        self.weight = weight

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        """Return the loss of each image, (batch,)."""
        nat, adv = logits.nat[-1], logits.adv[-1]
        pairing = ops.mean(ops.square(nat - adv), axis=-1)
        self.track("pairing", pairing)
        hard = losses.cross_entropy(batch.y, nat) + losses.cross_entropy(batch.y, adv)
        return 0.5 * hard + self.weight * pairing

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, for saving."""
        return {**super().get_config(), "weight": self.weight}


def main(argv: Sequence[str] | None = None) -> None:
    """Train a small network on the digits with this method."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--epochs", type=int, default=4, help="epochs of training")
    parser.add_argument("--limit", type=int, help="number of images to use")
    options = parser.parse_args(argv)

    train = kmtard.data.digits().train
    x = train.images[: options.limit].astype("float32") / 255
    y = train.labels[: options.limit]
    attack = kmtard.attacks.PGD(0.1, step_size=0.025, steps=10)

    model = LogitPairing(kmtard.networks.small_cnn(10, (8, 8, 1)), attack=attack)
    model.compile(kmtard.optimizers.L2SGD(0.1, momentum=0.9, weight_decay=2e-4))
    history = model.fit(x, y, batch_size=64, epochs=options.epochs, verbose=2)
    print(f"pairing in the last epoch: {history.history['pairing'][-1]:.4f}")


if __name__ == "__main__":
    main()
