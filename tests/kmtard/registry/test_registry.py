"""Names are resolved and their options are read, for all names in the tables."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard import registry
from kmtard.registry import Option, RegistryError

pytestmark = pytest.mark.once("torch")

SOURCE = '''"""Parts of a user's own."""
raise RuntimeError("this module must not be imported")

def make(num_classes, input_shape, *, width: int = 16, bounds: tuple[float, float] =
         (1.0, -2.0), scale: float = 8 / 255, seed: int = 0, plain, **kwargs): ...

class Base:
    def __init__(self, student, /, nat_teacher, *, beta: float = 6.0, attack): ...

class Child(Mixin, Base):
    """Inherits the constructor."""

class Grandchild(Child):
    def __init__(self, student, *, beta: float = 2.0, rate: float = 0.5, **rest): ...

class Closed(Base):
    def __init__(self, student, *, rate: float = 0.5): ...

def factory(student, *, rate: float = 0.1, **kwargs):
    """Makes one.

    And says more."""

class Mixin: ...

class Own(Own): ...
'''


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "user_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('parent imported')")
    (package / "parts.py").write_text(SOURCE)
    (tmp_path / "user_methods.py").write_text(
        "import user_package.parts as parts\n"
        "from user_package.parts import Base, make\n"
        "class Imported(Base): ...\n"
        "class Dotted(parts.Base): ...\n"
    )
    (tmp_path / "user_broken.py").write_text("def broken(:\n")
    (tmp_path / "user_module.py").write_text(
        "import not_installed\nclass Object:\n    def __init__(self, student): ...\n"
    )
    (tmp_path / "user_good.py").write_text(
        "class Good:\n    def __init__(self, student): ...\n"
        "from subprocess import getoutput\n"
        "from rich.console import Console\n"
        "class Child(Console): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    # `resolve` adds the working folder, as where the command is not `python -m`.
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.startswith("user_")]:
        del sys.modules[name]


def test_options_are_read_without_an_import() -> None:
    assert registry.options("networks", "user_package.parts:make") == {
        "width": Option("width", "int", default=16, literal=True, hint=int),
        "bounds": Option(
            "bounds",
            "tuple[float, float]",
            default=(1.0, -2.0),
            literal=True,
            hint=tuple[float, float],
        ),
        "scale": Option("scale", "float", default="8 / 255", hint=float),
        "plain": Option("plain", "", required=True),
    }
    assert "user_package" not in sys.modules


def test_a_class_lends_the_constructor_of_a_base_in_its_file() -> None:
    options = registry.options("methods", "user_package.parts:Child")
    assert list(options) == ["beta"]
    names = registry.positional("methods", "user_package.parts:Child")
    assert names == ("student", "nat_teacher")


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("Grandchild", {"beta": 2.0, "rate": 0.5}),
        ("Closed", {"rate": 0.5}),
        ("factory", {"rate": 0.1}),
    ],
)
def test_options_go_where_kwargs_go(name: str, defaults: dict[str, float]) -> None:
    options = registry.options("methods", f"user_package.parts:{name}")
    assert {key: option.default for key, option in options.items()} == defaults
    assert registry.positional("methods", f"user_package.parts:{name}") == ("student",)


def test_keywords_are_all_that_may_be_given_by_name() -> None:
    names = registry.keywords("methods", "user_package.parts:Grandchild")
    assert names == ("beta", "rate", "attack")


def test_summary_is_the_first_line_of_the_docstring() -> None:
    assert registry.summary("methods", "user_package.parts:factory") == "Makes one."
    assert registry.summary("methods", "user_package.parts:Closed") == (
        "Parts of a user's own."
    )
    assert registry.summary("methods", "user_good:Good") == ""


@pytest.mark.parametrize("name", ["Imported", "Dotted", "Base"])
def test_a_class_lends_the_constructor_of_an_imported_base(name: str) -> None:
    assert list(registry.options("methods", f"user_methods:{name}")) == ["beta"]
    assert "user_package" not in sys.modules


@pytest.mark.parametrize("name", ["Mixin", "Own"])
def test_a_class_without_constructor_has_no_options(name: str) -> None:
    assert registry.options("methods", f"user_package.parts:{name}") == {}
    assert registry.positional("methods", f"user_package.parts:{name}") == ()


@pytest.mark.parametrize(
    ("table", "name", "meant"),
    [
        ("attacks", "FGSM", "fgsm"),
        ("attacks", "AutoAttack", "autoattack"),
        ("attacks", "PGD-TRADES", "pgd_trades"),
        ("attacks", "pgd", "pgd_trades or pgd_sat"),
        ("attacks", "PGD", "pgd_trades or pgd_sat"),
        ("attacks", "APGD", "apgd_ce or apgd_dlr or apgd_t"),
        ("attacks", "AA", "autoattack"),
        ("methods", "B-MTARD", "b_mtard"),
        ("networks", "ResNet18", "resnet18"),
        ("networks", "pgd", None),
    ],
)
def test_names_in_another_case_and_families_are_known(
    table: str, name: str, meant: str | None
) -> None:
    with pytest.raises(RegistryError) as caught:
        registry.check(table, name)
    assert caught.value.nearest == meant
    for each in meant.split(" or ") if meant else ():
        registry.check(table, each)


def test_families_name_attacks_that_are_there() -> None:
    for table, families in registry.FAMILIES.items():
        for name, members in families.items():
            assert name not in registry.TABLES[table]
            assert set(members) <= registry.TABLES[table].keys()


def test_unknown_name_is_told_with_the_nearest_and_the_allowed_ones() -> None:
    with pytest.raises(RegistryError) as caught:
        registry.resolve("methods", "mtrad")
    assert caught.value.nearest == "mtard"
    assert str(caught.value) == (
        "Expected a name from the table of methods, or package.module:Object. "
        "Received: 'mtrad'. Did you mean mtard? "
        f"Allowed: {', '.join(registry.METHODS)}."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("user_package.parts:Missing", "user_package.parts to define Missing"),
        ("user_package.nothing:Object", "that Python can find"),
        ("user_package.parts.deeper:Object", "that Python can find"),
        ("no_such_package.module:Object", "that Python can find"),
        ("__main__:Object", ""),
        ("..parts:Object", "Allowed: natural"),
        ("sys:Object", "part of Python's standard library"),
        ("user_broken:broken", "invalid syntax"),
        ("user_package:", "Allowed: natural"),
        (":Object", "Allowed: natural"),
        ("", "Allowed: natural"),
    ],
)
def test_bad_user_names_are_registry_errors(name: str, text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        registry.options("methods", name)
    assert text in str(caught.value)


def test_resolve_imports_the_users_own_object() -> None:
    assert registry.resolve("methods", "user_good:Good").__name__ == "Good"
    with pytest.raises(RegistryError, match="user_good to define Bad"):
        registry.resolve("methods", "user_good:Bad")
    with pytest.raises(RegistryError, match="that Python can find"):
        registry.resolve("methods", "user_gone.parts:Bad")


def test_resolve_does_not_hide_what_a_module_itself_lacks() -> None:
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        registry.resolve("methods", "user_module:Object")


ENTRIES = [(table, name) for table, names in registry.TABLES.items() for name in names]


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_entry_has_source_that_can_be_read(table: str, name: str) -> None:
    assert not registry.RESERVED & set(registry.options(table, name))
    assert registry.summary(table, name)


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_every_entry_is_callable_and_has_a_name_in_snake_case(
    table: str, name: str
) -> None:
    assert re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert callable(registry.resolve(table, name))


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_hyphens_stand_for_underscores(table: str, name: str) -> None:
    hyphens = name.replace("_", "-")
    assert registry.canonical(table, name) == name
    assert registry.canonical(table, hyphens) == name
    assert registry.canonical(table, registry.label(name)) == name
    assert registry.options(table, hyphens) == registry.options(table, name)
    assert registry.resolve(table, hyphens) is registry.resolve(table, name)


@pytest.mark.parametrize("name", ["b-mtrad", "my-package.parts:B_MTARD", "", "-"])
def test_another_text_is_canonical_as_it_is(name: str) -> None:
    assert registry.canonical("methods", name) == name


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("b_mtard", "b-mtard"),
        ("b-mtard", "b-mtard"),
        ("apgd_ce", "apgd-ce"),
        ("pgd_trades", "pgd_trades"),
        ("own_parts:B_MTARD", "own_parts:B_MTARD"),
    ],
)
def test_labels_have_the_hyphens_of_the_literature(name: str, label: str) -> None:
    assert registry.label(name) == label


def test_every_label_stands_for_an_entry() -> None:
    assert {name for _, name in ENTRIES} >= registry.HYPHENATED


def test_reading_every_entry_imports_no_backend() -> None:
    code = (
        "import sys; from kmtard import recipe, registry\n"
        "[registry.options(t, n) for t, ns in registry.TABLES.items() for n in ns]\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'numpy'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    root = Path(registry.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
