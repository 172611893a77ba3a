"""`AdversarialModel`: the base class of all methods, with their training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import PGD, Attack, pgd_trades
from kmtard.backend.types import Array, Network, Tensor, Variable
from kmtard.callbacks.input_guard import mark
from kmtard.methods.addition import Addition, check_additions
from kmtard.methods.batch import (
    Batch,
    Logits,
    integer_labels,
    sample_weights,
    wrong_images,
    wrong_labels,
)
from kmtard.methods.checked import CheckedModel
from kmtard.methods.checks import (
    check_networks,
    has_own_losses,
    num_classes,
)
from kmtard.methods.saving import deserialized, hidden
from kmtard.methods.scores import Scores
from kmtard.methods.state import add_state, sum_by_class
from kmtard.registry.ranges import Seed, TrainingSteps, checked

OWN_LOSSES = "regularization_loss"
"""Name of the trained networks' own losses in the logs."""


class AdversarialModel(CheckedModel):
    """A Keras model that trains a student on clean and adversarial images.

    A training step attacks the batch, then runs Keras's own `train_step` on the clean
    and the adversarial images. `test_step` attacks with `evaluation_attack` and returns
    `clean_accuracy`, `robust_accuracy` and their mean, `w_robust_accuracy`. The result
    of training is the attribute `student`.

    The student's own losses, from regularizers or `add_loss`, are added to the loss as
    in any Keras model. The logs show their average as `regularization_loss`. The attack
    does not use them. Each training pass adds its own activity losses.

    A method is a subclass with an `outer_loss`. If its attack does not maximize the
    cross-entropy, it also has an `inner_loss`. `target` computes once what both need
    from the clean images. Class attributes describe the method further:

    * `passes`: the student's forward passes in training mode, in order. They update
      BatchNorm's moving averages in this order.
    * `start`: the start of the attack, a name in `kmtard.attacks.gradient.STARTS`,
      unless `attack` has its own start.
    * `trained_roles`: the roles of the networks that are trained, usually only the
      student. All others are frozen, and are not saved in weight files or checkpoints.
    * `tracked`: names of further averages for the logs; `self.track` adds values.
    * `class_state`: name -> initial value of variables with one number per class.
    * `class_sums`: names of sums per class over an epoch. `self.sum_up` adds values,
      and a callback computes `class_state` from them (`callbacks.ClassCallback`).

    Args:
        student: any Keras model from images in [0, 1] to logits.
        attack: the attack in training; None for `PGD()`.
        evaluation_attack: the attack in evaluations; None for `pgd_trades` with the
            epsilon and the norm of `attack`.
        attack_bn: mode of BatchNorm during the attack in training. "eval" uses the
            moving averages. "train" uses batch statistics, and each pass of the attack
            updates the moving averages, as in the code of SAT and ARD.
        attack_warmup: training steps in which the attack's radius and step size grow
            linearly from 0 to their full values. A trained student loses less of what
            it knows. 0 attacks with the full radius from the first step on.
        additions: additions to the method, such as a further loss term; see
            `kmtard.methods.addition.Addition`.
        seed: seed of the attacks' random starts.
        name: name of the model.

    Raises:
        ValueError: an argument is invalid; see the message.
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
        attack_warmup: TrainingSteps = 0,
        additions: Iterable[Addition] = (),
        seed: Seed = 0,
        name: str | None = None,
    ) -> None:
        # The images must not be cast by a mixed policy; each network casts its inputs.
        super().__init__(name=name, dtype=keras.config.floatx())
        check_networks({"student": student})
        self.student = student
        self.attack = (attack or PGD()).starting(self.start)
        self.evaluation_attack = evaluation_attack or _validation_attack(self.attack)
        self.attack_bn = attack_bn
        self.attack_warmup = int(attack_warmup)
        self.seed = seed
        self.attack_seed = keras.random.SeedGenerator(seed)
        self.steps_taken = self.add_state("steps_taken", 0, dtype="int32")
        self.invalid_inputs = self.add_state("invalid_inputs", 0.0, dtype="float32")
        self.scores = Scores()
        self.score_metrics = self.scores.metrics
        self.trackers = {name: keras.metrics.Mean(name) for name in self.tracked}
        self.compose(additions)

    def compose(self, additions: Iterable[Addition]) -> None:
        """Attach the additions to the method.

        The constructors of `AdversarialModel` and `Distiller` call this when all
        networks are attributes.

        Raises:
            ValueError: an addition does not fit the method.
        """
        additions = tuple(additions)
        check_additions(additions, tuple(self.networks), type(self).__name__)
        self.additions = additions
        for name in (name for addition in additions for name in addition.tracked):
            if name in self.trackers:
                raise ValueError(
                    f"Two averages in the logs are named {name!r}. "
                    f"Received: {additions} for {type(self).__name__}."
                )
            self.trackers[name] = keras.metrics.Mean(name)
        self._make_variables()

    def _make_variables(self, input_shape: Any = None) -> None:
        """Create the variables that depend on the networks, when these are built."""
        # None until the student is built; every step builds it first.
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
            # Only if needed: checkpoints store averages by position, and earlier
            # checkpoints do not have this one.
            own = any(map(has_own_losses, self.trained_networks.values()))
            if own and OWN_LOSSES not in self.trackers:
                self.trackers[OWN_LOSSES] = keras.metrics.Mean(OWN_LOSSES)
            for addition in self.additions:
                if not addition.built:
                    addition.bind(self)
                    addition.built = True

    def add_state(
        self, name: str, value: Array, *, dtype: str | None = None
    ) -> Variable:
        """Add a variable that no optimizer updates; see `state.add_state`."""
        return add_state(self, name, value, dtype=dtype)

    def sum_up(self, name: str, values: Tensor, y: Tensor) -> None:
        """Add (batch,) values to the sums of the classes in `y`; see `class_sums`."""
        sum_by_class(getattr(self, name), values, y)

    def target(self, x: Tensor) -> Tensor | None:
        """Return what attack and loss both need from the clean images.

        For example, this is a teacher's logits. It is computed once per step and passed
        on as `batch.target`. None by default.

        Args:
            x: (batch, height, width, channels), the clean images in [0, 1].
        """
        del x
        return None

    def observe(self, images: Tensor, training: bool) -> Tensor:
        """Return the input of the attack's objective, by default the student's logits.

        Args:
            images: the current iterate of the attack.
            training: whether BatchNorm uses batch statistics; see `attack_bn`.
        """
        return self.student(images, training=training)

    def inner_loss(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Return the function that the attack maximizes; the cross-entropy by default.

        Args:
            batch: the batch before the attack, with `x_nat` as `x_adv`. Compute here
                what is constant during the attack.

        Returns:
            A function from the result of `observe`, by default logits (batch, classes),
            to (batch,) values.
        """
        return lambda logits: losses.cross_entropy(batch.y, logits)

    def outer_loss(self, batch: Batch, logits: Logits) -> Tensor:
        """Return the (batch,) loss that the trained networks minimize.

        Args:
            batch: the batch, with its adversarial images.
            logits: the student's logits in each pass.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `outer_loss`.")

    def track(self, name: str, value: Tensor) -> None:
        """Add (batch,) values to an average in the logs; see `tracked`."""
        self.trackers[name].update_state(ops.stop_gradient(value))

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that control the method's state as in its paper.

        This base class returns those of the additions. A subclass adds its own.
        """
        return [
            callback
            for addition in self.additions
            for callback in addition.default_callbacks()
        ]

    def learning_rate_drops(self, milestones_passed: int) -> int:
        """Return the number of learning rate drops after a number of milestones."""
        return milestones_passed

    def build(self, input_shape: Any) -> None:
        """Build the networks that are not built yet, and check that they match."""
        if isinstance(input_shape[0], (tuple, list)):
            input_shape = input_shape[0]
        images = keras.KerasTensor((None, *input_shape[1:]), keras.config.floatx())
        for network in self.networks.values():
            if not network.built:
                # Called, because a subclassed model may not define `build`.
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
        """Role -> network that training does not change."""
        return self._networks_that(train=False)

    def _networks_that(self, train: bool) -> Mapping[str, Network]:
        # Keras would save the networks in a dict a second time; it skips a proxy.
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
            inputs: images; in a step (clean images, adversarial images, target).
            training: whether to use batch statistics and run all `passes`.

        Returns:
            Logits (batch, classes); in a step "nat" or "adv" -> logits of each pass.
        """
        if not isinstance(inputs, (tuple, list)):
            return self.student(inputs, training=training)
        logits: dict[str, tuple] = {}
        for kind in self.passes if training else ("nat", "adv"):
            new = self.student(inputs[kind == "adv"], training=training)
            # Without training, all passes of the same images are equal.
            repeats = 1 if training else max(1, self.passes.count(kind))
            logits[kind] = (*logits.get(kind, ()), *(new,) * repeats)
        return logits

    def attacked(self, data: tuple, training: bool) -> tuple:
        """Return `((x, x_adv, target), y, sample_weight)` for a batch of `fit`.

        The inputs have no `target` if the method has none.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`.
            training: whether this is a training step.
        """
        x, given, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:
            # On TensorFlow, Keras builds the model in its own step, which runs later.
            self.build(tuple(x.shape))
        wrong = wrong_images(x), wrong_labels(given, self.num_classes)
        self.invalid_inputs.assign(mark(self.invalid_inputs.value, *wrong))
        x = ops.cast(x, keras.config.floatx())
        y = integer_labels(given, self.num_classes)
        sample_weight = sample_weights(sample_weight)
        # The block ends before additions change weights.
        with backend.keep_derived():
            target = self.target(x)
            x_adv = self._adversarial(Batch(x, x, y, sample_weight, training, target))
        if training:
            batch = Batch(x, x_adv, y, sample_weight, training, target)
            for addition in self.additions:
                addition.before_gradient(self, batch)
        # Compiled metrics need the labels in the form that the user passed.
        return (x, x_adv, *([] if target is None else [target])), given, sample_weight

    def after_update(self) -> None:
        """Let the additions undo `before_gradient`."""
        for addition in reversed(self.additions):
            addition.after_update(self)

    def _adversarial(self, batch: Batch) -> Tensor:
        x, y = batch.x_nat, batch.y
        if batch.training:
            return self._training_attack(batch) if "adv" in self.passes else x
        return self.evaluation_attack.perturb(
            lambda images: self.student(images, training=False),
            x,
            losses.amplified(
                lambda logits: losses.cross_entropy(y, logits), self.student
            ),
            seed=self.seed,
        )

    def _training_attack(self, batch: Batch) -> Tensor:
        updating = self.attack_bn == "train"
        assigning = updating or self.attack_state
        # BatchNorm is folded here as in the attack. Otherwise the same image would have
        # other logits, and the first gradient would be rounding noise instead of 0.
        with backend.without_gradients_of_weights():
            objective = self.inner_loss(batch)
        # With batch statistics, each loss depends on all images: the gradients of
        # single images must not be scaled.
        if not updating:
            objective = losses.amplified(objective, self.student, self.attack_state)
        attack = self.attack
        if self.attack_warmup:
            share = (ops.cast(self.steps_taken, "float32") + 1) / self.attack_warmup
            attack = attack.scaled(ops.cast(ops.minimum(share, 1), batch.x_nat.dtype))
        return attack.perturb(
            lambda images: self.observe(images, training=updating),
            batch.x_nat,
            objective,
            seed=self.attack_seed,
            state=self.student.variables + self.attack_state if assigning else (),
        )

    @property
    def attack_state(self) -> list[Variable]:
        """Further variables that the attack reads, if it assigns any of them."""
        return []

    def compute_loss(
        self,
        x: tuple[Tensor, ...],
        y: Tensor,
        y_pred: dict[str, tuple[Tensor, ...]],
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Return the mean of the outer loss and the additions, plus the own losses.

        Keras's steps call this method.

        Raises:
            ValueError: a loss does not have the shape (batch,).
        """
        # Before anything else: the next call of a network clears its losses.
        own = [ops.sum(each) for each in self.losses]
        target = x[2] if len(x) > 2 else None
        if y is not None:
            y = integer_labels(y, self.num_classes)
        batch = Batch(x[0], x[1], y, sample_weight, training, target)
        logits = Logits(**y_pred)
        loss = self.outer_loss(batch, logits)
        for addition in self.additions:
            loss = ops.add(loss, addition.loss(self, batch, logits))
        if len(loss.shape) > 1:
            raise ValueError(
                f"The losses of {type(self).__name__} and its additions must be one "
                f"value per image, (batch,). Received: shape {tuple(loss.shape)}."
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
        """Update the accuracies, and the compiled metrics on the clean logits."""
        if not isinstance(y_pred, dict):
            return super().compute_metrics(x, y, y_pred, sample_weight)
        labels = integer_labels(y, self.num_classes)
        self.scores.update(y_pred, labels, sample_weight)
        shown = (y_pred.get("nat") or y_pred["adv"])[-1]
        results = super().compute_metrics(x, y, shown, sample_weight)
        # Keras's method has computed those of `self.passes`; once is enough.
        return results if set(y_pred) == set(self.passes) else self._results(y_pred)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the averages in the logs by name."""
        return self._results(self.passes)

    def _results(self, kinds: Iterable[str]) -> dict[str, Any]:
        results = super().get_metrics_result()
        for metric in self.score_metrics.values():
            del results[metric.name]
        return results | self.scores.results(kinds)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configure training as `keras.Model.compile` does, without a loss.

        Raises:
            ValueError: a loss is given, although the method has its own; or there are
                several TensorFlow replicas, for which the loss would be wrong.
        """
        if kwargs.get("loss") is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                f"{type(self).__name__} defines its own loss. Received: {kwargs!r}. "
                "Remove `loss` and `loss_weights`."
            )
        if backend.replicas() > 1:
            raise ValueError(
                "Several TensorFlow replicas are not supported, because each of them "
                f"would average the loss separately. Received: {backend.replicas()} "
                "replicas. Use one device, or keras.distribution.DataParallel on JAX."
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
        """Compile the model with a saved configuration."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Save the trained networks, the optimizer and the state, as Keras does."""
        with hidden(self, self.frozen_networks):
            super().save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Load a file of `save_weights`; frozen networks do not change."""
        with hidden(self, self.frozen_networks):
            super().load_weights(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal model, including the networks."""
        parts = {
            **self.networks,
            "attack": self.attack,
            "evaluation_attack": self.evaluation_attack,
        }
        return {
            **{key: keras.saving.serialize_keras_object(p) for key, p in parts.items()},
            "attack_bn": self.attack_bn,
            "attack_warmup": self.attack_warmup,
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
        """Return the model whose `get_config` returned `config`."""
        return cls(**deserialized(config, custom_objects))


def _validation_attack(attack: Attack) -> Attack:
    """Return `pgd_trades` with the epsilon and the norm of the training attack."""
    epsilon, norm = attack.epsilon, getattr(attack, "norm", "linf")
    if norm == "linf":
        return pgd_trades(epsilon=epsilon)
    # The papers have no step size for L2; with this one, 8 steps reach the border.
    return pgd_trades(epsilon=epsilon, step_size=epsilon / 8, norm=norm)
