"""PGD (Madry et al. 2018) and Auto-PGD (Croce and Hein 2020) in plain PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Evaluation:
    """A network in evaluation mode, and the attacks on it.

    Args:
        network: module from images (batch, channels, height, width) in [0, 1] to
            logits.
        compiler: backend of `torch.compile`, or None to run eagerly.
    """

    def __init__(self, network: nn.Module, *, compiler: str | None = None) -> None:
        network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.network = network
        if compiler:
            self.network = torch.compile(network, backend=compiler)

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Return the predicted class of each image, (batch,) int64."""
        predicted: torch.Tensor = self.network(x).argmax(-1)
        return predicted

    def pgd(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        start: torch.Tensor,
        *,
        steps: int,
        epsilon: float,
        step_size: float,
    ) -> torch.Tensor:
        """Return the last iterate of PGD in the L_inf ball.

        Args:
            x: (batch, channels, height, width) in [0, 1], channels last in memory.
            y: (batch,) int64.
            start: images from which the attack starts.
            steps: number of steps.
            epsilon: radius, for images in [0, 1].
            step_size: length of a step, for images in [0, 1].
        """
        u = start
        for _ in range(steps):
            _, gradient, _ = self._evaluated(u, y)
            u = u + step_size * gradient.sign()
            u = torch.clamp(u, x - epsilon, x + epsilon).clamp(0, 1)
        return u

    def apgd(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        start: torch.Tensor,
        *,
        steps: int,
        epsilon: float,
        rho: float = 0.75,
    ) -> torch.Tensor:
        """Return the last misclassified iterates of APGD on the cross-entropy, or `x`.

        Args:
            x: as in `pgd`.
            y: as in `pgd`.
            start: as in `pgd`.
            steps: number of steps.
            epsilon: radius of the L_inf ball, for images in [0, 1].
            rho: share of steps in [0, 1] that must increase the loss.
        """
        shape = (-1, 1, 1, 1)

        def project(u: torch.Tensor) -> torch.Tensor:
            return torch.clamp(u, x - epsilon, x + epsilon).clamp(0, 1)

        u = previous = best = start
        best_loss, gradient, wrong = self._evaluated(u, y)
        best_gradient, checked_loss = gradient, best_loss
        loss, increases = torch.zeros_like(best_loss), torch.zeros_like(best_loss)
        size = torch.full_like(best_loss, 2 * epsilon)
        halved, inertia = torch.ones_like(wrong), 0.0
        adversarial = torch.where(wrong.view(shape), u, x)
        lengths = _windows(steps)
        for length in (*lengths, steps - sum(lengths)):
            for _ in range(length):
                w = project(u + size.view(shape) * gradient.sign())
                moved = u + (1 - inertia) * (w - u) + inertia * (u - previous)
                previous, u, inertia = u, project(moved), 0.25
                last = loss
                loss, gradient, wrong = self._evaluated(u, y)
                better = loss > best_loss
                best = torch.where(better.view(shape), u, best)
                best_gradient = torch.where(better.view(shape), gradient, best_gradient)
                best_loss = torch.where(better, loss, best_loss)
                increases = increases + (loss > last)
                adversarial = torch.where(wrong.view(shape), u, adversarial)
            stalled = ~halved & (best_loss <= checked_loss)
            halved = stalled | (increases <= rho * length)
            u = torch.where(halved.view(shape), best, u)
            gradient = torch.where(halved.view(shape), best_gradient, gradient)
            size = torch.where(halved, size / 2, size)
            checked_loss, increases = best_loss, torch.zeros_like(increases)
        return adversarial

    def _evaluated(
        self, u: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the losses, their gradient, and which images are misclassified."""
        u = u.detach().requires_grad_()
        logits = self.network(u)
        losses = functional.cross_entropy(logits, y, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), u)
        return losses.detach(), gradient, logits.detach().argmax(-1) != y


def _windows(steps: int) -> list[int]:
    """Return the number of steps between consecutive checkpoints of APGD."""
    lengths, left, length = [], steps, max(int(0.22 * steps), 1)
    while length <= left:
        lengths.append(length)
        left -= length
        length = max(length - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return lengths
