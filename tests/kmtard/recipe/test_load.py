"""Recipes are read, overridden and resolved; all mistakes are reported at once.

The modules of the package are tested together, through `load`: what each finds in a
recipe shows only there.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kmtard import recipe, registry
from kmtard.recipe import (
    Recipe,
    RecipeError,
    load,
    options,
    settings_key,
    teacher_key,
)

pytestmark = pytest.mark.once("torch")

PARTS = """
raise RuntimeError("a recipe must not import what it names")

class Natural:
    def __init__(self, student, **kwargs): ...

class TRADES:
    def __init__(self, student, *, beta: float = 6.0, **kwargs): ...

def multi(student, nat_teacher, adv_teacher, *, temperature: float = 1.0,
          temperature_bounds: tuple[float, float] = (1.0, 10.0), beta: float = 1.0,
          rate: float | None = None, levels: int = 2,
          mode: Literal["eval", "train"] = "eval",
          average: bool = False,
          **kwargs): ...

class Needy:
    def __init__(self, student, *, margin: float, attack=None): ...

def network(num_classes, input_shape, *, width: int = 16): ...

def attack(*, epsilon: float): ...

def attack_in_l2(*, epsilon: float, norm: str = "linf"): ...

def digits(directory=None): ...
"""

BASE = """
[data]
name = "digits"
batch_size = 64
[student]
network = "small_cnn"
[nat_teacher]
network = "small_cnn"
train = true
method.name = "natural"
[adv_teacher]
network = "small_cnn"
train = true
[adv_teacher.method]
name = "trades"
schedule.epochs = 7
[method]
name = "b_mtard"
temperature = 2
[methods.b_mtard]
temperature = 3.0
levels = 4
attack.steps = 5
optimizer.learning_rate = 0.2
[methods.trades]
beta = 5
optimizer.momentum = 0.5
schedule.epochs = 9
[attack]
epsilon = "8/255"
step_size = 0.025
steps = 10
[optimizer]
learning_rate = 0.1
[schedule]
epochs = 20
milestones = [14, 17]
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the base recipe, and let the registry name stand-ins."""
    (tmp_path / "recipe_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    methods = {"natural": "Natural", "trades": "TRADES"}
    for name in registry.METHODS:
        target = f"recipe_parts:{methods.get(name, 'multi')}"
        monkeypatch.setitem(registry.METHODS, name, target)
    for name in registry.ATTACKS:
        target = "attack_in_l2" if "l2" in registry.norms(name) else "attack"
        monkeypatch.setitem(registry.ATTACKS, name, f"recipe_parts:{target}")
    monkeypatch.setitem(registry.NETWORKS, "small_cnn", "recipe_parts:network")
    monkeypatch.setitem(registry.DATASETS, "digits", "recipe_parts:digits")
    monkeypatch.chdir(tmp_path)  # what lies elsewhere may not be named
    path = tmp_path / "base.toml"
    path.write_text(BASE)
    return path


def lines(path: Path, *overrides: str, **options: Any) -> list[str]:
    """Return the lines of the error that loading raises."""
    with pytest.raises(RecipeError) as caught:
        load(path, overrides=overrides, **options)
    assert caught.value.path == str(path)
    return str(caught.value).replace(str(path), "FILE").splitlines()


def test_the_student_has_base_then_methods_table_then_own_table(base: Path) -> None:
    student = load(base).training("student")
    assert student.method == "b_mtard"
    assert student.method_options == {
        "temperature": 2.0,
        "temperature_bounds": (1.0, 10.0),
        "beta": 1.0,
        "levels": 4,
        "mode": "eval",
        "average": False,
    }
    assert student.network_options == {"width": 16}
    assert student.attack.epsilon == 8 / 255
    assert student.attack.steps == 5
    assert student.optimizer.learning_rate == 0.2
    assert student.optimizer.momentum == 0.9
    assert student.schedule.epochs == 20


def test_teachers_know_nothing_of_the_students_table(base: Path) -> None:
    resolved = load(base)
    natural, trades = map(resolved.training, ("nat_teacher", "adv_teacher"))
    assert natural.attack.steps == trades.attack.steps == 10
    assert natural.optimizer.learning_rate == trades.optimizer.learning_rate == 0.1
    assert (natural.optimizer.momentum, trades.optimizer.momentum) == (0.9, 0.5)
    assert (natural.schedule.epochs, trades.schedule.epochs) == (20, 7)
    assert trades.method_options == {"beta": 5.0}


def test_the_sections_of_the_result_are_those_of_the_student(base: Path) -> None:
    resolved = load(base)
    student = resolved.training("student")
    assert resolved.attack == student.attack
    assert resolved.optimizer == student.optimizer
    assert resolved.method.options == student.method_options
    assert resolved.evaluation.epsilon == 8 / 255
    assert resolved.evaluation.step_size is None


def test_the_headline_is_any_attack_that_exists(base: Path) -> None:
    assert load(base).evaluation.headline == "pgd_trades"
    own = "recipe_parts:attack"
    for name in ("cw_inf", own):  # whether it is run is not asked here
        override = f"evaluation.headline={name}"
        assert load(base, overrides=[override]).evaluation.headline == name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "trades"},
        {"smoke": True},
        {"overrides": ["optimizer.learning_rate=0.3", "attack.epsilon=1/3"]},
        {
            "overrides": [
                "adv_teacher={network='small_cnn', weights='a.keras'}",
                "runtime.jit=false",
            ]
        },
    ],
)
def test_the_written_recipe_reads_as_the_same(
    base: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    resolved = load(base, **options)
    again = tmp_path / "again.toml"
    again.write_text(resolved.to_toml())
    assert load(again) == resolved
    assert load(again).to_toml() == resolved.to_toml()
    assert teacher_key(load(again), "nat_teacher") == teacher_key(
        resolved, "nat_teacher"
    )


def test_method_drops_the_options_of_the_old_one(base: Path) -> None:
    resolved = load(base, method="trades")
    assert resolved.method.options == {"beta": 5.0}
    assert resolved.schedule.epochs == 9
    assert resolved.attack.steps == 10


def test_set_wins_over_every_table(base: Path) -> None:
    overrides = [
        "optimizer.learning_rate=0.05",
        "methods.b_mtard.temperature=4",
        "attack.epsilon=4/255",
        "data.directory=some place",
        "methods.b_mtard.schedule.milestones=[3]",
    ]
    resolved = load(base, overrides=overrides)
    assert resolved.optimizer.learning_rate == 0.05
    assert resolved.method.options["temperature"] == 4.0
    assert resolved.attack.epsilon == 4 / 255
    assert resolved.attack.steps == 5
    assert resolved.data.directory == "some place"
    assert resolved.schedule.milestones == (3,)


def test_set_wins_over_method_and_smoke(base: Path) -> None:
    overrides = ["method.name=trades", "schedule.epochs=3", "data.batch_size=48"]
    resolved = load(base, method="mtard", smoke=True, overrides=overrides)
    assert resolved.method.name == "trades"
    assert resolved.schedule.epochs == 3
    assert resolved.data.batch_size == 48


def test_smoke_shrinks_student_and_teachers(base: Path) -> None:
    resolved = load(base, smoke=True)
    assert (resolved.data.limit, resolved.data.batch_size) == (256, 32)
    assert resolved.evaluation.limit == 128
    for role in ("student", "nat_teacher", "adv_teacher"):
        schedule = resolved.training(role).schedule
        assert (schedule.epochs, schedule.milestones) == (2, (1,))


def test_smoke_never_enlarges(base: Path) -> None:
    base.write_text(BASE.replace("batch_size = 64", "batch_size = 8\nlimit = 50"))
    resolved = load(base, smoke=True)
    assert (resolved.data.limit, resolved.data.batch_size) == (50, 8)


def test_a_mistake_is_told_with_file_key_value_and_nearest_key(base: Path) -> None:
    base.write_text(BASE.replace("learning_rate = 0.1", "learning_rat = 0.1"))
    assert lines(base) == [
        "FILE: optimizer.learning_rate: required key is missing",
        "FILE: optimizer.learning_rat = 0.1: unknown key; did you mean learning_rate?",
    ]


def test_all_mistakes_are_told_at_once(base: Path) -> None:
    text = BASE.replace('"b_mtard"\ntemperature = 2', '"b_mtard"\ntemprature = 2')
    text = text.replace("levels = 4", "levels = 4.5").replace(
        "steps = 10", "steps = -1"
    )
    text = text.replace("method.name", "weights = 'a.keras'\nmethod.name")
    base.write_text(text + "[evaluation]\nattacks = ['fgms']\n[extra]\n")
    assert lines(base) == [
        "FILE: attack.steps = -1: out of range; allowed: >= 0",
        'FILE: evaluation.attacks[0] = "fgms": expected a name from the table of '
        "attacks, or package.module:Object; did you mean fgsm?",
        "FILE: extra = {}: unknown key; allowed: " + ", ".join(Recipe.model_fields),
        "FILE: methods.b_mtard.levels = 4.5: expected a whole number",
        "FILE: method.temprature = 2: unknown key; did you mean temperature?",
        "FILE: nat_teacher: expected either weights or train = true; received both",
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data=3", "data = 3: expected a table"),
        ("data.pad={a=1}", "data.pad = {a = 1}: expected a whole number"),
        ("data.held_out=1", "data.held_out = 1: out of range; allowed: < 1"),
        ("data.flip=1", "data.flip = 1: expected true or false"),
        ("data.limit=true", "data.limit = true: expected a whole number"),
        ("student.options=3", "student.options = 3: expected a table"),
        ("student.options.w=3", "student.options.w = 3: unknown key; allowed: width"),
        ("attack.epsilon=8", "attack.epsilon = 8: out of range; allowed: <= 1"),
        ("attack.epsilon=nan", "attack.epsilon = nan: expected a finite number"),
        ("attack.step_size=0", "attack.step_size = 0: out of range; allowed: > 0"),
        ("attack.step_size=-1/9", "out of range; allowed: > 0"),
        ("attack.step_size=1/0", 'expected a number, or a fraction such as "8/255"'),
        ("optimizer.learning_rate=inf", "expected a finite number"),
        ("schedule.milestones=[2, 2]", "expected increasing epochs"),
        ("schedule.milestones=[0]", "schedule.milestones[0] = 0: out of range"),
        ("schedule.milestones=4", "expected a list"),
        ("schedule.epochs=2020-01-01", "= 2020-01-01: expected a whole number"),
        ("runtime.backend=tensorflw", "unknown value; did you mean tensorflow?"),
        ("runtime.backend=mxnet", "allowed: jax, tensorflow, torch"),
        ("runtime.jit=yes", "allowed: auto, true, false"),
        ("runtime.threads=0", "out of range; allowed: >= 1"),
        ("runtime.devices=0", '= 0: expected "all" or a whole number'),
        ("runtime.devices=2", "expected 1, because only the backend jax trains one"),
        ("runtime.processes=2", "or train several runs at once, each on a device"),
        ("runtime.coordinator=node1", "expected host:port, such as node1:8476"),
        ("method.beta=x", 'method.beta = "x": expected a number'),
        ("method.average=1", "method.average = 1: expected true or false"),
        ("method.temperature_bounds=[1]", "[1]: expected a list of 2, each a num"),
        ("attack.steps=1000000000000000000", "out of range; allowed: <= 10000"),
        ("data.batch_size=65537", "out of range; allowed: <= 65536"),
        ("data.pad=1025", "out of range; allowed: <= 1024"),
        ("schedule.epochs=100001", "out of range; allowed: <= 100000"),
        ("optimizer.learning_rate=1e308", "out of range; allowed: <= 1000"),
        ('runtime.runs_dir="a\\u0000b"', "expected a path without a null character"),
        ("method.mode='frozen'", "unknown value; allowed: eval, train"),
        ("evaluation.headline=pgd_trade", "did you mean pgd_trades?"),
        ("evaluation.headline=20", "headline = 20: expected a text in quotes"),
        ("attack.start='random'", "unknown value; allowed: clean, gaussian, "),
        ("method.attack.steps=1", "method.attack = {steps = 1}: unknown key"),
        ("methods.mtrad.beta=1", "methods.mtrad: expected a name"),
        ("methods.trades=1", "methods.trades = 1: expected a table"),
        ("methods.trades.attack=1", "methods.trades.attack = 1: expected a table"),
        ("methods.trades.attack.step=1", "unknown key; did you mean steps?"),
        ("methods.trades.attack.steps=-1", "out of range; allowed: >= 0"),
        ("adv_teacher.method.optimizer.momentum=1", "out of range; allowed: < 1"),
        ("adv_teacher.method.name=mtard", "a method that needs no teacher"),
        ("adv_teacher.train=false", "expected either weights or train = true"),
        ("data.name=no_module:x", "no_module to be a module that Python can find"),
        ("method.name=recipe_parts:x", "expected recipe_parts to define x"),
        ("method.name=5", "method.name = 5: expected a text in quotes"),
        ("optimizer.learning_rate.x=1", "optimizer.learning_rate = 0.1: expected a t"),
        ("nonsense", "nonsense: expected table.key=value"),
        ("[data]\npad=1", "expected table.key=value"),
        ("a b=1", "a b=1: expected table.key=value"),
        ("=1", "=1: expected table.key=value"),
    ],
)
def test_what_is_wrong_with_set_is_told_with_its_place(
    base: Path, override: str, line: str
) -> None:
    complaints = lines(base, override)
    assert any(line in complaint for complaint in complaints), complaints
    assert all(complaint.startswith("--set: ") for complaint in complaints)


def test_held_out_selection_needs_held_out_images(base: Path) -> None:
    assert lines(base, "data.held_out=0", "evaluation.selection=held_out") == [
        '--set: evaluation.selection = "held_out": '
        'expected "test", since data.held_out = 0 keeps no images'
    ]
    assert load(base, overrides=["data.held_out=0", "evaluation.selection=test"])


def test_an_unknown_method_of_the_command_line(base: Path) -> None:
    (line,) = lines(base, method="mtrad")
    assert line.startswith('--method: method.name = "mtrad": expected a name from')
    assert line.endswith("did you mean mtard?")


def test_a_method_gets_the_teachers_and_options_it_needs(base: Path) -> None:
    without = BASE[: BASE.index("[adv_teacher]")] + BASE[BASE.index("[method]") :]
    base.write_text(without)
    message = "section is missing, but the method b_mtard needs it"
    assert lines(base) == [f"FILE: adv_teacher: {message}"]
    load(base, method="trades")
    own = "recipe_parts:Needy"
    assert lines(base, method=own) == ["FILE: method.margin: required key is missing"]
    resolved = load(
        base, method=own, overrides=['methods."recipe_parts:Needy".margin=1']
    )
    assert resolved.method.options == {"margin": 1.0}


def test_a_teacher_to_train_needs_a_method(base: Path) -> None:
    base.write_text(BASE.replace('method.name = "natural"', ""))
    message = "section is missing, but train = true needs it"
    assert lines(base) == [f"FILE: nat_teacher.method: {message}"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[data]\nname = \n", "(at line 2, column 8)"),
        (b"[data\n", "at line 1, column 6)"),
        (b"a = '''\nb", "at line 2, column 2)"),
        (b"a = 1\na = 2\n", "at line 2"),
        (b"a = \xff", "utf-8"),
        pytest.param(b"a = " + b"[" * 5000, "more than 32 levels deep", id="deep"),
    ],
)
def test_files_that_are_no_toml(base: Path, content: bytes, line: str) -> None:
    base.write_bytes(content)
    (complaint,) = lines(base)
    assert complaint.startswith("FILE: expected")
    assert line in complaint


def test_an_empty_file_lacks_every_required_section(base: Path) -> None:
    base.write_text("")
    sections = ("data", "student", "method", "attack", "optimizer", "schedule")
    assert lines(base) == [
        f"FILE: {each}: required key is missing" for each in sections
    ]


@pytest.mark.parametrize(
    ("file", "overrides", "expected"),
    [
        ("jit = false", ["runtime.backend=jax"], "auto"),
        ("jit = false", ["runtime.backend=jax", "runtime.jit=false"], False),
        ("jit = false", ["runtime.backend=torch"], False),
        ("jit = false", [], False),
        ("jit = false\nbackend = 'jax'", ["runtime.backend=jax"], False),
        ("jit = true", ["runtime.backend=jax"], True),
    ],
)
def test_jit_goes_with_the_backend(
    file: str, overrides: list[str], expected: object, base: Path
) -> None:
    text = base.read_text().split("[runtime]")[0]
    base.write_text(f"{text}\n[runtime]\n{file}\n")
    assert load(base, overrides=overrides).runtime.jit == expected


def test_a_missing_file_is_told_with_the_nearest_one(base: Path) -> None:
    base.with_name(".bas.toml").write_bytes(b"hidden")
    (line,) = lines(base.with_name("bas.toml"))
    assert "No such file" in line
    assert line.endswith("did you mean base.toml?")


@pytest.mark.parametrize(
    "override",
    [
        "student.options.width=32",
        "method.temperature=9",
        "methods.b_mtard.attack.steps=3",
        "method.name=mtard",
        "runtime.runs_dir=elsewhere",
        "evaluation.headline=fgsm",
        "methods.b_mtard.schedule.epochs=3",
    ],
)
def test_the_key_of_a_teacher_ignores_the_student(base: Path, override: str) -> None:
    changed = load(base, overrides=[override])
    assert changed != load(base)
    assert teacher_key(changed, "adv_teacher") == teacher_key(load(base), "adv_teacher")


@pytest.mark.parametrize(
    "override",
    [
        "adv_teacher.options.width=32",
        "adv_teacher.method.beta=1",
        "methods.trades.beta=1",
        "attack.steps=3",
        "methods.trades.optimizer.nesterov=true",
        "data.pad=1",
        "runtime.seed=1",
        "runtime.backend=jax",
        "runtime.precision=mixed_bfloat16",
    ],
)
def test_the_key_of_a_teacher_has_what_makes_it(base: Path, override: str) -> None:
    changed = load(base, overrides=[override])
    assert teacher_key(changed, "adv_teacher") != teacher_key(load(base), "adv_teacher")


def test_a_default_that_is_written_out_makes_the_same_teacher(base: Path) -> None:
    written = load(base, overrides=["adv_teacher.options.width=16"])
    assert teacher_key(written, "adv_teacher") == teacher_key(load(base), "adv_teacher")


def test_the_key_of_a_teacher_changes_with_the_format(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = teacher_key(load(base), "nat_teacher")
    assert len(before) == 16
    int(before, 16)
    module = importlib.import_module("kmtard.recipe.identity")
    monkeypatch.setattr(module, "TEACHER_FORMAT", 2)
    assert teacher_key(load(base), "nat_teacher") != before


def test_a_teacher_from_a_file_has_no_training(base: Path) -> None:
    overrides = ["nat_teacher={network='small_cnn', weights='a.keras'}"]
    resolved = load(base, overrides=overrides)
    with pytest.raises(ValueError, match=r"See \[nat_teacher\]"):
        teacher_key(resolved, "nat_teacher")


HYPHENS = BASE.replace("b_mtard", "b-mtard")


@pytest.mark.parametrize("text", [BASE, HYPHENS])
@pytest.mark.parametrize("method", [None, "b-mtard", "b_mtard"])
@pytest.mark.parametrize("name", ["b-mtard", "b_mtard"])
def test_hyphens_stand_for_underscores_in_the_names_of_methods(
    base: Path, text: str, method: str | None, name: str
) -> None:
    overrides = [
        f"method.name={name}",
        f"methods.{name}.levels=6",
        "optimizer.learning_rate=0.3",
    ]
    expected = load(base, method=method and "b_mtard", overrides=overrides)
    base.write_text(text)
    resolved = load(base, method=method, overrides=overrides)
    assert resolved == expected
    assert resolved.to_toml() == expected.to_toml()
    assert resolved.method.name == "b_mtard"
    assert resolved.method.options["levels"] == 6
    assert resolved.optimizer.learning_rate == 0.3


def test_hyphens_stand_for_underscores_in_the_names_of_attacks(base: Path) -> None:
    overrides = [
        "evaluation.attacks=['apgd-ce', 'fab_t']",
        "evaluation.headline=apgd-t",
    ]
    evaluation = load(base, overrides=overrides).evaluation
    assert evaluation.attacks == ("apgd_ce", "fab_t")
    assert evaluation.headline == "apgd_t"


def test_two_spellings_of_one_method_are_a_mistake(base: Path) -> None:
    base.write_text(BASE + "[methods.b-mtard]\nlevels = 3\n")
    assert lines(base) == [
        "FILE: methods.b-mtard: expected one table for the method b_mtard, which "
        "already has [methods.b_mtard]; keep one of the two"
    ]


def test_a_mistake_uses_the_spelling_of_the_file(base: Path) -> None:
    base.write_text(HYPHENS.replace("levels = 4", "levels = 4.5"))
    assert lines(base) == [
        "FILE: methods.b-mtard.levels = 4.5: expected a whole number"
    ]
    override = "methods.b_mtard.levels=x"
    assert lines(base, override) == [
        '--set: methods.b-mtard.levels = "x": expected a whole number'
    ]


@pytest.mark.parametrize(
    "key",
    [
        "attack.step_size",
        "methods.b_mtard.attack.step_size",
        "adv_teacher.method.attack.step_size",
        "methods.trades.beta",
        "adv_teacher.method.beta",
    ],
)
def test_a_value_is_converted_once(base: Path, key: str) -> None:
    conversions = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is options._number.__code__:
            conversions.append(frame.f_locals["value"])

    sys.setprofile(note)
    try:
        load(base, overrides=[f"{key}=13/255"])
    finally:
        sys.setprofile(None)
    found = [value for value in conversions if value in ("13/255", 13 / 255)]
    assert found == ["13/255"]


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("runtime.seed=7", True),
        ("runtime.runs_dir=elsewhere", True),
        ("runtime.cache_dir=elsewhere", True),
        ("method.mode=eval", True),
        ("runtime.backend=jax", False),
        ("data.directory=elsewhere", False),
        ("method.levels=5", False),
        ("evaluation.limit=5", False),
    ],
)
def test_the_key_of_the_settings_leaves_out_seed_and_folders(
    base: Path, override: str, same: bool
) -> None:
    key, changed = settings_key(load(base)), load(base, overrides=[override])
    assert (settings_key(changed) == key) is same
    assert len(key) == 16


def test_every_key_of_every_section_is_described() -> None:
    schema = Recipe.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, field in section["properties"].items():
            assert field.get("description"), (section["title"], key)


def test_the_recipe_is_valid_toml_without_empty_tables(base: Path) -> None:
    tables = tomllib.loads(load(base, method="natural").to_toml())
    assert tables["method"] == {"name": "natural"}
    assert "methods" not in tables


@pytest.mark.parametrize("method", registry.METHODS)
@pytest.mark.parametrize("smoke", [False, True])
def test_the_digits_recipe_suits_every_method(method: str, smoke: bool) -> None:
    path = Path(recipe.__file__).parents[2] / "recipes" / "digits.toml"
    resolved = load(path, method=method, smoke=smoke)
    assert resolved.training("student").method == method
    assert resolved.training("adv_teacher").method_options["beta"] == 6.0
    assert set(registry.METHODS) == set(tomllib.loads(path.read_text())["methods"])


def test_norm_of_the_attack_is_that_of_the_evaluation(base: Path) -> None:
    assert load(base).evaluation.norm == load(base).attack.norm == "linf"
    keys = ["attack.norm='l2'", "evaluation.attacks=['fgsm', 'pgd_trades', 'apgd_ce']"]
    changed = load(base, overrides=keys)
    assert changed.evaluation.norm == "l2"
    other = load(base, overrides=[*keys, "evaluation.norm='linf'"])
    assert (other.attack.norm, other.evaluation.norm) == ("l2", "linf")
    assert settings_key(changed) != settings_key(load(base))


def test_recipe_without_norm_has_the_teachers_of_version_0_1(base: Path) -> None:
    """The hash of one that says what the default is, too."""
    plain, said = load(base), load(base, overrides=["attack.norm='linf'"])
    assert teacher_key(said, "adv_teacher") == teacher_key(plain, "adv_teacher")
    changed = load(base, overrides=["attack.norm='l2'"])
    assert teacher_key(changed, "adv_teacher") != teacher_key(plain, "adv_teacher")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("evaluation.attacks=['fgsm', 'ge']", "evaluation.attacks"),
        ("evaluation.attacks=['rays_100']", "evaluation.attacks"),
        ("evaluation.suite='paper'", "evaluation.suite"),
    ],
)
def test_attacks_of_linf_are_refused_in_l2(base: Path, override: str, key: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s){key}.*l2"):
        load(base, overrides=["attack.norm='l2'", override])


JAX = 'runtime.backend="jax"'


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["runtime.devices=7"], "expected a multiple of runtime.devices = 7, which"),
        (["runtime.devices=3", "runtime.processes=2"], "multiple of runtime.processes"),
        (["runtime.devices='any'"], 'expected "all" or a whole number >= 1'),
        (["runtime.devices=true"], 'expected "all" or a whole number >= 1'),
        (
            ["runtime.devices=4", "runtime.processes=4", "study.slurm.nodes=3"],
            "expected a divisor of runtime.processes = 4",
        ),
    ],
)
def test_devices_share_batches_and_processes_equally(
    base: Path, overrides: list[str], expected: str
) -> None:
    [line] = lines(base, JAX, "data.batch_size=64", *overrides)
    assert expected in line


def test_devices_change_neither_a_run_nor_its_teachers(base: Path) -> None:
    """They compute the same, and the hashes of one device are those of before."""
    alone = load(base, overrides=[JAX, "data.batch_size=64"])
    changes = ["runtime.devices='all'"], ["runtime.threads=3"], MANY
    for several in (*changes, [*MANY, "runtime.coordinator='a:1'"]):
        other = load(base, overrides=[JAX, "data.batch_size=64", *several])
        assert settings_key(other) == settings_key(alone)
        assert teacher_key(other, "adv_teacher") == teacher_key(alone, "adv_teacher")


MANY = ["runtime.devices=4", "runtime.processes=2"]
