"""What each backend reports about its device and about the program of a step."""

import keras
import numpy as np
import pytest

from kmtard import backend
from kmtard.benchmarks import hlo
from kmtard.benchmarks.flops import step_flops
from kmtard.benchmarks.workload import distiller, random_batch
from kmtard.networks.small_cnn import small_cnn

# On a CPU, JAX computes no convolution of images with up to three channels.
SHAPE, BATCH = (6, 6, 4), 4


def test_a_cpu_is_named_and_has_no_memory_of_its_own():
    assert all(isinstance(name, str) and name for name in backend.devices())
    assert backend.devices()
    backend.reset_peak_memory()
    assert backend.peak_memory() is None


def test_waiting_and_full_precision_change_no_value():
    matrix = keras.ops.convert_to_tensor(np.full((4, 4), 1 + 2**-20, "float32"))
    try:
        for allowed in (True, False):
            backend.allow_tf32(allowed)
            product = keras.ops.matmul(matrix, matrix)
            backend.wait_for([product])
            expected = 4 * (1 + 2.0**-19)
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(product), expected, rtol=2e-7
            )
    finally:
        backend.allow_tf32(True)


@pytest.mark.parametrize("unroll", [False, True])
def test_program_of_a_step(unroll):
    networks = [small_cnn(10, SHAPE, width=4) for _ in range(3)]
    model, _ = distiller(networks, pgd_steps=3, unroll=unroll)
    text, host = backend.step_program(model, random_batch(SHAPE, BATCH))
    if keras.backend.backend() == "torch":
        assert text is None
        # Of a CPU's tensors, PyTorch reads labels and Keras the seed.
        assert host == ["aten::_local_scalar_dense"]
        return
    program = hlo.read(text)
    assert (host, program.host, program.endless) == ([], (), 0)
    assert program.flops == BATCH * step_flops(*networks, pgd_steps=3)
