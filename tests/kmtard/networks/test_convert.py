"""Weights from PyTorch files give PyTorch's logits, and go back unchanged."""

from __future__ import annotations

import argparse
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
from kmtard.networks.resnet import resnet18, resnet56, resnet56_option_a
from kmtard.networks.small_cnn import small_cnn
from kmtard.networks.wide_resnet import (
    deepmind_wide_resnet,
    trades_wide_resnet,
    wide_resnet_22_6,
    wide_resnet_28_10,
    wide_resnet_34_10,
    wide_resnet_70_16,
)

pytestmark = pytest.mark.once("torch")

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
    "resnet56_option_a": Case(resnet56_option_a, modules.OptionAResNet56, 332),
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
    convert.save(network, path)
    saved = torch.load(path, weights_only=True)
    case.theirs(case.classes).load_state_dict(saved, strict=True)
    back = convert.to_torch(network)
    assert set(back) == {key for key in state if not key.startswith("sub_block1")}
    for key, array in back.items():
        if not key.endswith("num_batches_tracked"):
            assert np.array_equal(array, state[key].numpy()), key


# What a layer computes is Keras's part: a small network shows on every backend that
# convolutions, their padding and the normalisation are PyTorch's.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.every_backend if name == "deepmind" else ()
        )
        for name in NETWORKS
    ],
)
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
@pytest.mark.parametrize("nest", [(), ("model",), ("model", "state_dict")])
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
        "Build the network of these weights, with its number of classes.",
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
        ValueError, match="plain pickles are refused(?s:.*)Save the file again"
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
    with pytest.raises(ValueError, match=f"{path} must be a (PyTorch|complete)"):
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
        with pytest.raises(ValueError, match=r"must end in .* Received: 'a\.onnx'"):
            use(tiny(), "a.onnx")
    with pytest.raises(ValueError, match=r"\.safetensors. Received: 'a\.h5'"):
        convert.save(tiny(), "a.h5")
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


def logits_of(network: Any, images: np.ndarray) -> np.ndarray:
    if not isinstance(network, torch.nn.Module) or isinstance(network, keras.Model):
        return keras.ops.convert_to_numpy(network(images, training=False))
    with torch.no_grad():
        return network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()


IMAGES = np.random.RandomState(0).rand(4, 8, 8, 3).astype("float32")
FORMS = {
    "iad": (
        lambda: trades_wide_resnet(2, (8, 8, 3), **TINY),
        lambda: modules.TradesWRN(2, **TINY, sub_block1=False),
        {"sub_block1": False},
    ),
    "robustbench-dm": (
        lambda: deepmind_wide_resnet(2, (8, 8, 3), **TINY, **CIFAR100),
        lambda: modules.DeepMindWRN(2, **TINY, **CIFAR100, buffers=True),
        {"constants": True},
    ),
    "robustbench-dm-none": (
        lambda: tiny(),
        lambda: modules.DeepMindWRN(
            2, **TINY, mean=(0.0,) * 3, std=(1.0,) * 3, buffers=True
        ),
        {"constants": True},
    ),
    "robustbench-preact": (
        lambda: preact_resnet18(2, (8, 8, 3), **CIFAR10),
        lambda: modules.PreActResNet(2, (2, 2, 2, 2), **CIFAR10, buffers=True),
        {"constants": True},
    ),
    "robustbench-wrapped": (
        lambda: wrapped(keras.layers.Rescaling([2, 4, 5], [-1, -2, -3])),
        lambda: modules.normalized(
            modules.TradesWRN(2, **TINY), (0.5, 0.5, 0.6), (0.5, 0.25, 0.2)
        ),
        {},
    ),
}


def wrapped(*layers: Any) -> keras.Model:
    inner = trades_wide_resnet(2, (8, 8, 3), **TINY)
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, inner])


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_the_classes_load_strictly(form: str, tmp_path: Any) -> None:
    ours, theirs, options = FORMS[form]
    network, module, path = ours(), theirs(), tmp_path / "a.pt"
    convert.save(network, path, **options)
    module.load_state_dict(torch.load(path, weights_only=True), strict=True)
    np.testing.assert_allclose(
        logits_of(module, IMAGES), logits_of(network, IMAGES), rtol=1e-4, atol=1e-4
    )
    torch.save(modules.randomized(module).state_dict(), path)
    read = convert.load(network, path)
    assert (read.constants is None) == (form == "iad")
    np.testing.assert_allclose(
        logits_of(module, IMAGES), logits_of(network, IMAGES), rtol=1e-4, atol=1e-4
    )


