"""The pages of promises name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("torch")

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


@pytest.mark.parametrize("page", ["trust.md", "reliability.md"])
def test_each_promise_has_a_test_that_exists(page: str) -> None:
    lines = (DOCS / page).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and "| promise" not in line]
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
