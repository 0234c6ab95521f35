"""How long `sciml report` takes on 40 cases of a flow and two small models, in a fresh process on two threads.

Timed is the whole command, from its start to the written page: once with an empty cache of compiled functions, as the
first report on a machine, then `REPEATS` times with what the first has left there, as every later one. Beside seconds
on the clock stand those of the processor, which other work on the machine changes less.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._ledger import Ledger, extremes

CASES, FRAMES, CELLS, REPEATS, THREADS = 40, 21, 64, 3, 2
#: row -> options of `sciml train`; about half a minute each on one core
MODELS = {
    "fno": ("--set", "operator.width=16", "--set", "operator.layers=3", "--epochs", "2"),
    "unet": ("--set", "operator.width=8", "--epochs", "2"),
}


def measure(ledger: Ledger, work: Any) -> None:
    """Rows of the cold and the warm report, and the check of the warm one."""
    cells, repeats = (16, 1) if work.given.quick else (CELLS, REPEATS)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data, cache = folder / "cavity.h5", folder / "cache"
        _sciml("generate", "cavity", "--out", data, "--cases", CASES, "--frames", FRAMES, "--resolution", cells)
        runs = []
        for operator, options in MODELS.items():
            runs.append(folder / operator)
            _sciml("train", data, "--operator", operator, "--out", runs[-1], *options)
        words = ("report", *runs, "--data", data, "--out", folder / "report.html", "--overwrite")
        found = [_sciml(*words, cache=cache) for _ in range(1 + repeats)]
        size = (folder / "report.html").stat().st_size
        kept = sum(p.stat().st_size for p in cache.rglob("*") if p.is_file())
    for name, some in (("empty", found[:1]), ("filled", found[1:])):
        ledger.row(
            what="report", cases=CASES, cells=cells, models=len(MODELS), cache=name, times=len(some), threads=THREADS,
            seconds=statistics.median(s for s, _ in some), processor_seconds=statistics.median(p for _, p in some),
            page_bytes=size, cache_bytes=kept,
        )  # fmt: skip
    clock = [seconds for seconds, _ in found[1:]]
    seconds = statistics.median(clock)
    busy = statistics.median(p for _, p in found[1:])
    ledger.check(
        "report_seconds_for_40_cases", seconds, spread=extremes(clock, f"{repeats} reports"),
        reason=f"{busy:.0f} s of the processor, on {THREADS} threads",
        note=f"with compiled functions of an earlier report; the first on a machine takes {found[0][0]:.0f} s",
    )  # fmt: skip


def _sciml(*words: Any, cache: Path | None = None) -> tuple[float, float]:
    """Run a command in a process of its own; seconds on the clock and of the processor."""
    environment = {**os.environ, "SCIML_CACHE": "off" if cache is None else str(cache)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    environment.pop("XLA_FLAGS", None)
    spent, began = _processor(), time.monotonic()
    command = [sys.executable, "-m", "sciml.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, preexec_fn=_two)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return time.monotonic() - began, _processor() - spent


def _processor() -> float:
    """Seconds of the processor that all ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _two() -> None:
    """Leave a process the first `THREADS` of the processors that it may have."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
