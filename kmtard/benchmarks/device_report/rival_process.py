"""Start a process with the PyTorch step, and measure its steps."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from kmtard.benchmarks.device_report.scale import Case, Scale

TAIL = 2000
"""Length of the end of the process's log that an error shows, in characters."""


class Rival:
    """A process with the PyTorch step, eager and compiled.

    Args:
        scale: sizes of the report.
        case: the step. Both teachers must use the student's network.

    Attributes:
        compiler: backend of `torch.compile` for the compiled step.
        device: name of the device that it uses.

    Raises:
        RuntimeError: the process ended, for example because PyTorch is not installed.
    """

    def __init__(self, scale: Scale, case: Case) -> None:
        settings = {
            "network": case.student,
            "shape": scale.shape,
            "batch_size": case.batch_size,
            "precision": case.precision,
            "pgd_steps": scale.pgd_steps,
            # The default compiler takes a minute on a CPU.
            "compiler": "aot_eager" if scale.miniature else "inductor",
        }
        self._log = tempfile.TemporaryFile("w+")
        command = [sys.executable, "-m", "kmtard.benchmarks.rivals"]
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.compiler = str(settings["compiler"])
        self.device = str(self._answer()["device"])

    def seconds(self, kind: str, steps: int) -> float:
        """Return the mean time of a step, in seconds.

        Args:
            kind: "eager" or "compiled".
            steps: number of steps to run.
        """
        if self._process.stdin:
            self._process.stdin.write(json.dumps([kind, steps]) + "\n")
            self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            raise RuntimeError(
                f"The process of the plain PyTorch step ended with exit code {code}. "
                f"{self._log.read()[-TAIL:]}"
            )
        return dict(json.loads(line))

    def __enter__(self) -> Rival:
        """Return the rival."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()
