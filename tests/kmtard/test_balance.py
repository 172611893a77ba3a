"""The two balance rules: direction, bounds, ties, and values that must stay finite."""

import numpy as np
import pytest
from keras import ops

from kmtard import balance


def tensor(value):
    return ops.convert_to_tensor(value, "float32")


def temperatures(nat_entropy, adv_entropy, nat=2.0, adv=3.0, rate=0.1, bounds=(1, 10)):
    moved = balance.entropy_balance(
        balance.Temperatures(tensor(nat), tensor(adv)),
        tensor(nat_entropy),
        tensor(adv_entropy),
        rate=rate,
        bounds=bounds,
    )
    return [float(value) for value in moved[:2]]


def weights(nat_loss, adv_loss, nat=0.5, adv=0.5, rate=0.1, beta=1.0):
    moved = balance.normalization_loss_balance(
        *map(tensor, (nat, adv, nat_loss, adv_loss)), rate=rate, beta=beta
    )
    return [float(value) for value in moved]


@pytest.mark.parametrize(
    "nat_entropy, adv_entropy, wanted",
    [(2.0, 1.0, [1.9, 3.1]), (1.0, 2.0, [2.1, 2.9]), (1.5, 1.5, [2.0, 3.0])],
    ids=["clean teacher softer", "robust teacher softer", "tie"],
)
def test_softer_teacher_is_sharpened(nat_entropy, adv_entropy, wanted):
    assert temperatures(nat_entropy, adv_entropy) == pytest.approx(wanted)


def test_step_does_not_depend_on_the_size_of_the_gap():
    assert temperatures(2.0, 1.0) == temperatures(1.001, 1.0)


@pytest.mark.parametrize("nat_entropy, adv_entropy", [(0.0, 1.0), (1.0, 0.0)])
def test_temperatures_stay_in_their_bounds(nat_entropy, adv_entropy):
    moved = temperatures(nat_entropy, adv_entropy, rate=5.0, bounds=(1.5, 4.0))
    assert sorted(moved) == [1.5, 4.0]


def test_temperatures_meet_the_bound_and_stay():
    nat, adv = 9.97, 1.02
    for _ in range(5):
        nat, adv = temperatures(0.0, 1.0, nat, adv, rate=0.01)
    assert (nat, adv) == (10.0, 1.0)


@pytest.mark.parametrize("nat, adv", [(0.1, 0.7), (12.3, 1 / 3)])
def test_temperature_rate_of_zero_keeps_every_bit(nat, adv):
    moved = balance.entropy_balance(
        balance.Temperatures(tensor(nat), tensor(adv)),
        tensor(2.0),
        tensor(1.0),
        rate=tensor(0.0),
        bounds=(1.0, 10.0),
    )
    assert [ops.convert_to_numpy(value) for value in moved[:2]] == [
        np.float32(nat),
        np.float32(adv),
    ]


def test_weights_follow_the_formula():
    nat, adv = weights(0.8, 0.4, nat=0.6, adv=0.4, rate=0.25, beta=2.0)
    target = 0.64 / (0.64 + 0.16)
    assert nat == pytest.approx(0.25 * target + 0.75 * 0.6)
    assert adv == pytest.approx(0.25 * (1 - target) + 0.75 * 0.4)


def test_loss_that_has_fallen_less_gains_weight():
    gains = [weights(relative, 0.5)[0] for relative in (0.1, 0.4, 0.5, 0.6, 2.0)]
    assert gains == sorted(gains) and len(set(gains)) == 5
    assert gains[0] < 0.5 < gains[-1]


def test_equal_relative_losses_lead_to_equal_weights():
    nat, adv = weights(0.3, 0.3)
    assert (nat, adv) == (0.5, 0.5)
    nat, adv = weights(0.3, 0.3, nat=0.9, adv=0.1, rate=1.0)
    assert (nat, adv) == (0.5, 0.5)


