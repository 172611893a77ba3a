"""`AdversarialModel`: the training step that all methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import PGD, Attack, pgd_trades
from kmtard.callbacks.input_guard import InputGuard
from kmtard.methods.batch import Batch, Logits, integer_labels
from kmtard.methods.checks import check_data, check_networks
from kmtard.methods.lifecycle import Lifecycle
from kmtard.methods.scores import Scores
from kmtard.methods.variables import Variables


class AdversarialModel(Variables, Lifecycle, backend.AttackingModel):
    """A student, an attack on it, and the Keras `fit` that trains on both.

    A step attacks the batch, then Keras' own `train_step` runs on clean and
    adversarial images; `test_step` attacks with `evaluation_attack` and reports
    `clean_accuracy`, `robust_accuracy` and `w_robust_accuracy`, half of each.
    What is delivered after training is `student`.

    A method is a subclass with an `outer_loss`, and where the attack does not
    maximise the cross-entropy also an `inner_loss`. What both need of the clean images
    is computed once, in `target`. Class attributes say the rest:

    * `passes`: the student's training-mode forward passes, in order; BatchNorm's
      moving averages see them in this order.
    * `start`: where the attack starts, a name of `kmtard.attacks.gradient.STARTS`,
      unless `attack` has a start of its own.
    * `tracked`: names of further averages for the logs, filled by `self.track`.
    * `class_state`: name -> start value of variables with a number for each class.
    * `class_sums`: names of sums over an epoch, for each class, that `self.sum_up`
      fills and that a callback turns into `class_state` (`callbacks.ClassCallback`).

    Args:
        student: any Keras model from images in [0, 1] to logits.
        attack: makes the adversarial images of training; `PGD()` when None.
        evaluation_attack: that of `test_step`; `pgd_trades` with the epsilon of
            `attack` when None.
        attack_bn: BatchNorm while attacking in training. "eval": moving averages,
            nothing updated. "train": batch statistics, and the averages are updated at
            each of the attack's passes, as the code of SAT and ARD does.
        seed: of the attacks' random starts.
        name: of the model.

    Raises:
        ValueError: an argument does not fit; see the message.
    """

    passes: tuple[str, ...] = ("adv", "nat")
    start: ClassVar[str] = "gaussian"
    tracked: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        student: Any,
        *,
        attack: Attack | None = None,
        evaluation_attack: Attack | None = None,
        attack_bn: Literal["eval", "train"] = "eval",
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        if attack_bn not in ("eval", "train"):
            raise ValueError(
                f'`attack_bn` must be "eval" or "train". Received: {attack_bn!r}'
            )
        # Images stay exact whatever the policy; the networks cast for themselves.
        super().__init__(name=name, dtype=keras.config.floatx())
        check_networks({"student": student})
        self.student = student
        self.attack = (attack or PGD()).starting(self.start)
        self.evaluation_attack = evaluation_attack or pgd_trades(
            epsilon=self.attack.epsilon
        )
        self.attack_bn = attack_bn
        self.seed = seed
        self.attack_seed = keras.random.SeedGenerator(seed)
        self.steps_taken = self._state("steps_taken", 0, dtype="int32")
        self.invalid_inputs = self._state("invalid_inputs", 0.0)
        self.scores = Scores()
        self.score_metrics = self.scores.metrics
        self.trackers = {name: keras.metrics.Mean(name) for name in self.tracked}
        self.make_class_variables()
        self.built = student.built

    def target(self, x: Any) -> Any:
        """Return what attack and loss both need of the clean images; None if nothing.

        A teacher's logits, say: computed once a step and handed over as `batch.target`.
        """
        del x

    def observe(self, images: Any, training: bool) -> Any:
        """Return what the attack's objective is a function of: the student's logits."""
        return self.student(images, training=training)

    def inner_loss(self, batch: Batch) -> Callable[[Any], Any]:
        """Return what the attack maximises, a function of the attacked logits.

        Args:
            batch: before the attack: its `x_adv` is `x_nat`. Compute here what stays
                constant during the attack.

        Returns:
            logits (batch, classes) -> (batch,) values. Cross-entropy unless overridden.
        """
        return lambda logits: losses.cross_entropy(batch.y, logits)

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        """Return the (batch,) loss that the student minimises."""
        raise NotImplementedError(f"{type(self).__name__} must define `outer_loss`.")

    def track(self, name: str, value: Any) -> None:
        """Add (batch,) values to the average that the logs show as `name`."""
        self.trackers[name].update_state(ops.stop_gradient(value))

    def default_callbacks(self) -> list:
        """Return the callbacks that drive the method's state as its paper does."""
        return []

    def learning_rate_drops(self, milestones_passed: int) -> int:
        """Return how often the learning rate has fallen after so many milestones."""
        return milestones_passed

    def build(self, input_shape: Any) -> None:
        """Build every network that is not built yet, and check them together."""
        if isinstance(input_shape[0], (tuple, list)):
            input_shape = input_shape[0]
        for network in self.networks.values():
            if not network.built:
                network.build(input_shape)
        check_networks(self.networks)
        self.make_class_variables()
        self.built = True

    @property
    def networks(self) -> dict[str, Any]:
        """Role -> network, the student first."""
        return {"student": self.student}

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the student's logits.

        Args:
            inputs: images, or (clean, adversarial, target) of the steps.
            training: use batch statistics, and run all `passes`.
        """
        if not isinstance(inputs, (tuple, list)):
            return self.student(inputs, training=training)
        logits: dict[str, tuple] = {}
        for kind in self.passes if training else ("nat", "adv"):
            new = self.student(inputs[kind == "adv"], training=training)
            # Without training all passes of a kind are equal.
            repeats = 1 if training else max(1, self.passes.count(kind))
            logits[kind] = (*logits.get(kind, ()), *(new,) * repeats)
        return logits

    def attacked(self, data: tuple, training: bool) -> tuple:
        """Turn `(x, y[, sample_weight])` into `((x, x_adv, target), y, sample_weight)`.

        `target` is left out where the method has none.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x = ops.cast(x, keras.config.floatx())
        y = integer_labels(y)
        target = self.target(x)
        if training:
            # Comparisons with NaN are false, so that it counts as invalid.
            invalid = ops.logical_not(ops.logical_and(x >= 0, x <= 1))
            self.invalid_inputs.assign_add(ops.sum(ops.cast(invalid, "float32")))
            batch = Batch(x, x, y, sample_weight, training, target)
            x_adv = self._training_attack(batch) if "adv" in self.passes else x
        else:
            x_adv = self.evaluation_attack.perturb(
                lambda images: self.student(images, training=False),
                x,
                losses.amplified(
                    lambda logits: losses.cross_entropy(y, logits), self.student
                ),
                seed=self.seed,
            )
        return (x, x_adv, *([] if target is None else [target])), y, sample_weight

    def _training_attack(self, batch: Batch) -> Any:
        updating = self.attack_bn == "train"
        assigning = updating or self.attack_state
        objective = self.inner_loss(batch)
        # With batch statistics each loss depends on all images: none may be rescaled.
        if not updating:
            objective = losses.amplified(objective, self.student, self.attack_state)
        return self.attack.perturb(
            lambda images: self.observe(images, training=updating),
            batch.x_nat,
            objective,
            seed=self.attack_seed,
            state=self.student.variables + self.attack_state if assigning else (),
        )

    @property
    def attack_state(self) -> list:
        """Variables beside the student's that the attack uses, if it assigns any."""
        return []

    def compute_loss(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Average the method's outer loss; called by Keras' steps."""
        target = x[2] if len(x) > 2 else None
        batch = Batch(x[0], x[1], y, sample_weight, training, target)
        loss = batch.mean(self.outer_loss(batch, Logits(**y_pred)))
        if training:
            self.steps_taken.assign_add(1)
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict:
        """Update accuracies, and what `compile(metrics=...)` named on clean logits."""
        if not isinstance(y_pred, dict):
            return super().compute_metrics(x, y, y_pred, sample_weight)
        self.scores.update(y_pred, y, sample_weight)
        shown = (y_pred.get("nat") or y_pred["adv"])[-1]
        super().compute_metrics(x, y, shown, sample_weight)
        return self._results(y_pred)

    def get_metrics_result(self) -> dict:
        """Return the averages of training by name."""
        return self._results(self.passes)

    def _results(self, kinds: Iterable[str]) -> dict:
        results = super().get_metrics_result()
        for metric in self.score_metrics.values():
            del results[metric.name]
        return results | self.scores.results(kinds)

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kw: Any
    ) -> Any:
        """Train; as `keras.Model.fit`, after a check of the data.

        Raises:
            ValueError: images are not finite floats in [0, 1], or labels are neither
                integers of the student's classes nor one-hot.
        """
        classes = self.student.output_shape[-1] if self.student.built else None
        for images, labels in ((x, y), (kw.get("validation_data"), None)):
            check_data(images, labels, classes)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(InputGuard())
        else:
            callbacks = [InputGuard(), *keras.tree.flatten(callbacks or [])]
        return super().fit(x, y, *args, callbacks=callbacks, **kw)

    def get_config(self) -> dict:
        """Return the arguments that make an equal model, networks included."""
        parts = {
            **self.networks,
            "attack": self.attack,
            "evaluation_attack": self.evaluation_attack,
        }
        return {
            **{key: keras.saving.serialize_keras_object(p) for key, p in parts.items()},
            "attack_bn": self.attack_bn,
            "seed": self.seed,
            "name": self.name,
        }
