"""The training step that all methods share, driven through Keras' own `fit`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import losses
from kmtard.attacks import PGD
from kmtard.methods.base import AdversarialModel
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.natural import Natural

METHODS = ("natural", "trades", "multi")
SCORES = {"clean_accuracy", "robust_accuracy", "w_robust_accuracy"}


def accuracy(model: Any, tiny: SimpleNamespace) -> float:
    return float(
        np.mean(model.predict(tiny.x, batch_size=4, verbose=0).argmax(-1) == tiny.y)
    )


@pytest.mark.parametrize("method", METHODS)
def test_fit_logs_the_scores_of_training_and_validation(
    tiny: SimpleNamespace, method: str
) -> None:
    model = tiny.compiled(method)

    logs = tiny.fit(model, tiny.x, tiny.y, validation_data=(tiny.x, tiny.y))

    trained = {"clean_accuracy"} if method == "natural" else SCORES
    assert {name for name in logs if name.endswith("_accuracy")} == (
        trained | {f"val_{name}" for name in SCORES}
    )
    for prefix in ("val_",) if method == "natural" else ("", "val_"):
        clean, robust, both = (logs[f"{prefix}{name}"][0] for name in sorted(SCORES))
        assert both == pytest.approx((clean + robust) / 2)
    assert logs["val_clean_accuracy"][0] == pytest.approx(accuracy(model, tiny))


def test_robust_accuracy_is_that_under_the_evaluation_attack(
    tiny: SimpleNamespace,
) -> None:
    attack = tiny.attack(epsilon=0.5, step_size=0.2)
    model = tiny.compiled("natural", evaluation_attack=attack)

    scores = tiny.evaluate(model, tiny.x, tiny.y)

    success = attack.run(model.student, tiny.x, tiny.y).success
    assert scores["robust_accuracy"] == pytest.approx(np.mean(~success))
    assert scores["clean_accuracy"] > scores["robust_accuracy"]


def test_a_short_last_batch_counts_by_its_size(tiny: SimpleNamespace) -> None:
    tf = pytest.importorskip("tensorflow")
    x, y = tiny.x[:6], tiny.y[:6]
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)

    scores = tiny.evaluate(tiny.compiled("multi"), data, batch_size=None)
    logs = tiny.fit(tiny.compiled("multi"), data, batch_size=None)

    halves = [
        tiny.evaluate(tiny.compiled("multi"), x[rows], y[rows])
        for rows in (slice(4), slice(4, 6))
    ]
    whole = {name: (4 * halves[0][name] + 2 * halves[1][name]) / 6 for name in scores}
    assert scores == pytest.approx(whole, rel=1e-5)
    assert logs == pytest.approx(tiny.fit(tiny.compiled("multi"), x, y), rel=1e-5)


def test_all_forms_of_labels_are_equal(tiny: SimpleNamespace) -> None:
    forms = (tiny.y, tiny.y[:, None], np.eye(tiny.classes)[tiny.y])

    integers, column, one_hot = (
        tiny.fit(tiny.compiled("trades"), tiny.x, form) for form in forms
    )

    assert column == pytest.approx(integers)
    assert one_hot == pytest.approx(integers)


@pytest.mark.parametrize("method", ("natural", "multi"))
def test_weights_of_samples_scale_their_losses(
    tiny: SimpleNamespace, method: str
) -> None:
    double = np.full(4, 2.0, "float32")

    def loss(*extra: Any, **kwargs: Any) -> float:
        model = tiny.compiled(method)
        return model.train_on_batch(tiny.x[:4], tiny.y[:4], *extra, **kwargs)[0]

    plain = loss()
    assert loss(double) == pytest.approx(2 * plain, rel=1e-5)
    by_class = {label: 2.0 for label in range(tiny.classes)}
    assert loss(class_weight=by_class) == pytest.approx(2 * plain, rel=1e-5)
    only_first = np.eye(1, 4, dtype="float32")[0]
    assert 0 < loss(only_first) < plain


@pytest.mark.parametrize("method", METHODS)
def test_weights_in_a_column_are_those_in_a_row(
    tiny: SimpleNamespace, method: str
) -> None:
    weight = np.linspace(0, 1, len(tiny.x), dtype="float32")

    row, column = (
        tiny.fit(tiny.compiled(method), tiny.x, tiny.y, sample_weight=each)
        for each in (weight, weight[:, None])
    )
    tested, tested_column = (
        tiny.evaluate(tiny.compiled(method), tiny.x, tiny.y, sample_weight=each)
        for each in (weight, weight[:, None])
    )

    assert column == row
    assert tested_column == tested


def test_weights_of_another_shape(tiny: SimpleNamespace) -> None:
    weight = np.ones((len(tiny.x), 2), "float32")

    with pytest.raises(
        ValueError, match=r"one weight per image.*Received: shape \(4, 2"
    ):
        tiny.fit(tiny.compiled("natural"), tiny.x, tiny.y, sample_weight=weight)


class Column(Natural):
    """A user's own method whose losses are in a column."""

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        return super().outer_loss(batch, logits)[:, None]


