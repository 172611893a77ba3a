"""Square attack: a random search over squares of extreme color, without gradients."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import losses
from kmtard.attacks import square_l2, square_linf
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import NORMS
from kmtard.attacks.shrinking import shrinking_loop
from kmtard.attacks.square_linf import Draws, Known
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import PositiveShare, Queries, Radius, Repeats, checked

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations out of 10000 after which the share of changed pixels is halved."""

SCHEDULES = ("raw", "rescaled")
LOSSES = {
    "margin": losses.margin,
    "ce": lambda labels, logits: -losses.cross_entropy(labels, logits),
}
"""The losses that the attack can minimize, functions of labels and logits."""

BLOCK = 100
"""Number of iterations between two checks of which images are finished."""

DRAWN = 1000
"""Number of iterations for which random choices are made at once."""


def shares(queries: int, *, p_init: float = 0.8, schedule: str = "raw") -> np.ndarray:
    """Return the share of the pixels that each iteration may change.

    Args:
        queries: number of iterations.
        p_init: share in the first iterations, in (0, 1].
        schedule: "raw" halves the share after the iterations in `HALVINGS`, as
            AutoAttack does. "rescaled" scales these numbers by `queries / 10000`, as
            the authors do.

    Returns:
        (queries,) in (0, 1].
    """
    iterations = np.arange(queries)
    if schedule == "rescaled":
        iterations = iterations * 10000 // queries
    return p_init / 2.0 ** np.searchsorted(HALVINGS, iterations)


