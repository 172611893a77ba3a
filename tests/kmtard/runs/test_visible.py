from __future__ import annotations

import io
import sys
import warnings

import pytest
from rich.cells import cell_len
from rich.console import Console

from kmtard.runs.visible import (
    accept_any_text,
    shortened,
    shortened_apart,
    tell,
    telling_warnings,
    visible,
    wide_console,
)

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("digits [b]x[/b] 実験", "digits [b]x[/b] 実験"),
        ("a\tb", "a b"),
        ("\x1b[31mred\r\n", "�[31mred��"),
        ("\udcff\u202eabc", "��abc"),
    ],
)
def test_what_would_move_the_cursor_gets_a_mark(text, shown):
    assert visible(text) == shown
    visible(text).encode()


@pytest.mark.parametrize("text", ["", "short", "digits-b-mtard-20261124", "実験" * 20])
@pytest.mark.parametrize("width", [6, 12, 21])
def test_a_long_text_loses_its_middle(text, width):
    short = shortened(text, width)

    assert cell_len(short) == width
    if cell_len(text) > width:
        assert "…" in short
        assert short[0] == text[0]
        assert short.rstrip()[-1] == text[-1]
    else:
        assert short.rstrip() == text


@pytest.mark.parametrize(
    "texts",
    [
        [f"b_mtard-s{seed}-7f3a-fashion_mnist" for seed in range(3)],
        [f"trades-rate=0.1,beta={beta}-s0-7f3a-cifar10" for beta in "1246"],
        ["a" * 40 + middle + "b" * 40 for middle in ("1", "2", "實")],
        [
            "b_mtard-s0-7f3a-digits",
            "b_mtard-s0-7f3a-digits-2",
            "b_mtard-s0-7f3b-digits",
        ],
    ],
)
@pytest.mark.parametrize("width", [12, 14, 20])
def test_what_differs_stays_visible(texts, width):
    short = shortened_apart([*texts, "x"], width)

    assert len({*short}) == len(texts) + 1
    assert {cell_len(text) for text in short} == {width}
    assert short[-1].rstrip() == "x"


def test_equal_texts_stay_equal():
    assert len({*shortened_apart(["same" * 9] * 3, 10)}) == 1
    assert shortened_apart([], 10) == []
    assert [
        cell_len(text) for text in shortened_apart(["實驗" * 9, "實驗" * 8], 1)
    ] == [1, 1]


def test_a_command_shows_text_as_it_is() -> None:
    file = io.StringIO()
    tell(Console(file=file, force_terminal=True), "a\x1b[31m[bold]\u202e\nb\r 1.0")
    mark = "\N{REPLACEMENT CHARACTER}"
    assert file.getvalue() == f"a{mark}[31m[bold]{mark}\nb{mark} 1.0\n"


def test_an_ascii_output_gets_what_stands_for_other_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = io.BytesIO()
    stream = io.TextIOWrapper(output, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    accept_any_text()
    stream.write("1 ± 2, Δ clean, head…tail, 実, \N{REPLACEMENT CHARACTER}")
    assert output.getvalue() == b"1 +- 2, Delta clean, head...tail, \\u5b9f, ?"


def test_warnings_are_told_without_their_place() -> None:
    told: list[str] = []
    with pytest.warns(DeprecationWarning, match="old"), telling_warnings(told.append):
        warnings.simplefilter("always")
        warnings.warn("3 files are not read", stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert told == ["warning: 3 files are not read"]


@pytest.mark.parametrize(("columns", "width"), [(None, 200), ("90", 90)])
def test_a_file_is_wide_enough_for_tables(
    columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert wide_console().width == width
