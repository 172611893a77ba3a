"""`evaluate` with common corruptions: figures, stored batches, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.attacks import fgsm
from kmtard.data.digits import digits
from kmtard.evaluation import Evaluation, curve, evaluate
from kmtard.evaluation.corruptions import sources
from kmtard.evaluation.corruptions.transforms import corrupted
from kmtard.evaluation.network_evaluator import Step
from kmtard.evaluation.result import mean_interval
from kmtard.evaluation.statistics import wilson_interval
from kmtard.registry.corruptions import CORRUPTIONS
from kmtard.runs.results import read_all, read_results

IMAGES = 20

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return digits().test.images[:IMAGES]


@pytest.fixture(scope="module")
def data(pixels: np.ndarray) -> Data:
    return pixels.astype("float32") / 255, digits().test.labels[:IMAGES]


def linear(shape: tuple[int, ...] = (8, 8, 1)) -> keras.Model:
    image = keras.Input(shape)
    model = keras.Sequential([image, layers.Flatten(), layers.Dense(10)])
    train = digits().train
    features = train.images.reshape(len(train), -1) / 255
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    square = features.T @ features + np.eye(65)
    weights = np.linalg.solve(square, features.T @ np.eye(10)[train.labels])
    model.set_weights([8 * weights[:-1], 8 * weights[-1]])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return linear()


def test_figures(model: keras.Model, data: Data, pixels: np.ndarray) -> None:
    names = ["fog", "gaussian_noise"]
    # The batches end within a severity.
    found = evaluate(
        model, data, attacks="fgsm", corruptions=names, seed=3, batch_size=8
    )
    assert list(found.student.corruptions) == ["gaussian_noise", "fog"]
    for name, score in found.student.corruptions.items():
        accuracies = []
        for severity, one in enumerate(score.severities, 1):
            x = corrupted(pixels, name, severity, seed=3, indices=range(IMAGES))
            logits = keras.ops.convert_to_numpy(model(x.astype("float32") / 255))
            correct = int(np.sum(logits.argmax(1) == data[1]))
            assert one.correct == correct
            assert one.accuracy == correct / IMAGES
            assert one.interval == wilson_interval(correct, IMAGES)
            accuracies.append(correct / IMAGES)
        assert score.accuracy == pytest.approx(np.mean(accuracies))
        assert score.interval == mean_interval(score.accuracy, IMAGES)
        assert found.corruption_accuracy[name] == score.accuracy
    results = found.results.student.corruptions
    assert results is not None
    accuracies = list(found.corruption_accuracy.values())
    assert results.accuracy == pytest.approx(np.mean(accuracies))
    assert results.mce is None
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.once("torch")
def test_channels_first_has_the_same_images(model: keras.Model, data: Data) -> None:
    first = linear((1, 8, 8))
    # The first layer that knows its order of channels is a pooling of one pixel.
    image = keras.Input((1, 8, 8))
    pooled = layers.MaxPooling2D(1, data_format="channels_first")(image)
    first = keras.Model(image, first(pooled))
    settings: dict[str, Any] = {"attacks": (), "corruptions": "snow", "batch_size": 8}
    moved = evaluate(first, (np.moveaxis(data[0], -1, 1), data[1]), **settings)
    found = evaluate(model, data, **settings)
    assert moved.student.corruptions == found.student.corruptions


@pytest.mark.once("torch")
def test_batch_size_and_interruption_change_nothing(
    model: keras.Model, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"attacks": (), "corruptions": "frost,impulse_noise"}
    whole = evaluate(model, data, **settings, batch_size=7)

    def stop(step: Step) -> None:
        if step.attack == "frost" and step.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, data, **settings, batch_size=20, folder=tmp_path, watch=stop)
    made: list[tuple[str, int]] = []
    make = sources.corrupted

    def noting(x: np.ndarray, name: str, severity: int, **more: Any) -> np.ndarray:
        made.append((name, severity))
        return make(x, name, severity, **more)

    monkeypatch.setattr(sources, "corrupted", noting)
    found = evaluate(model, data, **settings, batch_size=20, folder=tmp_path)
    assert found.student.corruptions == whole.student.corruptions
    assert made == [("frost", severity) for severity in (2, 3, 4, 5)]
    made.clear()
    # Under another epsilon, the images are the same.
    evaluate(model, data, **settings, batch_size=20, folder=tmp_path, epsilon=0.1)
    assert made == []


@pytest.mark.once("torch")
def test_records_keep_corruptions_and_attacks(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    evaluate(model, data, attacks="fgsm", corruptions="fog", folder=tmp_path)
    evaluate(model, data, attacks="pgd_sat", corruptions="snow", folder=tmp_path)
    evaluate(model, data, attacks="fgsm", folder=tmp_path)
    read = read_results(tmp_path).student
    assert list(read.attacks) == ["fgsm", "pgd_sat"]
    assert read.corruptions is not None
    assert list(read.corruptions.scores) == ["snow", "fog"]
    loaded = Evaluation.load(tmp_path)
    assert loaded.to_dict() == Evaluation.of(loaded.results).to_dict()
    difference = loaded.student.corruptions["snow"].settings["difference"]
    assert "ImageMagick" in difference


@pytest.mark.once("torch")
def test_a_baseline_gives_the_mean_corruption_error(
    model: keras.Model, data: Data
) -> None:
    baseline = dict.fromkeys(CORRUPTIONS, 0.8) | {"fog": [0.1, 0.2, 0.3, 0.4, 0.5]}
    found = evaluate(
        model,
        data,
        attacks=(),
        corruptions=["fog", "contrast"],
        corruption_baseline=baseline,
    ).results.student.corruptions
    assert found is not None
    errors = {name: 1 - each.accuracy for name, each in found.scores.items()}
    ratios = {"fog": errors["fog"] / 0.3, "contrast": errors["contrast"] / 0.8}
    assert found.mce == pytest.approx((ratios["fog"] + ratios["contrast"]) / 2)


@pytest.mark.once("torch")
def test_published_files_are_used_as_they_are(
    model: keras.Model, data: Data, pixels: np.ndarray, tmp_path: Path
) -> None:
    broken = np.concatenate([pixels, *[np.zeros_like(pixels)] * 4])
    np.save(tmp_path / "contrast.npy", broken)
    np.save(tmp_path / "labels.npy", np.tile(data[1], 5))
    found = evaluate(model, data, attacks=(), corruptions=tmp_path)
    score = found.student.corruptions["contrast"]
    assert score.severities[0].accuracy == found.clean_accuracy
    logits = keras.ops.convert_to_numpy(model(np.zeros((1, 8, 8, 1), "float32")))
    black = float(np.mean(data[1] == logits.argmax()))
    assert [each.accuracy for each in score.severities[1:]] == [black] * 4
    assert score.settings["source"] == "published"


@pytest.mark.once("torch")
def test_a_curve_evaluates_them_once(
    model: keras.Model, data: Data, tmp_path: Path
) -> None:
    curve(
        model,
        data,
        [0.2, 0.1],
        attacks="fgsm",
        corruptions="contrast",
        corruption_baseline={"contrast": 0.5},
        folder=tmp_path,
    )
    records = read_all(tmp_path)[0]
    having = [r.conditions["epsilon"] for r in records if r.student.corruptions]
    assert having == [0.1]


@pytest.mark.once("torch")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"corruptions": "rain"}, "Corruptions must be all"),
        ({"corruption_baseline": {}}, "needs corruptions to compare with"),
        ({"attacks": {"fog": fgsm()}}, "and so are those of corruptions"),
    ],
)
def test_bad_arguments(
    model: keras.Model, data: Data, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        evaluate(model, data, **options)


@pytest.mark.once("torch")
def test_images_that_cannot_be_corrupted_stop_before_the_attacks() -> None:
    image = keras.Input((8, 8, 2))
    model = keras.Sequential([image, layers.Flatten(), layers.Dense(2)])
    seen: list[Step] = []
    data = np.zeros((2, 8, 8, 2), "float32"), np.array([0, 1])
    with pytest.raises(ValueError, match="1 channel or 3"):
        evaluate(model, data, attacks="fgsm", corruptions="fog", watch=seen.append)
    assert not seen
