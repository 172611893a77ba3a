from __future__ import annotations

import time

import pytest

from kmtard.runs.query import read_query

pytestmark = pytest.mark.once("torch")

TEXTS = {"state": "finished", "method": "trades", "name": "a>b", "tag": "final draft"}
NUMBERS = {"W-Robust": 66.004, "seed": 0.0, "time": 7200.0, "clean": None}
CREATED = time.mktime(time.strptime("2026-11-01 12:00", "%Y-%m-%d %H:%M"))


def holds(text: str) -> bool:
    return read_query(text).matches(TEXTS, {**NUMBERS, "created": CREATED})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TRADES finish",
        "method:trades seed:0 tag:final",
        "w>65.9 w<67 w:66 w>=66 w<=66 W=66",
        "w-robust>1",
        "time>1h time<3h time:2h time=120m time<=7200",
        "after:2026-11-01 before:2026-11-02",
        "after:2026-11 after:2026-11-01T11:30",
        # Not typed yet.
        "w> after: method: seed:",
        # Not the name of a number.
        "a>b",
    ],
)
def test_words_that_hold(text):
    assert holds(text)
    assert not read_query(text).mistakes


@pytest.mark.parametrize(
    "text",
    [
        *("w>66", "w<66", "seed:1", "seed>0", "clean>0", "clean<100", "left<1h"),
        *("after:2026-11-02", "before:2026-11-01", "tag:other", "name:trades"),
        "radius:8/255",
    ],
)
def test_words_that_do_not_hold(text):
    assert not holds(text)
    assert not read_query(text).mistakes


def test_a_radius_is_as_it_is_shown():
    query = read_query("radius:8/255")
    assert query.matches({}, {"radius": 8 / 255})
    assert not query.matches({}, {"radius": 7 / 255})


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("w>high", "Expected a number after 'w>'. Received: 'high'."),
        ("seed:a", "Expected a number after 'seed:'. Received: 'a'."),
        (
            "time>soon",
            "Expected a number such as 90m or 2h after 'time>'. Received: 'soon'.",
        ),
        ("w>nan", "Expected a number after 'w>'. Received: 'nan'."),
        ("radius:1/0", "Expected a number after 'radius:'. Received: '1/0'."),
        ("after:now", "Expected a day such as after:2026-11-01. Received: 'now'."),
        ("before:9", "Expected a day such as before:2026-11-01. Received: '9'."),
    ],
)
def test_a_mistake_is_said_and_nothing_matches(text, mistake):
    assert read_query(f"method:trades {text}").mistakes == (mistake,)
    assert not holds(text)


def test_a_date_without_a_run_s_time_matches_nothing():
    assert not read_query("before:2100-01-01").matches({}, {"created": 0.0})
