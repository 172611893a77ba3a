"""Which modules a recipe may name, and that no other one is read or imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard import registry
from kmtard.registry import RegistryError, modules

pytestmark = pytest.mark.once("torch")

NETWORK = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()

def build(num_classes, input_shape, *, width: int = 4): ...
"""


@pytest.fixture(autouse=True)
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder that is not on `sys.path`."""
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(modules, "_given", {})
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        if name.startswith(("own", "elsewhere")):
            del sys.modules[name]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder on `sys.path` with a module, like an installed package."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "elsewhere_nets.py").write_text(NETWORK)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return folder


def refused(name: str, table: str = "networks") -> str:
    """Return why a name is refused by everything that takes one."""
    texts = set()
    for take in (registry.options, registry.check, registry.resolve):
        with pytest.raises(RegistryError) as caught:
            take(table, name)
        texts.add(str(caught.value))
    assert len(texts) == 1
    return texts.pop()


@pytest.mark.parametrize(
    "name",
    [
        "subprocess:getoutput",
        "os:system",
        "os.path:join",
        "builtins:eval",
        "runpy:run_path",
        "http.server:test",
    ],
)
def test_the_standard_library_is_refused(name: str) -> None:
    assert "part of Python's standard library" in refused(name, "datasets")


@pytest.mark.parametrize(
    "name", ["numpy:load", "keras.models:load_model", "_pytest.pytester:main"]
)
def test_installed_packages_are_refused(name: str) -> None:
    text = refused(name)
    assert "site-packages" in text
    assert f"--import {name.partition(':')[0]}" in text
    assert "entry-point group kmtard.plugins" in text


def test_parts_of_this_package_that_are_no_entries_are_refused() -> None:
    text = refused("kmtard.runs.files:write_atomic", "datasets")
    assert "registered names" in text
    entry = registry.NETWORKS["small_cnn"]
    assert not registry.is_code("networks", entry)
    assert registry.resolve("networks", entry) is registry.resolve(
        "networks", "small_cnn"
    )


@pytest.mark.parametrize("name", ["own_nets", "own_package.nets", "own_space.nets"])
def test_a_module_file_under_the_working_folder_is_accepted(
    name: str, working: Path
) -> None:
    path = working / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    if name.startswith("own_package"):
        (path.parent / "__init__.py").touch()
    path.write_text(NETWORK)
    full = f"{name}:build"
    assert registry.is_code("networks", full)
    assert set(registry.options("networks", full)) == {"width"}
    registry.check("networks", full)
    assert not path.with_suffix(".ran").exists(), "imported by looking at it"
    assert registry.resolve("networks", full).__name__ == "build"
    assert path.with_suffix(".ran").exists()
    assert sys.path[-1] == str(working), "it must not hide other modules"


def test_a_module_outside_is_refused_until_it_is_imported_by_name(
    elsewhere: Path,
) -> None:
    text = refused("elsewhere_nets:build")
    assert str(elsewhere) in text
    assert not (elsewhere / "elsewhere_nets.ran").exists()
    modules.allow("elsewhere_nets")
    assert set(registry.options("networks", "elsewhere_nets:build")) == {"width"}
    assert not (elsewhere / "elsewhere_nets.ran").exists()
    modules.import_allowed()
    assert (elsewhere / "elsewhere_nets.ran").exists()
    registry.resolve("networks", "elsewhere_nets:build")


@pytest.mark.parametrize("name", ["subprocess", "no_such_module", "not a name", ""])
def test_import_refuses_what_it_cannot_give(name: str) -> None:
    with pytest.raises(RegistryError):
        modules.allow(name)


def dist_info(folder: Path, text: str) -> None:
    info = folder / "own_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-plugin\n")
    (info / "entry_points.txt").write_text(text)
    modules._plugins.cache_clear()


def test_a_package_that_declares_the_entry_point_is_accepted(elsewhere: Path) -> None:
    dist_info(elsewhere, "[kmtard.plugins]\nnets = elsewhere_nets\n")
    assert set(registry.options("networks", "elsewhere_nets:build")) == {"width"}
    assert registry.resolve("networks", "elsewhere_nets:build").__name__ == "build"


def test_another_entry_point_does_not_count(elsewhere: Path) -> None:
    dist_info(elsewhere, "[console_scripts]\nnets = elsewhere_nets:build\n")
    assert "It is in" in refused("elsewhere_nets:build")


def test_an_unpacked_archive_declares_nothing(working: Path, elsewhere: Path) -> None:
    dist_info(working, "[kmtard.plugins]\nnets = elsewhere_nets\nshell = numpy\n")
    sys.path.insert(0, str(working))
    assert "It is in" in refused("elsewhere_nets:build")
    assert "It is in" in refused("numpy:load")


def test_a_plugin_cannot_be_the_standard_library(elsewhere: Path) -> None:
    dist_info(elsewhere, "[kmtard.plugins]\nshell = subprocess\n")
    assert "standard library" in refused("subprocess:getoutput", "datasets")


def test_a_link_out_of_the_working_folder_is_refused(
    working: Path, elsewhere: Path
) -> None:
    (working / "own_link.py").symlink_to(elsewhere / "elsewhere_nets.py")
    assert "It is in" in refused("own_link:build")


def test_an_environment_in_the_working_folder_is_installed(working: Path) -> None:
    folder = working / ".venv" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "own_installed.py").write_text(NETWORK)
    sys.path.append(str(folder))
    assert "It is in" in refused("own_installed:build")
    (working / "own_link").symlink_to(folder)
    assert "It is in" in refused("own_link.own_installed:build")


def test_what_a_module_only_imports_is_not_found_in_it(working: Path) -> None:
    (working / "own_shell.py").write_text(
        "from subprocess import getoutput\nfrom numpy import load as build\n"
    )
    assert "own_shell to define getoutput" in refused("own_shell:getoutput", "datasets")
    assert "own_shell to define build" in refused("own_shell:build")


def test_bases_outside_are_not_read(working: Path) -> None:
    (working / "own_method.py").write_text(
        "import kmtard, subprocess\n"
        "class Foreign(subprocess.Popen): ...\n"
        "class Mine(kmtard.AdversarialModel): ...\n"
    )
    assert registry.options("methods", "own_method:Foreign") == {}
    assert registry.positional("methods", "own_method:Mine") == ("student",)


@pytest.mark.parametrize(
    ("table", "code", "kind"),
    [
        ("networks", "def own(directory): ...", "returns a Keras model"),
        ("networks", "def own(): ...", "returns a Keras model"),
        ("networks", "def own(a, b, c): ...", "returns a Keras model"),
        ("datasets", "def own(): ...", "returns a DataSet"),
        ("datasets", "def own(a, b): ...", "returns a DataSet"),
        ("methods", "def own(student): ...", "subclass of kmtard.AdversarialModel"),
        ("methods", "class own: ...", "subclass of kmtard.AdversarialModel"),
        ("additions", "def own(): ...", "subclass of kmtard.methods.Addition"),
        ("attacks", "def own(radius): ...", "with a parameter epsilon"),
    ],
)
def test_an_object_of_another_kind_is_refused_before_it_is_imported(
    table: str, code: str, kind: str, working: Path
) -> None:
    path = working / "own_kind.py"
    path.write_text(f"{NETWORK}\n{code}\n")
    for take in (registry.check, registry.resolve):
        with pytest.raises(RegistryError, match=kind):
            take(table, "own_kind:own")
    assert not path.with_suffix(".ran").exists()


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("networks", "def own(classes, shape, depth=3, *, width: int = 2): ..."),
        ("networks", "def own(*shape): ..."),
        ("datasets", "def own(directory=None): ..."),
        ("methods", "class own:\n    def __init__(self, student, adv_teacher): ..."),
        ("additions", "class own: ..."),
        ("attacks", "def own(*, epsilon: float): ..."),
        ("attacks", "def own(surrogate, epsilon): ..."),
    ],
)
def test_an_object_of_the_right_kind_is_accepted(
    table: str, code: str, working: Path
) -> None:
    (working / "own_kind.py").write_text(code)
    registry.check(table, "own_kind:own")


def test_a_source_that_is_no_file_or_too_deep_is_told(working: Path) -> None:
    os.mkfifo(working / "own_pipe.py")
    assert "that Python can find" in refused("own_pipe:build")
    (working / "own_deep.py").write_text("x = " + "(" * 90_000)
    assert "source that can be read" in refused("own_deep:build")
    (working / "own_large.py").write_text("#" * (2**20 + 1))
    assert "more than 1,048,576 bytes" in refused("own_large:build")


def test_a_working_folder_that_is_gone_holds_no_module(working: Path) -> None:
    working.rmdir()
    assert "that Python can find" in refused("own_gone:build")
