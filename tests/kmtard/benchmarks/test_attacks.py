"""The attacks of other packages: in turns with ours, and on the same network."""

import keras
import numpy as np
import pytest

from kmtard.benchmarks import attacks
from kmtard.benchmarks.attacks import network
from kmtard.benchmarks.turns import Times
from kmtard.networks.small_cnn import small_cnn

pytestmark = pytest.mark.once("torch")

PACKAGE = """
class Attack:
    def __init__(self, network, eps, seed, **settings):
        self.eps = eps

    def __call__(self, x, y):
        return (x + self.eps).clamp(0, 1)

APGD = Square = APGDT = FAB = AutoAttack = Attack
"""


@pytest.fixture
def asked(monkeypatch):
    """The processes that were started and what they were asked; they count up."""
    questions = []

    class Worker:
        def __init__(self, module, settings, environment=None):
            self.side = settings.get("package", module.rpartition(".")[2])
            self.ready = {"backend": environment.get("KERAS_BACKEND")}
            cache = environment.get("KMTARD_COMPILATION_CACHE")
            questions.append(("start", self.side, cache))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.close()

        def close(self):
            questions.append(("end", self.side))

        def times(self, kind, count):
            questions.append((self.side, kind, count))
            self.answered = {"robust": len(questions)}
            return Times(0, len(questions))

    monkeypatch.setattr(attacks, "Worker", Worker)
    return questions


def test_sides_take_turns_in_changing_order(asked):
    rules = attacks.Rules(backend="jax", rounds=2)
    (row,) = attacks.rows(["cifar"], ["square"], ["auto-attack", "torchattacks"], rules)
    sides = ["ours", "auto-attack", "torchattacks"]
    starts = [word[1:] for word in asked if word[0] == "start"]
    # Each of our two processes begins cold: first the cache is empty, then filled.
    assert [side for side, _ in starts] == ["network", "ours", *sides]
    assert starts[0][1] is None and starts[1][1] == starts[2][1] is not None
    runs = [word[0] for word in asked if word[1:] == ("run", 1)]
    assert runs == ["ours", *sides, *sides, *reversed(sides)]
    assert [word[1] for word in asked if word[0] == "end"] == [
        "network",
        "ours",
        *sides,
    ]
    times = [place for place, word in enumerate(asked, 1) if word[1:] == ("run", 1)]
    empty, cold, first, second, *warm = times
    assert row["ours"]["empty_cache"] == empty and row["ours"]["cold"] == cold
    found = row["packages"]["auto-attack"]
    assert (found["cold"], found["robust"]) == (first, first)
    assert row["packages"]["torchattacks"]["cold"] == second
    assert found["warm"] == (warm[1] + warm[4]) / 2
    ratios = warm[0] / warm[1], warm[5] / warm[4]
    assert found["ratio"]["low"] == min(ratios)
    assert found["ratio"]["high"] == max(ratios)
    assert found["cold_ratio"] == cold / first


def test_each_radius_and_attack_has_a_row(asked):
    rows = list(
        attacks.rows(["digits", "cifar"], ["fab", "square"], [], attacks.Rules())
    )
    assert [(row["net"], row["epsilon"], row["attack"]) for row in rows] == [
        (name, epsilon, attack)
        for name, net in attacks.NETS.items()
        for epsilon in net.epsilons
        for attack in ("fab", "square")
    ]
    trained = [word for word in asked if word[:2] == ("start", "network")]
    assert len(trained) == 2


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 8, 3)])
def test_both_sides_attack_the_same_network(shape):
    torch = pytest.importorskip("torch")
    from kmtard.benchmarks.rivals.networks import SmallCNN

    keras.utils.set_random_seed(0)
    ours = small_cnn(10, shape)
    rng = np.random.default_rng(0)
    for layer in ours.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.weights])
    theirs = SmallCNN(10, shape)
    state = {key: torch.tensor(v) for key, v in network.for_torch(ours).items()}
    missing = theirs.load_state_dict(state, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    x = rng.random((5, *shape), "float32")
    expected = keras.ops.convert_to_numpy(ours(x))
    with torch.no_grad():
        logits = theirs.eval()(torch.tensor(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_larger_images_repeat_each_pixel_in_the_image_s_color():
    gray = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype("uint8")
    np.testing.assert_allclose(network.resized(gray, (8, 8, 1)), gray / 255, rtol=1e-6)
    large = network.resized(gray, (32, 32, 3))
    assert large.dtype == "float32" and large.shape == (3, 32, 32, 3)
    assert large.min() >= 0 and large.max() <= 1
    colors = large[:, ::4, ::4] / np.maximum(gray / 255, 1e-9)
    for color, pixels in zip(colors, gray, strict=True):
        drawn = color[pixels[..., 0] > 0]
        np.testing.assert_allclose(drawn, drawn[:1].repeat(len(drawn), 0), rtol=1e-5)
    assert np.ptp(colors[0, :, :, :].max((0, 1))) > 0.01


@pytest.mark.slow
def test_real_processes(tmp_path, monkeypatch):
    """A package that adds the radius to each pixel; the network is hardly trained."""
    (tmp_path / "torchattacks.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    net = attacks.Net((8, 8, 1), (0.05,), train_epsilon=0.05, epochs=2)
    monkeypatch.setitem(attacks.NETS, "digits", net)
    rules = attacks.Rules(backend="torch", rounds=1)
    (row,) = attacks.rows(["digits"], ["apgd-ce"], ["torchattacks"], rules)
    theirs = row["packages"]["torchattacks"]
    assert 0 < row["ours"]["robust"] <= theirs["robust"] < 1
    assert theirs["warm"] > 0 and theirs["ratio"]["median"] > 1


@pytest.mark.slow
def test_a_package_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "torchattacks.py").write_text("raise ImportError('too old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    net = attacks.Net((8, 8, 1), (0.05,), train_epsilon=0.05, epochs=1)
    monkeypatch.setitem(attacks.NETS, "digits", net)
    rules = attacks.Rules(backend="torch", rounds=1)
    with pytest.raises(RuntimeError, match="too old"):
        list(attacks.rows(["digits"], ["apgd-ce"], ["torchattacks"], rules))
