"""Checks that a broken run ends like the unbroken one, or names its problem."""

from __future__ import annotations

import re
from pathlib import Path

from tests.reliability.children import Ended, leftovers, only_run
from tests.reliability.conftest import Unbroken
from tests.run_facts import facts


def check_same(unbroken: Unbroken, folder: Path) -> None:
    """Compare the run of a working folder with the unbroken one, bit for bit."""
    run = only_run(folder)
    assert run.state() == "finished"
    found = facts(run, repeats=True)
    assert found.keys() == unbroken.facts.keys()
    assert [key for key in found if found[key] != unbroken.facts[key]] == []
    assert leftovers(run.path) == []


def check_said(ended: Ended, name: str, reason: str) -> None:
    """Check that a command failed with one message that names the file."""
    assert ended.code in (1, 2), ended.text
    text = ended.text.replace("\n", "")
    assert re.search(f"{re.escape(name)}.*{reason}", text), ended.text
    assert "Traceback" not in ended.text, ended.text
