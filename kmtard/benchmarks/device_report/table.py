"""A device report as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

MINIATURE = (
    "A miniature report only checks that every part runs. Its times are meaningless."
)


def table(document: Mapping[str, Any]) -> Table:
    """Return a table with the rows of all parts and the final state of each part."""
    shown = Table(
        title=f"Device report, {document['backend']}",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=MINIATURE if document["miniature"] else None,
    )
    for name in ("part", "case", "result"):
        shown.add_column(name, overflow="fold")
    for name, part in document["parts"].items():
        for row in part["rows"]:
            case, result = described(row)
            shown.add_row(name, case, result)
        seconds = f" after {part['seconds']:.0f} s" if "seconds" in part else ""
        error = f": {part['error']}" if "error" in part else ""
        shown.add_row(name, "", f"{part['state']}{seconds}{error}", style="bold")
    return shown


def described(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a row's case and its figures as text."""
    case = str(row["case"])
    if "precision" in row:
        case = " ".join(
            str(row[key])
            for key in ("case", "student", "teacher", "batch_size", "precision")
            if key in row
        )
    describe = _DESCRIBED.get(str(row["case"]))
    if describe:
        return case, describe(row)
    if "passed" in row:
        counts = ("passed", "failed", "skipped")
        rest = ", not finished" if row.get("running") else ""
        return case, ", ".join(f"{row[key]} {key}" for key in counts) + rest
    if "images_per_second" in row:
        return case, f"{row['images_per_second']:.2f} images/s"
    left = (f"{key}: {value}" for key, value in row.items() if key != "case")
    return case, "; ".join(left)


def _devices(row: Mapping[str, Any]) -> str:
    return ", ".join(row["devices"])


def _cards(row: Mapping[str, Any]) -> str:
    cards = [", ".join(card.values()) for card in row["cards"]]
    return "; ".join(cards) or "not found"


def _versions(row: Mapping[str, Any]) -> str:
    shown = {"python": row["python"], **row["versions"]}
    return ", ".join(f"{name} {version}" for name, version in shown.items())


def _failed(row: Mapping[str, Any]) -> str:
    return f"outside {row['tolerance']:g} on this device: " + "; ".join(row["tests"])


def _matmul(row: Mapping[str, Any]) -> str:
    return f"{row['flops_per_second'] / 1e12:.2f} TFLOP/s, the peak of this precision"


def _step(row: Mapping[str, Any]) -> str:
    memory = ""
    if row["peak_memory_mib"] is not None:
        bound = "" if row["peak_memory_exact"] else "at most "
        memory = f", {bound}{row['peak_memory_mib']:.0f} MiB"
    return (
        f"{row['attack']}: {1e3 * row['step_seconds']:.2f} ms, "
        f"{row['images_per_second']:.0f} images/s, {100 * row['utilization']:.1f} % of "
        f"the peak{memory}, compiled in {row['compile_seconds']:.1f} s"
    )


def _rival(row: Mapping[str, Any]) -> str:
    times = ", ".join(f"{kind} {1e3 * s:.2f}" for kind, s in row["seconds"].items())
    goal = f" (goal: at most {row['goal']})" if row["goal"] else ""
    return (
        f"ms: {times}; ours / eager {row['ratio_to_eager']:.2f}, "
        f"ours / compiled {row['ratio_to_compiled']:.2f}{goal}"
    )


def _program(row: Mapping[str, Any]) -> str:
    stays = "stays on the device"
    if not row["stays_on_device"]:
        stays = "calls the host: " + ", ".join(row["host_operations"])
    if not row["compiled"]:
        return f"{stays}; no compiled program, so FLOPs are not counted"
    return f"{stays}; FLOPs: {row['ratio']:.4f} of our own count"


_DESCRIBED = {
    "devices": _devices,
    "nvidia-smi": _cards,
    "versions": _versions,
    "failed": _failed,
    "matmul": _matmul,
    "step": _step,
    "rival": _rival,
    "program": _program,
}
