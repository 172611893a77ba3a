"""Every registered attack, and each that has an L2 ball, against what all promise."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
import kmtard.attacks
from kmtard import registry
from kmtard.attacks import (
    APGD,
    CWL2,
    DDN,
    EOT,
    FAB,
    FMN,
    PGD,
    Attack,
    AttackResult,
    AutoAttack,
    DeepFool,
    Ensemble,
    GradientEstimation,
    HopSkipJump,
    MomentumFGSM,
    RayS,
    Square,
    Transfer,
)

pytestmark = pytest.mark.quick("jax", "torch")

SHAPE = (4, 4, 1)
CLASSES = 4
SEED = 7
IMAGES = 8
WRONG = [2, 5]
"""Images that the network classifies wrongly as they are."""
EPSILON = {"linf": 0.1, "l2": 0.4, "l1": 1.0}
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
DETERMINISTIC = {
    *("fgsm", "fab_t", "rays_100", "fab_l2", "mi_fgsm", "ni_fgsm", "ti_fgsm"),
    *("cw_l2", "ddn", "deepfool", "deepfool_l2", "fmn", "fmn_l2"),
    *("transfer_mi_fgsm", "transfer_ni_fgsm", "transfer_ti_fgsm"),
}
"""Attacks in which chance plays no part."""
L2 = {
    "pgd_l2": PGD(0.4, step_size=0.1, start="uniform_clipped", norm="l2", restarts=2),
    "apgd-ce_l2": APGD(0.4, norm="l2"),
    "apgd-t_l2": APGD(0.4, loss="dlr", targets=9, norm="l2"),
    "fab_l2": FAB(0.4, norm="l2"),
    "deepfool_l2": DeepFool(0.4, norm="l2"),
    "fmn_l2": FMN(0.4, norm="l2"),
    "hop_skip_jump_l2": HopSkipJump(0.4, norm="l2"),
    "square_l2": Square(0.4, norm="l2"),
    "autoattack_l2": AutoAttack(0.4, norm="l2"),
    "autoattack_rand_l2": AutoAttack(0.4, version="rand", norm="l2"),
}
L1 = {
    "apgd-ce_l1": APGD(1.0, norm="l1", restarts=2),
    "apgd-t_l1": APGD(1.0, loss="dlr", targets=9, norm="l1", larger_radii=True),
}
OTHERS = L2 | L1
NAMES = [*registry.ATTACKS, *OTHERS]
DIFFERENT = [
    PGD(
        0.1,
        step_size=0.02,
        steps=3,
        start="uniform",
        unroll=True,
        loss="cw",
        kappa=5.0,
        norm="l2",
        restarts=2,
    ),
    APGD(
        0.1,
        steps=7,
        restarts=2,
        loss="dlr",
        targets=3,
        norm="l1",
        rho=0.5,
        eot=2,
        start="clean",
        early_stop=False,
        larger_radii=True,
    ),
    FAB(
        0.1,
        steps=7,
        restarts=2,
        targeted=False,
        targets=3,
        norm="l2",
        alpha_max=0.2,
        eta=1.1,
        beta=0.8,
        early_stop=False,
    ),
    Square(
        0.1,
        queries=7,
        p_init=0.5,
        schedule="rescaled",
        loss="ce",
        restarts=3,
        norm="l2",
    ),
    GradientEstimation(
        0.1,
        loss="ce",
        sigma=0.1,
        samples=(6, 4),
        steps=2,
        step_size=0.3,
        antithetic=False,
        distribution="rademacher",
        optimizer="adam",
    ),
    HopSkipJump(
        0.1, queries=70, samples=7, starts=3, restarts=2, norm="l2", early_stop=False
    ),
    MomentumFGSM(
        0.1,
        step_size=0.02,
        steps=3,
        decay=0.5,
        nesterov=True,
        diversity=0.4,
        resize=0.8,
        kernel=3,
    ),
    RayS(0.1, queries=7, strict_budget=True, early_stop=False),
    CWL2(
        0.1,
        steps=7,
        searches=2,
        weight=0.1,
        learning_rate=0.1,
        confidence=0.1,
        norm="l2",
        early_stop=True,
    ),
    DDN(0.1, steps=7, gamma=0.1, radius=0.5, levels=0, norm="l2", early_stop=True),
    DeepFool(0.1, steps=7, overshoot=0.1, norm="l2"),
    EOT(PGD(0.1, steps=3), samples=3),
    FMN(0.1, steps=7, step_length=0.5, gamma=0.1, norm="l2", early_stop=True),
    AutoAttack(
        0.1,
        version="rand",
        norm="l2",
        individual=True,
        attacks={"apgd": APGD(0.1, steps=7)},
    ),
]
"""Every attack with no argument at its default."""
ONLY = {(DDN, "norm"), (CWL2, "norm")}
"""Arguments that have only one value."""


def network(noise: float = 0.0) -> keras.Model:
    """Return the same network on every backend, or one beside it."""
    net = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(6, 3, activation="tanh"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    chance = np.random.default_rng(SEED)
    weights = [chance.normal(0, 0.4, w.shape) for w in net.get_weights()]
    net.set_weights([w + noise * chance.standard_normal(w.shape) for w in weights])
    return net


@dataclass(frozen=True)
class Case:
    """One attack, short enough to be run many times, and what it is run on."""

    name: str
    attack: Attack
    norm: str
    net: keras.Model
    x: np.ndarray
    y: np.ndarray

    def run(self, rows: Any = slice(None), **kwargs: Any) -> AttackResult:
        return self.attack.run(self.net, self.x[rows], self.y[rows], **kwargs)


@pytest.fixture(scope="module")
def nets() -> list[keras.Model]:
    """Return a network, and one that is much the same, for transfer."""
    return [network(), network(0.05)]


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, nets: list[keras.Model]) -> Case:
    net, surrogate = nets
    x = np.random.default_rng(4).random((IMAGES, *SHAPE), "float32")
    x[0], x[1] = 0, 1
    logits = ops.convert_to_numpy(net(x))
    y = logits.argmax(-1)
    y[WRONG] = logits.argmin(-1)[WRONG]
    name = request.param
    norm = registry.norms(name)[0] if name in registry.ATTACKS else name[-2:]
    attack = OTHERS[name] if name in OTHERS else registered(name, surrogate)
    return Case(name, shortened(attack), norm, net, x, y)


def registered(name: str, surrogate: Any = None) -> Attack:
    models = [surrogate] * ("surrogate" in registry.positional("attacks", name))
    epsilon = EPSILON[registry.norms(name)[0]]
    return registry.resolve("attacks", name)(*models, epsilon=epsilon)


def shortened(attack: Attack) -> Attack:
    """Return the same attack with little to spend."""
    if isinstance(attack, Transfer):
        return Transfer(shortened(attack.attack), surrogate=attack.surrogate)
    config = attack.get_config()
    if isinstance(attack, AutoAttack):
        members = {name: shortened(each) for name, each in attack.attacks.items()}
        return AutoAttack(**{**config, "attacks": members})
    most = {"steps": 4, "queries": 16, "samples": 16, "targets": 2, "eot": 2}
    for name in most.keys() & config.keys():
        config[name] = min(config[name], most[name])
    if isinstance(attack, HopSkipJump):
        config |= {"queries": 150, "samples": 20}
    if isinstance(attack, CWL2):
        config |= {"weight": 1.0, "learning_rate": 0.1, "searches": 2, "steps": 8}
    if isinstance(attack, DDN):
        config["radius"] = attack.epsilon
    # The papers' steps are for 8/255.
    if isinstance(attack, PGD | MomentumFGSM) and attack.steps > 1:
        config["step_size"] = attack.epsilon / 4
    return type(attack).from_config(config)


def distances(case: Case, result: AttackResult) -> np.ndarray:
    change = (result.x_adv - case.x).reshape(IMAGES, -1)
    return np.linalg.norm(change, ORDER[case.norm], axis=1)


@pytest.fixture(scope="module")
def result(case: Case) -> AttackResult:
    return case.run(seed=3)


def test_images_stay_in_the_ball_and_in_the_pixel_range(
    case: Case, result: AttackResult
) -> None:
    assert result.x_adv.dtype == "float32" and result.x_adv.shape == case.x.shape
    assert result.x_adv.min() >= 0 and result.x_adv.max() <= 1
    moved = distances(case, result)
    assert moved.max() <= EPSILON[case.norm] + 1e-6
    assert moved.any()


def test_no_image_is_better_off_than_clean(case: Case, result: AttackResult) -> None:
    wrong = ops.convert_to_numpy(case.net(result.x_adv)).argmax(-1) != case.y
    np.testing.assert_array_equal(result.success, wrong)
    assert result.success[WRONG].all()
    assert result.success.sum() > len(WRONG)


@pytest.mark.quick("torch")
def test_seed_decides(case: Case, result: AttackResult) -> None:
    again, other = case.run(seed=3), case.run(seed=4)
    for one, two in zip(vars(again).values(), vars(result).values(), strict=True):
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two)
    same = np.array_equal(other.x_adv, result.x_adv)
    same &= np.array_equal(other.queries, result.queries)
    assert same == (case.name in DETERMINISTIC)


def test_batches_order_and_company_change_nothing(
    case: Case, result: AttackResult
) -> None:
    order = np.random.default_rng(6).permutation(IMAGES)
    mixed = case.run(order, seed=3, indices=order, batch_size=4)
    np.testing.assert_allclose(mixed.x_adv, result.x_adv[order], atol=1e-5)
    for name in ("success", "queries", "forwards", "backwards"):
        np.testing.assert_array_equal(
            getattr(mixed, name), getattr(result, name)[order], err_msg=name
        )


def test_each_image_may_have_its_own_radius(case: Case, result: AttackResult) -> None:
    epsilon = EPSILON[case.norm]
    same = np.arange(IMAGES) % 2 == 0
    radii = np.where(same, epsilon, epsilon / 4)
    found = case.run(seed=3, epsilons=radii)
    moved = distances(case, found)
    assert (moved <= radii + 1e-6).all() and moved.any()
    np.testing.assert_allclose(found.x_adv[same], result.x_adv[same], atol=1e-6)
    for name in ("success", "queries", "forwards", "backwards"):
        np.testing.assert_array_equal(
            getattr(found, name)[same], getattr(result, name)[same], err_msg=name
        )


def test_targeted_attacks_reach_the_given_class(case: Case) -> None:
    logits = ops.convert_to_numpy(case.net(case.x))
    aim = logits.argsort(-1)[:, -2]
    aim[0] = logits[0].argmax()
    kwargs = {"targeted": True, "epsilons": np.full(IMAGES, 4 * EPSILON[case.norm])}
    if not case.attack.can_target:
        with pytest.raises(ValueError, match="cannot aim at a given class"):
            case.attack.run(case.net, case.x, aim, **kwargs)
        return
    if getattr(case.attack, "targets", 0) and isinstance(case.attack, APGD):
        with pytest.raises(ValueError, match="`targets` must be 0"):
            case.attack.run(case.net, case.x, aim, **kwargs)
        return
    result = case.attack.run(case.net, case.x, aim, **kwargs)
    reached = ops.convert_to_numpy(case.net(result.x_adv)).argmax(-1) == aim
    np.testing.assert_array_equal(result.success, reached)
    assert reached[1:].any()


def round_trip(attack: Attack) -> Attack:
    """Return what the attack's config makes, through JSON where that can hold it."""
    if isinstance(attack, Transfer):
        return type(attack).from_config(attack.get_config())
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(attack)))
    return keras.saving.deserialize_keras_object(config)


