"""Functions, PyTorch modules and ensembles as targets of attacks."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import Ensemble, RayS, Transfer, apgd_ce, fgsm
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.targets import as_model
from kmtard.evaluation import evaluate
from kmtard.evaluation.fingerprints import UNIDENTIFIED, model_fingerprint

pytestmark = pytest.mark.quick("torch")

SHAPE = (4, 4, 2)
on_torch = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch modules need its backend"
)


def net(seed: int, *more: Any) -> keras.Model:
    model = keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.5, w.shape) for w in model.get_weights()])
    for each in more:
        model.add(each)
    return model


def logits(model: Any, x: Any) -> np.ndarray:
    return ops.convert_to_numpy(model(x))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).random((20, *SHAPE), "float32")


def module(model: keras.Model) -> Any:
    """Return a PyTorch module that computes what a network of `net` computes."""
    torch = importlib.import_module("torch")
    kernel, bias = model.get_weights()
    linear = torch.nn.Linear(*kernel.shape)
    order = np.arange(len(kernel)).reshape(SHAPE).transpose(2, 0, 1).ravel()
    linear.weight.data = torch.as_tensor(kernel[order].T.copy())
    linear.bias.data = torch.as_tensor(bias)
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), linear)
    return made.eval()


def test_function_is_attacked_like_its_model(x: np.ndarray) -> None:
    model = net(0)
    kernel, bias = map(ops.convert_to_tensor, model.get_weights())

    def linear(images: Any) -> Any:
        return ops.matmul(ops.reshape(images, (images.shape[0], -1)), kernel) + bias

    y = logits(model, x).argmax(-1)
    for attack in (apgd_ce(epsilon=0.1), RayS(0.1)):
        wanted, found = (attack.run(each, x, y) for each in (model, linear))
        np.testing.assert_allclose(found.x_adv, wanted.x_adv, atol=1e-6)
        np.testing.assert_array_equal(found.success, wanted.success)
        assert 0 < found.success.sum() < len(x)
    assert as_model(linear).name == "linear"
    assert as_model(lambda images: images).name == "function"
    assert model_fingerprint(as_model(linear)) == UNIDENTIFIED
    transferred = Transfer(fgsm(epsilon=0.1), surrogate=linear)(model, x, y)
    np.testing.assert_allclose(transferred, fgsm(epsilon=0.1)(model, x, y), atol=1e-6)


def test_probabilities_of_a_function_are_noticed(x: np.ndarray) -> None:
    model = net(0, layers.Softmax())

    def classify(images: Any) -> Any:
        return model(images, training=False)

    with pytest.warns(UserWarning, match="'classify' returns probabilities"):
        fgsm(epsilon=0.1).run(classify, x, np.zeros(len(x), int))


@on_torch
def test_module_is_attacked_like_its_model(x: np.ndarray, tmp_path: Path) -> None:
    model = net(0)
    made, first = module(model), x.transpose(0, 3, 1, 2)
    y = logits(model, x).argmax(-1)
    wanted = apgd_ce(epsilon=0.1).run(model, x, y)
    found = apgd_ce(epsilon=0.1).run(made, first, y)
    np.testing.assert_array_equal(found.success, wanted.success)
    assert not Classifier.of(made, first[:1]).channels_last
    record = evaluate(made, (first, y), attacks="fgsm", epsilon=0.1, folder=tmp_path)
    assert record.clean_accuracy == 1 and not made.training
    assert "not-resumed" not in {each.name for each in record.student.findings}


@on_torch
def test_fingerprint_of_a_module_depends_on_its_weights() -> None:
    one, again, other = (module(net(seed)) for seed in (0, 0, 1))
    found = [model_fingerprint(as_model(each)) for each in (one, again, other)]
    assert found[0] == found[1] != found[2] and UNIDENTIFIED not in found


@on_torch
def test_module_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential must be in evaluation mode"):
        as_model(module(net(0)).train())


@pytest.mark.skipif(keras.config.backend() == "torch", reason="for other backends")
def test_module_needs_the_backend_torch() -> None:
    with pytest.raises(ValueError, match="Set KERAS_BACKEND=torch"):
        as_model(module(net(0)))


def test_ensemble_averages(x: np.ndarray) -> None:
    one, two, soft = net(0), net(1), net(1, layers.Softmax())
    both = (logits(one, x) + logits(two, x)) / 2
    # The softmax of a member is skipped.
    for members in ([one, two], [one, soft]):
        np.testing.assert_allclose(logits(Ensemble(members), x), both, atol=1e-5)
    shares = ops.softmax(logits(one, x)) + ops.softmax(logits(two, x))
    found = logits(Ensemble([one, soft], average="probabilities"), x)
    np.testing.assert_allclose(
        np.exp(found), ops.convert_to_numpy(shares) / 2, atol=1e-5
    )


def test_ensemble_is_attacked_as_a_whole_with_its_current_weights(
    x: np.ndarray,
) -> None:
    one, two = net(0), net(1)
    ensemble = Ensemble([one, two])
    classifier = Classifier(ensemble, x[:1])
    for _ in range(2):
        y = logits(ensemble, x).argmax(-1)
        result = apgd_ce(epsilon=0.05).run(classifier, x, y)
        fooled = logits(ensemble, result.x_adv).argmax(-1) != y
        np.testing.assert_array_equal(result.success, fooled)
        assert 0 < fooled.sum() < len(x)
        one.set_weights([weights[::-1] for weights in one.get_weights()])


@pytest.mark.once("jax")
def test_ensemble_is_saved(x: np.ndarray, tmp_path: Path) -> None:
    ensemble = Ensemble([net(0), net(1)], average="probabilities", name="both")
    wanted = logits(ensemble, x)
    ensemble.save(tmp_path / "both.keras")
    again = keras.models.load_model(tmp_path / "both.keras")
    np.testing.assert_allclose(logits(again, x), wanted, atol=1e-6)
    assert again.name == "both" and json.loads(again.to_json()) == json.loads(
        ensemble.to_json()
    )
    assert model_fingerprint(again) == model_fingerprint(ensemble) != UNIDENTIFIED


@pytest.mark.once("jax")
def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="PyTorch module or a function.*Received: str"):
        as_model("resnet18")
    with pytest.raises(ValueError, match="two or more. Received: 1 models"):
        Ensemble([net(0)])
    with pytest.raises(ValueError, match="`average` must be one of"):
        Ensemble([net(0), net(1)], average="votes")
