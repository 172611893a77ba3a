"""Training in half precision: as good as float32, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import PGD
from kmtard.commands.fit import main
from kmtard.data.digits import digits
from kmtard.methods.b_mtard import BMTARD
from kmtard.methods.fair_ard import FairARD
from kmtard.networks.small_cnn import small_cnn
from kmtard.optimizers import L2SGD
from kmtard.runs import list_runs
from kmtard.runs.files import write_atomic
from kmtard.runs.results import read_results
from kmtard.training.callbacks import RunState

BACKEND = keras.backend.backend()
DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"
HALVES = ("mixed_bfloat16", "mixed_float16")
JIT = BACKEND == "jax"
"""TensorFlow is ready sooner without XLA."""


@pytest.fixture(autouse=True)
def policy() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    test = digits().test
    return test.images[:16].astype("float32") / 255, test.labels[:16]


def network(precision: str, seed: int = 0) -> Any:
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    made = small_cnn(10, (8, 8, 1), width=2)
    keras.config.set_dtype_policy("float32")
    return made


def model(precision: str) -> tuple[Any, list]:
    """B-MTARD whose loss scale, if it has one, moves every other step."""
    made = BMTARD(
        network(precision),
        network("float32", 1),
        network(precision, 2),
        attack=PGD(epsilon=0.1, steps=2, unroll=False),
        evaluation_attack=PGD(epsilon=0.1, steps=2, unroll=False),
    )
    optimizer: Any = L2SGD(0.1, weight_decay=2e-4)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, dynamic_growth_steps=2
        )
    made.compile(optimizer, jit_compile=JIT)
    made.optimizer.build(made.trainable_variables)
    return made, made.default_callbacks()


def state(made: Any) -> list[np.ndarray]:
    variables = [*made.variables, *made.optimizer.variables]
    return [np.array(ops.convert_to_numpy(v.value)) for v in variables]


def train(made: Any, callbacks: list, images: tuple, epochs: range) -> dict:
    return made.fit(
        *images,
        batch_size=8,
        shuffle=False,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        validation_data=images,
        callbacks=callbacks,
        verbose=0,
    ).history


@pytest.mark.quick("jax", "torch")
@pytest.mark.parametrize("precision", HALVES)
def test_resumed_training_is_bit_for_bit_the_unbroken(
    precision: str, images: tuple, tmp_path: Path
) -> None:
    unbroken, callbacks = model(precision)
    keeper = RunState(tmp_path, write_atomic, steps_per_epoch=2)
    start = state(unbroken)
    train(unbroken, [*callbacks, keeper], images, range(2))
    logs = train(unbroken, callbacks, images, range(2, 4))

    resumed, callbacks = model(precision)
    assert RunState(tmp_path, write_atomic, steps_per_epoch=2).restore(resumed) == 4
    train(resumed, callbacks, images, range(2, 4))

    assert np.isfinite([logs["loss"], logs["val_loss"]]).all()
    kinds = {
        v.dtype for v in (*unbroken.trainable_variables, *unbroken.optimizer.variables)
    }
    assert "float32" in kinds
    assert not kinds & {"float16", "bfloat16"}
    ended = state(unbroken)
    assert any(not np.array_equal(*pair) for pair in zip(start, ended, strict=True))
    for one, other in zip(ended, state(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    if precision == "mixed_float16":
        scales = [float(made.optimizer.dynamic_scale) for made in (unbroken, resumed)]
        assert scales == [2.0**15 * 2**4] * 2


def test_step_that_overflows_is_left_out(images: tuple) -> None:
    made, callbacks = model("mixed_float16")
    made.optimizer.dynamic_scale.assign(2.0**40)
    before = [np.array(w) for w in made.student.get_weights()[:1]]

    train(made, callbacks, images, range(1))

    np.testing.assert_array_equal(before[0], made.student.get_weights()[0])
    assert float(made.optimizer.dynamic_scale) == 2.0**38


def confident(precision: str) -> tuple[Any, Any, Any]:
    """A network in a precision, images, and the labels that it is sure of."""
    made = network(precision)
    # The head alone makes it sure; what is before it stays as it is.
    *body, kernel, bias = made.get_weights()
    made.set_weights([*body, 1000 * kernel, 1000 * bias])
    x = ops.convert_to_tensor(digits().test.images[:64].astype("float32") / 255)
    y = ops.argmax(made(x, training=False), axis=-1)
    return made, x, y


def gradient(made: Any, x: Any, objective: Any) -> np.ndarray:
    found = backend.input_gradient(lambda u: objective(made(u, training=False)), x)
    return ops.convert_to_numpy(found)


def test_float16_does_not_lose_the_gradient_of_an_attack() -> None:
    exact, x, y = confident("float32")
    half, _, _ = confident("mixed_float16")

    def objective(logits: Any) -> Any:
        return losses.cross_entropy(y, logits)

    wanted = np.sign(gradient(exact, x, objective))
    plain = np.sign(gradient(half, x, objective))
    found = np.sign(gradient(half, x, losses.amplified(objective, half)))
    assert (plain == wanted).mean() < 0.7
    assert (found == wanted).mean() > 0.99
    assert losses.amplified(objective, exact) is objective


def test_attack_moves_every_image_of_a_float16_network() -> None:
    half, x, y = confident("mixed_float16")
    attack = PGD(epsilon=0.1, step_size=0.1, steps=1, start="clean")

    x_adv = attack(half, x, y)

    moved = np.abs(ops.convert_to_numpy(x_adv - x)).max(axis=(1, 2, 3))
    np.testing.assert_allclose(moved, 0.1, rtol=1e-5)


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_state_that_the_objective_assigns_is_counted_once(
    bn: str, images: tuple
) -> None:
    made = FairARD(
        network("mixed_float16"),
        network("mixed_float16", 1),
        attack=PGD(epsilon=0.0, steps=3),
        attack_bn=bn,
    )
    made.compile(L2SGD(0.0), jit_compile=JIT)

    made.train_on_batch(*images)

    classes = ops.convert_to_numpy(made.class_images.value)
    np.testing.assert_array_equal(classes, np.bincount(images[1], minlength=10))
    counted = ops.convert_to_numpy(made.robust_steps.value)
    assert (counted <= 3 * classes).all()
    assert (counted % 3 == 0).all() or bn == "train"


@pytest.mark.parametrize("precision", HALVES)
def test_saved_student_predicts_and_is_attacked(
    precision: str, images: tuple, tmp_path: Path
) -> None:
    student, (x, y) = network(precision), images
    student.save(tmp_path / "student.keras")

    loaded = keras.models.load_model(tmp_path / "student.keras")

    assert losses.has_float16(loaded) == (precision == "mixed_float16")
    logits = loaded.predict(x, verbose=0)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, student.predict(x, verbose=0))
    x_adv = PGD(epsilon=0.1, steps=2)(loaded, x, y)
    assert x_adv.dtype == np.float32
    assert 0 < np.abs(x_adv - x).max() <= 0.1 + 1e-6


def w_robust(precision: str, seed: int, folder: Path) -> float:
    """The student's W-Robust accuracy after the whole recipe."""
    settings = {
        "backend": BACKEND,
        "jit": '"auto"' if JIT else "false",
        "precision": precision,
        "seed": seed,
        "runs_dir": folder / f"{precision}-{seed}",
        "cache_dir": folder / "teachers",
    }
    overrides = [f"--set=runtime.{key}={value}" for key, value in settings.items()]
    try:
        assert main([str(DIGITS), *overrides]) == 0
    finally:
        keras.config.set_dtype_policy("float32")
    [run] = list_runs(settings["runs_dir"])
    results = read_results(run.path)
    assert results.headline == "pgd_trades"
    assert results.student.w_robust is not None
    return results.student.w_robust


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A folder, and the mean of two float32 students that are trained there."""
    folder = tmp_path_factory.mktemp("digits")
    return folder, np.mean([w_robust("float32", seed, folder) for seed in range(2)])


@pytest.mark.slow
@pytest.mark.once("jax")  # the quick tests compare the backends
@pytest.mark.parametrize("precision", HALVES)
def test_digits_are_learned_as_in_float32(
    precision: str, trained: tuple[Path, float]
) -> None:
    folder, wanted = trained
    found = np.mean([w_robust(precision, seed, folder) for seed in range(2)])
    assert found > wanted - 0.01
