"""MART and AdaAD against independent numpy, for which no golden numbers exist."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import PGD
from kmtard.methods.adaad import AdaAD
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.mart import MART

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 1, 3])
NAT, ADV = RNG.normal(0, 2, (2, 5, 4))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def kl(target: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (target * (np.log(target) - np.log(other))).sum(-1)


def tensor(array: np.ndarray) -> object:
    return ops.convert_to_tensor(array.astype("float32"))


def linear(seed: int, inputs: int = 6, classes: int = 4) -> keras.Model:
    keras.utils.set_random_seed(seed)
    shape = (inputs, 1, 1)
    return keras.Sequential(
        [layers.Input(shape), layers.Flatten(), layers.Dense(classes)]
    )


def outer(model: object, x: np.ndarray | None = None) -> np.ndarray:
    images = None if x is None else tensor(x)
    y = ops.convert_to_tensor(LABELS, "int32")
    batch = Batch(images, images, y, None, training=False)
    logits = Logits((tensor(NAT),), (tensor(ADV),))
    return ops.convert_to_numpy(model.outer_loss(batch, logits))  # type: ignore[attr-defined]


@pytest.mark.parametrize("beta", [5.0, 0.5])
def test_mart(beta: float) -> None:
    rows = np.arange(5)
    nat, adv = softmax(NAT), softmax(ADV)
    others = adv.copy()
    others[rows, LABELS] = 0
    wanted = (
        -np.log(adv[rows, LABELS])
        - np.log(1.0001 - others.max(-1) + 1e-12)
        + beta * kl(nat, adv) * (1.0000001 - nat[rows, LABELS])
    )
    np.testing.assert_allclose(outer(MART(linear(1), beta=beta)), wanted, rtol=2e-5)


@pytest.mark.parametrize("alpha", [1.0, 0.7])
@pytest.mark.parametrize(
    ("class_scale", "scale"),
    [(None, 1.0), (2.0, 2.0), ("element_mean", 1.0), ("batch_mean", 4.0)],
)
def test_adaad_loss(alpha: float, class_scale: object, scale: float) -> None:
    x = RNG.random((5, 6, 1, 1))
    student, teacher = linear(1), linear(2)
    taught = softmax(ops.convert_to_numpy(teacher(tensor(x))).astype("float64"))
    wanted = scale / 4 * kl(taught, softmax(ADV)) * alpha
    wanted += scale / 4 * kl(taught, softmax(NAT)) * (1 - alpha)
    model = AdaAD(student, teacher, alpha=alpha, class_scale=class_scale)
    np.testing.assert_allclose(outer(model, x), wanted, rtol=2e-5)


@pytest.mark.parametrize(
    ("classes", "scale"), [(2, 1.0), (10, 1.0), (11, 11.0), (100, 100.0)]
)
def test_adaad_reduces_as_its_authors(classes: int, scale: float) -> None:
    networks = [linear(seed, classes=classes) for seed in (1, 2)]
    assert AdaAD(*networks).scale(classes) == scale


@pytest.mark.parametrize("attack_bn", ["eval", "train"])
def test_adaad_attack_follows_the_gradient_through_both(attack_bn: str) -> None:
    """One step against the sign of a difference quotient in float64."""
    x = RNG.uniform(0.3, 0.7, (5, 6, 1, 1))
    student, teacher = linear(1), linear(2)
    weights = [
        [w.astype("float64") for w in net.get_weights()] for net in (student, teacher)
    ]

    def divergence(images: np.ndarray) -> np.ndarray:
        own, taught = (
            softmax(images.reshape(5, 6) @ kernel + bias) for kernel, bias in weights
        )
        return kl(taught, own)

    signs = np.zeros_like(x)
    for pixel in range(6):
        shift = np.zeros_like(x)
        shift[:, pixel] = 1e-6
        signs[:, pixel, 0, 0] = np.sign(divergence(x + shift) - divergence(x - shift))
    model = AdaAD(
        student,
        teacher,
        attack=PGD(0.1, step_size=0.1, steps=1, start="clean"),
        attack_bn=attack_bn,
    )
    y = ops.convert_to_tensor(LABELS, "int32")
    (_, x_adv), _, _ = model.attacked((tensor(x), y), training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(x_adv), x + 0.1 * signs, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (MART, {"beta": -1.0}),
        (AdaAD, {"alpha": 2.0}),
        (AdaAD, {"class_scale": "mean"}),
    ],
)
def test_bad_arguments(make: type, option: dict) -> None:
    networks = [linear(1)] if make is MART else [linear(1), linear(2)]
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        make(*networks, **option)