def test_losses_of_another_shape(tiny: SimpleNamespace) -> None:
    model = Column(tiny.network())
    model.compile("sgd", run_eagerly=True)

    with pytest.raises(
        ValueError, match=r"Column .*\(batch,\). Received: shape \(8, 1"
    ):
        model.train_on_batch(tiny.x, tiny.y)


def test_fit_takes_weights_in_tuples_and_datasets(tiny: SimpleNamespace) -> None:
    tf = pytest.importorskip("tensorflow")
    weight = np.linspace(0, 1, len(tiny.x), dtype="float32")
    data = tf.data.Dataset.from_tensor_slices((tiny.x, tiny.y, weight)).batch(4)

    from_arrays = tiny.fit(
        tiny.compiled("trades"), tiny.x, tiny.y, sample_weight=weight
    )

    assert tiny.fit(tiny.compiled("trades"), data, batch_size=None) == pytest.approx(
        from_arrays, rel=1e-5
    )


def test_compile_takes_metrics_on_the_clean_logits(tiny: SimpleNamespace) -> None:
    model = tiny.model("trades")
    named = keras.metrics.SparseCategoricalAccuracy("mine")
    model.compile("sgd", metrics=[named, "accuracy"], run_eagerly=True)

    logs = tiny.fit(model, tiny.x, tiny.y, validation_data=(tiny.x, tiny.y))

    for prefix in ("", "val_"):
        clean = logs[f"{prefix}clean_accuracy"]
        assert logs[f"{prefix}mine"] == pytest.approx(clean)
        assert logs[f"{prefix}accuracy"] == pytest.approx(clean)


@pytest.mark.parametrize("eager", (True, False))
def test_compiled_metrics_get_the_labels_as_they_came(
    tiny: SimpleNamespace, eager: bool
) -> None:
    one_hot = np.eye(tiny.classes, dtype="float32")[tiny.y]
    made = (
        lambda: keras.metrics.TopKCategoricalAccuracy(1, name="top"),
        lambda: keras.metrics.F1Score("macro", name="f1"),
        lambda: keras.metrics.AUC(multi_label=True, from_logits=True, name="auc"),
    )
    model = tiny.model("trades")
    model.compile(
        keras.optimizers.SGD(0.0),
        metrics=["accuracy", *(make() for make in made)],
        run_eagerly=eager,
    )
    clean = model.student.predict(tiny.x, verbose=0)

    found = tiny.evaluate(model, tiny.x, one_hot)
    trained = tiny.fit(model, tiny.x, one_hot)

    assert found["accuracy"] == pytest.approx(found["clean_accuracy"])
    assert trained["accuracy"] == pytest.approx(trained["clean_accuracy"])
    for make in made:
        metric = make()
        metric.update_state(one_hot, clean)
        assert found[metric.name] == pytest.approx(float(metric.result()), abs=1e-5)


@pytest.mark.parametrize("argument", ("loss", "loss_weights"))
def test_compile_refuses_a_loss(tiny: SimpleNamespace, argument: str) -> None:
    with pytest.raises(ValueError, match="defines its own loss.*mse"):
        tiny.model("natural").compile("sgd", **{argument: "mse"})


@pytest.mark.parametrize("weights_only", (True, False))
def test_keras_callbacks_work(
    tiny: SimpleNamespace, tmp_path: Path, weights_only: bool
) -> None:
    path = tmp_path / f"best.{'weights.h5' if weights_only else 'keras'}"
    monitor = {"monitor": "val_w_robust_accuracy"}
    model = tiny.compiled("multi")
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)

    logs = tiny.fit(
        model,
        tiny.x,
        tiny.y,
        epochs=3,
        validation_data=(tiny.x, tiny.y),
        callbacks=[
            keras.callbacks.ModelCheckpoint(
                path, save_best_only=True, save_weights_only=weights_only, **monitor
            ),
            keras.callbacks.EarlyStopping(
                patience=0, min_delta=2.0, restore_best_weights=True, **monitor
            ),
            rates,
        ],
    )

    assert path.stat().st_size
    assert len(logs["loss"]) == 2, "nothing improves by 2: stopped after the second"
    assert logs["learning_rate"] == pytest.approx([0.05, 0.025])


@pytest.mark.once("torch")
def test_arguments_may_be_positional(tiny: SimpleNamespace) -> None:
    epochs: list[int] = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epochs.append(epoch),
        on_test_end=lambda logs: epochs.append(-1),
    )
    model = tiny.compiled("natural")
    model.fit(tiny.x, tiny.y, 4, 2, 0, [note])
    model.evaluate(tiny.x, tiny.y, 4, 0, None, None, [note])
    assert epochs == [0, 1, -1]
    with pytest.raises(TypeError, match="multiple values for argument 'callbacks'"):
        model.fit(tiny.x, tiny.y, 4, 2, 0, [note], callbacks=[note])
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        model.fit(tiny.x, tiny.y, 4, 1, 0, None, 0.0, (tiny.x + 1, tiny.y))


