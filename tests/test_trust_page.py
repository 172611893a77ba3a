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
        cell = row.rstrip(" |").rpartition(" | ")[2]
        if cell.endswith("/`"):  # a folder of tests
            assert (TESTS / cell.strip("`")).is_dir(), cell
            continue
        places = re.findall(r"`([\w/]*\.py)?(?:::(\w+))?`", cell)
        assert places, row
        path = ""
        for file, name in places:
            path = file or path
            # A name without its folder is the only one, or one of two that agree.
            found = [TESTS / path] if "/" in path else sorted(TESTS.rglob(path))
            tree = ast.parse(found[0].read_text())
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            names = {node.name for node in tree.body if isinstance(node, kinds)}
            assert not name or name in names, f"{path}::{name}"