@keras.saving.register_keras_serializable(package="kmtard")
class Square(Attack):
    """Square attack (Andriushchenko et al. 2020) in the L_inf or L2 ball.

    This is AutoAttack's version. In L_inf, the attack starts with vertical stripes of
    `x +- epsilon`. Each iteration draws a square window and one sign per channel for
    each image, and sets the window to `x +- epsilon`.

    In L2, the attack starts with tiles, each a hill and a hollow. Each iteration draws
    two windows. It removes the change in the second one, and adds such a pattern to the
    change in the first one, with the length that this makes available. The whole change
    always has the length epsilon, before it is clipped to [0, 1].

    An iteration is kept if the loss decreases or the prediction is wrong. An image is
    finished once its prediction is wrong.

    In L_inf, small images often get a window again that they had before, or one that
    changes nothing. Its loss is known. So the iteration counts as a query, as in
    AutoAttack, but costs no forward pass. The images found are the same. A randomized
    model is asked anyway.

    Args:
        epsilon: radius, >= 0, in pixel intensity (L_inf) or Euclidean length (L2).
        queries: largest number of queries per image and run, including the start, >= 1.
            AutoAttack's 5000 iterations are 5001 queries.
        p_init: share of the pixels that the first windows cover, in (0, 1].
        schedule: schedule of this share, a name in `SCHEDULES`; see `shares`.
        loss: "margin", or "ce" for the cross-entropy.
        restarts: number of runs, >= 1, each on the images that no earlier run has
            fooled.
        norm: "linf" or "l2".

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> result = kmtard.attacks.Square(8 / 255, queries=1000).run(model, x, y)
        >>> queries = result.queries[result.success]
    """

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        queries: Queries = 5001,
        p_init: PositiveShare = 0.8,
        schedule: str = "raw",
        loss: str = "margin",
        restarts: Repeats = 1,
        norm: str = "linf",
    ) -> None:
        self.epsilon = epsilon
        self.queries = int(queries)
        self.p_init = p_init
        self.schedule = one_of("schedule", schedule, SCHEDULES)
        self.loss = one_of("loss", loss, LOSSES)
        self.restarts = int(restarts)
        self.norm = one_of("norm", norm, NORMS)

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the adversarial images found, or `x`; see `Attack.attack_batch`.

        `queries` does not count the first prediction, which finds the images that the
        model misclassifies clean. Those are not attacked.

        Raises:
            ValueError: `x` does not have four dimensions.
        """
        x = batch.x
        if len(x.shape) != 4:
            raise ValueError(
                "Square needs images of shape (batch, height, width, channels), or "
                "channels first if the model is. Received: shape "
                f"{tuple(x.shape)}."
            )
        x_adv, forwards = x, batch.active.astype(int)
        robust = batch.where_unfooled(classifier.predict(x))
        queries = np.zeros_like(forwards)
        for restart in range(self.restarts):
            keys = batch.noise.integers(2**31 - 1, (2,), "square", restart)
            keys = ops.convert_to_tensor(keys)
            state = self._search(classifier, batch, keys, robust)
            queries = queries + ops.convert_to_numpy(state["queries"])
            forwards = forwards + ops.convert_to_numpy(state["forwards"])
            fooled = robust & ~ops.convert_to_numpy(state["active"])
            x_adv = ops.where(fooled[:, None, None, None], state["best"], x_adv)
            robust = robust & ~fooled
        return Found(x_adv, queries, forwards, np.zeros_like(queries))

    def _search(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        keys: Tensor,
        active: np.ndarray,
    ) -> dict[str, Any]:
        """Return the state of the batch after one run."""
        x, y = batch.x, batch.y
        remember = self._remembers(classifier, x)
        begin = functools.partial(self._start, classifier, remember)
        start = classifier.compiled(self._key("start", remember), begin)
        epsilon = batch.radii(self.epsilon)
        state = start(x, y, keys, epsilon, ops.convert_to_tensor(active))
        drawn = self._drawn(classifier, x, keys, remember)
        state, _ = shrinking_loop(
            classifier,
            self._key("step", remember),
            functools.partial(self._step, classifier),
            state,
            self.queries - 1,
            (x, y, epsilon, drawn),
            unfinished=self._unfinished,
            every=BLOCK,
        )
        return state

    def _remembers(self, classifier: Classifier, x: Tensor) -> bool:
        """Return whether to pass over windows whose loss is known."""
        if self.norm == "l2":
            return False
        # Of more windows, hardly any is drawn again at the same image.
        few = 2 * square_linf.windows(_channels_last(classifier, x)) <= self.queries
        return few and classifier.repeats(x)

    def _unfinished(self, state: dict[str, Any]) -> np.ndarray:
        queries = ops.convert_to_numpy(state["queries"])
        return ops.convert_to_numpy(state["active"]) & (queries < self.queries)

    def _start(
        self,
        classifier: Classifier,
        remember: bool,
        x: Tensor,
        y: Labels,
        keys: Tensor,
        epsilon: Tensor,
        active: Tensor,
    ) -> dict[str, Any]:
        """Return the state after the first query."""
        images = _channels_last(classifier, x)
        begin = square_l2.start if self.norm == "l2" else square_linf.start
        change = begin(images, keys)
        best = _shifted(x, epsilon * _placed(classifier, change))
        loss, fooled = self._evaluated(classifier, best, y)
        state = {
            "best": best,
            "loss": loss,
            "active": active & ~fooled,
            "queries": ops.cast(active, "int32"),
            "forwards": ops.cast(active, "int32"),
        }
        if remember:
            state |= Known.nothing(images)._asdict()
        return state

    def _drawn(
        self, classifier: Classifier, x: Tensor, keys: Tensor, remember: bool
    ) -> dict[str, Tensor]:
        """Return the random choices of all iterations, or what they depend on."""
        if self.norm == "l2":
            return {"keys": keys}

        def draw(
            x: Tensor, keys: Tensor, number: Tensor, side: Tensor
        ) -> dict[str, Tensor]:
            drawn = square_linf.draw(_channels_last(classifier, x), keys, number, side)
            found = drawn._asdict()
            return {**found, "codes": square_linf.codes(drawn)} if remember else found

        sides = self._sides(_channels_last(classifier, x))
        # All parts have one shape, so that they are compiled once. The choices beyond
        # the last iteration are not used.
        count = max(1, len(sides))
        length = min(DRAWN, count)
        missing = -(-count // length) * length - len(sides)
        sides = np.pad(sides, (0, missing), constant_values=1)
        numbers = np.arange(1, 1 + len(sides), dtype="int32")
        compiled = classifier.compiled(self._key("draw", remember), draw)
        parts = [
            compiled(x, keys, *map(ops.convert_to_tensor, part))
            for part in zip(
                numbers.reshape(-1, length), sides.reshape(-1, length), strict=True
            )
        ]
        return {
            name: ops.concatenate([part[name] for part in parts], axis=1)
            for name in parts[0]
        }

    def _step(
        self,
        classifier: Classifier,
        state: dict[str, Any],
        x: Tensor,
        y: Labels,
        epsilon: Tensor,
        drawn: dict[str, Tensor],
    ) -> dict[str, Any]:
        # The number of queries of an image is also the number of its random draw.
        number, tried = state["queries"], state["active"]
        sides = self._sides(_channels_last(classifier, x))
        if known := _known(state):
            number, new = known.next_new(drawn["codes"], number, sides)
            tried = tried & new
        at = ops.clip(number, 1, len(sides))
        propose = self._proposed_l2 if self.norm == "l2" else self._proposed
        candidate = propose(classifier, state["best"], x, epsilon, drawn, at)
        loss, fooled = self._evaluated(classifier, candidate, y)
        better = tried & ((loss < state["loss"]) | fooled)
        best = ops.where(better[:, None, None, None], candidate, state["best"])
        after = {
            "best": best,
            "loss": ops.where(better, loss, state["loss"]),
            "active": state["active"] & ~(tried & fooled),
            "queries": ops.where(
                state["active"], number + ops.cast(tried, "int32"), state["queries"]
            ),
            "forwards": state["forwards"] + ops.cast(tried, "int32"),
        }
        if known:
            side = ops.take(sides, at - 1)
            code = ops.take_along_axis(drawn["codes"], at[:, None] - 1, axis=1)[:, 0]
            still = ops.zeros((1, 1), "bool")
            if 1 in sides:
                ends = (_shifted(x, -epsilon), best, _shifted(x, epsilon))
                still = square_linf.unchanging(
                    *(_channels_last(classifier, end) for end in ends)
                )
                still = still & (side == 1)[:, None]
            after |= known.after(tried, side, code, better, still)._asdict()
        return after

    def _sides(self, images: Tensor) -> np.ndarray:
        """Return the sides of the windows of the iterations 1, 2, ..."""
        share = shares(self.queries, p_init=self.p_init, schedule=self.schedule)
        of = square_l2.sides if self.norm == "l2" else square_linf.sides
        return of(share[: self.queries - 1], *images.shape[1:3])

    def _proposed(
        self,
        classifier: Classifier,
        best: Tensor,
        x: Tensor,
        epsilon: Tensor,
        drawn: dict[str, Tensor],
        number: Tensor,
    ) -> Tensor:
        images = _channels_last(classifier, x)
        draws = Draws(drawn["corner"], drawn["signs"])
        window, sign = square_linf.window(images, draws, number, self._sides(images))
        changed = _shifted(x, epsilon * _placed(classifier, sign))
        return ops.where(_placed(classifier, window), changed, best)

    def _proposed_l2(
        self,
        classifier: Classifier,
        best: Tensor,
        x: Tensor,
        epsilon: Tensor,
        drawn: dict[str, Tensor],
        number: Tensor,
    ) -> Tensor:
        change = _channels_last(classifier, best - x)
        sides = self._sides(change)
        chosen = square_l2.draw(change, drawn["keys"], number, sides)
        change = square_l2.moved(change, epsilon, chosen, sides)
        return _shifted(x, _placed(classifier, change))

    def _evaluated(
        self, classifier: Classifier, u: Tensor, y: Labels
    ) -> tuple[Tensor, Tensor]:
        logits = classifier.logits(u)
        # As in `Classifier.predict`, the first class wins a tie.
        return LOSSES[self.loss](y, logits), ops.argmax(logits, axis=-1) != y

    def _key(self, function: str, remember: bool) -> tuple:
        # The radius is an argument of the compiled functions.
        settings = {**self.get_config(), "epsilon": None}
        return ("square", function, remember, *settings.values())


def _known(state: dict[str, Any]) -> Known | None:
    if "windows" not in state:
        return None
    return Known(state["side"], state["windows"])


def _shifted(x: Tensor, change: Tensor) -> Tensor:
    return ops.clip(x + change, 0.0, 1.0)


def _placed(classifier: Classifier, mask: Tensor) -> Tensor:
    """Transpose (batch, height, width, channels) to the classifier's order of axes."""
    return mask if classifier.channels_last else ops.transpose(mask, (0, 3, 1, 2))


def _channels_last(classifier: Classifier, images: Tensor) -> Tensor:
    """Transpose images to (batch, height, width, channels)."""
    return images if classifier.channels_last else ops.transpose(images, (0, 2, 3, 1))


def square_100(*, epsilon: Radius = 8 / 255) -> Square:
    """Square with 100 queries and the authors' schedule.

    This is the attack of the papers' black-box table, which do not state the schedule.
    `Square(epsilon, queries=100)` has AutoAttack's schedule.
    """
    return Square(epsilon, queries=100, schedule="rescaled")