# Keras compares the numbers, which are there whatever the backend.
@pytest.mark.once("torch")
@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        *(
            (f"{prefix}{name}", "max")
            for prefix in ("", "val_")
            for name in sorted(SCORES)
        ),
        ("val_nat_loss", "min"),
        ("val_loss", "min"),
    ],
)
def test_keras_callbacks_know_the_direction(
    tiny: SimpleNamespace, tmp_path: Path, monitor: str, mode: str
) -> None:
    def run(**kwargs: Any) -> tuple[list[Any], dict]:
        callbacks = [
            keras.callbacks.EarlyStopping(monitor, patience=1, **kwargs),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", monitor, save_best_only=True, **kwargs
            ),
            keras.callbacks.ReduceLROnPlateau(monitor, patience=1, **kwargs),
        ]
        logs = tiny.fit(
            tiny.compiled("multi"),
            tiny.x,
            tiny.y,
            epochs=3,
            validation_data=(tiny.x, tiny.y),
            callbacks=callbacks,
        )
        return [each.best for each in callbacks], logs

    assert run() == run(mode=mode)


def test_no_direction_for_what_has_none(tiny: SimpleNamespace) -> None:
    stop = keras.callbacks.EarlyStopping("nat_entropy")

    with pytest.raises(ValueError, match="Pass `mode='max'`"):
        tiny.fit(tiny.compiled("multi"), tiny.x, tiny.y, callbacks=[stop])


def test_evaluate_and_predict_are_repeatable(tiny: SimpleNamespace) -> None:
    random_start = tiny.attack(start="uniform_clipped", epsilon=0.3)
    model = tiny.compiled("multi", evaluation_attack=random_start)

    first, second = (tiny.evaluate(model, tiny.x, tiny.y) for _ in range(2))

    assert first == second
    student = ops.convert_to_numpy(model.student(tiny.x, training=False))
    predicted = model.predict(tiny.x, batch_size=4, verbose=0)
    np.testing.assert_allclose(predicted, student, atol=1e-6)


@pytest.mark.parametrize("method", ("natural", "multi"))
def test_unbuilt_networks_are_built_by_fit(tiny: SimpleNamespace, method: str) -> None:
    student = tiny.network(built=False)
    model = tiny.compiled(method, student=student)
    assert not student.built

    logs = tiny.fit(model, tiny.x, tiny.y)

    assert student.built
    assert np.isfinite(logs["loss"][0])
    assert student(tiny.x[:2]).shape == (2, tiny.classes)


class Friendly(AdversarialModel):
    """A user's own method: its "attack" makes the images easier to classify."""

    passes = ("adv",)
    tracked = ("margin",)

    def inner_loss(self, batch: Batch) -> Any:
        return lambda logits: -losses.cross_entropy(batch.y, logits)

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        self.track("margin", ops.mean(ops.max(logits.adv[0], axis=-1)))
        return losses.cross_entropy(batch.y, logits.adv[0])


def test_own_method(tiny: SimpleNamespace) -> None:
    model = Friendly(tiny.network(), attack=PGD(0.3, step_size=0.1, steps=3))
    model.compile("sgd", run_eagerly=True)

    (x, x_adv), y, _ = model.attacked(
        (ops.convert_to_tensor(tiny.x), tiny.y), training=True
    )
    logs = tiny.fit(model, tiny.x, tiny.y)

    def loss(images: Any) -> float:
        logits = model.student(images, training=False)
        return float(np.mean(ops.convert_to_numpy(losses.cross_entropy(y, logits))))

    assert loss(x_adv) < loss(x)
    assert set(logs) == {"loss", "margin", "robust_accuracy"}


def test_default_evaluation_attack_has_the_norm_of_the_attack(
    tiny: SimpleNamespace,
) -> None:
    model = Natural(tiny.compiled("natural").student, attack=PGD(0.5, norm="l2"))
    attack = model.evaluation_attack
    assert (attack.epsilon, attack.norm) == (0.5, "l2")
    assert attack.steps * attack.step_size > 2 * attack.epsilon
    x_adv = attack(model.student, tiny.x, tiny.y)
    lengths = np.linalg.norm((x_adv - tiny.x).reshape(len(tiny.x), -1), axis=1)
    assert 0.4 < lengths.max() < 0.5 + 1e-5


def test_default_evaluation_attack_has_the_epsilon_of_the_attack(
    tiny: SimpleNamespace,
) -> None:
    model = Natural(tiny.network(), attack=PGD(epsilon=0.25))

    assert model.evaluation_attack.epsilon == 0.25
    assert model.evaluation_attack.steps == 20
