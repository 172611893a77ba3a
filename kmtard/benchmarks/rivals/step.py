"""One B-MTARD step (Zhao et al., TPAMI 2024) on three PyTorch modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Step:
    """A training step with its optimizer and its balances.

    Args:
        student: module from images (batch, channels, height, width) in [0, 1] to
            logits.
        nat_teacher: the clean teacher, with the same input and output. It is frozen.
        adv_teacher: the robust teacher, with the same input and output. It is frozen.
        precision: "mixed_bfloat16", "tf32" or "float32".
        compiler: backend of `torch.compile`, or None to run eagerly.
        pgd_steps: steps of the attack.
        epsilon: radius of the attack, for images in [0, 1].
        step_size: length of a step of the attack, for images in [0, 1].
        learning_rate: learning rate of SGD.

    Attributes:
        temperatures: temperatures of the clean and the robust teacher.
        weights: weights of the two losses, in the same order.
    """

    def __init__(
        self,
        student: nn.Module,
        nat_teacher: nn.Module,
        adv_teacher: nn.Module,
        *,
        precision: str = "float32",
        compiler: str | None = None,
        pgd_steps: int = 10,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        learning_rate: float = 0.01,
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
        torch.backends.cudnn.allow_tf32 = precision != "float32"
        torch.backends.cudnn.benchmark = True
        self.network = student.to(memory_format=torch.channels_last)
        device = next(student.parameters()).device
        self.optimizer = torch.optim.SGD(
            student.parameters(), learning_rate, 0.9, weight_decay=2e-4, fused=True
        )
        for teacher in (nat_teacher, adv_teacher):
            teacher.to(memory_format=torch.channels_last)
            teacher.eval().requires_grad_(False)
        parts: tuple[Any, ...] = (student, nat_teacher, adv_teacher, self._loss)
        if compiler:
            parts = tuple(torch.compile(part, backend=compiler) for part in parts)
        self.student, self.nat_teacher, self.adv_teacher, self.loss = parts
        self.half = torch.autocast(
            device.type, torch.bfloat16, enabled=precision == "mixed_bfloat16"
        )
        self.pgd_steps, self.epsilon, self.step_size = pgd_steps, epsilon, step_size
        self.temperatures = torch.ones(2, device=device)
        self.weights = torch.full((2,), 0.5, device=device)
        self.initial_losses: torch.Tensor | None = None

    def __call__(
        self, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Train on a batch and return its loss, without waiting for the device.

        Args:
            x: (batch, channels, height, width) in [0, 1], channels last in memory.
            y: (batch,) int64.
            start: images from which the attack starts; None means random ones.
        """
        if start is None:
            start = x + 0.001 * torch.randn_like(x)
        x_adv = self.attack(x, y, start)
        self.network.train()
        with torch.no_grad(), self.half:
            targets = self.nat_teacher(x), self.adv_teacher(x_adv)
        with self.half:
            adv_logits = self.student(x_adv)
            nat_logits = self.student(x)
        losses = self.loss(nat_logits, adv_logits, *targets, self.temperatures)
        self._balance(losses.detach(), *targets)
        loss = (self.weights * losses).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def attack(self, x: torch.Tensor, y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """Return the adversarial images of PGD, started from `u`."""
        self.network.eval()
        # Otherwise a compiled backward pass would compute the gradients of all weights.
        self.network.requires_grad_(False)
        for _ in range(self.pgd_steps):
            u = u.detach().requires_grad_()
            with self.half:
                logits = self.student(u)
            loss = functional.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, u)
            u = u.detach() + self.step_size * gradient.sign()
            u = torch.clamp(u, x - self.epsilon, x + self.epsilon).clamp(0, 1)
        self.network.requires_grad_(True)
        return u

    @staticmethod
    def _loss(
        nat_logits: torch.Tensor,
        adv_logits: torch.Tensor,
        nat_target: torch.Tensor,
        adv_target: torch.Tensor,
        temperatures: torch.Tensor,
    ) -> torch.Tensor:
        """Return both distillation losses: element means, times classes / 10."""
        logits = torch.stack([nat_logits, adv_logits])
        targets = torch.stack([nat_target, adv_target]) / temperatures.view(2, 1, 1)
        soft = targets.softmax(-1)
        divergence = soft * ((soft + 1e-5).log() - logits.log_softmax(-1))
        return divergence.sum(-1).mean(-1) / 10

    @torch.no_grad()
    def _balance(
        self, losses: torch.Tensor, nat_target: torch.Tensor, adv_target: torch.Tensor
    ) -> None:
        """Update the weights (NLB) and then the temperatures (EBB)."""
        if self.initial_losses is None:
            self.initial_losses = losses.clone()
        relative = losses / self.initial_losses
        weights = 0.025 * relative / relative.sum() + 0.975 * self.weights
        self.weights = weights / weights.sum()
        targets = torch.stack([nat_target, adv_target])
        soft = (targets / self.temperatures.view(2, 1, 1)).softmax(-1)
        entropies = -(soft * (soft + 1e-5).log()).sum(-1).mean(-1)
        sign = (entropies[0] - entropies[1]).sign()
        moves = 1e-3 * torch.stack([-sign, sign])
        self.temperatures = (self.temperatures + moves).clamp(1, 10)