@pytest.mark.once("torch")
@pytest.mark.parametrize("name", NAMES)
def test_config_makes_an_equal_attack(name: str) -> None:
    attack = OTHERS[name] if name in OTHERS else registered(name)
    again = round_trip(attack)
    assert type(again) is type(attack)
    assert again.get_config() == attack.get_config()
    assert repr(again) == repr(attack)


@pytest.mark.once("torch")
@pytest.mark.parametrize("attack", DIFFERENT, ids=lambda each: type(each).__name__)
def test_config_and_repr_hold_every_setting(attack: Attack) -> None:
    arguments = inspect.signature(type(attack)).parameters
    config = attack.get_config()
    assert config.keys() == arguments.keys()
    again = round_trip(attack)
    assert repr(again) == repr(attack)
    assert eval(repr(attack), vars(kmtard.attacks)).get_config() == config
    for name, argument in arguments.items():
        assert f"{name}=" in repr(attack)
        if (type(attack), name) not in ONLY:
            assert config[name] != argument.default, f"{name} is at its default"


@pytest.mark.once("torch")
def test_every_class_is_among_those_with_settings() -> None:
    public = (getattr(kmtard.attacks, name) for name in kmtard.attacks.__all__)
    attacks = {each for each in public if inspect.isclass(each)}
    attacks -= {Attack, AttackResult, Ensemble, Transfer}
    assert {type(attack) for attack in DIFFERENT} == attacks


@pytest.mark.once("torch")
def test_repr_shows_functions_and_other_attacks() -> None:
    assert "start=<function" in repr(PGD(start=lambda x: x))
    shown = repr(Transfer(PGD(0.3), surrogate="a network"))
    assert shown.startswith("Transfer(attack=PGD(epsilon=0.3, step_size=")
    assert shown.endswith("surrogate='a network')")


@pytest.mark.once("torch")
@pytest.mark.parametrize(
    "name", sorted({*kmtard.attacks.__all__} - {"Attack", "AttackResult"})
)
def test_only_the_first_argument_may_be_positional(name: str) -> None:
    parameters = inspect.signature(getattr(kmtard.attacks, name)).parameters.values()
    kinds = [parameter.kind for parameter in parameters]
    assert set(kinds[1:]) <= {inspect.Parameter.KEYWORD_ONLY}
