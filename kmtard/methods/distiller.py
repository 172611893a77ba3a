"""The base class of methods with teachers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras import ops

from kmtard import losses
from kmtard.backend.types import Network, Tensor
from kmtard.methods.addition import Addition
from kmtard.methods.base import AdversarialModel
from kmtard.methods.checks import check_apart, check_networks


class Distiller(AdversarialModel):
    """Base class of methods whose student learns from teachers.

    Teachers are frozen, except those in the class attribute `trained_roles`. Such a
    teacher is unfrozen and learns from its terms in `outer_loss`. Use `taught` for the
    logits of a teacher in terms that must not train it.

    Args:
        student: any Keras model from images in [0, 1] to logits.
        teachers: role (`nat_teacher`, `adv_teacher`) -> network. Each becomes an
            attribute of this name.
        additions: see `AdversarialModel`.
        **kwargs: arguments of `AdversarialModel`.

    Raises:
        ValueError: a teacher is not a Keras model, has another number of classes, or
            shares weights with a network that is trained.
    """

    def __init__(
        self,
        student: Network,
        teachers: Mapping[str, Network],
        *,
        additions: Iterable[Addition] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        check_networks({"student": student, **teachers})
        self._check_learning(teachers)
        self.roles = tuple(teachers)
        for role, teacher in teachers.items():
            teacher.trainable = role in self.trained_roles
            setattr(self, role, teacher)
        self.compose(additions)

    def _check_learning(self, teachers: Mapping[str, Network]) -> None:
        for role in self.trained_roles:
            for other, teacher in teachers.items():
                if role in teachers and role != other:
                    check_apart({role: teachers[role], other: teacher})

    @property
    def networks(self) -> dict[str, Network]:
        """Role -> network, the student first."""
        roles = getattr(self, "roles", ())
        return super().networks | {role: getattr(self, role) for role in roles}

    def taught(self, role: str, images: Tensor) -> Tensor:
        """Return a teacher's (batch, classes) logits, without a gradient."""
        return ops.stop_gradient(getattr(self, role)(images, training=False))


def soft_label_loss(
    target_logits: Tensor,
    logits: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    class_scale: float | None = None,
    floor: float = losses.LOG_FLOOR,
) -> Tensor:
    """Return `class_scale / C * KL(softmax(target / temperature) || softmax(logits))`.

    C is the number of classes. This is the element mean in the code of RSLAD and its
    successors, times `class_scale`.

    Args:
        target_logits: (batch, classes), logits of the teacher.
        logits: (batch, classes), logits of the student.
        temperature: temperature of the teacher, > 0; a scalar or (batch, 1).
        class_scale: factor of the element mean, >= 0. None for C / 10, which gives the
            loss the same scale as on CIFAR-10 for any number of classes. The authors'
            code for CIFAR-100 also multiplies by 10.
        floor: constant inside the teacher's logarithm; see `losses.kl_divergence`.

    Returns:
        (batch,) values.
    """
    classes = logits.shape[-1]
    scale = classes / 10 if class_scale is None else class_scale
    divergence = losses.kl_divergence(
        target_logits, logits, target_temperature=temperature, floor=floor
    )
    return scale / classes * divergence
