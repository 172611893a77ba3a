"""Mistakes in the arguments of methods, and the errors for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.attacks.inputs import check_training_labels
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural
from kmtard.methods.trades import TRADES
from kmtard.networks import logits_of


def damaged(x: np.ndarray, value: float, row: int = 0) -> np.ndarray:
    x = x.copy()
    x[row, 0, 0, 0] = value
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: 255 * x, r"in \[0, 1\].*Received: values in \[.*Scale them"),
        (lambda x: x - 0.5, r"in \[0, 1\].*Received: values in \[-0"),
        (lambda x: (255 * x).astype("uint8"), r"dtype uint8.*Divide 8-bit.*by 255"),
        (lambda x: damaged(x, np.nan, 5), r"finite.*in 1 of 8 images.*index 5"),
        (lambda x: damaged(x, np.inf, 2), r"finite.*in 1 of 8 images.*index 2"),
    ],
    ids=["times 255", "centred", "uint8", "nan", "inf"],
)
def test_images(tiny: SimpleNamespace, change: Any, message: str) -> None:
    x, model = change(tiny.x), tiny.compiled("natural")

    with pytest.raises(ValueError, match=message):
        tiny.fit(model, x, tiny.y)
    with pytest.raises(ValueError, match=message):
        tiny.fit(model, tiny.x, tiny.y, validation_data=(x, tiny.y))
    assert int(model.steps_taken.value) == 0
    with pytest.raises(ValueError, match=message):
        tiny.fit(model, tf_dataset(x, tiny.y, 8), batch_size=None)
    assert int(model.steps_taken.value) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + 1, r"in 0 \.\. 2.*Received: labels from 1 to 3"),
        (lambda y: y - 1, r"in 0 \.\. 2.*Received: labels from -1 to 1"),
        (lambda y: y + 0.5, r"whole numbers.*Received: \[.*\.5"),
        (lambda y: np.eye(5)[y], r"3 columns.*Received: shape \(8, 5\)"),
        (lambda y: np.full((len(y), 3), 1 / 3), "one-hot.*use integer labels"),
        (lambda y: np.ones((len(y), 3, 2)), r"Received: shape \(8, 3, 2\)"),
    ],
    ids=["above", "below", "fractions", "width", "soft", "rank"],
)
def test_labels(tiny: SimpleNamespace, change: Any, message: str) -> None:
    y, model = change(tiny.y), tiny.compiled("natural")

    with pytest.raises(ValueError, match=message):
        tiny.fit(model, tiny.x, y)
    with pytest.raises(ValueError, match=message):
        tiny.fit(model, tiny.x, tiny.y, validation_data=(tiny.x, y))
    with pytest.raises(ValueError, match=message):
        tiny.fit(model, tf_dataset(tiny.x, y, 8), batch_size=None)


def test_labels_of_an_unbuilt_student_are_not_negative() -> None:
    check_training_labels(np.array([0, 99]), None)
    with pytest.raises(ValueError, match=r">= 0.*Received: labels from -1 to 4\."):
        check_training_labels(np.array([4, -1]), None)


def test_whole_floats_are_labels(tiny: SimpleNamespace) -> None:
    logs = tiny.fit(tiny.compiled("natural"), tiny.x, tiny.y.astype("float32"))

    assert logs == tiny.fit(tiny.compiled("natural"), tiny.x, tiny.y)


class Batches(keras.utils.PyDataset):
    """Batches of four from arrays."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x) // 4

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(4 * index, 4 * index + 4)
        return self.x[rows], self.y[rows]


def tf_dataset(x: np.ndarray, y: np.ndarray, size: int = 4) -> Any:
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


def generator(x: np.ndarray, y: np.ndarray) -> Iterator[tuple]:
    while True:
        yield from ((x[i : i + 4], y[i : i + 4]) for i in range(0, len(x), 4))


