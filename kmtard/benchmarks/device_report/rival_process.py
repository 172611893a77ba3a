"""Start a process with the PyTorch step, and measure its steps."""

from __future__ import annotations

from kmtard.benchmarks.device_report.scale import Case, Scale
from kmtard.benchmarks.turns import Worker


class Rival(Worker):
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
        # The default compiler takes a minute on a CPU.
        self.compiler = "aot_eager" if scale.miniature else "inductor"
        settings = {
            "network": case.student,
            "shape": scale.shape,
            "batch_size": case.batch_size,
            "precision": case.precision,
            "pgd_steps": scale.pgd_steps,
            "compiler": self.compiler,
        }
        super().__init__("kmtard.benchmarks.rivals", settings)
        self.device = str(self.ready["device"])

    def seconds(self, kind: str, steps: int) -> float:
        """Return the mean time of a step, in seconds.

        Args:
            kind: "eager" or "compiled".
            steps: number of steps to run.
        """
        return self.times(kind, steps).wall
