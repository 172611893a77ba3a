"""What the attacks of other packages do to the two golden networks.

`python tests/reference/attacks.py [FAMILY ...]` writes `attacks/FAMILY.npz` beside this
file, for all families without arguments. Nothing of kmtard is used. Each file also has
the versions of the packages that made it. Only the families that are made need their
package to be installed:

    autoattack     github.com/fra31/auto-attack, commit a392200
    torchattacks   3.5.1
    foolbox        3.3.4
    adv_lib        0.2.8 (adv-lib)
    hsja           github.com/Jianbo-Lab/HSJA, commit 6a91456

The networks and images are those of `tests/golden/attacks`. Deterministic attacks use
float64, because float32 rounds the gradients of confident predictions.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "attacks"
NETS = ("nat", "rob")
L1 = 1.0
"""Radius of the L1 ball."""

Arrays = dict[str, np.ndarray]


class Net(nn.Module):
    """A golden network, for images with their channels first."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolutions, self.dense = nn.ModuleList(), nn.ModuleList()
        with np.load(GOLDEN / f"digits_a_{name}_model.npz") as weights:
            names = [key.partition("/")[0] for key in weights if "/kernel" in key]
            for layer in names:
                kernel, bias = weights[f"{layer}/kernel"], weights[f"{layer}/bias"]
                if kernel.ndim == 4:
                    padding, stride = (1, 1) if not self.convolutions else (0, 2)
                    new = nn.Conv2d(*kernel.shape[2:], 3, stride, padding)
                    kernel = kernel.transpose(3, 2, 0, 1)
                    self.convolutions.append(new)
                else:
                    new = nn.Linear(*kernel.shape)
                    kernel = kernel.T
                    self.dense.append(new)
                new.weight.data = torch.as_tensor(kernel.copy())
                new.bias.data = torch.as_tensor(bias)
            self.logits = weights["logits_test"]
        self.to(dtype).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.convolutions:
            x = layer(x).relu()
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.dense[1](self.dense[0](x).relu())


def nets(
    images: int, dtype: torch.dtype = torch.float64
) -> Iterator[tuple[str, Net, torch.Tensor, torch.Tensor]]:
    """Yield name, network, images and labels."""
    with np.load(GOLDEN / "digits_a_data.npz") as data:
        x, y = data["x_test"], data["y_test"]
    for name in NETS:
        net = Net(name, dtype)
        first = torch.as_tensor(x.transpose(0, 3, 1, 2)[:images], dtype=dtype)
        with torch.no_grad():
            found = net(first).numpy()
        np.testing.assert_allclose(found, net.logits[:images], atol=1e-3)
        yield name, net, first, torch.as_tensor(y[:images]).long()


