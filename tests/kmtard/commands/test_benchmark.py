"""The benchmark measures and prints its table."""

import json

import pytest

from kmtard import benchmark
from kmtard.benchmarks import against, attacks

pytestmark = pytest.mark.once("torch")

# One image: 10 gradients, 2 training passes and 2 passes of a teacher.
FORWARD = 2 * (9 * 16 * 64 + 9 * 16 * 32 * 16 + 9 * 32 * 32 * 16 + 512 * 10)
STEP_FLOPS = 28 * FORWARD - 2 * 2 * 9 * 16 * 64
QUICK = ["--repeats=1", "--steps=1", "--batch-size=4"]


def test_json_and_table(tmp_path, capsys):
    path = tmp_path / "times.json"
    settings = [*QUICK, "--net=digits", "--jit=no", "--unroll=no"]
    assert benchmark.main([*settings, f"--json={path}"]) == 0
    (result,) = json.loads(path.read_text())
    assert 0 < result["flops"] == 4 * STEP_FLOPS
    speed = result["flops"] / result["step_seconds"]
    assert result["utilization"] == speed / result["matmul_flops_per_second"]
    assert result["images_per_second"] == 4 / result["step_seconds"]
    assert result["first_step_seconds"] > 0
    assert result["peak_memory_mib"] > 50
    assert "digits" in capsys.readouterr().out


def test_batches_of_the_data_pipeline(tmp_path, capsys):
    path = tmp_path / "times.json"
    assert benchmark.main([*QUICK, "--net=data", f"--json={path}"]) == 0
    (result,) = json.loads(path.read_text())
    assert result["net"] == "data"
    assert result["batch_size"] == 4
    assert result["images_per_second"] == 4 / result["step_seconds"]
    shown = capsys.readouterr().out
    assert "data" in shown
    assert "digits" not in shown


def test_comparison_with_plain_pytorch(tmp_path, monkeypatch, capsys):
    asked = []

    def rows(nets, works, rules):
        asked.append((nets, works, rules))
        for net in nets:
            yield {
                "net": net,
                "work": "step",
                "backend": "jax",
                "threads": rules.threads,
                "seconds": {"ours": 0.003, "eager": 0.002},
                "ratio": {"eager": {"median": 1.5, "low": 1.25, "high": 2.0}},
                "cpu_ratio": {"eager": {"median": 1.4, "low": 1.0, "high": 2.0}},
                "compile_error": None,
            }

    monkeypatch.setattr(against, "rows", rows)
    path = tmp_path / "ratios.json"
    options = ["--against=torch", "--backend=jax", "--work=step", "--no-compile"]
    options += [*QUICK, "--threads=2", f"--json={path}"]
    assert benchmark.main(options) == 0
    rules = against.Rules(
        "jax", rounds=1, batch_size=4, count=1, compiler=None, threads=2
    )
    assert asked == [(["digits", "cifar"], ["step"], rules)]
    assert [row["net"] for row in json.loads(path.read_text())] == ["digits", "cifar"]
    shown = capsys.readouterr().out.splitlines()
    line = next(line for line in shown if "digits" in line)
    assert "1.50 (1.25-2.00) 1.40" in line
    assert all(len(line) <= 80 for line in shown)
    assert "with --threads 2" in shown[0]


def test_a_process_that_ends_is_reported(monkeypatch, capsys):
    def rows(*_):
        raise RuntimeError("The process of x ended with exit code 1.")
        yield

    monkeypatch.setattr(against, "rows", rows)
    assert benchmark.main(["--against=torch"]) == 1
    assert "ended with exit code 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--net=data"], "which has no PyTorch version"),
        (["--work=step,pgd"], "--work: expected names from step, pgd-20, apgd."),
        (["--jit=no"], "Leave the option out"),
        (["--threads=0"], "--threads: expected at least 1. Received: 0."),
    ],
)
def test_comparisons_that_do_not_exist_are_refused(options, text, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--against=torch", *options])
    assert ended.value.code == 2
    assert text in " ".join(capsys.readouterr().err.split())


ROW = {
    "net": "digits",
    "epsilon": 0.1,
    "attack": "autoattack",
    "backend": "jax",
    "ours": {"empty_cache": 8.26, "cold": 4.84, "warm": 4.16, "robust": 0.8867},
    "packages": {
        "auto-attack": {
            "cold": 13.04,
            "warm": 11.77,
            "robust": 0.8906,
            "ratio": {"median": 0.353, "low": 0.349, "high": 0.36},
        }
    },
}


def test_comparison_with_the_attacks_of_packages(tmp_path, monkeypatch, capsys):
    asked = []

    def rows(*arguments):
        asked.append(arguments)
        yield ROW

    monkeypatch.setattr(attacks, "rows", rows)
    monkeypatch.setattr(attacks, "installed", lambda: ["auto-attack"])
    path = tmp_path / "times.json"
    options = ["--attacks", "--net=digits", "--work=autoattack", "--repeats=2"]
    assert benchmark.main([*options, "--backend=jax", f"--json={path}"]) == 0
    rules = attacks.Rules("jax", rounds=2, batch_size=256)
    assert asked == [(["digits"], ["autoattack"], ["auto-attack"], rules)]
    assert json.loads(path.read_text()) == [ROW]
    output = capsys.readouterr()
    assert output.err.splitlines()[0] == (
        "torchattacks is not installed, so it is left out."
    )
    shown = [line.split() for line in output.out.splitlines()]
    ours = ["digits", "0.100", "autoattack", "kmtard"]
    assert [*ours, "8.3,", "4.8", "4.2", "88.7"] in shown
    theirs = ["auto-attack", "13.0", "11.8", "0.35", "(0.35-0.36)", "89.1"]
    assert theirs in shown
    assert all(len(line) <= 80 for line in output.out.splitlines())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--net=data"], "--attacks: expected --net digits, cifar or all."),
        (["--work=square,pgd-20"], "Received: 'pgd-20'."),
        (["--steps=3"], "--attacks would ignore --steps. Leave it out."),
        (["--unroll=no"], "--attacks would ignore --unroll. Leave it out."),
        (["--no-compile"], "--attacks would ignore --no-compile. Leave it out."),
        (["--growth"], "--attacks and --growth. Give one."),
        (["--threads=1"], "--attacks would ignore --threads. Leave it out."),
        (["--repeats=0"], "--repeats: expected at least 1. Received: 0."),
        (["--batch-size=x"], "--batch-size: expected a whole number. Received: 'x'."),
    ],
)
def test_comparisons_of_attacks_that_do_not_exist_are_refused(options, text, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--attacks", *options])
    assert ended.value.code == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_a_package_that_fails_is_reported(monkeypatch, capsys):
    def rows(*_):
        raise RuntimeError("The process of x ended with exit code 1.")
        yield

    monkeypatch.setattr(attacks, "rows", rows)
    assert benchmark.main(["--attacks"]) == 1
    assert "ended with exit code 1" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--work=step", "--no-compile"])
def test_options_of_comparisons_are_refused_without_one(option, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main([option, "--net=digits"])
    assert ended.value.code == 2
    assert "Add --against torch or --attacks" in " ".join(
        capsys.readouterr().err.split()
    )
