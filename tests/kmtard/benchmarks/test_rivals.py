"""The plain PyTorch step computes what ours computes."""

import copy

import keras
import numpy as np
import pytest

from kmtard import attacks, backend, optimizers
from kmtard.methods.b_mtard import BMTARD
from kmtard.networks import convert
from kmtard.networks.resnet import resnet18
from kmtard.networks.small_cnn import small_cnn

torch = pytest.importorskip("torch")
from kmtard.benchmarks.rivals.attacks import Evaluation  # noqa: E402
from kmtard.benchmarks.rivals.networks import ResNet18, SmallCNN  # noqa: E402
from kmtard.benchmarks.rivals.step import Step  # noqa: E402

pytestmark = pytest.mark.once("torch")

SHAPE, BATCH = (8, 8, 3), 6


def copied(network):
    """The rival's network with the same weights."""
    rival = ResNet18(10, SHAPE)
    arrays = convert.to_torch(network)
    state = {key: torch.tensor(array) for key, array in arrays.items()}
    rival.load_state_dict(state)
    return rival


def channels_first(images):
    return torch.tensor(images.transpose(0, 3, 1, 2))


def assert_same_weights(network, rival):
    state = rival.state_dict()
    for key, array in convert.to_torch(network).items():
        if not key.endswith(("running_var", "num_batches_tracked")):
            np.testing.assert_allclose(state[key], array, atol=1e-5, err_msg=key)


def test_two_steps_agree():
    rng = np.random.default_rng(0)
    networks = [resnet18(10, SHAPE) for _ in range(3)]
    batches = [
        (
            rng.random((BATCH, *SHAPE), "float32"),
            rng.integers(0, 10, BATCH),
            rng.normal(0, 1e-3, (BATCH, *SHAPE)).astype("float32"),
        )
        for _ in range(2)
    ]
    noise = keras.Variable(batches[0][2])
    attack = attacks.PGD(steps=3, start=lambda x: x + noise.value)
    model = BMTARD(*networks, attack=attack)
    ebb, nlb = model.default_callbacks()
    model.temperature_rate.assign(ebb.rate)
    model.weight_rate.assign(nlb.rate)
    model.compile(
        optimizers.L2SGD(0.01, momentum=0.9, weight_decay=2e-4), jit_compile=False
    )
    rival_student, *teachers = map(copied, networks)
    rival = Step(rival_student, *teachers, pgd_steps=3)
    for x, y, start in batches:
        # PyTorch's moving variance is another one: the steps begin at one state.
        variances = convert.to_torch(networks[0])
        state = {k: torch.tensor(v) for k, v in variances.items() if "running" in k}
        rival_student.load_state_dict(state, strict=False)
        noise.assign(start)
        ours = model.train_on_batch(x, y, return_dict=True)
        images = channels_first(x).contiguous(memory_format=torch.channels_last)
        theirs = rival(images, torch.tensor(y), images + channels_first(start))
        weights = float(model.nat_weight.value), float(model.adv_weight.value)
        np.testing.assert_allclose(rival.weights, weights, atol=1e-6)
        temperatures = model.nat_temperature.value, model.adv_temperature.value
        np.testing.assert_allclose(
            rival.temperatures, [float(t) for t in temperatures], atol=1e-6
        )
        assert_same_weights(networks[0], rival_student)
        loss = weights[0] * model.trackers["nat_loss"].result()
        loss += weights[1] * model.trackers["adv_loss"].result()
        np.testing.assert_allclose(float(theirs), float(loss), rtol=1e-5)
        assert np.isfinite(ours["loss"])
        model.reset_metrics()
    assert weights != (0.5, 0.5), "the second step must have moved the weights"
    assert rival.temperatures.max() > 1


def test_the_compiled_step_is_the_eager_one():
    eager = [SmallCNN(10, SHAPE) for _ in range(3)]
    compiled = copy.deepcopy(eager)
    images = torch.rand(BATCH, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    batch = images, torch.arange(BATCH), images + 1e-3
    losses = [
        float(Step(*networks, compiler=compiler, pgd_steps=2)(*batch))
        for networks, compiler in ((eager, None), (compiled, "aot_eager"))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    pairs = zip(eager[0].parameters(), compiled[0].parameters(), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.detach(), theirs.detach(), atol=1e-6)


def test_half_precision_gives_float32_logits_and_losses():
    networks = [SmallCNN(10, SHAPE) for _ in range(3)]
    step = Step(*networks, precision="mixed_bfloat16", pgd_steps=1)
    images = torch.rand(BATCH, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with step.half:
        assert step.student(images).dtype == torch.float32
        assert step.student[0](images).dtype == torch.bfloat16
    assert step(images, torch.arange(BATCH)).dtype == torch.float32


def test_small_networks_are_of_one_size():
    count = sum(part.numel() for part in SmallCNN(10, SHAPE).parameters())
    ours = small_cnn(10, SHAPE)
    assert count == sum(np.prod(v.shape) for v in ours.trainable_variables)


def moved(kind, result):
    """APGD returns the clean image where it finds nothing, PGD the last iterate."""
    return result.success if kind == "apgd" else np.ones(BATCH, bool)


@pytest.mark.parametrize("kind", ["pgd", "apgd"])
def test_attacks_agree(kind):
    """Iterates from the clean images; APGD also returns the misclassified ones."""
    rng = np.random.default_rng(2)
    network = resnet18(10, SHAPE)
    x = rng.random((BATCH, *SHAPE), "float32")
    y = backend.to_numpy(network(x, training=False)).argmax(-1)
    images = channels_first(x).contiguous(memory_format=torch.channels_last)
    evaluation = Evaluation(copied(network))
    settings = {"steps": 12, "epsilon": 0.01}
    if kind == "pgd":
        attack = attacks.PGD(0.01, steps=12, step_size=0.004, start="clean")
        settings["step_size"] = 0.004
    else:
        attack = attacks.APGD(0.01, steps=12, start="clean", early_stop=False)
    theirs = getattr(evaluation, kind)(images, torch.tensor(y), images, **settings)
    ours = attack.run(network, x, y)
    found = theirs.numpy().transpose(0, 2, 3, 1)
    assert ours.success.any(), "the attack must find something"
    # A gradient close to 0 may have another sign, which moves its pixel elsewhere.
    assert np.mean(np.abs(found - ours.x_adv) > 1e-5) < 0.02
    np.testing.assert_array_equal((found != x).any(axis=(1, 2, 3)), moved(kind, ours))
