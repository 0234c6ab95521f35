"""The ledger `speed`: `python -m benchmarks.speed [--part import|fno|cavity]`; without a part, all, one after another.

Each part runs in a process of its own, so that no part's threads or allocations weigh on the next.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from benchmarks._ledger import Ledger, quantiles

PARTS = {"fno": "benchmarks.speed_fno", "cavity": "benchmarks.speed_cavity"}


def time_import(repeats: int = 9) -> None:
    """Seconds that `import sciml` adds to the start of Python: medians of fresh processes, taken in turn."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    times: dict[str, list[float]] = {"pass": [], "import sciml": [], "import numpy": []}
    for _ in range(repeats):
        for statement in times:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
            times[statement].append(time.perf_counter() - start)
    bare, ours, numpy = (statistics.median(times[k]) for k in ("pass", "import sciml", "import numpy"))
    ledger = Ledger("speed", part="import", threads=1)
    ledger.row(section="import", import_sciml_seconds=ours - bare, import_numpy_seconds=numpy - bare, repeats=repeats)
    taken = [b - a for a, b in zip(times["pass"], times["import sciml"], strict=True)]
    spread = quantiles(taken, f"{repeats} pairs of processes")
    ledger.check("import_seconds", ours - bare, f"`import numpy` alone adds {numpy - bare:.2f} s", spread=spread)
    ledger.write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["import", *PARTS])
    part = parser.parse_args().part
    if part in (None, "import"):
        time_import()
    for name, module in PARTS.items():
        if part in (None, name):
            subprocess.run([sys.executable, "-m", module], check=True)


if __name__ == "__main__":
    main()