def test_a_normalization_layer_is_written_as_a_rescaling(tmp_path: Any) -> None:
    layer = keras.layers.Normalization(
        mean=[0.1, 0.2, 0.3], variance=[0.25, 0.04, 0.01]
    )
    network = wrapped(layer)
    convert.save(network, tmp_path / "a.safetensors")
    tensors = weight_files.read(tmp_path / "a.safetensors")
    np.testing.assert_allclose(tensors["normalize.mean"].ravel(), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(tensors["normalize.std"].ravel(), [0.5, 0.2, 0.1])
    assert set(tensors) - {"normalize.mean", "normalize.std"} == {
        f"model.{key}" for key in convert.to_torch(network.layers[-1], sub_block1=True)
    }
    inner = trades_wide_resnet(2, (8, 8, 3), **TINY)
    with pytest.raises(
        ValueError, match="The network has none. Build the network with"
    ):
        convert.load(inner, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda: [keras.layers.Rescaling(-1.0)], "one mean and one positive std"),
        (lambda: [keras.layers.Rescaling(0.0)], "one mean and one positive std"),
        (
            lambda: [keras.layers.Normalization(mean=0.5, variance=1.0, invert=True)],
            "Convert the network without this layer",
        ),
        (
            lambda: [
                keras.layers.Normalization(
                    axis=(1, 2, 3), mean=np.ones((8, 8, 3)), variance=np.ones((8, 8, 3))
                )
            ],
            "one mean and one positive std",
        ),
        (
            lambda: [keras.layers.Rescaling(2.0), keras.layers.Rescaling(3.0)],
            "standardizes its images twice",
        ),
        (lambda: [keras.layers.RandomFlip()], "of type Functional"),
    ],
)
def test_what_a_pytorch_file_cannot_say_is_refused(layers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert.to_torch(wrapped(*layers()))


@pytest.mark.parametrize("suffix", weight_files.SUFFIXES)
def test_a_file_notes_the_constants_of_its_network(suffix: str, tmp_path: Any) -> None:
    path = tmp_path / f"a{suffix}"
    network = deepmind_wide_resnet(2, (8, 8, 3), **TINY, **CIFAR10)
    convert.save(network, path)
    assert set(weight_files.read(path)) == set(arrays(network))
    assert convert.load(network, path).constants == (CIFAR10["mean"], CIFAR10["std"])
    other = deepmind_wide_resnet(2, (8, 8, 3), **TINY, **CIFAR100)
    for wrong in (tiny(), other):
        before = arrays(wrong)
        with pytest.raises(ValueError, match=r"Build the network with mean=\(0\.4914"):
            convert.load(wrong, path)
        assert_same(arrays(wrong), before)


STATED = [
    ("mu", "sigma", (1, 3, 1, 1)),
    ("mean", "std", (3, 1, 1)),
    ("module.normalize.mean", "module.normalize.std", (3,)),
    ("normalizer.means", "normalizer.sds", (3,)),
    ("0.mean", "0.std", (1, 3, 1, 1)),
]


@pytest.mark.parametrize(("mean", "std", "shape"), STATED)
def test_constants_in_a_file_are_compared(
    mean: str, std: str, shape: tuple[int, ...]
) -> None:
    # Rounded to three digits, as some codes have them.
    stated = {
        mean: np.float32([0.491, 0.482, 0.447]).reshape(shape),
        std: np.float32([0.247, 0.2435, 0.2616]).reshape(shape),
    }
    fitting = deepmind_wide_resnet(2, (8, 8, 3), **TINY, mean="cifar10")
    given = different(fitting)
    convert.from_torch(fitting, given | stated)
    assert_same(arrays(fitting), given)
    with pytest.raises(ValueError, match="The file has mean=.*The network has none"):
        convert.from_torch(tiny(), given | stated)
    none = {mean: np.zeros(shape, "float32"), std: np.ones(shape, "float32")}
    convert.from_torch(tiny(), given | none)
    with pytest.raises(ValueError, match=r"network with mean=\(\), std=\(\)"):
        convert.from_torch(fitting, given | none)


def test_constants_that_are_none_are_refused() -> None:
    for bad in (np.float32([0.5, 0.0, 0.5]), np.ones((2, 2), "float32")):
        stated = {"mean": np.zeros(3, "float32"), "std": bad}
        with pytest.raises(ValueError, match="one mean and one positive std"):
            convert.from_torch(tiny(), different(tiny()) | stated)


@pytest.mark.parametrize("nest", weight_files.NESTS)
def test_every_nest_is_found(nest: str, tmp_path: Any) -> None:
    network = tiny()
    given = different(network)
    content = {k: torch.from_numpy(v) for k, v in given.items()}
    torch.save({"epoch": 3, nest: content}, tmp_path / "a.pt")
    assert convert.load(network, tmp_path / "a.pt").nest == nest
    assert_same(arrays(network), given)


def test_of_several_nests_one_must_be_named(tmp_path: Any) -> None:
    network, path = tiny(), tmp_path / "a.pt"
    last = {k: torch.from_numpy(v) for k, v in arrays(network).items()}
    best = {k: torch.from_numpy(v) for k, v in different(network).items()}
    torch.save({"last": last, "best": best}, path)
    with pytest.raises(ValueError, match="under best, last. Choose one.*--nest best"):
        convert.load(network, path)
    assert convert.load(network, path, nest="best").nest == "best"
    assert_same(arrays(network), {k: v.numpy() for k, v in best.items()})
    with pytest.raises(ValueError, match="under 'ema_state_dict'. Received"):
        convert.load(network, path, nest="ema_state_dict")
    torch.save({"last": last, "best": dict(last)}, path)
    convert.load(network, path)
    assert_same(arrays(network), {k: v.numpy() for k, v in last.items()})


@pytest.mark.parametrize("prefix", ["basic_net.", "1.", "module.1.", "net."])
def test_prefixes_of_wrappers(prefix: str) -> None:
    network = tiny()
    given = different(network)
    read = convert.from_torch(network, {prefix + k: v for k, v in given.items()})
    assert (read.prefix, read.tensors) == (prefix, len(network.weights))
    assert_same(arrays(network), given)


def test_an_averaged_model(tmp_path: Any) -> None:
    module = modules.DeepMindWRN(2, **TINY, mean=(0.0,) * 3, std=(1.0,) * 3)
    averaged = torch.optim.swa_utils.AveragedModel(modules.randomized(module))
    torch.save(averaged.state_dict(), tmp_path / "a.pt")
    network = tiny()
    assert convert.load(network, tmp_path / "a.pt").skipped == ("n_averaged",)
    np.testing.assert_allclose(
        logits_of(network, IMAGES), logits_of(module, IMAGES), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_scripts_put_beside_the_weights_is_left_out(
    zipped: bool, tmp_path: Any
) -> None:
    network, path = tiny(), tmp_path / "a.pth.tar"
    given = different(network)
    content = {
        "state_dict": {k: torch.from_numpy(v) for k, v in given.items()},
        "args": argparse.Namespace(lr=0.1, inner=argparse.Namespace(a=tmp_path)),
        "best": np.float64(93.1),
        "history": np.arange(4.0),
        "epoch": np.int64(3),
        "optimizer": {"state": {0: {"momentum": torch.zeros(2)}}, "param_groups": []},
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    convert.load(network, path)
    assert_same(arrays(network), given)


@pytest.mark.parametrize(
    "name", ["a.t7", "a.pth.tar", "a.ckpt", "a.bin", "a.th", "model_best"]
)
def test_everyday_names(name: str, tmp_path: Any) -> None:
    network = tiny()
    given = different(network)
    torch.save({k: torch.from_numpy(v) for k, v in given.items()}, tmp_path / name)
    convert.load(network, tmp_path / name)
    assert_same(arrays(network), given)


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path: Any) -> None:
    content: dict[str, Any] = {"a": 1}
    content["model"] = content
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="must hold a state dict"):
        convert.load(tiny(), tmp_path / "a.pt")


def test_a_note_that_is_none_is_refused(tmp_path: Any) -> None:
    content = weight_files.OrderedDict(a=torch.zeros(1))
    for note in ("3", "[" * 10_000, '{"mean": [1], "std": [0]}', '{"mean": ["x"]}'):
        setattr(content, weight_files.NOTE, note)
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="damaged: its metadata"):
            weight_files.read(tmp_path / "a.pt")


