"""Our count of operations."""

import pytest

from kmtard.benchmarks.flops import forward_flops, layer_flops, step_flops
from kmtard.networks.resnet import resnet18
from kmtard.networks.small_cnn import small_cnn

pytestmark = pytest.mark.once("torch")


def test_small_network():
    # Three convolutions on 8x8, 4x4 and 4x4 maps, then 4 * 4 * 32 features.
    convolutions = [64 * 9 * 3 * 16, 16 * 9 * 16 * 32, 16 * 9 * 32 * 32]
    expected = [2 * count for count in (*convolutions, 512 * 10)]
    assert layer_flops(small_cnn(10, (8, 8, 3))) == expected


def test_resnet18_has_the_published_count():
    # 0.56 GMACs on CIFAR's images, as pytorch-cifar's users count.
    macs = forward_flops(resnet18(10, (32, 32, 3))) / 2
    assert macs == pytest.approx(0.5554e9, rel=1e-3)


def test_step_is_made_of_its_passes():
    student, teacher, other = (small_cnn(10, (8, 8, 3), width=w) for w in (2, 3, 4))
    forward, first = forward_flops(student), layer_flops(student)[0]
    teachers = forward_flops(teacher) + forward_flops(other)
    without = step_flops(student, teacher, other, pgd_steps=0)
    assert without == 6 * forward - 2 * first + teachers
    with_attack = step_flops(student, teacher, other, pgd_steps=10)
    assert with_attack - without == 20 * forward
