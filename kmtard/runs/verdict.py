"""The verdict on an evaluation: may its robust accuracy be quoted, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kmtard.runs.formats import percent, radius_text
from kmtard.runs.records import CLEAN, Finding, NetworkResults, Score

STRONG = "AutoAttack"
"""Kind of attack whose accuracy may be quoted."""


@dataclass(frozen=True)
class Cause:
    """A reason why a number cannot be trusted.

    Attributes:
        findings: names of the findings that show it.
        because: the reason, as the end of a sentence.
        attacks: attacks that find out more; empty if no attack helps.
        advice: what to do where no attack helps, as a sentence.
    """

    findings: frozenset[str]
    because: str
    attacks: tuple[str, ...] = ()
    advice: str = ""


CAUSES = (
    Cause(
        frozenset(
            {
                *("input-range", "input-scale", "clean-near-chance", "one-class"),
                *("class-never-predicted", "clean-below-training"),
            }
        ),
        "the model is probably not evaluated on the images that it was trained for",
        advice="Check the input range (--input-range), the data set, the order of the "
        "classes and the model file, and evaluate again.",
    ),
    Cause(
        frozenset({"non-finite"}),
        "its logits or gradients are not finite, so that no attack can work",
        advice="Fix the model, and evaluate again.",
    ),
    Cause(
        frozenset({"training-mode", "batch-dependence"}),
        "the prediction on an image depends on other images or on earlier calls",
        advice="Fix the inference mode of the model, and evaluate again.",
    ),
    Cause(
        frozenset({"randomised-defence"}),
        "its predictions are random, and no attack averaged over the random draws",
        attacks=("autoattack_rand",),
    ),
    Cause(
        frozenset({"dynamic-defence"}),
        "the model computes gradients in its own prediction, which no fixed attack "
        "takes into account",
        advice="Write an attack for this defense: no fixed attack replaces it.",
    ),
    Cause(
        frozenset(
            {
                *("zero-gradients", "identical-logits", "nothing-fooled"),
                *("loss-did-not-grow", "one-step-stronger", "more-steps-weaker"),
                *("robust-at-large-epsilon", "square-better", "white-box-weaker"),
            }
        ),
        "its gradients mislead attacks that follow them",
        attacks=("autoattack", "square"),
        advice="An attack without gradients was stronger, or fails as well. Write an "
        "attack for this model: no fixed attack replaces it.",
    ),
    Cause(
        frozenset({"abstains"}),
        "the model can abstain, which counts as an error here",
        advice="Say how rejected images count, and attack the classifier and the "
        "detector together.",
    ),
    Cause(
        frozenset({"outside-ball"}),
        "an attack returned images outside of its ball",
        advice="Fix the attack, and evaluate again.",
    ),
)
"""The causes in order: an earlier one can lead to the findings of later ones."""


@dataclass(frozen=True)
class Restriction:
    """A property that excludes a model from RobustBench's leaderboard.

    Attributes:
        name: the property.
        findings: names of the findings that show it.
        hidden: what the diagnostics cannot find, as a sentence.
    """

    name: str
    findings: tuple[str, ...]
    hidden: str


RESTRICTIONS = (
    Restriction(
        "zero gradients",
        ("zero-gradients",),
        "The diagnostics look at one batch.",
    ),
    Restriction(
        "randomness in the forward pass",
        ("randomised-defence",),
        "Random numbers that differ only between processes do not show.",
    ),
    Restriction(
        "optimization loop in the forward pass",
        ("dynamic-defence", "loop-in-prediction"),
        "A loop of Python that computes no gradient by automatic differentiation does "
        "not show. The authors of the model must declare it.",
    ),
)
"""The restrictions of RobustBench (Croce et al. 2021, arXiv:2010.09670)."""


@dataclass(frozen=True)
class Verdict:
    """Whether the robust accuracy of a network may be quoted.

    Attributes:
        may_be_quoted: whether nothing speaks against it.
        sentence: the verdict in one sentence.
        reasons: the findings behind it, the causes first.
        attacks: attacks to run next; empty if none would help.
        advice: what else to do; empty if nothing is needed.
    """

    may_be_quoted: bool
    sentence: str
    reasons: tuple[Finding, ...] = ()
    attacks: tuple[str, ...] = ()
    advice: str = ""


def verdict(network: NetworkResults) -> Verdict:
    """Return the verdict on a network's robust accuracy.

    It may be quoted if AutoAttack was run and every finding that speaks against it has
    been settled by another attack. Findings that only inform, such as `few-classes`, do
    not count.

    Args:
        network: the results of the network.

    Example:
        >>> from kmtard.runs.records import NetworkResults, Score
        >>> network = NetworkResults("model", "net", Score(0.9), {}, None)
        >>> verdict(network).sentence
        'Do not quote a robust accuracy, because no attack was run.'
    """
    open_ones = [each for each in network.findings if not each.is_settled]
    for cause in CAUSES:
        reasons = tuple(each for each in open_ones if each.name in cause.findings)
        if not reasons:
            continue
        later = [each for each in open_ones if each not in reasons]
        attacks = tuple(n for n in cause.attacks if n not in network.attacks)
        return Verdict(
            False,
            f"Do not quote this robust accuracy, because {cause.because}.",
            (*reasons, *(each for each in later if _counts(each))),
            attacks,
            "" if attacks else cause.advice,
        )
    if not network.attacks:
        sentence = "Do not quote a robust accuracy, because no attack was run."
        return Verdict(False, sentence, attacks=("autoattack",))
    if not any(_kind(each) == STRONG for each in network.attacks.values()):
        names = ", ".join(network.attacks)
        return Verdict(
            False,
            f"Do not quote this robust accuracy, because {names} gives only an upper "
            "bound, and AutoAttack was not run.",
            attacks=("autoattack",),
        )
    return Verdict(True, _quotation(network))


def cause_of(finding: Finding) -> Cause | None:
    """Return the cause that a finding shows; None if it only informs."""
    return next((each for each in CAUSES if finding.name in each.findings), None)


def _counts(finding: Finding) -> bool:
    return cause_of(finding) is not None


def _kind(score: Score) -> str:
    return str((score.settings or {}).get("kind", ""))


def _quotation(network: NetworkResults) -> str:
    """Return what may be quoted: the accuracy under all attacks together."""
    columns: Mapping[str, Score] = network.columns
    strongest = min(
        (name for name in columns if name != CLEAN),
        key=lambda name: columns[name].accuracy,
    )
    score, clean = columns[strongest], columns[CLEAN]
    low, high = score.interval or (score.accuracy, score.accuracy)
    strong = next(one for one in network.attacks.values() if _kind(one) == STRONG)
    return (
        f"You may quote {percent(score.accuracy)} % robust accuracy (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f}) at epsilon "
        f"{radius_text(strong.epsilon)}, with {percent(clean.accuracy)} % clean "
        f"accuracy, under {', '.join(network.attacks)}. A stronger attack may lower it."
    )
