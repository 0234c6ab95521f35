"""Room for callbacks on machines with one processor.

XLA has as many threads as processors; with a single one a callback into Python waits for its own arguments, of more
than some 100 kB, and so for ever. NPROC is where XLA looks first; importing this before JAX computes anything is all
there is to do, and what a user has set stays.
"""

from __future__ import annotations

import os


def room() -> None:
    several = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if several < 2:
        os.environ.setdefault("NPROC", "2")


room()
