"""A method whose robust teacher learns, and two additions: examples for the tests."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import losses
from kmtard.methods.addition import Addition
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.distiller import Distiller


@keras.saving.register_keras_serializable(package="kmtard_tests")
class LearningTeacher(Distiller):
    """The robust teacher learns from labels, the student from the teacher."""

    trained_roles = ("student", "adv_teacher")

    def __init__(
        self, student: Any, nat_teacher: Any, adv_teacher: Any, **kwargs: Any
    ) -> None:
        teachers = {"nat_teacher": nat_teacher, "adv_teacher": adv_teacher}
        super().__init__(student, teachers, **kwargs)

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        robust = self.adv_teacher(batch.x_adv, training=batch.training)
        student = losses.kl_divergence(ops.stop_gradient(robust), logits.adv[-1])
        clean = losses.kl_divergence(
            self.taught("nat_teacher", batch.x_nat), logits.nat[-1]
        )
        return student + clean + losses.cross_entropy(batch.y, robust)


class Progress(keras.callbacks.Callback):
    """Pass the share of finished epochs to the first addition of the model."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        (addition, *_) = self.model.additions
        addition.progress.assign((epoch + 1) / self.params["epochs"])


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Mirror(Addition):
    """Differences of logits between x + d and x - d, those of the student as the
    teacher's, with a weight that grows over the epochs."""

    needs = ("adv_teacher",)
    tracked = ("mirror_loss",)

    def __init__(self, *, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha
        self.progress = self.add_state("progress", 1.0)

    def loss(self, model: Any, batch: Batch, logits: Logits) -> Any:
        mirrored = 2 * batch.x_nat - batch.x_adv
        target = model.taught("adv_teacher", batch.x_adv)
        target = target - model.taught("adv_teacher", mirrored)
        other = model.student(mirrored, training=batch.training)
        values = losses.kl_divergence(target, logits.adv[-1] - other)
        model.track("mirror_loss", values)
        return self.alpha * self.progress.value * values

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        return [Progress()]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Shift(Addition):
    """Takes the gradient where all trained weights are shifted by a constant."""

    def __init__(self, *, size: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def bind(self, model: Any) -> None:
        self.shifts = [
            self.add_state(f"shift_{index}", np.zeros(variable.shape))
            for index, variable in enumerate(model.trainable_variables)
        ]

    def before_gradient(self, model: Any, batch: Batch) -> None:
        for shift, variable in zip(self.shifts, model.trainable_variables, strict=True):
            shift.assign(self.size * ops.ones_like(variable.value))
            variable.assign(variable.value + shift.value)

    def after_update(self, model: Any) -> None:
        for shift, variable in zip(self.shifts, model.trainable_variables, strict=True):
            variable.assign(variable.value - shift.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
