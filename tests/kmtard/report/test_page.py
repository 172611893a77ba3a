from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from kmtard.report.drawings import Curve, Curves, Panel
from kmtard.report.page import inline, to_html
from kmtard.report.section import Section
from kmtard.runs.tables import Table

pytestmark = pytest.mark.once("jax")

EVIL = '<script>alert("1")</script>\x1b[31m\u202e`&'
LINES = Curves(
    panels=[Panel("loss", [Curve(EVIL, [1, 2], [0.5, None]), Curve("$x$", [1], [2])])],
    caption=EVIL,
)
SECTIONS = [
    Section(
        "one", "One", [EVIL, Table([EVIL], [[EVIL]], title=EVIL, notes=[EVIL]), LINES]
    ),
    Section("two", "Two", [], [f"run `kmtard fit` {EVIL}", "a `b`"]),
    Section("three", "Three", [LINES]),
]
VOID = {"meta", "br", "path", "use", "image", "rect"}


class Tags(HTMLParser):
    """Collects tags, ids and references, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.used: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(str(value))
            self.used += re.findall(r"url\(#([^)]+)\)", value or "")
            if name.endswith("href"):
                assert str(value).startswith("#"), value
                self.used.append(str(value)[1:])


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(EVIL, EVIL, SECTIONS)


def test_foreign_text_is_shown_and_not_interpreted(page: str) -> None:
    tags = Tags(page)
    assert not tags.open and "script" not in tags.tags
    assert "&lt;script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)


def test_a_page_needs_no_network(page: str) -> None:
    assert "default-src 'none'" in page
    named = set(re.findall(r"https?://[^\"'\s)]+", page))
    assert all(each.startswith("http://www.w3.org/") for each in named)


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    tags = Tags(page)
    assert len(tags.ids) == len(set(tags.ids))
    assert set(tags.used) <= set(tags.ids)
    assert {"one", "three", "missing"} <= set(tags.ids) and "two" not in tags.ids


def test_gaps_are_at_the_end_with_their_commands(page: str) -> None:
    assert "<li>Two: a <code>b</code></li>" in page
    assert page.index("What is not in this report</h2>") > page.index('id="three"')


def test_a_drawing_has_the_color_of_the_text_and_a_name() -> None:
    drawn = inline(LINES, "name")
    assert "currentColor" in drawn and "#010203" not in drawn
    assert 'role="img"' in drawn and "aria-label" in drawn
    assert ">$x$<" in drawn