IMAGES = r"Images must be finite.*first in batch 2 of {}.*[Ss]cale"
LABELS = r"Labels must be whole.*first in batch 2 of {}.*[Ss]oft"
WRONG: dict[str, tuple[str, Any]] = {
    "nan": (IMAGES, lambda x, y: (damaged(x, np.nan, 6), y)),
    "above": (IMAGES, lambda x, y: (damaged(x, 1.5, 6), y)),
    "below": (IMAGES, lambda x, y: (damaged(x, -0.1, 6), y)),
    "label -1": (LABELS, lambda x, y: (x, relabeled(y, -1))),
    "label 3": (LABELS, lambda x, y: (x, relabeled(y, 3))),
    "fraction": (LABELS, lambda x, y: (x, relabeled(y.astype("float32"), 0.5))),
    "soft": (LABELS, lambda x, y: (x, relabeled(np.eye(3, dtype="float32")[y], 0.5))),
}
"""Damage of the seventh of eight images, in the second of two batches."""
KINDS: dict[str, Any] = {
    "dataset": lambda x, y: tf_dataset(x, y),
    "generator": lambda x, y: generator(x, y),
    "PyDataset": lambda x, y: Batches(x, y),
}


def relabeled(y: np.ndarray, value: float) -> np.ndarray:
    y = y.copy()
    y[6] = value
    return y


# Each kind of data once, and each mistake once.
SOURCES = [
    *((kind, next(iter(WRONG))) for kind in KINDS),
    *((next(iter(KINDS)), wrong) for wrong in list(WRONG)[1:]),
]


