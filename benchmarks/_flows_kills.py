"""Runs of `sciml generate` that are killed at random, and what they end in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CASES, FRAMES, CELLS = 12, 6, 32
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(out: Path, scheduler: str = "local") -> list[str]:
    return [
        sys.executable, "-m", "sciml.cli", "generate", "cylinder", "--out", str(out), "--cases", str(CASES), "--frames",
        str(FRAMES), "--resolution", str(CELLS), "--scheduler", scheduler,
    ]  # fmt: skip


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(arguments: list[str]) -> subprocess.Popen:
    """In a process group of its own, which is killed as a whole."""
    return subprocess.Popen(
        arguments, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def undisturbed(folder: Path) -> dict[str, Any]:
    out = folder / "whole.h5"
    clear(out)
    began = time.monotonic()
    subprocess.run(command(out), check=True, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    return {"seconds": time.monotonic() - began, "sha256": [digest(out)], "bytes": out.stat().st_size}


def finished(out: Path) -> int:
    return len(list(Path(f"{out}.shards").glob("case_*.h5")))


def of_runs(folder: Path, kills: int, seconds: float, seed: int) -> dict[str, Any]:
    """The same command again and again, each time killed after a random time, then left to end."""
    draw, out = random.Random(seed), folder / "killed.h5"
    clear(out)
    done, before, digests = 0, [], set()
    while done < kills:
        process = start(command(out))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.2, 0.9) * seconds)
        if process.poll() is not None:  # it was faster: begin anew, this was no kill
            if process.returncode != 0:
                raise RuntimeError(f"generate ended with status {process.returncode}")
            digests.add(digest(out))
            clear(out)
            continue
        kill(process)
        done += 1
        before.append(finished(out))
    subprocess.run(command(out), check=True, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    digests.add(digest(out))
    return {"kills": kills, "of": "the run", "cases_kept_at_each_kill": before, "sha256": sorted(digests)}


def clear(out: Path) -> None:
    out.unlink(missing_ok=True)
    shutil.rmtree(f"{out}.shards", ignore_errors=True)


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A Dask scheduler and workers, processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start([sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
                       str(port), "--no-dashboard"])  # fmt: skip
    running = [worker(address) for _ in range(workers)]
    try:
        yield address, running
    finally:
        for process in [*running, scheduler]:
            kill(process)


def worker(address: str) -> subprocess.Popen:
    return start([sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
                  "--no-dashboard"])  # fmt: skip


def of_workers(folder: Path, kills: int, seconds: float, seed: int) -> dict[str, Any]:
    """Runs on two workers of a Dask cluster, of which one is killed and replaced while they compute; none counts that
    comes before the first case of a run is done."""
    draw, out = random.Random(seed), folder / "workers.h5"
    done, runs, digests, before = 0, 0, set(), []
    with cluster(2) as (address, running):
        while done < kills:
            clear(out)
            process = start(command(out, address))
            runs += 1
            while process.poll() is None and done < kills:
                time.sleep(draw.uniform(0.05, 0.2) * seconds)
                if process.poll() is None and 0 < finished(out) < CASES:
                    victim = draw.randrange(2)
                    kill(running[victim])
                    running[victim] = worker(address)
                    before.append(finished(out))
                    done += 1
            if process.wait() != 0:
                raise RuntimeError(f"generate ended with status {process.returncode}")
            digests.add(digest(out))
    return {
        "kills": kills, "of": "workers", "runs": runs, "cases_kept_at_each_kill": before, "sha256": sorted(digests)
    }  # fmt: skip
