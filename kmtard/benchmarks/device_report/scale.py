"""The sizes of the measurements in a device report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PRECISIONS = ("mixed_bfloat16", "tf32", "float32")
"""Precisions of matrix products. The weights are float32 in all of them."""


@dataclass(frozen=True)
class Case:
    """A B-MTARD step to time.

    Attributes:
        student: name of the student's network.
        teacher: name of the network of both teachers.
        batch_size: images per step.
        precision: one of `PRECISIONS`.
        unroll: whether the attack's loop is unrolled for the compiler.
    """

    student: str
    teacher: str
    batch_size: int
    precision: str
    unroll: bool = False


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurements.

    Attributes:
        miniature: whether the report only checks that everything runs.
        cases: the steps, most important first. If time is short, the last ones are cut.
        rivals: the steps that are also run in plain PyTorch.
        shape: `(height, width, channels)` of an image.
        pgd_steps: steps of the attack.
        repeats: number of measurements; their median is reported.
        lasting: approximate duration of a measurement in seconds.
        matmul: rows of the square matrices that measure the peak speed.
        attacked: number of images for AutoAttack.
        golden: test files, relative to the folder of the tests.
    """

    miniature: bool
    cases: tuple[Case, ...]
    rivals: tuple[Case, ...]
    shape: tuple[int, int, int]
    pgd_steps: int
    repeats: int
    lasting: float
    matmul: int
    attacked: int
    golden: tuple[str, ...]


def _cases(network: str, batch_size: int) -> tuple[Case, ...]:
    return tuple(Case(network, network, batch_size, each) for each in PRECISIONS)


_RESNET = _cases("resnet18", 128)

FULL = Scale(
    miniature=False,
    cases=(
        *_RESNET,
        Case("resnet18", "resnet18", 128, "mixed_bfloat16", unroll=True),
        Case("resnet18", "resnet18", 512, "mixed_bfloat16"),
        Case("resnet18", "wide_resnet_34_10", 128, "mixed_bfloat16"),
        Case("resnet18", "resnet18", 128, "tf32", unroll=True),
        Case("resnet18", "resnet18", 128, "float32", unroll=True),
    ),
    rivals=_RESNET,
    shape=(32, 32, 3),
    pgd_steps=10,
    repeats=5,
    lasting=0.5,
    matmul=8192,
    attacked=128,
    golden=(
        "methods/test_golden_steps.py",
        "attacks/test_golden_attack_gradient.py",
        "attacks/test_golden_pgd.py",
        "methods/test_golden_losses.py",
        "methods/test_golden_traces.py",
        "attacks/test_golden_attack_units.py",
        "attacks/test_golden_attack_fab.py",
        "attacks/test_golden_attack_rays.py",
    ),
)
"""Sizes for a data-center GPU, where the report takes four minutes."""

MINIATURE = Scale(
    miniature=True,
    cases=(
        Case("small_cnn", "small_cnn", 4, "mixed_bfloat16"),
        Case("small_cnn", "small_cnn", 4, "float32", unroll=True),
    ),
    rivals=(Case("small_cnn", "small_cnn", 4, "float32"),),
    shape=(8, 8, 3),
    pgd_steps=2,
    repeats=1,
    lasting=0.01,
    matmul=64,
    attacked=2,
    golden=("attacks/test_golden_attack_units.py",),
)
"""Sizes for a CPU, where the report takes seconds."""


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Context manager: networks built inside it compute in one of `PRECISIONS`."""
    import keras

    from kmtard import backend

    policy = "float32" if precision == "tf32" else precision
    keras.mixed_precision.set_dtype_policy(policy)
    backend.allow_tf32(precision != "float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
        backend.allow_tf32(True)


def networks(scale: Scale, case: Case) -> list[Any]:
    """Return the student, the clean teacher and the robust teacher of a case."""
    from kmtard import registry
    from kmtard.benchmarks.workload import CLASSES

    names = (case.student, case.teacher, case.teacher)
    return [registry.resolve("networks", name)(CLASSES, scale.shape) for name in names]
