"""ResNet-18 has the reference's size."""

import numpy as np
import pytest

from kmtard.networks.resnet18 import resnet18


@pytest.mark.parametrize("classes, count", [(10, 11173962), (200, 11271432)])
def test_parameters(classes, count):
    network = resnet18(classes, (32, 32, 3))
    trainable = network.trainable_variables
    assert sum(int(np.prod(v.shape)) for v in trainable) == count
    assert len(trainable) == 62
    moving = network.non_trainable_variables
    assert sum(int(np.prod(v.shape)) for v in moving) == 9600
    assert network.output_shape == (None, classes)


def test_last_map_is_pooled_at_any_size():
    assert resnet18(10, (64, 64, 3)).count_params() == 11173962 + 9600


def test_bad_shape():
    with pytest.raises(ValueError, match=r"Received: \(32, 32\)"):
        resnet18(10, (32, 32))