class Kept(keras.callbacks.Callback):
    """Remembers the epochs whose end it saw, where checkpoints are saved."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)


@pytest.mark.parametrize(("kind", "wrong"), SOURCES)
def test_later_batches_of_training(
    tiny: SimpleNamespace, kind: str, wrong: str
) -> None:
    (message, change), kept = WRONG[wrong], Kept()

    with pytest.raises(ValueError, match=message.format("epoch 1")):
        tiny.fit(
            tiny.compiled("natural"),
            KINDS[kind](*change(tiny.x, tiny.y)),
            batch_size=None,
            steps_per_epoch=2,
            epochs=2,
            callbacks=[kept],
        )
    assert not kept.epochs


@pytest.mark.quick("jax", "torch")
@pytest.mark.parametrize(("kind", "wrong"), SOURCES)
def test_later_batches_of_an_evaluation(
    tiny: SimpleNamespace, kind: str, wrong: str
) -> None:
    message, change = WRONG[wrong]
    model, kept = tiny.compiled("natural"), Kept()
    data = KINDS[kind](*change(tiny.x, tiny.y))

    with pytest.raises(ValueError, match=message.format("the evaluation")):
        tiny.evaluate(model, data, batch_size=None, steps=2)
    data = KINDS[kind](*change(tiny.x, tiny.y))
    after = message.format("the evaluation after epoch 1")
    with pytest.raises(ValueError, match=after):
        tiny.fit(
            model,
            tiny.x,
            tiny.y,
            validation_data=data,
            validation_steps=2,
            callbacks=[kept],
        )
    assert not kept.epochs
    assert np.isfinite(tiny.evaluate(model, tiny.x, tiny.y)["loss"])


@pytest.mark.parametrize("method", ("natural", "multi"))
def test_later_batches_of_compiled_steps(tiny: SimpleNamespace, method: str) -> None:
    model = tiny.compiled(method, eager=False)
    data = (damaged(tiny.x, 2.0, 6), tiny.y)

    with pytest.raises(ValueError, match=IMAGES.format("epoch 1")):
        tiny.fit(model, Batches(*data), batch_size=None, epochs=2)
    with pytest.raises(ValueError, match=IMAGES.format("the evaluation")):
        tiny.evaluate(model, Batches(*data), batch_size=None)
    assert np.isfinite(tiny.fit(model, tiny.x, tiny.y)["loss"]).all()


def test_training_is_blamed_before_its_validation(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=IMAGES.format("epoch 2")):
        tiny.fit(
            tiny.compiled("natural"),
            generator(
                np.concatenate([tiny.x, damaged(tiny.x, 2.0, 6)]), np.tile(tiny.y, 2)
            ),
            batch_size=None,
            steps_per_epoch=2,
            epochs=2,
            validation_data=(tiny.x, tiny.y),
        )


def test_integer_images_of_a_generator(tiny: SimpleNamespace) -> None:
    data = generator((255 * tiny.x).astype("uint8"), tiny.y)

    with pytest.raises(ValueError, match="dtype uint8. Divide 8-bit images by"):
        tiny.evaluate(tiny.compiled("natural"), data, batch_size=None, steps=2)


@pytest.mark.parametrize("call", ("evaluate", "train_on_batch", "test_on_batch"))
def test_arrays_are_checked_before_the_first_step(
    tiny: SimpleNamespace, call: str
) -> None:
    model = tiny.compiled("natural")
    run = getattr(model, call)

    with pytest.raises(ValueError, match="Received: values in"):
        run(2 * tiny.x, tiny.y)
    with pytest.raises(ValueError, match="whole numbers"):
        run(tiny.x, tiny.y + 0.5)
    assert int(model.steps_taken.value) == 0


def test_guard_comes_first_in_a_callback_list(tiny: SimpleNamespace) -> None:
    model, kept = tiny.compiled("natural"), Kept()
    callbacks = keras.callbacks.CallbackList(
        [kept], add_history=True, model=model, epochs=1
    )

    with pytest.raises(ValueError, match=IMAGES.format("epoch 1")):
        tiny.fit(
            model,
            Batches(damaged(tiny.x, 2.0, 6), tiny.y),
            batch_size=None,
            callbacks=callbacks,
        )
    assert not kept.epochs


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch"])
def test_images_without_labels(tiny: SimpleNamespace, call: str) -> None:
    model = tiny.compiled("natural")
    with pytest.raises(ValueError, match=r"Labels are required.*fit\(x, y\)"):
        getattr(model, call)(tiny.x)


def test_bfloat16_images(tiny: SimpleNamespace) -> None:
    images = keras.ops.cast(tiny.x, "bfloat16")
    tiny.compiled("natural").fit(images, tiny.y, batch_size=4, verbose=0)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        tiny.compiled("natural").fit(images + 1, tiny.y, batch_size=4, verbose=0)


def test_another_fit_with_good_data_is_not_blamed(tiny: SimpleNamespace) -> None:
    model = tiny.compiled("natural")
    data = tf_dataset(damaged(tiny.x, 2.0, 6), tiny.y)
    with pytest.raises(ValueError, match="first in batch 2"):
        tiny.fit(model, data, batch_size=None)

    assert np.isfinite(tiny.fit(model, tiny.x, tiny.y)["loss"]).all()


def test_first_batch_of_a_pydataset(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="Received: values in"):
        tiny.fit(tiny.compiled("natural"), Batches(2 * tiny.x, tiny.y), batch_size=None)


def test_empty_dataset(tiny: SimpleNamespace) -> None:
    data = tf_dataset(tiny.x[:0], tiny.y[:0])

    with pytest.raises(ValueError, match="empty: expected at least one batch"):
        tiny.fit(tiny.compiled("natural"), data, batch_size=None)


def test_teacher_of_other_classes(tiny: SimpleNamespace) -> None:
    student, good, other = (tiny.network(classes=c) for c in (3, 3, 5))

    with pytest.raises(ValueError, match="student with 3.*adv_teacher with 5"):
        MultiTeacherDistiller(student, good, other)


def test_unbuilt_student_of_other_classes(tiny: SimpleNamespace) -> None:
    student = tiny.network(classes=5, built=False)

    with pytest.raises(ValueError, match="student with 5.*nat_teacher with 3"):
        tiny.fit(tiny.compiled("multi", student=student), tiny.x, tiny.y)


def test_teacher_is_student(tiny: SimpleNamespace) -> None:
    student = tiny.network()

    with pytest.raises(ValueError, match="`student` and `nat_teacher` are one.*clone"):
        MultiTeacherDistiller(student, student, tiny.network())
    assert student.trainable


def sharing(tiny: SimpleNamespace) -> tuple[Any, Any]:
    """Two networks with one backbone."""
    images = layers.Input(tiny.shape)
    features = layers.Dense(4, name="backbone")(layers.Flatten()(images))
    return tuple(
        keras.Model(images, layers.Dense(tiny.classes)(features)) for _ in range(2)
    )


def test_teacher_that_shares_a_backbone(tiny: SimpleNamespace) -> None:
    student, teacher = sharing(tiny)

    with pytest.raises(ValueError, match="share 2 weights, such as 'backbone/.*clone"):
        MultiTeacherDistiller(student, tiny.network(), teacher)
    assert len(student.trainable_weights) == 4


def test_frozen_teachers_may_share(tiny: SimpleNamespace) -> None:
    model = MultiTeacherDistiller(tiny.network(), *sharing(tiny))

    assert not model.nat_teacher.trainable_weights


def test_a_former_teacher_cannot_be_trained(tiny: SimpleNamespace) -> None:
    former, model = tiny.network(), tiny.compiled("natural")
    MultiTeacherDistiller(model.student, former, tiny.network())
    second = tiny.compiled("natural", student=former)
    frozen = r"`student` has nothing to train.*freezes its teachers.*trainable = True"

    for train in (
        lambda: tiny.fit(second, tiny.x, tiny.y),
        lambda: second.train_on_batch(tiny.x, tiny.y),
    ):
        with pytest.raises(ValueError, match=frozen):
            train()
    assert np.isfinite(tiny.evaluate(second, tiny.x, tiny.y)["loss"])
    former.trainable = True
    before = tiny.values(former.trainable_variables)
    second.compile("sgd", run_eagerly=True)
    tiny.fit(second, tiny.x, tiny.y)
    after = tiny.values(former.trainable_variables)
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("role", ("student", "nat_teacher", "adv_teacher"))
def test_not_a_model(tiny: SimpleNamespace, role: str) -> None:
    networks = {r: tiny.network() for r in ("student", "nat_teacher", "adv_teacher")}
    networks[role] = "resnet18"

    with pytest.raises(ValueError, match=f"`{role}`.*Received: 'resnet18' of type str"):
        MultiTeacherDistiller(**networks)


def with_softmax(tiny: SimpleNamespace, kind: str) -> Any:
    network = tiny.network()
    if kind == "layer":
        network.add(layers.Softmax())
    else:
        network.layers[-1].activation = keras.activations.softmax
    return network


@pytest.mark.parametrize("kind", ("activation", "layer"))
@pytest.mark.parametrize("role", ("student", "nat_teacher", "adv_teacher"))
def test_probabilities_for_logits(tiny: SimpleNamespace, kind: str, role: str) -> None:
    networks = {r: tiny.network() for r in ("student", "nat_teacher", "adv_teacher")}
    networks[role] = with_softmax(tiny, kind)
    remedy = r"Use kmtard\.networks\.logits_of\(model\) instead"

    with pytest.warns(UserWarning, match=f"`{role}` look like softmax.*{remedy}"):
        MultiTeacherDistiller(**networks)


@pytest.mark.parametrize("kind", ("activation", "layer"))
def test_the_remedy_for_probabilities_works(
    tiny: SimpleNamespace, kind: str, tmp_path: Path
) -> None:
    network = with_softmax(tiny, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = Natural(logits_of(network))
        model.compile("sgd")
    tiny.fit(model, tiny.x, tiny.y)

    model.student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    logits = keras.ops.convert_to_numpy(again(tiny.x))
    probabilities = keras.ops.convert_to_numpy(network(tiny.x))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.softmax(logits)), probabilities, atol=1e-5
    )


@pytest.mark.parametrize("temperature", (0, -1.0, (1.0, 0.0), float("nan")))
def test_temperature(tiny: SimpleNamespace, temperature: Any) -> None:
    with pytest.raises(ValueError, match="`temperature` must be a number > 0"):
        tiny.model("multi", temperature=temperature)


def test_attack_bn(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match='"eval" or "train". Received: \'test\''):
        Natural(tiny.network(), attack_bn="test")


def test_beta_of_trades(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="`beta` must be a number >= 0.*Received: -1"):
        TRADES(tiny.network(), beta=-1)
