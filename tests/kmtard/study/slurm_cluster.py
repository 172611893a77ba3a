"""SLURM on this machine: a cluster of one node, without systemd or accounting.

To start one by hand, which runs until it is interrupted:
`python tests/kmtard/study/slurm_cluster.py FOLDER`.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

INSTALL = "apt-get install -y slurm-wlm munge"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
PATIENCE = 30.0

# `high` preempts `low`: its jobs get a signal and five seconds, and are requeued.
CONF = """
ClusterName=kmtard
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
ReturnToService=2
KillWait=5
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime=60 MaxTime=INFINITE
PartitionName=high Nodes={host} PriorityTier=10 MaxTime=INFINITE
"""


def missing_programs() -> list[str]:
    """Return the programs of SLURM that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster of one node; yield the environment of its users.

    Args:
        folder: folder for its files. Its path must be short, as those of sockets are.
    """
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": f"{folder}/slurm.conf"}
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    names = {
        "folder": folder,
        "user": getpass.getuser(),
        "host": socket.gethostname().partition(".")[0],
        "ctld_port": _free_port(),
        "slurmd_port": _free_port(),
    }
    (folder / "slurm.conf").write_text(CONF.format(**names))
    munge = ("key", "socket", "pid", "log", "seed")
    files = {name: folder / f"munge.{name}" for name in munge}
    files["socket"].unlink(missing_ok=True)
    commands = [
        [
            *("munged", "--foreground", "--force"),
            *(
                f"--{'socket' if n == 'socket' else f'{n}-file'}={f}"
                for n, f in files.items()
            ),
        ],  # fmt: skip
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context(open(folder / f"{command[0]}.out", "wb"))
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_end, process)
            if command[0] == "munged":
                _until(lambda: files["socket"].exists(), folder)
        # A job that still runs belongs to a test that failed.
        user = ["scancel", "--user", getpass.getuser()]
        stack.callback(subprocess.run, user, env=environment)
        _until(lambda: "idle" in _state(environment), folder)
        yield environment


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _state(environment: dict[str, str]) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True
    ).stdout


def _until(condition: object, folder: Path) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        logs = "".join(each.read_text() for each in folder.glob("*.out"))
        assert time.monotonic() < deadline, f"SLURM does not start: {logs}"
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with cluster(Path(sys.argv[1])) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
