"""Weights from PyTorch files give PyTorch's logits, and go back unchanged."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from kmtard.networks import convert, weight_files
from kmtard.networks.mobilenet_v2 import mobilenet_v2
from kmtard.networks.preact_resnet import preact_resnet18, preact_resnet34
from kmtard.networks.resnet import resnet18, resnet56
from kmtard.networks.small_cnn import small_cnn
from kmtard.networks.wide_resnet import (
    deepmind_wide_resnet,
    trades_wide_resnet,
    wide_resnet_22_6,
    wide_resnet_28_10,
    wide_resnet_34_10,
    wide_resnet_70_16,
)

torch = pytest.importorskip("torch")
modules = pytest.importorskip("tests.kmtard.networks.torch_modules")

CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
CIFAR100 = {"mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
SMALL = {"depth": 16, "width": 2}
TINY = {"depth": 10, "width": 1}


class Case(NamedTuple):
    """A network here and in PyTorch, and the entries of its public state dict."""

    ours: Callable[..., keras.Model]
    theirs: Callable[..., Any]
    entries: int | None = None
    classes: int = 10
    size: int = 32


NETWORKS = {
    "resnet18": Case(resnet18, modules.ResNet18, 122),
    "resnet56": Case(resnet56, modules.ResNet56, 344),
    "resnet56-chenyaofo": Case(
        partial(resnet56, **CIFAR100), partial(modules.ResNet56, **CIFAR100), 344, 100
    ),
    "mobilenet_v2": Case(mobilenet_v2, modules.MobileNetV2, 344),
    "mobilenet_v2-64": Case(mobilenet_v2, modules.MobileNetV2, 344, 200, 64),
    "preact_resnet18": Case(
        preact_resnet18, partial(modules.PreActResNet, blocks=(2, 2, 2, 2)), 107, 10
    ),
    "preact_resnet18-64": Case(
        partial(preact_resnet18, **CIFAR100),
        partial(modules.PreActResNet, blocks=(2, 2, 2, 2), **CIFAR100),
        *(107, 200, 64),
    ),
    "preact_resnet34": Case(
        preact_resnet34, partial(modules.PreActResNet, blocks=(3, 4, 6, 3)), 203, 200
    ),
    "trades": Case(
        partial(trades_wide_resnet, **SMALL), partial(modules.TradesWRN, **SMALL)
    ),
    "deepmind": Case(
        partial(deepmind_wide_resnet, **SMALL, **CIFAR100),
        partial(modules.DeepMindWRN, **SMALL, **CIFAR100),
    ),
    "wide_resnet_22_6": Case(
        wide_resnet_22_6,
        partial(modules.DeepMindWRN, depth=22, width=6, **CIFAR10),
        *(119, 100),
    ),
}
LARGE = {
    "wide_resnet_28_10": Case(
        wide_resnet_28_10, partial(modules.TradesWRN, depth=28, width=10)
    ),
    "wide_resnet_34_10": Case(
        wide_resnet_34_10, partial(modules.TradesWRN, depth=34, width=10), 252
    ),
    "wide_resnet_70_16": Case(
        wide_resnet_70_16,
        partial(modules.DeepMindWRN, depth=70, width=16, **CIFAR100),
        *(407, 100),
    ),
}


def check(case: Case, path: Any) -> None:
    theirs = modules.randomized(case.theirs(case.classes))
    state = theirs.state_dict()
    assert case.entries in (None, len(state))
    torch.save(state, path)
    network = case.ours(case.classes, (case.size, case.size, 3))
    convert.load(network, path)
    images = np.random.RandomState(0).rand(2, case.size, case.size, 3).astype("float32")
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    # What no weight could change would prove nothing.
    assert expected.std() > 0.1 and np.abs(expected[0] - expected[1]).max() > 1e-2
    logits = keras.ops.convert_to_numpy(network(images, training=False))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    back = convert.to_torch(network)
    assert set(back) == {key for key in state if not key.startswith("sub_block1")}
    for key, array in back.items():
        if not key.endswith("num_batches_tracked"):
            assert np.array_equal(array, state[key].numpy()), key


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_pytorchs(name: str, tmp_path: Any) -> None:
    check(NETWORKS[name], tmp_path / "weights.pt")


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_logits_of_large_networks_are_pytorchs(name: str, tmp_path: Any) -> None:
    check(LARGE[name], tmp_path / "weights.pt")


def tiny() -> keras.Model:
    return deepmind_wide_resnet(2, (8, 8, 3), **TINY)


def arrays(network: keras.Model) -> dict[str, np.ndarray]:
    return convert.to_torch(network)


def different(network: keras.Model) -> dict[str, np.ndarray]:
    """A state dict that fits the network and has other values."""
    return {
        key: array + 1 if array.dtype.kind == "f" else array
        for key, array in arrays(network).items()
    }


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    assert all(np.array_equal(array, theirs[key]) for key, array in ours.items())


@pytest.mark.parametrize("suffix", weight_files.SUFFIXES)
def test_a_saved_network_is_loaded_again(suffix: str, tmp_path: Any) -> None:
    source, target = tiny(), tiny()
    convert.save(source, tmp_path / f"a{suffix}")
    convert.load(target, str(tmp_path / f"a{suffix}"))
    assert_same(arrays(target), arrays(source))


def test_pytorch_loads_what_was_saved(tmp_path: Any) -> None:
    network = tiny()
    convert.save(network, tmp_path / "student.pth")
    module = modules.DeepMindWRN(2, mean=(0.0,) * 3, std=(1.0,) * 3, **TINY).eval()
    module.load_state_dict(torch.load(tmp_path / "student.pth", weights_only=True))
    images = np.random.RandomState(0).rand(2, 8, 8, 3).astype("float32")
    with torch.no_grad():
        expected = module(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    logits = keras.ops.convert_to_numpy(network(images, training=False))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("nest", [(), ("model",), ("net",), ("model", "state_dict")])
def test_prefixes_and_nests(prefix: str, nest: tuple[str, ...], tmp_path: Any) -> None:
    network = tiny()
    given = different(network)
    content: Any = {prefix + k: torch.from_numpy(v) for k, v in given.items()}
    for name in reversed(nest):
        content = {"epoch": 3, "optimizer": {"state": {}}, name: content}
    torch.save(content, tmp_path / "a.pt")
    convert.load(network, tmp_path / "a.pt")
    assert_same(arrays(network), given)


def test_half_precision_is_widened(tmp_path: Any) -> None:
    network = tiny()
    given = different(network)
    for kind in (torch.float16, torch.bfloat16):
        content = {k: torch.from_numpy(v).to(kind) for k, v in given.items()}
        # As named_parameters() gives them.
        content["init_conv.weight"].requires_grad_()
        torch.save(content, tmp_path / "a.pt")
        convert.load(network, tmp_path / "a.pt")
        expected = {k: v.detach().float().numpy() for k, v in content.items()}
        assert_same(arrays(network), expected)


def test_all_that_does_not_fit_is_named_in_one_error(tmp_path: Any) -> None:
    network = tiny()
    before, given = arrays(network), different(network)
    del given["batchnorm.running_mean"]
    given["logits.weight"] = np.zeros((5, 64), "float32")
    given["logits.bias"] = given["logits.bias"].astype("int8")
    given["module.fc.bias"] = np.zeros(2, "float32")
    given["model.init_conv.weight"] = given["init_conv.weight"]
    weight_files.write(tmp_path / "a.safetensors", given)
    with pytest.raises(ValueError) as error:
        convert.load(network, tmp_path / "a.safetensors")
    assert str(error.value).splitlines() == [
        f"{tmp_path / 'a.safetensors'}: the weights do not fit the network.",
        "  missing: batchnorm.running_mean",
        "  not used: module.fc.bias",
        "  given twice: init_conv.weight, model.init_conv.weight",
        "  wrong: logits.weight must be floats of shape (2, 64), is float32 (5, 64), "
        "logits.bias must be floats of shape (2,), is int8 (2,)",
        "Build the network that they come from, with its number of classes.",
    ]
    assert_same(arrays(network), before)


def test_a_long_list_is_cut() -> None:
    with pytest.raises(ValueError, match=r"missing: init_conv.weight, .*, and 19 more"):
        convert.from_torch(tiny(), {})


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: small_cnn(2, (8, 8, 1)), "Flatten"),
        (lambda: keras.Sequential([tiny(), keras.layers.ReLU()]), "Functional"),
        (
            lambda: keras.Sequential(
                [keras.Input((2, 2, 1)), keras.layers.Conv2D(1, 1)]
            ),
            "Conv2D",
        ),
    ],
)
def test_networks_that_pytorch_has_not_are_refused(build: Any, layer: str) -> None:
    with pytest.raises(ValueError, match=f"global pooling.*of type {layer}"):
        convert.to_torch(build())


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", ["torch", "torch-legacy", "pickle"])
def test_code_in_a_file_is_not_run(save: str, tmp_path: Any) -> None:
    content = {"state_dict": Bomb(f"touch {tmp_path / 'ran'}")}
    with open(tmp_path / "a.pt", "wb") as file:
        if save == "pickle":
            pickle.dump(content, file)
        else:
            zipped = save == "torch"
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match="plain pickles are refused(?s:.*)save it anew"
    ):
        convert.load(tiny(), tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused(tmp_path: Any) -> None:
    torch.save(modules.DeepMindWRN(2, 10, 1, (0.0,), (1.0,)), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="Whole models .* are refused"):
        convert.load(tiny(), tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", weight_files.SUFFIXES)
@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_cut_file_is_refused(suffix: str, length: int, tmp_path: Any) -> None:
    path = tmp_path / f"a{suffix}"
    network = tiny()
    convert.save(network, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=f"{path} is (damaged|not a whole)"):
        convert.load(network, path)


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ([1, 2], r"list \[1, 2\]"),
        ({}, "dict {}"),
        ({"epoch": 3, "weight": torch.zeros(1)}, "no named tensor at 'epoch'"),
        ({0: torch.zeros(1)}, "no named tensor at 0"),
        ({"model": {"net": {"a": 1}}}, "no named tensor at 'a' under model.net"),
    ],
)
def test_no_state_dict(content: Any, received: str, tmp_path: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=f"must hold a state dict.*{received}"):
        convert.load(tiny(), tmp_path / "a.pt")


def test_other_endings_and_missing_files(tmp_path: Any) -> None:
    for use in (convert.load, convert.save):
        with pytest.raises(ValueError, match=r"\.safetensors. Received: 'a\.h5'"):
            use(tiny(), "a.h5")
    for suffix in weight_files.SUFFIXES:
        with pytest.raises(FileNotFoundError):
            convert.load(tiny(), tmp_path / f"none{suffix}")


def test_without_pytorch_safetensors_still_work(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny()
    monkeypatch.setattr(weight_files, "find_spec", lambda name: None)
    convert.save(network, tmp_path / "a.safetensors")
    convert.load(network, tmp_path / "a.safetensors")
    for use in (convert.load, convert.save):
        with pytest.raises(ImportError, match=r"install kmtard\[torch\]"):
            use(network, tmp_path / "a.pt")
