"""What RobustBench says about its CIFAR models, and what its own classes compute.

`python tests/reference/robustbench.py CHECKOUT` reads a checkout of
RobustBench/robustbench (MIT license; commit 78fcc9e was used, with PyTorch 2.13.0 and
torchvision 0.28.0) and writes two files:

- `kmtard/registry/robustbench.json`: for each entry of the leaderboards its network,
  the options, the standardization and the published numbers, or why it is refused.
  These facts are read from the arguments with which RobustBench builds its classes.
- `robustbench.json` beside this file: a digest of the keys and shapes of each class,
  built on PyTorch's meta device, and the logits of one network per family. Its weights
  come from `weights`, so that they need not be stored.

Packages that only refused entries need (timm, ...) are replaced by placeholders.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
import sys
import types
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

HERE = Path(__file__).resolve().parent
FACTS = HERE.parents[1] / "kmtard" / "registry" / "robustbench.json"
GOLDEN = HERE / "robustbench.json"
COMMIT = "78fcc9e48a07a861268f295a777b975f25155964"
ARCHITECTURES = "robustbench.model_zoo.architectures"
DATA = ("cifar10", "cifar100")
THREATS = {"linf": "Linf", "l2": "L2", "common_corruptions": "corruptions"}
REFUSED_MODULES = ("resnest", "xcit", "comp_model", "sodef_layers", "sparsified_model")
OTHER_REFUSED_MODULES = ("CARD_resnet", "resnext")
CLASSES = {
    "wide_resnet": ("WideResNet",),
    "dm_wide_resnet": ("DMWideResNet", "DMPreActResNet"),
    "resnet": ("ResNet", "PreActResNet"),
    "robust_wide_resnet": ("RobustWideResNet",),
    "robust_resnet": ("PreActResNet",),
    "paf_wide_resnet": ("PAF_WideResNet",),
    "boosting_wide_resnet": ("WideResNet",),
    "robustarch_wide_resnet": ("NormalizedWideResNet",),
}
LAST = r"Kireev2021Effectiveness|^Andriushchenko2020Understanding$"
REFUSALS = {
    r"XCiT": "it is a transformer",
    r"^Bai20": "it is a mixture of several networks",
    r"^Chen2020Adversarial$|CARD_Deck": "it is an ensemble of several networks",
    r"^Kang2021": "it solves a differential equation",
    r"MeanSparse": "it replaces features near their mean by the mean, in layers that "
    "kmtard does not have",
    r"ResNest": "it is a ResNeSt, with split attention that kmtard does not have",
    r"Winning_(LRR|Binary)$": "it is a pruned network in a form of its own",
    r"ResNeXt": "it is a ResNeXt, with grouped convolutions that kmtard does not have",
}
NO_WEIGHTS = "RobustBench lists it without publishing its weights"
NOT_KEYS = re.compile(
    r"(normalize\.)?(mu|sigma|mean|std)|sub_block1\..*|.*num_batches_tracked"
    r"|block\d\.layer\.\d+\.activation\..*"
)


def weights(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the value of a tensor, the same wherever it is computed.

    Args:
        key: its key in the state dict, without a prefix.
        shape: its shape in PyTorch.
    """
    # Dai's code has one activation under the names of all blocks.
    key = key.rpartition("activation.")[2]
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith(("running_var", "alpha")):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) < 2:
        center = 1.0 if key.endswith("weight") else 0.0
        return generator.normal(center, 0.2, shape).astype(np.float32)
    return generator.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)


def images() -> np.ndarray:
    """Return two images, (2, 32, 32, 3) in [0, 1]."""
    return np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


