"""What users hand over by mistake, and what they are told."""

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


@pytest.mark.parametrize("value", (np.nan, 1.5, -0.1))
@pytest.mark.parametrize("kind", ("dataset", "generator", "PyDataset"))
def test_pixels_of_later_batches(
    tiny: SimpleNamespace, kind: str, value: float
) -> None:
    x = damaged(tiny.x, value, row=6)
    data = {
        "dataset": lambda: tf_dataset(x, tiny.y),
        "generator": lambda: generator(x, tiny.y),
        "PyDataset": lambda: Batches(x, tiny.y),
    }[kind]()

    message = r"in \[0, 1\]. Received: 1 pixels.* in epoch 1\b.*[Ss]cale"
    with pytest.raises(ValueError, match=message):
        tiny.fit(
            tiny.compiled("natural"),
            data,
            batch_size=None,
            steps_per_epoch=2,
            epochs=2,
        )


def test_another_fit_with_good_data_is_not_blamed(tiny: SimpleNamespace) -> None:
    model = tiny.compiled("natural")
    data = tf_dataset(damaged(tiny.x, 2.0, 6), tiny.y)
    with pytest.raises(ValueError, match="1 pixels"):
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
    remedy = r"Use kmtard\.networks\.logits_of\(model\) in its place"

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
    with pytest.raises(ValueError, match="`temperature` must be > 0. Received: "):
        tiny.model("multi", temperature=temperature)


def test_attack_bn(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match='"eval" or "train". Received: \'test\''):
        Natural(tiny.network(), attack_bn="test")


def test_beta_of_trades(tiny: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="`beta` must be >= 0. Received: -1"):
        TRADES(tiny.network(), beta=-1)
