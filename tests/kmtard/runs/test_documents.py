from __future__ import annotations

import os

import pytest
from launcher.runs.documents import (
    last_lines,
    number,
    percent,
    read_json,
    read_toml,
    table,
)


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000]
)
def test_damaged_documents_are_empty(tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)

    assert read_json(path) == {}
    if content != b"[1]":
        assert read_toml(path) == {}


def test_tables_are_found_under_their_keys():
    document = {"a": {"b": {"c": 1}}, "d": [1]}

    assert table(document, "a", "b") == {"c": 1}
    assert table(document, "a", "x") == table(document, "d") == table(None) == {}


@pytest.mark.parametrize("value", [None, True, "1", [], float("nan"), float("inf")])
def test_what_is_no_finite_number_is_none(value):
    assert number(value) is None
    assert number(10**400) is None
    assert number(2) == 2.0


def test_shares_are_shown_in_points():
    assert (percent(0.8667), percent(None)) == ("86.67", "-")


def test_the_end_of_a_log_is_plain_text(tmp_path):
    path = tmp_path / "out.log"
    path.write_bytes(b"x" * 20_000 + b"\n50 %\r100 %\n\n\x1b[31m\xffred\x1b[0m\nlast")

    assert last_lines(path, 3) == ["100 %", "�red", "last"]
    assert last_lines(tmp_path / "none", 3) == []


def test_a_pipe_in_place_of_a_log_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "out.log")

    assert last_lines(tmp_path / "out.log", 3) == []
