"""`curve`: robust accuracy over the radius of the attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

from kmtard.attacks.classifier import Classifier
from kmtard.evaluation.evaluator import evaluate
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.network_evaluator import Step
from kmtard.evaluation.result import Evaluation


def curve(
    model: Any,
    data: Any,
    epsilons: Iterable[float],
    *,
    attacks: str | Sequence[str] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    save_images: bool = False,
    watch: Callable[[float, Step], None] = lambda epsilon, step: None,
    **settings: Any,
) -> list[Evaluation]:
    """Evaluate a model under the same attacks with several radii.

    The radii are evaluated in ascending order. An image that an attack fooled at a
    smaller radius is fooled at each larger one, because its adversarial image lies in
    the larger ball. So it is not attacked again, and no curve increases. Each attack is
    compiled once for all radii, except for those whose settings other than the radii
    depend on the radius.

    Args:
        model: as in `evaluate`.
        data: as in `evaluate`.
        epsilons: the radii in [0, 1], or with `norm="l1"` any, in any order. Radius 0
            needs no attack: it is the clean accuracy, which each evaluation contains.
        attacks: registered names, as in `evaluate`. An `Attack` object has one radius
            of its own, so objects are not accepted.
        input_range: as in `evaluate`.
        save_images: must be False, because an image that is fooled at a smaller radius
            has no adversarial image of its own at a larger one.
        watch: called with the radius and the step, as in `evaluate`.
        **settings: further arguments of `evaluate`, except for `epsilon` and `smaller`.
            With a `folder`, the smallest radius has the record that `evaluate` would
            write, also that of the corruptions, which do not depend on the radius. The
            other records contain the smaller radii in their conditions.

    Returns:
        One evaluation per radius above 0, in ascending order.

    Raises:
        TypeError: an attack is not a name.
        ValueError: there is no radius above 0, a radius is outside of [0, 1], or
            `save_images` is True.

    Example:
        >>> found = curve(model, (x, y), [0, 0.05, 0.1], attacks="fgsm")
        >>> [each.conditions["epsilon"] for each in found]
        [0.05, 0.1]
        >>> found[1].robust_accuracy["fgsm"] <= found[0].robust_accuracy["fgsm"]
        True
    """
    radii = sorted({float(each) for each in epsilons})
    largest = inf if settings.get("norm") == "l1" else 1
    if not radii or radii[-1] <= 0 or radii[0] < 0 or radii[-1] > largest:
        raise ValueError(
            "`epsilons` must be numbers in [0, 1], the range of the images, and at "
            f"least one of them > 0. Received: {radii}."
        )
    if save_images:
        raise ValueError(
            "`save_images` needs one radius: images that are fooled at a smaller "
            f"radius are not attacked at a larger one. Received: {len(radii)} radii. "
            "Call `evaluate` for one radius."
        )
    names = [attacks] if isinstance(attacks, str) else attacks
    for each in names or ():
        if not isinstance(each, str):
            raise TypeError(
                "`attacks` must be names of registered attacks, which get each radius. "
                f"Received: an object of type {type(each).__name__}."
            )
    images = ImageSet.of(data, input_range)
    low, high = input_range
    example = low + (high - low) * images.batch(slice(0, 1))
    classifier = Classifier(model, example, input_range=input_range)
    # Only the smallest radius may have the record of the run itself. It also has the
    # corruptions.
    others = {"own": False, "corruptions": None, "corruption_baseline": None}
    found: list[Evaluation] = []
    for radius in filter(None, radii):

        def step(step: Step, radius: float = radius) -> None:
            watch(radius, step)

        evaluation = evaluate(
            classifier,
            images,
            attacks=names,
            input_range=input_range,
            epsilon=radius,
            smaller=found,
            watch=step,
            **(settings | (others if found else {})),
        )
        found.append(evaluation)
    return found
