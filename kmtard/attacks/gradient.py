"""Attacks that follow the sign of the gradient: FGSM and PGD in their settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kmtard import backend
from kmtard.attacks.base import Attack

GAUSSIAN_STD = 0.001
"""Size of TRADES' and MTARD's start noise, in pixel intensity."""


def _gaussian(x: Any, epsilon: float, seed: Any) -> Any:
    del epsilon
    noise = keras.random.normal(ops.shape(x), dtype=x.dtype, seed=seed)
    return x + GAUSSIAN_STD * noise


def _uniform(x: Any, epsilon: float, seed: Any) -> Any:
    return x + keras.random.uniform(
        ops.shape(x), -epsilon, epsilon, dtype=x.dtype, seed=seed
    )


STARTS: dict[str, Callable[[Any, float, Any], Any]] = {
    "clean": lambda x, epsilon, seed: x,
    "gaussian": _gaussian,
    "gaussian_clipped": lambda *args: ops.clip(_gaussian(*args), 0.0, 1.0),
    "uniform": _uniform,
    "uniform_clipped": lambda *args: ops.clip(_uniform(*args), 0.0, 1.0),
}
"""Where the first gradient is taken; only the names in `_clipped` stay in [0, 1]."""


@keras.saving.register_keras_serializable(package="kmtard")
class PGD(Attack):
    """Projected gradient descent in the L_inf ball (Madry et al. 2018).

    `u <- clip(clip(u + step_size sign(grad), x - epsilon, x + epsilon), 0, 1)`.
    The last iterate is returned; sign(0) = 0; nothing flows back through it.

    Args:
        epsilon: radius in pixel intensity, >= 0; 8/255 in the papers.
        step_size: >= 0.
        steps: number of gradients, >= 0; with 0 the start is returned.
        start: a name of `STARTS` ("gaussian" is TRADES' and B-MTARD's training start,
            "uniform_clipped" that of the evaluation), or your own `x -> start`.
        unroll: write all steps out for the compiler (faster on a CPU, slower to
            compile) or loop; None chooses by the device.

    Raises:
        ValueError: an argument is out of its range or not known.
    """

    def __init__(
        self,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        steps: int = 10,
        start: str | Callable[[Any], Any] = "gaussian",
        unroll: bool | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"epsilon": epsilon, "step_size": step_size}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be finite, >= 0. Received: {value}")
        if steps != int(steps) or steps < 0:
            raise ValueError(f"`steps` must be a whole number >= 0. Received: {steps}")
        if not callable(start) and start not in STARTS:
            raise ValueError(
                f"`start` must be a function or one of {sorted(STARTS)}. "
                f"Received: {start!r}"
            )
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = int(steps)
        self.start = start
        self.unroll = unroll

    @property
    def backwards(self) -> int:  # type: ignore[override]
        """Gradients taken for an image."""
        return self.steps

    def perturb(
        self,
        predict: Callable[[Any], Any],
        x: Any,
        objective: Callable[[Any], Any],
        *,
        seed: Any = None,
        state: Sequence[Any] = (),
    ) -> Any:
        """Return the last iterate; see `Attack.perturb`."""

        def step(_: Any, u: Any) -> Any:
            gradient = backend.input_gradient(
                lambda images: objective(predict(images)), u, state
            )
            u = u + self.step_size * ops.sign(gradient)
            return ops.clip(ops.clip(u, x - self.epsilon, x + self.epsilon), 0.0, 1.0)

        u = self._start(x, seed)
        unroll = backend.on_cpu() if self.unroll is None else self.unroll
        # A compiled loop cannot hand out what its body assigns.
        if unroll or state:
            for index in range(self.steps):
                u = step(index, u)
        else:
            u = ops.fori_loop(0, self.steps, step, u)
        return ops.stop_gradient(u)

    def _start(self, x: Any, seed: Any) -> Any:
        if isinstance(self.start, str):
            return STARTS[self.start](x, self.epsilon, seed)
        return ops.cast(self.start(x), x.dtype)

    def get_config(self) -> dict:
        """Return the arguments that make an equal attack."""
        return {
            "epsilon": self.epsilon,
            "step_size": self.step_size,
            "steps": self.steps,
            "start": keras.saving.serialize_keras_object(self.start),
            "unroll": self.unroll,
        }

    @classmethod
    def from_config(cls, config: dict) -> PGD:
        """Make the attack that `get_config` described."""
        start = keras.saving.deserialize_keras_object(config["start"])
        return cls(**{**config, "start": start})


def fgsm(*, epsilon: float = 8 / 255) -> PGD:
    """One step of size `epsilon` from the clean image (Goodfellow et al. 2015)."""
    return PGD(epsilon, step_size=epsilon, steps=1, start="clean")


def pgd_sat(
    *, epsilon: float = 8 / 255, step_size: float = 2 / 255, steps: int = 20
) -> PGD:
    """PGD as SAT is judged with: uniform start, 20 steps of 2/255."""
    return PGD(epsilon, step_size, steps, start="uniform_clipped")


def pgd_trades(
    *, epsilon: float = 8 / 255, step_size: float = 0.003, steps: int = 20
) -> PGD:
    """PGD as TRADES and the MTARD papers choose checkpoints with: 20 steps of 0.003."""
    return PGD(epsilon, step_size, steps, start="uniform_clipped")