def test_keras_files_of_weights(tmp_path: Any) -> None:
    from keras.src.legacy.saving import legacy_h5_format

    source, target = tiny(), tiny()
    source.save_weights(tmp_path / "a.weights.h5")
    convert.load(target, tmp_path / "a.weights.h5")
    assert_same(arrays(target), arrays(source))
    convert.from_torch(source, different(source))
    with weight_files.h5py.File(tmp_path / "b.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    assert convert.load(target, tmp_path / "b.h5").tensors == len(target.weights)
    assert_same(arrays(target), arrays(source))


def test_other_h5_files_are_refused_with_what_to_do(tmp_path: Any) -> None:
    network = tiny()
    network.save(tmp_path / "whole.h5")
    with pytest.raises(
        ValueError, match=r"whole model.*\n.*load_model\(.*save\(.*keras"
    ):
        convert.load(network, tmp_path / "whole.h5")
    network.save_weights(tmp_path / "a.weights.h5")
    os.rename(tmp_path / "a.weights.h5", tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"rename it to end in \.weights\.h5"):
        convert.load(network, tmp_path / "a.h5")
    deepmind_wide_resnet(3, (8, 8, 3), **TINY).save_weights(tmp_path / "b.weights.h5")
    before = arrays(network)
    with pytest.raises(ValueError, match="does not fit the network"):
        convert.load(network, tmp_path / "b.weights.h5")
    assert_same(arrays(network), before)