def digest(shapes: Mapping[str, Iterable[int]]) -> str:
    """Return a hash of keys and shapes, without buffers that no network computes with.

    Args:
        shapes: key -> shape in PyTorch.
    """
    lines = [
        f"{key} {list(shape)}"
        for key, shape in sorted(shapes.items())
        if not NOT_KEYS.fullmatch(key)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _package(name: str, path: Path) -> None:
    module = types.ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module


def _zoo(checkout: Path, *, recorded: bool) -> dict[str, Any]:
    """Import the model zoo anew, and return entry -> function that builds its model."""
    import torch

    class Recorder(torch.nn.Module):
        """Keeps the arguments of a network instead of building it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__()
            self.args, self.kwargs = args, kwargs

    roots = ("robustbench", "torchvision")
    for name in [each for each in sys.modules if each.partition(".")[0] in roots]:
        del sys.modules[name]
    place = checkout / "robustbench"
    _package("robustbench", place)
    _package("robustbench.model_zoo", place / "model_zoo")
    _package(ARCHITECTURES, place / "model_zoo" / "architectures")
    sys.modules["timm"] = MagicMock()
    # The package as a whole needs compiled operators; its `ops.misc` does not.
    spec = importlib.util.find_spec("torchvision")
    vision = Path(str(spec and spec.origin)).parent
    _package("torchvision", vision)
    _package("torchvision.ops", vision / "ops")
    for name in (*REFUSED_MODULES, *OTHER_REFUSED_MODULES):
        module = MagicMock()
        for kind in ("CifarResNeXt", "LRR_ResNet", "WidePreActResNet"):
            setattr(module, kind, type(kind, (Recorder,), {}))
        sys.modules[f"{ARCHITECTURES}.{name}"] = module
        setattr(sys.modules[ARCHITECTURES], name, module)
    if recorded:
        for name, kinds in CLASSES.items():
            module = importlib.import_module(f"{ARCHITECTURES}.{name}")
            for kind in kinds:
                setattr(module, kind, type(kind, (Recorder,), {}))
    found = {}
    for data in DATA:
        module = importlib.import_module(f"robustbench.model_zoo.{data}")
        for table, threat in THREATS.items():
            for name, entry in getattr(module, table, {}).items():
                found[f"{data}/{threat}/{name}"] = entry["model"]
    return found


def facts(checkout: Path) -> dict[str, dict[str, Any]]:
    """Return what is known about each entry of the leaderboards."""
    zoo = _zoo(checkout, recorded=True)
    found = {}
    for path in sorted((checkout / "model_info").glob("cifar*/*/*.json")):
        data, threat = path.parts[-3:-1]
        if data not in DATA or threat not in THREATS.values():
            continue
        key = f"{data}/{threat}/{path.stem}"
        told = _published(json.loads(path.read_text(encoding="utf-8")))
        reasons = [
            text for rule, text in REFUSALS.items() if re.search(rule, path.stem)
        ]
        if key not in zoo:
            found[key] = {"refused": NO_WEIGHTS, **told}
        elif reasons:
            found[key] = {"refused": reasons[0], **told}
        else:
            found[key] = {**_network(path.stem, zoo[key]()), **told}
    missing = zoo.keys() - found.keys()
    assert not missing, missing  # noqa: S101
    return found


def _published(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the published numbers in %, and the paper."""
    numbers = {
        name: float(info[key])
        for name, key in (
            ("clean", "clean_acc"),
            ("autoattack", "autoattack_acc"),
            ("corruptions", "corruptions_acc"),
        )
        if str(info.get(key) or "").strip()
    }
    return {
        **({"epsilon": info["eps"]} if info["eps"] not in (None, "null") else {}),
        **numbers,
        "architecture": info["architecture"],
        "paper": info["name"],
        "link": info["link"],
    }


def _network(name: str, model: Any) -> dict[str, Any]:
    """Return the function of kmtard that builds a model, and its arguments."""
    kinds = [each.__name__ for each in type(model).__mro__]
    args, kwargs = model.args, dict(model.kwargs)
    told: dict[str, Any] = {}
    constants = {
        each: [round(value, 8) for value in buffer.flatten().tolist()]
        for each, buffer in model.named_buffers()
    }
    if constants and not name.startswith("Modas2021"):
        told |= {"mean": constants["mu"], "std": constants["sigma"]}
    if "mean" in kwargs:
        told |= {"mean": list(kwargs["mean"]), "std": list(kwargs["std"])}
    if name.startswith("Hendrycks2019Using"):
        told |= {"mean": "2x-1", "std": "2x-1"}
    if name == "Ding2020MMA":
        told["each_image"] = True
    if re.search(LAST, name):
        told["nest"] = "last"
    return {**_family(name, kinds, args, kwargs), **told}


def _family(
    name: str, kinds: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    wide, variants = "wide_resnet", "wide_resnet_variants"
    if "DMWideResNet" in kinds:
        _expect_silu(kwargs)
        options = {"depth": kwargs["depth"], "width": kwargs["width"]}
        return {"network": f"{wide}:deepmind_wide_resnet", "options": options}
    if "DMPreActResNet" in kinds:
        _expect_silu(kwargs)
        return {"network": "preact_resnet:deepmind_preact_resnet18"}
    if "WideResNet" in kinds or "PAF_WideResNet" in kinds:
        given = dict(zip(("depth", "widen_factor"), args, strict=False)) | kwargs
        options = {"depth": given["depth"], "width": given.get("widen_factor", 10)}
        target = f"{wide}:trades_wide_resnet"
        if "BoostingWideResNet" in kinds:
            target = f"{variants}:cosine_wide_resnet"
        if "PAF_WideResNet" in kinds:
            options = {"depth": kwargs["depth"], "width": kwargs["widen_factor"]}
            target = f"{variants}:pssilu_wide_resnet"
        return {"network": target, "options": options}
    if "RobustWideResNet" in kinds or "channel_configs" in kwargs:
        options = {
            "channels": list(kwargs["channel_configs"][1:]),
            "blocks": list(kwargs["depth_configs"]),
        }
        if "activations" in kwargs:
            options["silu"] = True
        target = f"{variants}:shaped_wide_resnet"
        more = {}
        if kwargs.get("pre_process"):
            # The class creates these buffers itself.
            more = {
                "mean": [0.4914, 0.4822, 0.4465],
                "std": [0.2471, 0.2435, 0.2616],
            }
        return {"network": target, "options": options, **more}
    if "NormalizedWideResNet" in kinds:
        options = {
            "channels": list(kwargs["stage_width"]),
            "blocks": list(kwargs["depth"]),
        }
        mean, std = map(list, args)
        target = f"{variants}:squeezed_wide_resnet"
        return {"network": target, "options": options, "mean": mean, "std": std}
    block, layers = args[0].__name__, args[1]
    if "PreActResNet" in kinds and layers == [2, 2, 2, 2]:
        active = block == "PreActBlockV2" or kwargs.get("out_shortcut", False)
        last = kwargs.get("bn_before_fc", False)
        if active == last:
            variant = "preact_resnet18" if last else "fast_preact_resnet18"
            return {"network": f"preact_resnet:{variant}"}
    shapes = {"BasicBlock": [2, 2, 2, 2], "Bottleneck": [3, 4, 6, 3]}
    if "ResNet" in kinds and shapes.get(block) == layers:
        depth = 18 if block == "BasicBlock" else 50
        return {"network": f"resnet:resnet{depth}"}
    raise ValueError(f"{name}: no network of kmtard is known for {kinds}, {args}.")


def _expect_silu(kwargs: Mapping[str, Any]) -> None:
    if kwargs["activation_fn"].__name__ not in ("Swish", "SiLU"):
        raise ValueError(f"Expected SiLU. Received: {kwargs['activation_fn']}.")


def digests(checkout: Path, wanted: Iterable[str]) -> dict[str, str]:
    """Return entry -> digest of the keys and shapes of RobustBench's own class."""
    import torch

    zoo = _zoo(checkout, recorded=False)
    found = {}
    with torch.device("meta"):
        for key in wanted:
            state = zoo[key]().state_dict()
            found[key] = digest({name: each.shape for name, each in state.items()})
    return found


def logits(checkout: Path) -> dict[str, list[list[float]]]:
    """Return family -> logits of RobustBench's own class for `images`."""
    import torch

    _zoo(checkout, recorded=False)
    at = {name: importlib.import_module(f"{ARCHITECTURES}.{name}") for name in CLASSES}
    zoo = importlib.import_module("robustbench.model_zoo.cifar10")
    constants = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
    silu = torch.nn.SiLU
    # Of families with many large entries, a small network is enough.
    models = {
        "trades": at["wide_resnet"].WideResNet(depth=10, widen_factor=2),
        "deepmind": at["dm_wide_resnet"].DMWideResNet(
            10, 10, 2, at["dm_wide_resnet"].Swish, **constants
        ),
        "deepmind_preact": at["dm_wide_resnet"].DMPreActResNet(
            10, 18, 0, silu, **constants
        ),
        "fast_preact": zoo.Wong2020FastNet(),
        "preact": zoo.Rice2020OverfittingNetL2(),
        "resnet18": at["resnet"].ResNet18(),
        "resnet50": zoo.Engstrom2019RobustnessNet(),
        "exploring": at["robust_wide_resnet"].RobustWideResNet(
            10, [16, 32, 64, 48], [2, 1, 2]
        ),
        "revisiting": at["robust_resnet"].PreActResNet(
            10,
            (16, 32, 64, 48),
            (2, 1, 2),
            activations=("SiLU",) * 3,
            use_init=False,
            pre_process=True,
        ),
        "pssilu": at["paf_wide_resnet"].PAF_WideResNet(
            at["paf_wide_resnet"].PSSiLU(), depth=10, widen_factor=2
        ),
        "cosine": at["boosting_wide_resnet"].BoostingWideResNet(10, 2),
        "squeezed": at["robustarch_wide_resnet"].NormalizedWideResNet(
            *constants.values(),
            stem_width=96,
            depth=[2, 1, 1],
            stage_width=[24, 32, 48],
            groups=[1, 1, 1],
            activation_fn=silu,
            se_ratio=0.25,
            se_activation=torch.nn.ReLU,
            se_order=2,
        ),
        "each_image": zoo.Ding2020MMANet(depth=10, widen_factor=2),
        "twice": zoo.Hendrycks2019UsingNet(depth=10, widen_factor=2),
    }
    x = torch.from_numpy(images().transpose(0, 3, 1, 2).copy())
    found = {}
    for name, model in models.items():
        state = {
            key: each
            if key in ("mu", "sigma")
            else torch.from_numpy(weights(key, tuple(each.shape)))
            for key, each in model.state_dict().items()
        }
        model.load_state_dict(state, strict=True)
        with torch.no_grad():
            found[name] = model.eval()(x).double().numpy().round(7).tolist()
    return found


def write(checkout: Path) -> None:
    """Write both files."""
    known = facts(checkout)
    lines = [f"  {json.dumps(key)}: {json.dumps(each)}" for key, each in known.items()]
    source = (
        f"facts about RobustBench's models, of RobustBench/robustbench {COMMIT[:7]}"
    )
    head = f'{{\n"source": {json.dumps(source)},\n"entries": {{\n'
    FACTS.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    wanted = [key for key, each in known.items() if "network" in each]
    golden = {"keys": digests(checkout, wanted), "logits": logits(checkout)}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
