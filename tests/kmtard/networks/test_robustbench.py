"""Every model of RobustBench's CIFAR leaderboards loads, or is refused by name.

Keys, shapes and logits are those of RobustBench's own classes, as
`tests/reference/robustbench.py` wrote them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.networks import convert, weight_files
from kmtard.networks.robustbench import load, robustbench
from kmtard.networks.standardization import body_of
from kmtard.networks.wide_resnet import trades_wide_resnet
from kmtard.networks.wide_resnet_variants import shaped_wide_resnet
from kmtard.registry.errors import RegistryError
from kmtard.registry.robustbench import CLASSES, IMAGE_SHAPE, Entry, entries, find
from tests.reference.robustbench import GOLDEN, digest, images, weights

pytestmark = pytest.mark.once("torch")

FOUND = {key: each for key, each in entries().items() if not each.refused}
WRITTEN = json.loads(Path(GOLDEN).read_text())
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
SHAPED = {"channels": (32, 64, 48), "blocks": (2, 1, 2)}
SMALL = {"depth": 10, "width": 2}


def small(network: str, **changes: Any) -> Entry:
    """Return an entry of the same family with a small network."""
    about = {"architecture": "", "paper": "", "link": ""}
    return Entry(key="cifar10/Linf/small", network=network, **about, **changes)


VARIANTS = "wide_resnet_variants"
FAMILIES = {
    "trades": small("wide_resnet:trades_wide_resnet", options=SMALL),
    "deepmind": small("wide_resnet:deepmind_wide_resnet", options=SMALL, **CIFAR10),
    "deepmind_preact": FOUND["cifar10/Linf/Rebuffi2021Fixing_R18_ddpm"],
    "fast_preact": FOUND["cifar10/Linf/Wong2020Fast"],
    "preact": FOUND["cifar10/L2/Rice2020Overfitting"],
    "resnet18": FOUND["cifar10/Linf/Sehwag2021Proxy_R18"],
    "resnet50": FOUND["cifar10/Linf/Engstrom2019Robustness"],
    "exploring": small(f"{VARIANTS}:shaped_wide_resnet", options=SHAPED),
    "revisiting": small(
        f"{VARIANTS}:shaped_wide_resnet", options={**SHAPED, "silu": True}, **CIFAR10
    ),
    "pssilu": small(f"{VARIANTS}:pssilu_wide_resnet", options=SMALL),
    "cosine": small(f"{VARIANTS}:cosine_wide_resnet", options=SMALL, **CIFAR10),
    "squeezed": small(
        f"{VARIANTS}:squeezed_wide_resnet",
        options={"channels": (24, 32, 48), "blocks": (2, 1, 1)},
        **CIFAR10,
    ),
    "each_image": small(
        "wide_resnet:trades_wide_resnet", options=SMALL, each_image=True
    ),
    "twice": small(
        "wide_resnet:trades_wide_resnet", options=SMALL, mean="2x-1", std="2x-1"
    ),
}


def shapes(entry: Entry) -> dict[str, tuple[int, ...]]:
    """Return key -> shape in PyTorch of a network, without allocating its weights."""
    with keras.StatelessScope(initialize_variables=False):
        network = robustbench(CLASSES[entry.data], IMAGE_SHAPE, entry.key)
        return {
            key: tuple(variable.shape[axis] for axis in axes)
            for key, (variable, axes) in convert.torch_variables(network)
        }


@pytest.fixture(scope="module")
def known_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of each network, which several entries share."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for entry in FOUND.values():
        if signature(entry) not in found:
            found[signature(entry)] = shapes(entry)
    # Otherwise Keras allocates all these variables, 20 GB, at the end of a later scope.
    keras.backend.clear_session()
    return found


def signature(entry: Entry) -> str:
    return f"{entry.data} {entry.network} {dict(entry.options)}"


# JAX builds networks fastest, and PyTorch computes single images fastest.
@pytest.mark.once("jax")
def test_keys_and_shapes_are_those_of_robustbench(
    known_shapes: dict[str, dict[str, tuple[int, ...]]],
) -> None:
    assert WRITTEN["keys"].keys() == FOUND.keys()
    for key, entry in FOUND.items():
        assert digest(known_shapes[signature(entry)]) == WRITTEN["keys"][key], key


def test_the_documented_number_of_models_loads() -> None:
    page = Path(__file__).parents[3] / "docs" / "weights.md"
    published = [e for e in entries().values() if "without publishing" not in e.refused]
    linf = [each for each in published if each.threat == "Linf"]
    loaded = [each for each in linf if not each.refused]
    assert f"{len(loaded)} of the {len(linf)}" in page.read_text()
    assert f"{len(FOUND)} of the {len(published)}" in page.read_text()


def test_all_others_are_refused_with_a_reason() -> None:
    refused = [each for each in entries().values() if each.refused]
    assert len(refused) + len(FOUND) == len(entries())
    for each in refused:
        with pytest.raises(RegistryError) as error:
            find(each.key)
        assert each.refused[1:] in str(error.value)
    reasons = Counter(each.refused for each in refused if each.threat == "Linf")
    assert reasons["it is a transformer"] == 6


# Far padding, and each layer that Keras does not have.
ON_EVERY_BACKEND = ("deepmind", "pssilu", "cosine", "squeezed", "each_image")


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(
            name, marks=pytest.mark.every_backend if name in ON_EVERY_BACKEND else ()
        )
        for name in FAMILIES
    ],
)
def test_logits_are_those_of_robustbench(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = FAMILIES[family]
    table = {**entries(), entry.key: entry}
    monkeypatch.setattr("kmtard.registry.robustbench.entries", lambda: table)
    network = robustbench(10, IMAGE_SHAPE, entry.key)
    shapes = {key: array.shape for key, array in convert.to_torch(network).items()}
    if family == "pssilu":
        shapes["block1.layer.0.activation.alpha"] = (1,)
    state = {f"module.{key}": weights(key, shape) for key, shape in shapes.items()}
    weight_files.write(tmp_path / "a.safetensors", state)
    loaded = load(entry, tmp_path / "a.safetensors")
    found = keras.ops.convert_to_numpy(loaded(images(), training=False))
    wanted = np.array(WRITTEN["logits"][family])
    assert wanted.std() > 0.05
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    loaded.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras", compile=False)
    same = keras.ops.convert_to_numpy(again(images(), training=False))
    np.testing.assert_allclose(same, found, rtol=1e-6, atol=1e-6)


def small_state(value: float) -> dict[str, Any]:
    """Return the state dict of a small network with one value in all its biases."""
    torch = pytest.importorskip("torch")
    network = FAMILIES["trades"]
    tensors = convert.to_torch(small_network(network))
    return {
        key: torch.full(array.shape, value if key.endswith("bias") else 1.0)
        for key, array in tensors.items()
        if array.shape
    }


def small_network(entry: Entry) -> keras.Model:
    return trades_wide_resnet(CLASSES[entry.data], IMAGE_SHAPE, **entry.options)


@pytest.mark.parametrize("blocks", [(1,), (1, 0), ()])
def test_groups_need_channels_and_blocks(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one positive number for each group"):
        shaped_wide_resnet(10, IMAGE_SHAPE, channels=(8, 8), blocks=blocks)


@pytest.mark.parametrize("nested", [True, False])
def test_the_weights_that_robustbench_takes_are_loaded(
    nested: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    entry = replace(FAMILIES["trades"], nest="last")
    table = {entry.key: entry}
    monkeypatch.setattr("kmtard.registry.robustbench.entries", lambda: table)
    last, best = small_state(2.0), small_state(3.0)
    torch.save({"last": last, "best": best} if nested else last, tmp_path / "a.pt")
    network = load(entry, tmp_path / "a.pt")
    assert (network.get_layer("fc").get_weights()[1] == 2).all()


def test_the_standardization_in_the_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    entry = FAMILIES["trades"]
    table = {entry.key: entry}
    monkeypatch.setattr("kmtard.registry.robustbench.entries", lambda: table)
    state = small_state(0.0)
    for key, value in (("mu", 0.5), ("sigma", 0.25)):
        state[key] = torch.full((1, 3, 1, 1), value)
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    network = load(entry, tmp_path / "a.pt")
    assert body_of(network).standardization == ((0.5,) * 3, (0.25,) * 3)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(small_state(0.0), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt for Wong2020Fast: the weights do not"):
        load(FOUND["cifar10/Linf/Wong2020Fast"], tmp_path / "a.pt")
