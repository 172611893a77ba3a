"""The user's own keys."""

from pathlib import Path

import pytest

from launcher.bindings import all_bindings
from launcher.keys import clashes, read_keys, unknown_ids


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    return path


def test_no_file_is_no_mistake(tmp_path: Path) -> None:
    assert read_keys(tmp_path / "keys.toml") == ({}, [])


def test_ids_are_read_in_quotes_and_as_tables(tmp_path: Path) -> None:
    path = write(tmp_path, '"app.quit" = "f10, ctrl+x"\n[runs]\nfilter = "F"\n')
    assert read_keys(path) == ({"app.quit": "f10,ctrl+x", "runs.filter": "F"}, [])


@pytest.mark.parametrize("value", ["3", '""', '"ctrl+"', '"bogus"', '"hyp+a"', '"a,"'])
def test_a_wrong_value_is_left_out_and_named(tmp_path: Path, value: str) -> None:
    keys, mistakes = read_keys(write(tmp_path, f'a.b = {value}\nc.d = "x"\n'))
    assert keys == {"c.d": "x"}
    (mistake,) = mistakes
    assert "a.b: expected keys" in mistake


@pytest.mark.parametrize("content", [b"\xff", b"a = ", b"a = 1\na = 2"])
def test_an_unreadable_file_is_one_mistake(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.toml"
    path.write_bytes(content)
    keys, mistakes = read_keys(path)
    assert keys == {}
    assert len(mistakes) == 1 and str(path) in mistakes[0]


def test_an_id_that_no_action_has_is_named() -> None:
    (line,) = unknown_ids({"app.quit": "x", "app.qiut": "x"}, ["app.quit"])
    assert "app.qiut" in line and "--keys" in line


def test_every_binding_has_an_id_of_its_own_screen() -> None:
    known = all_bindings()
    assert {"app.runs", "app.help", "app.quit"} <= set(known)
    assert all("." in name for name in known)


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"app.quit": "ctrl+t"}, 1),
        ({"app.quit": "f1,f2"}, 2),
        ({"app.quit": "ctrl+t", "app.theme": "f12"}, 0),
        ({"runs.filter": "R"}, 1),
        ({"runs.filter": "f9"}, 0),
        ({"runs.nothing": "1"}, 0),
    ],
)
def test_keys_that_two_actions_have_are_named(keys: dict[str, str], count: int) -> None:
    assert len(clashes(keys, all_bindings())) == count
