"""Whole training steps in float64 with plain PyTorch, from the papers' formulas.

`python tests/reference/steps.py` writes `steps.npz` beside this file. Nothing of kmtard
is used: a network is one convolution and one dense layer, PGD and losses are written
out here, and PyTorch's own SGD takes the steps. Covered is what the authors' numbers in
`tests/golden` leave out: AdaAD and MART, 100 classes, convolutions, alpha below 1, IAD
before its third term, SCORE without its clip.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

PATH = Path(__file__).with_name("steps.npz")
STEPS, BATCH, SHAPE, FILTERS = 3, 6, (4, 4, 1), 3
EPSILON, STEP_SIZE, ATTACK_STEPS = 8 / 255, 2 / 255, 3
PARTS = ("kernel", "conv_bias", "dense", "bias")
Weights = list[torch.Tensor]
CASES: dict[str, tuple[str, int, dict[str, float]]] = {
    "adaad_c10": ("adaad", 10, {"alpha": 1.0}),
    "adaad_c10_alpha": ("adaad", 10, {"alpha": 0.7}),
    "adaad_c100": ("adaad", 100, {"alpha": 1.0}),
    "adaad_c100_alpha": ("adaad", 100, {"alpha": 0.7}),
    "mart_c10": ("mart", 10, {"beta": 5.0}),
    "mart_c100": ("mart", 100, {"beta": 6.0}),
    "rslad_c100": ("rslad", 100, {}),
    "ard_c100": ("ard", 100, {"alpha": 0.95, "temperature": 5.0}),
    "iad_c10": ("iad", 10, {"alpha": 0.9, "temperature": 2.0}),
    "score_c10": ("score", 10, {"beta": 6.0}),
}
"""Name -> method, classes, its constants."""


def logits(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """Convolve, ReLU, flatten with the channels last, then the dense layer."""
    kernel, conv_bias, dense, bias = weights
    maps = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), conv_bias)
    return F.relu(maps).permute(0, 2, 3, 1).flatten(1) @ dense + bias


def kl(target: torch.Tensor, other: torch.Tensor, floor: float = 0) -> torch.Tensor:
    """KL of softmax(other) from softmax(target), for each image."""
    p = F.softmax(target, -1)
    return (p * (torch.log(p + floor) - F.log_softmax(other, -1))).sum(-1)


def distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Squared distance of two arrays of probabilities, for each image."""
    return ((first - second) ** 2).sum(-1)


