"""How large the measurements of a device report are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PRECISIONS = ("mixed_bfloat16", "tf32", "float32")
"""float32 with the products of bfloat16, of TF32, and of float32 itself."""


@dataclass(frozen=True)
class Case:
    """A B-MTARD step to be timed.

    Attributes:
        student: name of a network.
        teacher: name of the network of both teachers.
        batch_size: images.
        precision: one of `PRECISIONS`.
        unroll: write the attack's steps out for the compiler, or loop.
    """

    student: str
    teacher: str
    batch_size: int
    precision: str
    unroll: bool = False


@dataclass(frozen=True)
class Scale:
    """Sizes of everything that is measured.

    Attributes:
        miniature: whether the figures only show that everything runs.
        cases: the steps, the most wanted first: what comes last is cut first.
        rivals: the steps that also run in plain PyTorch.
        shape: of an image.
        pgd_steps: of the attack.
        repeats: measurements, whose median counts.
        lasting: about how many seconds a measurement takes.
        matmul: rows of the square matrices whose product shows the peak.
        attacked: images that AutoAttack works on.
        golden: test files, by the folder of the tests.
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
"""What a data-center card does in four minutes."""

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
"""The same on a CPU, in seconds."""


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Let networks that are made inside compute in one of `PRECISIONS`."""
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
    """Return the student, the clean and the robust teacher of a case."""
    from kmtard import registry
    from kmtard.benchmarks.workload import CLASSES

    names = (case.student, case.teacher, case.teacher)
    return [registry.resolve("networks", name)(CLASSES, scale.shape) for name in names]
