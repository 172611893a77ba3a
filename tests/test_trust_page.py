"""The page of promises names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("torch")

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "trust.md"


def test_each_promise_has_a_test_that_exists() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| ")][1:]
    assert rows
    for row in rows:
        places = re.findall(r"`([\w/]*\.py)?(?:::(\w+))?`", row.split(" | ")[-1])
        assert places, row
        path = ""
        for file, name in places:
            path = file or path
            tree = ast.parse((TESTS / path).read_text())
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            names = {node.name for node in tree.body if isinstance(node, kinds)}
            assert not name or name in names, f"{path}::{name}"