@pytest.mark.parametrize("rate", [0.0, 0.025, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 10.0, 1e4])
@pytest.mark.parametrize(
    "losses", [(0.9, 0.8), (1e-20, 5.0), (1e20, 3.0), (1e30, 1e-30), (7.0, 7.0)]
)
def test_weights_sum_to_one_and_do_not_overflow(losses, beta, rate):
    nat, adv = weights(*losses, nat=0.7, adv=0.3, rate=rate, beta=beta)
    assert nat + adv == pytest.approx(1, abs=1e-6)
    assert 0 <= nat <= 1 and 0 <= adv <= 1


@pytest.mark.parametrize(
    "losses, wanted",
    [((0.0, 1.0), 0.0), ((1.0, 0.0), 1.0), ((-1.0, 1.0), 0.0), ((1.0, -1.0), 1.0)],
)
def test_loss_that_is_gone_loses_its_weight(losses, wanted):
    assert weights(*losses, rate=1.0)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("losses", [(0.0, 0.0), (-1.0, -1.0), (0.0, -2.0)])
def test_weights_stay_finite_when_both_losses_are_gone(losses):
    assert weights(*losses, nat=0.5, adv=0.5) == [0.5, 0.5]


def test_large_beta_follows_the_slower_loss_alone():
    assert weights(0.9, 0.8, rate=1.0, beta=1e4) == [1.0, 0.0]


def test_beta_of_zero_ignores_the_losses():
    assert weights(0.9, 0.1, rate=1.0, beta=0.0) == [0.5, 0.5]


def test_weight_rate_of_zero_keeps_every_bit():
    nat, adv = 0.3333333, 0.7
    moved = balance.normalization_loss_balance(
        *map(tensor, (nat, adv, 0.4, 0.9)), rate=tensor(0.0), beta=1.0
    )
    assert [ops.convert_to_numpy(value) for value in moved] == [
        np.float32(nat),
        np.float32(adv),
    ]


def test_plain_numbers_do_as_well():
    nat, adv, *_ = balance.entropy_balance(
        balance.Temperatures(2.0, 3.0), 2.0, 1.0, rate=0.1, bounds=(1, 10)
    )
    assert (float(nat), float(adv)) == pytest.approx((1.9, 3.1))
    nat, adv = balance.normalization_loss_balance(0.5, 0.5, 1.0, 3.0, rate=1.0, beta=1)
    assert (float(nat), float(adv)) == pytest.approx((0.25, 0.75))


def test_roundings_do_not_add_up():
    temperatures = balance.Temperatures(*map(tensor, (5.0, 5.0, 0.0, 0.0)))
    for _ in range(1000):
        temperatures = balance.entropy_balance(
            temperatures,
            tensor(1.0),
            tensor(2.0),
            rate=tensor(1e-3),
            bounds=(1.0, 10.0),
        )
    assert float(temperatures.nat) == pytest.approx(6.0, abs=1e-6)
    assert float(temperatures.adv) == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("entropies", [(np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan)])
def test_temperatures_stay_where_an_entropy_is_no_number(entropies):
    assert temperatures(*entropies) == [2.0, 3.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_stay_where_a_loss_is_no_number(bad):
    assert weights(bad, 0.5, nat=0.75, adv=0.25) == [0.75, 0.25]
    assert weights(0.5, bad, nat=0.75, adv=0.25) == [0.75, 0.25]


@pytest.mark.parametrize(
    "initial, loss, wanted",
    [
        (0.0, 0.0, 0.0),
        (0.0, -0.5, 0.0),
        (0.0, np.nan, 0.0),
        (0.0, np.inf, 0.0),
        (0.0, 0.5, 0.5),
        (0.5, 2.0, 0.5),
        (0.5, np.nan, 0.5),
    ],
)
def test_initial_loss_is_the_first_above_zero(initial, loss, wanted):
    assert float(balance.initial_loss(tensor(initial), tensor(loss))) == wanted


def test_class_temperature_stays_where_its_loss_is_no_number():
    losses, images = np.array([1.0, np.nan, 5.0, np.inf]), np.full(4, 2)
    moved = balance.class_temperatures(
        np.ones(4), losses, images, rate=0.25, bounds=(0.5, 5.0)
    )
    assert moved.tolist() == [1.25, 1.0, 0.75, 1.0]
