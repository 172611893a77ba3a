"""`AdversarialModel`: the training step that all methods share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import PGD, Attack, pgd_trades
from kmtard.backend.types import Array, Network, Tensor, Variable
from kmtard.callbacks.input_guard import InputGuard, mark
from kmtard.methods.addition import Addition, check_additions
from kmtard.methods.batch import (
    Batch,
    Logits,
    integer_labels,
    sample_weights,
    wrong_images,
    wrong_labels,
)
from kmtard.methods.checks import (
    check_data,
    check_networks,
    check_trainable,
    has_own_losses,
    num_classes,
)
from kmtard.methods.saving import deserialized, hidden
from kmtard.methods.scores import Scores, set_directions
from kmtard.methods.state import add_state, sum_by_class
from kmtard.registry.ranges import Seed, checked

OWN_LOSSES = "regularization_loss"
"""The losses that trained networks bring themselves, in the logs."""


class AdversarialModel(backend.AttackingModel):
    """A student, an attack on it, and the Keras `fit` that trains on both.

    A step attacks the batch, then Keras' own `train_step` runs on clean and
    adversarial images; `test_step` attacks with `evaluation_attack` and reports
    `clean_accuracy`, `robust_accuracy` and `w_robust_accuracy`, half of each.
    What is delivered after training is `student`.

    Losses that the student brings itself, from regularizers or `add_loss`, are added
    as in any Keras model, and averaged in the logs as `regularization_loss`. The attack
    does not see them. Each training pass adds its own activity losses.

    A method is a subclass with an `outer_loss`, and where the attack does not
    maximise the cross-entropy also an `inner_loss`. What both need of the clean images
    is computed once, in `target`. Class attributes say the rest:

    * `passes`: the student's training-mode forward passes, in order; BatchNorm's
      moving averages see them in this order.
    * `start`: where the attack starts, a name of `kmtard.attacks.gradient.STARTS`,
      unless `attack` has a start of its own.
    * `trained_roles`: the networks that learn, mostly the student alone. All others
      are frozen and never written into weights files or resume points.
    * `tracked`: names of further averages for the logs, filled by `self.track`.
    * `class_state`: name -> start value of variables with a number for each class.
    * `class_sums`: names of sums over an epoch, for each class, that `self.sum_up`
      fills and that a callback turns into `class_state` (`callbacks.ClassCallback`).

    Args:
        student: any Keras model from images in [0, 1] to logits.
        attack: makes the adversarial images of training; `PGD()` when None.
        evaluation_attack: that of `test_step`; `pgd_trades` with the epsilon and the
            norm of `attack` when None.
        attack_bn: BatchNorm while attacking in training. "eval": moving averages,
            nothing updated. "train": batch statistics, and the averages are updated at
            each of the attack's passes, as the code of SAT and ARD does.
        additions: what is added to the method, such as a further loss term; see
            `kmtard.methods.addition.Addition`.
        seed: of the attacks' random starts.
        name: of the model.

    Raises:
        ValueError: an argument does not fit; see the message.
    """

    passes: tuple[str, ...] = ("adv", "nat")
    start: ClassVar[str] = "gaussian"
    trained_roles: ClassVar[tuple[str, ...]] = ("student",)
    tracked: ClassVar[tuple[str, ...]] = ()
    class_state: ClassVar[dict[str, float]] = {}
    class_sums: ClassVar[tuple[str, ...]] = ()

    @checked
    def __init__(
        self,
        student: Network,
        *,
        attack: Attack | None = None,
        evaluation_attack: Attack | None = None,
        attack_bn: Literal["eval", "train"] = "eval",
        additions: Iterable[Addition] = (),
        seed: Seed = 0,
        name: str | None = None,
    ) -> None:
        # Images stay exact whatever the policy; the networks cast for themselves.
        super().__init__(name=name, dtype=keras.config.floatx())
        check_networks({"student": student})
        self.student = student
        self.attack = (attack or PGD()).starting(self.start)
        self.evaluation_attack = evaluation_attack or _validation_attack(self.attack)
        self.attack_bn = attack_bn
        self.seed = seed
        self.attack_seed = keras.random.SeedGenerator(seed)
        self.steps_taken = self.add_state("steps_taken", 0, dtype="int32")
        self.invalid_inputs = self.add_state("invalid_inputs", 0.0)
        self.scores = Scores()
        self.score_metrics = self.scores.metrics
        self.trackers = {name: keras.metrics.Mean(name) for name in self.tracked}
        self.compose(additions)

    def compose(self, additions: Iterable[Addition]) -> None:
        """Take the additions, once all networks are attributes.

        Constructors call it: `AdversarialModel`'s, and `Distiller`'s after it.
        """
        additions = tuple(additions)
        check_additions(additions, tuple(self.networks), type(self).__name__)
        self.additions = additions
        for name in (name for addition in additions for name in addition.tracked):
            if name in self.trackers:
                raise ValueError(
                    f"Two averages of the logs are named {name!r}. "
                    f"Received: {additions} for {type(self).__name__}"
                )
            self.trackers[name] = keras.metrics.Mean(name)
        self._make_variables()

    def _make_variables(self, input_shape: Any = None) -> None:
        """Make the variables that depend on the networks, once these are built."""
        # None until the student is built, which every step is sure of.
        self.num_classes: Any = num_classes(self.student, input_shape)
        built = all(network.built for network in self.networks.values())
        self.built = built and self.num_classes is not None
        if self.num_classes is not None:
            starts = {**self.class_state, **dict.fromkeys(self.class_sums, 0.0)}
            for name, start in starts.items():
                if not hasattr(self, name):
                    values = np.full(self.num_classes, start)
                    setattr(self, name, self.add_state(name, values))
        if self.built:
            # Only where it is needed: resume points hold averages by their position.
            own = any(map(has_own_losses, self.trained_networks.values()))
            if own and OWN_LOSSES not in self.trackers:
                self.trackers[OWN_LOSSES] = keras.metrics.Mean(OWN_LOSSES)
            for addition in self.additions:
                if not addition.built:
                    addition.bind(self)
                    addition.built = True

    def add_state(self, name: str, value: Array, *, dtype: str = "float32") -> Variable:
        """Add a variable that no optimizer moves; see `state.add_state`."""
        return add_state(self, name, value, dtype=dtype)

    def sum_up(self, name: str, values: Tensor, y: Tensor) -> None:
        """Add (batch,) values to the epoch's sums of the classes that `y` names."""
        sum_by_class(getattr(self, name), values, y)

    def target(self, x: Tensor) -> Tensor | None:
        """Return what attack and loss both need of the clean images; None if nothing.

        A teacher's logits, say: computed once a step and handed over as `batch.target`.
        """
        del x
        return None

    def observe(self, images: Tensor, training: bool) -> Tensor:
        """Return what the attack's objective is a function of: the student's logits."""
        return self.student(images, training=training)

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return what the attack maximises, a function of the attacked logits.

        Args:
            batch: before the attack: its `x_adv` is `x_nat`. Compute here what stays
                constant during the attack.

        Returns:
            logits (batch, classes) -> (batch,) values. Cross-entropy unless overridden.
        """
        return lambda logits: losses.cross_entropy(batch.y, logits)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the (batch,) loss that the trained networks minimise."""
        raise NotImplementedError(f"{type(self).__name__} must define `outer_loss`.")

    def track(self, name: str, value: Tensor) -> None:
        """Add (batch,) values to the average that the logs show as `name`."""
        self.trackers[name].update_state(ops.stop_gradient(value))

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that drive the method's state as its paper does.

        Here those of the additions; a subclass adds its own to `super()`'s.
        """
        return [
            callback
            for addition in self.additions
            for callback in addition.default_callbacks()
        ]

    def learning_rate_drops(self, milestones_passed: int) -> int:
        """Return how often the learning rate has fallen after so many milestones."""
        return milestones_passed

    def build(self, input_shape: Any) -> None:
        """Build every network that is not built yet, and check them together."""
        if isinstance(input_shape[0], (tuple, list)):
            input_shape = input_shape[0]
        images = keras.KerasTensor((None, *input_shape[1:]), keras.config.floatx())
        for network in self.networks.values():
            if not network.built:
                # A subclassed model need not have a `build` of its own.
                network(images, training=False)
        check_networks(self.networks, input_shape)
        self._make_variables(input_shape)

    @property
    def networks(self) -> dict[str, Network]:
        """Role -> network, the student first."""
        return {"student": self.student}

    @property
    def trained_networks(self) -> Mapping[str, Network]:
        """Role -> network that training changes, the student first."""
        return self._networks_that(train=True)

    @property
    def frozen_networks(self) -> Mapping[str, Network]:
        """Role -> network that training leaves as it is."""
        return self._networks_that(train=False)

    def _networks_that(self, train: bool) -> Mapping[str, Network]:
        # Keras would save each dict among the attributes once more; it skips a proxy.
        return MappingProxyType(
            {
                role: network
                for role, network in self.networks.items()
                if (role in self.trained_roles) == train
            }
        )

    def call(self, inputs: Tensor, training: bool = False) -> Any:
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
        x, given, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:
            # On TensorFlow, Keras builds only in its own step, which comes later.
            self.build(tuple(x.shape))
        wrong = wrong_images(x), wrong_labels(given, self.num_classes)
        self.invalid_inputs.assign(mark(self.invalid_inputs.value, *wrong))
        x = ops.cast(x, keras.config.floatx())
        y = integer_labels(given, self.num_classes)
        sample_weight = sample_weights(sample_weight)
        target = self.target(x)
        if training:
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
        if training:
            batch = Batch(x, x_adv, y, sample_weight, training, target)
            for addition in self.additions:
                addition.before_gradient(self, batch)
        # Compiled metrics get the labels as they came.
        return (x, x_adv, *([] if target is None else [target])), given, sample_weight

    def after_update(self) -> None:
        """Let the additions undo what they did before the gradient was taken."""
        for addition in reversed(self.additions):
            addition.after_update(self)

    def _training_attack(self, batch: Batch) -> Tensor:
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
    def attack_state(self) -> list[Variable]:
        """Variables beside the student's that the attack uses, if it assigns any."""
        return []

    def compute_loss(
        self,
        x: tuple[Tensor, ...],
        y: Tensor,
        y_pred: dict[str, tuple[Tensor, ...]],
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Average the outer loss and the additions', and add the networks' own losses.

        Called by Keras' steps.

        Raises:
            ValueError: the losses are not one value per image.
        """
        # First of all: the next call of a network would clear its losses.
        own = [ops.sum(each) for each in self.losses]
        target = x[2] if len(x) > 2 else None
        if y is not None:
            y = integer_labels(y, self.num_classes)
        batch = Batch(x[0], x[1], y, sample_weight, training, target)
        logits = Logits(**y_pred)
        loss = self.outer_loss(batch, logits)
        for addition in self.additions:
            loss = loss + addition.loss(self, batch, logits)
        if len(loss.shape) > 1:
            raise ValueError(
                f"The losses of {type(self).__name__} and its additions must be one "
                f"value per image, (batch,). Received: shape {tuple(loss.shape)}"
            )
        if training:
            self.steps_taken.assign_add(1)
        total = batch.mean(loss)
        if own:
            regularization = sum(ops.cast(each, total.dtype) for each in own)
            if OWN_LOSSES in self.trackers:
                self.track(OWN_LOSSES, regularization)
            total = total + regularization
        return total

    def compute_metrics(
        self, x: Any, y: Tensor, y_pred: Any, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        """Update accuracies, and what `compile(metrics=...)` named on clean logits."""
        if not isinstance(y_pred, dict):
            return super().compute_metrics(x, y, y_pred, sample_weight)
        labels = integer_labels(y, self.num_classes)
        self.scores.update(y_pred, labels, sample_weight)
        shown = (y_pred.get("nat") or y_pred["adv"])[-1]
        super().compute_metrics(x, y, shown, sample_weight)
        return self._results(y_pred)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the averages of training by name."""
        return self._results(self.passes)

    def _results(self, kinds: Iterable[str]) -> dict[str, Any]:
        results = super().get_metrics_result()
        for metric in self.score_metrics.values():
            del results[metric.name]
        return results | self.scores.results(kinds)

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kw: Any
    ) -> Any:
        """Train; as `keras.Model.fit`, after a check of the data.

        Arrays are checked before the first step, all other data in the steps: the
        epoch then ends with an error that names the first wrong batch.

        Raises:
            ValueError: images are not finite floats in [0, 1]; labels are neither
                integers of the student's classes nor one-hot; or a network that is to
                be trained is frozen.
        """
        given = _bound(super().fit, x, y, *args, callbacks=callbacks, **kw)
        check_trainable(self.trained_networks)
        for images, labels in (
            (x, y),
            (given.arguments.get("validation_data"), None),
        ):
            check_data(images, labels, self.num_classes)
        guarded = _guarded(given.arguments["callbacks"])
        set_directions(guarded, self.trackers)
        given.arguments["callbacks"] = guarded
        return super().fit(*given.args, **given.kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kw: Any
    ) -> Any:
        """Evaluate; as `keras.Model.evaluate`, with the checks of `fit`.

        Raises:
            ValueError: images or labels are wrong; see `fit`.
        """
        given = _bound(super().evaluate, x, y, *args, callbacks=callbacks, **kw)
        callbacks = given.arguments["callbacks"]
        # Within `fit`, Keras hands over the callbacks that `fit` has guarded.
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            check_data(x, y, self.num_classes)
        given.arguments["callbacks"] = _guarded(callbacks)
        return super().evaluate(*given.args, **given.kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kw: Any) -> Any:
        """Train on one batch as `keras.Model` does, after the checks of `fit`.

        Raises:
            ValueError: images or labels are wrong, or a network is frozen; see `fit`.
        """
        check_trainable(self.trained_networks)
        check_data(x, y, self.num_classes)
        logs = super().train_on_batch(x, y, *args, **kw)
        self.invalid_inputs.assign(0.0)
        return logs

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kw: Any) -> Any:
        """Evaluate one batch as `keras.Model` does, after the checks of `fit`.

        Raises:
            ValueError: images or labels are wrong; see `fit`.
        """
        check_data(x, y, self.num_classes)
        logs = super().test_on_batch(x, y, *args, **kw)
        self.invalid_inputs.assign(0.0)
        return logs

    def compile(
        self,
        optimizer: Any = "rmsprop",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configure training; as `keras.Model.compile`, without a loss.

        Raises:
            ValueError: a `loss` is given (the method has its own), or the model is to
                be spread over several TensorFlow replicas, which would train wrongly.
        """
        if kwargs.get("loss") is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                f"{type(self).__name__} defines its own loss. Received: {kwargs}"
            )
        if backend.replicas() > 1:
            raise ValueError(
                "Several TensorFlow replicas would train wrongly: the loss is averaged "
                f"in each. Received: {backend.replicas()} replicas. Use one device, or "
                "keras.distribution.DataParallel on JAX."
            )
        if jit_compile == "auto" and not run_eagerly:
            jit_compile = backend.JIT_COMPILE
        optimizer = keras.optimizers.get(optimizer)
        scaling = keras.optimizers.LossScaleOptimizer
        half = any(map(losses.has_float16, self.trained_networks.values()))
        if half and not isinstance(optimizer, scaling):
            optimizer = scaling(optimizer)
        super().compile(
            optimizer, run_eagerly=run_eagerly, jit_compile=jit_compile, **kwargs
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Save all but the frozen networks: what learns, optimizer, state."""
        with hidden(self, self.frozen_networks):
            super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Load what `save_weights` saved; frozen networks stay as they are."""
        with hidden(self, self.frozen_networks):
            super().load_weights(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal model, networks included."""
        parts = {
            **self.networks,
            "attack": self.attack,
            "evaluation_attack": self.evaluation_attack,
        }
        return {
            **{key: keras.saving.serialize_keras_object(p) for key, p in parts.items()},
            "attack_bn": self.attack_bn,
            "additions": [
                keras.saving.serialize_keras_object(each) for each in self.additions
            ],
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> AdversarialModel:
        """Make the model that `get_config` described."""
        return cls(**deserialized(config, custom_objects))


def _bound(
    function: Callable[..., Any], *args: Any, callbacks: Any, **kw: Any
) -> inspect.BoundArguments:
    """Return arguments by their names; `callbacks` may stand among the positional.

    Raises:
        TypeError: `function` does not take them.
    """
    signature = inspect.signature(function)
    if callbacks is not None:
        kw["callbacks"] = callbacks
    given = signature.bind(*args, **kw)
    given.arguments.setdefault("callbacks", None)
    return given


def _guarded(callbacks: Any) -> Any:
    """Return callbacks with an `InputGuard` in front of them."""
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        return [InputGuard(), *keras.tree.flatten(callbacks or [])]
    if not any(isinstance(each, InputGuard) for each in callbacks.callbacks):
        guard = InputGuard()
        guard.set_model(callbacks.model)
        guard.set_params(callbacks.params)
        callbacks.callbacks.insert(0, guard)
    return callbacks


def _validation_attack(attack: Attack) -> Attack:
    """Return `pgd_trades` in the ball of the attack that a method trains with."""
    epsilon, norm = attack.epsilon, getattr(attack, "norm", "linf")
    if norm == "linf":
        return pgd_trades(epsilon=epsilon)
    # An L2 ball has no step size of the papers: this reaches the border in 8 steps.
    return pgd_trades(epsilon=epsilon, step_size=epsilon / 8, norm=norm)