def inner(
    method: str, student: Weights, teacher: Weights, x: torch.Tensor, y: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What the attack maximises, a function of the attacked images."""
    if method == "adaad":
        return lambda u: kl(logits(teacher, u), logits(student, u)).sum()
    if method == "rslad":
        return lambda u: kl(logits(teacher, x), logits(student, u)).sum()
    if method == "score":
        reference = F.softmax(logits(student, x), -1).detach()
        return lambda u: distance(F.softmax(logits(student, u), -1), reference).sum()
    return lambda u: F.cross_entropy(logits(student, u), y, reduction="sum")


def outer(
    method: str,
    student: Weights,
    teacher: Weights,
    images: tuple[torch.Tensor, torch.Tensor],
    y: torch.Tensor,
    constants: dict[str, float],
) -> torch.Tensor:
    """The batch's loss."""
    x, x_adv = images
    nat, adv = logits(student, x), logits(student, x_adv)
    classes = nat.shape[1]
    alpha, beta = constants.get("alpha", 1.0), constants.get("beta", 1.0)
    if method == "adaad":
        # Their scripts: element mean for CIFAR-10, batch mean for CIFAR-100.
        divisor = classes if classes == 10 else 1
        robust = kl(logits(teacher, x_adv), adv).mean() / divisor
        return (
            alpha * robust + (1 - alpha) * kl(logits(teacher, x), nat).mean() / divisor
        )
    if method == "mart":
        p, q = F.softmax(nat, -1), F.softmax(adv, -1)
        own = F.one_hot(y, classes).bool()
        other = q.masked_fill(own, 0).max(-1).values
        boosted = F.cross_entropy(adv, y) - torch.log(1.0001 - other + 1e-12).mean()
        divergence = (p * (torch.log(p) - torch.log(q + 1e-12))).sum(-1)
        return boosted + beta * (divergence * (1.0000001 - p[own])).mean()
    if method == "rslad":
        # 10 classes have the element mean, and 100 ten times that.
        taught = logits(teacher, x)
        robust, natural = (kl(taught, each, 1e-5).mean() / 10 for each in (adv, nat))
        return 5 / 6 * robust + 1 / 6 * natural
    if method == "score":
        p, q = F.softmax(nat, -1), F.softmax(adv, -1)
        labels = F.one_hot(y, classes).to(p.dtype)
        return (distance(p, labels) + beta * distance(q, p)).mean()
    tau = constants["temperature"]
    soft = kl(logits(teacher, x) / tau, adv / tau).mean()
    if method == "ard":
        soft = soft / classes
    return alpha * tau**2 * soft + (1 - alpha) * F.cross_entropy(nat, y)


def attack(
    objective: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    start: torch.Tensor,
) -> torch.Tensor:
    """PGD in the L_inf ball."""
    u = start
    for _ in range(ATTACK_STEPS):
        u = u.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(u), u)
        u = u + STEP_SIZE * gradient.sign()
        u = torch.minimum(torch.maximum(u, x - EPSILON), x + EPSILON).clamp(0, 1)
    return u.detach()


def initial(rng: np.random.Generator, classes: int) -> list[np.ndarray]:
    """Draw the weights of a network; float32 holds them exactly."""
    shapes = ((3, 3, 1, FILTERS), (FILTERS,), (4 * FILTERS, classes), (classes,))
    return [rng.normal(0, 0.7, shape).astype("float32") for shape in shapes]


def make() -> dict[str, np.ndarray]:
    """Compute all arrays of the file."""
    rng = np.random.default_rng(0)
    draws = (STEPS, BATCH, *SHAPE)
    arrays = {
        "x": rng.uniform(0, 1, draws).astype("float32"),
        "noise": rng.normal(0, 0.01, draws).astype("float32"),
    }
    for classes in (10, 100):
        arrays[f"labels_c{classes}"] = rng.integers(0, classes, (STEPS, BATCH))
        for role in ("student", "teacher"):
            for part, value in zip(PARTS, initial(rng, classes), strict=True):
                arrays[f"{role}_c{classes}_{part}"] = value
    for name in CASES:
        arrays |= trained(name, arrays)
    return arrays


def trained(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Train one case; return its losses and last weights."""
    method, classes, constants = CASES[name]

    def network(role: str) -> Weights:
        keys = (f"{role}_c{classes}_{part}" for part in PARTS)
        return [torch.tensor(arrays[key].astype("float64")) for key in keys]

    student, teacher = network("student"), network("teacher")
    for weight in student:
        weight.requires_grad_()
    optimizer = torch.optim.SGD(student, lr=0.1, momentum=0.9, weight_decay=2e-4)
    losses = []
    for step in range(STEPS):
        x = torch.tensor(arrays["x"][step].astype("float64"))
        y = torch.tensor(arrays[f"labels_c{classes}"][step])
        # As the tests hand it over: a sum in float32.
        start = torch.tensor(arrays["x"][step] + arrays["noise"][step]).double()
        x_adv = attack(inner(method, student, teacher, x, y), x, start)
        loss = outer(method, student, teacher, (x, x_adv), y, constants)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    found = {f"{name}__loss": np.array(losses)}
    for part, weight in zip(PARTS, student, strict=True):
        found[f"{name}__{part}"] = weight.detach().numpy().astype("float32")
    return found


if __name__ == "__main__":
    np.savez_compressed(PATH, **make())