def right(net: Net, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return whether each image is classified correctly, bool (N,)."""
    with torch.no_grad():
        return (net(x).argmax(1) == y).numpy()


def images(x: torch.Tensor) -> np.ndarray:
    """Return images with their channels last, in float32."""
    return x.detach().numpy().transpose(0, 2, 3, 1).astype("float32")


def square_l2() -> Arrays:
    """Square in L2: one run move by move, and the robust images for ten seeds."""
    from autoattack.square import SquareAttack

    found = square_l2_moves()
    for name, net, x, y in nets(256, torch.float32):
        masks = []
        for seed in range(10):
            attack = SquareAttack(
                net,
                norm="L2",
                n_queries=300,
                eps=0.8,
                seed=seed,
                resc_schedule=False,
                device="cpu",
            )
            masks.append(right(net, attack.perturb(x, y), y))
        found[f"{name}/robust"] = np.stack(masks)
    return found


def square_l2_moves() -> Arrays:
    """Twelve moves of Square in L2 that are all kept, and its random choices."""
    from autoattack.square import SquareAttack

    x = torch.rand(4, 3, 10, 11)
    calls: dict[str, list[np.ndarray]] = {"places": [], "signs": [], "turned": []}
    seen: list[np.ndarray] = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        """Return a margin that decreases with each call, so that moves are kept."""
        seen.append(images(x))
        logits = torch.zeros(len(x), 2)
        logits[:, 0] = 100.0 - len(seen)
        return logits

    attack = SquareAttack(
        predict, norm="L2", n_queries=12, eps=0.6, device="cpu", resc_schedule=True
    )
    integer, choice, eta = attack.random_int, attack.random_choice, attack.eta

    def random_int(*args: int) -> torch.Tensor:
        calls["places"].append(integer(*args).numpy())
        return torch.as_tensor(calls["places"][-1])

    def random_choice(shape: list[int]) -> torch.Tensor:
        calls["signs"].append(choice(shape).numpy())
        return torch.as_tensor(calls["signs"][-1])

    def pattern(side: int) -> torch.Tensor:
        before = torch.get_rng_state()
        calls["turned"].append((torch.rand([1]) > 0.5).numpy())
        torch.set_rng_state(before)
        return eta(side)

    attack.random_int, attack.random_choice = random_int, random_choice
    attack.eta = pattern
    attack.init_hyperparam(x)
    attack.attack_single_run(x, torch.zeros(4, dtype=torch.long))
    return {
        "moves/x": images(x),
        "moves/seen": np.stack(seen),
        **{f"moves/{name}": np.stack(values) for name, values in calls.items()},
        "moves/shares": np.array([attack.p_selection(i) for i in range(12)]),
    }


def autoattack_l2() -> Arrays:
    """AutoAttack's standard version in L2: the robust images after each attack."""
    from autoattack import AutoAttack

    found: Arrays = {}
    for name, net, x, y in nets(256, torch.float32):
        attack = AutoAttack(
            net, norm="L2", eps=0.8, version="standard", device="cpu", verbose=False
        )
        robust = right(net, x, y)
        for stage in list(attack.attacks_to_run):
            attack.attacks_to_run = [stage]
            left = torch.as_tensor(np.flatnonzero(robust))
            x_adv = attack.run_standard_evaluation(x[left], y[left], bs=256)
            robust[left] = right(net, x_adv, y[left])
            found[f"{name}/{stage}"] = robust.copy()
    return found


def targeted() -> Arrays:
    """PGD and APGD that aim at the class after the label, APGD with several radii."""
    import torchattacks
    from adv_lib.attacks import apgd

    found: Arrays = {}
    for name, net, x, y in nets(64):
        attack = torchattacks.PGD(
            net, eps=0.1, alpha=0.025, steps=10, random_start=False
        )
        attack.set_mode_targeted_by_label(quiet=True)
        found[f"{name}/pgd"] = images(attack(x, (y + 1) % 10))
    for name, net, x, y in nets(256, torch.float32):
        aim, radii = (y + 1) % 10, torch.linspace(0.02, 0.3, len(x))
        x_adv = apgd(net, x, aim, radii, float("inf"), True, loss_function="ce")
        found[f"{name}/apgd"] = right(net, x_adv, aim)
    return found


def minimal_norm() -> Arrays:
    """DeepFool, FMN and DDN: their adversarial images."""
    from adv_lib.attacks import ddn, df, fmn

    linf = float("inf")
    found: Arrays = {}
    for name, net, x, y in nets(64):
        attacks = {
            "deepfool_l2": df(net, x, y, steps=21),
            "deepfool_linf": df(net, x, y, steps=21, norm=linf),
            "fmn_l2": fmn(net, x, y, norm=2, steps=30),
            "fmn_linf": fmn(net, x, y, norm=linf, steps=30),
            "fmn_targeted": fmn(net, x, (y + 1) % 10, norm=2, targeted=True, steps=30),
            "ddn": ddn(net, x, y, steps=30),
            "ddn_smooth": ddn(net, x, y, steps=30, levels=None, init_norm=0.5),
            "ddn_targeted": ddn(net, x, (y + 1) % 10, targeted=True, steps=30),
        }
        found |= {f"{name}/{key}": images(each) for key, each in attacks.items()}
    return found


def cw_l2() -> Arrays:
    """The attack of Carlini and Wagner in L2."""
    from adv_lib.attacks import carlini_wagner_l2

    found: Arrays = {}
    for name, net, x, y in nets(48):
        for key, label, targeted in (
            ("plain", y, False),
            ("targeted", (y + 1) % 10, True),
        ):
            x_adv = carlini_wagner_l2(
                net,
                x,
                label,
                targeted=targeted,
                learning_rate=0.05,
                initial_const=0.01,
                binary_search_steps=5,
                max_iterations=30,
                abort_early=False,
            )
            found[f"{name}/{key}"] = images(x_adv)
    return found


def apgd_l1() -> Arrays:
    """APGD in L1: projections, runs from given noise, and the robust images."""
    from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    def settings(net: nn.Module, **others: Any) -> dict[str, Any]:
        return {"predict": net, "norm": "L1", "eps": L1, "device": "cpu", **others}

    found = l1_projections()
    for name, net, x, y in nets(64, torch.float32):
        # The cross-entropy of confident predictions is 0 in float32.
        attacks = {
            "dlr": APGDAttack(**settings(net, n_iter=20, loss="dlr")),
            "targeted": APGDAttack_targeted(**settings(net, n_iter=20)),
        }
        with torch.no_grad():
            attacks["targeted"].y_target = net(x).argsort(1)[:, -2]
        noise = torch.randn(x.shape)
        found[f"{name}/noise"] = images(noise)
        for key, attack in attacks.items():
            attack.init_hyperparam(x)
            with given(noise):
                found[f"{name}/{key}"] = images(attack.attack_single_run(x, y)[0])
        with given(noise):
            radii, steps = [3 * L1, 2 * L1, L1], [6, 6, 8]
            best = attacks["dlr"].decr_eps_pgd(x, y, radii, steps)[0]
        found[f"{name}/larger"] = images(best)
    for name, net, x, y in nets(256, torch.float32):
        larger = settings(net, use_largereps=True, seed=0)
        x_adv = APGDAttack(**larger, n_restarts=5).perturb(x, y)
        found[f"{name}/apgd-ce"] = right(net, x_adv, y)
        x_adv = APGDAttack_targeted(**larger, n_target_classes=5).perturb(x, y)
        found[f"{name}/apgd-t"] = right(net, x_adv, y)
    return found


def hop_skip_jump() -> Arrays:
    """HopSkipJump of its authors: the points after six steps, and the random starts.

    The random numbers for an image are those of `np.random.RandomState(its number)`:
    starts until one is misclassified, then the directions of each step.
    """
    import hsja

    # For 64 values, theta is a power of two in L_inf. Rounding would decide whether
    # there is one halving more.
    bisect = hsja.binary_search_batch
    hsja.binary_search_batch = lambda x, far, model, params: bisect(
        x, far, model, {**params, "theta": 1.001 * params["theta"]}
    )
    found: Arrays = {}
    for name, net, x, y in nets(40):
        rows = np.flatnonzero(right(net, x, y))
        found[f"{name}/rows"] = rows
        for norm in ("l2", "linf"):
            points, starts = [], []
            for row in rows:
                model = Decisions(net)
                np.random.seed(row)
                point = hsja.hsja(
                    model,
                    x[row].numpy().transpose(1, 2, 0),
                    constraint=norm,
                    num_iterations=6,
                    init_num_evals=20,
                    verbose=False,
                )
                points.append(point.astype("float32"))
                # The first call is for the label.
                starts.append(1 + model.classes[1:].index(False))
            found[f"{name}/{norm}"] = np.stack(points)
            found[f"{name}/{norm}/starts"] = np.array(starts)
    return found


class Decisions:
    """A network that HopSkipJump may attack.

    Attributes:
        classes: for each call, whether the first image has the class of the first call.
    """

    def __init__(self, net: Net) -> None:
        self.net = net
        self.first: int | None = None
        self.classes: list[bool] = []

    def predict(self, images: np.ndarray) -> np.ndarray:
        batch = images.reshape(-1, 8, 8, 1).transpose(0, 3, 1, 2)
        with torch.no_grad():
            scores = self.net(torch.as_tensor(batch)).numpy()
        predicted = int(scores[0].argmax())
        self.first = predicted if self.first is None else self.first
        self.classes.append(predicted == self.first)
        return scores


def l1_projections() -> Arrays:
    """Projections onto the intersection of an L1 ball and the box."""
    from autoattack.autopgd_base import L1_projection

    x = torch.rand(60, 40)
    sizes = torch.tensor([0.02, 0.2, 1.0]).repeat(20)[:, None]
    change = sizes * torch.randn(60, 40)
    return {
        "projection/x": x.numpy(),
        "projection/change": change.numpy(),
        "projection/projected": (change + L1_projection(x, change, 1.5)).numpy(),
    }


@contextmanager
def given(noise: torch.Tensor) -> Iterator[None]:
    """Make PyTorch return this noise instead of normal random numbers."""
    normal, normal_like = torch.randn, torch.randn_like
    torch.randn = lambda *args, **kwargs: noise.clone()
    torch.randn_like = lambda *args, **kwargs: noise.clone()
    try:
        yield
    finally:
        torch.randn, torch.randn_like = normal, normal_like


COLOR = (1.0, 0.8, 0.6)
"""What makes three channels of the grey images."""

GREY = (0.4, 0.5, 1 / 3)
"""What makes the grey images of three channels."""


class ColorNet(nn.Module):
    """A golden network for images with three channels."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.as_tensor(GREY, dtype=x.dtype)
        return self.net(torch.einsum("nchw,c->nhw", x, weights)[:, None])


def momentum() -> Arrays:
    """MI, NI, TI and, with its random choices, DI2-FGSM, on images in color."""
    import torchattacks

    found: Arrays = {}
    for name, net, grey, y in nets(48):
        x = grey * torch.as_tensor(COLOR)[None, :, None, None]
        budget = {"eps": 0.1, "alpha": 0.02, "steps": 8}
        calm = {**budget, "diversity_prob": 0.0}
        color = ColorNet(net)
        attacks = {
            "mi": torchattacks.MIFGSM(color, **budget, decay=0.9),
            "ni": torchattacks.NIFGSM(color, **budget, decay=0.9),
            "ti": torchattacks.TIFGSM(color, **calm, len_kernel=5),
            "ti_15": torchattacks.TIFGSM(color, **calm, decay=1.0),
            "di": torchattacks.DIFGSM(color, **budget, resize_rate=0.5),
        }
        draws: list[int] = []
        for key, attack in attacks.items():
            if key.startswith("ti"):
                attack.stacked_kernel = attack.stacked_kernel.double()
            recording = recorded(draws) if key == "di" else nullcontext()
            with recording:
                found[f"{name}/{key}"] = images(attack(x, y))
        # Side, rows above, columns to the left, and whether the image is resized.
        found[f"{name}/draws"] = np.array(draws).reshape(-1, 4)
    return found


@contextmanager
def recorded(draws: list[int]) -> Iterator[None]:
    """Record the random integers, and whether random numbers are below 1/2."""
    integers, numbers = torch.randint, torch.rand

    def randint(*args: int, **kwargs: Any) -> torch.Tensor:
        drawn = integers(*args, **kwargs)
        draws.append(int(drawn))
        return drawn

    def rand(*args: int) -> torch.Tensor:
        drawn = numbers(*args)
        draws.append(int(drawn < 0.5))
        return drawn

    torch.randint, torch.rand = randint, rand
    try:
        yield
    finally:
        torch.randint, torch.rand = integers, numbers


FAMILIES: dict[str, tuple[Callable[[], Arrays], tuple[str, ...]]] = {
    "apgd_l1": (apgd_l1, ("autoattack",)),
    "hop_skip_jump": (hop_skip_jump, ("hsja",)),
    "square_l2": (square_l2, ("autoattack",)),
    "cw_l2": (cw_l2, ("adv_lib",)),
    "minimal_norm": (minimal_norm, ("adv_lib",)),
    "momentum": (momentum, ("torchattacks",)),
    "targeted": (targeted, ("torchattacks", "adv_lib")),
    "autoattack_l2": (autoattack_l2, ("autoattack",)),
}
"""Name of the file -> what makes its arrays, and the packages that are needed."""

DISTRIBUTIONS = {"adv_lib": "adv-lib", "autoattack": "autoattack"}


def versions(packages: tuple[str, ...]) -> np.ndarray:
    """Return the versions of PyTorch and of some packages as text."""
    found = []
    for package in ("torch", *packages):
        importlib.import_module(package)
        try:
            found.append(f"{package} {version(DISTRIBUTIONS.get(package, package))}")
        except PackageNotFoundError:
            found.append(f"{package} from its repository")
    return np.array("; ".join(found))


def main() -> None:
    """Write the files that the command line names."""
    for family in sys.argv[1:] or FAMILIES:
        make, packages = FAMILIES[family]
        path = HERE / "attacks" / f"{family}.npz"
        torch.manual_seed(0)
        np.savez_compressed(path, versions=versions(packages), **make())
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
