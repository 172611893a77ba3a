from __future__ import annotations

import os

import pytest

from kmtard.runs.documents import (
    number,
    positive,
    read_toml,
    table,
    whole,
)

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_documents_are_empty(tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)

    assert read_toml(path) == {}


def test_a_pipe_in_place_of_a_document_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "file")

    assert read_toml(tmp_path / "file") == {}


def test_tables_are_found_under_their_keys():
    document = {"a": {"b": {"c": 1}}, "d": [1]}

    assert table(document, "a", "b") == {"c": 1}
    assert table(document, "a", "x") == table(document, "d") == table(None) == {}


@pytest.mark.parametrize("value", [None, True, "1", [], float("nan"), float("inf")])
def test_what_is_no_finite_number_is_none(value):
    assert number(value) is None
    assert number(10**400) is None
    assert number(2) == 2.0


@pytest.mark.parametrize("value", [None, True, "1", -1, 10**400, 1.5, float("nan")])
def test_what_cannot_be_a_number_of_epochs_is_none(value):
    assert whole(value) is None
    assert (whole(0), whole(3)) == (0, 3)


@pytest.mark.parametrize("value", [None, True, "1", 0, -1, 10**400, float("inf")])
def test_what_is_not_positive_is_none(value):
    assert positive(value) is None
    assert positive(2) == 2.0
