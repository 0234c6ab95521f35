"""The parts of a benchmark, one after another."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._ledger import Ledger


def measured(
    name: str, parts: Mapping[str, tuple[str, str]], chosen: Sequence[str], work: Any, *, dry: bool, threads: int,
    packages: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Measure some parts of a benchmark and write the ledger after each.

    Args:
        name: of the ledger.
        parts: part -> (module of benchmarks, function of a ledger and `work`); each is imported when it is measured.
        chosen: those that are wanted, in this order.
        work: what they share.
        dry: write nothing.
        threads, packages: as `Ledger` takes them.
    """
    for part in chosen:
        began = time.monotonic()
        ledger = Ledger(name, part=part, threads=threads, packages=packages)
        module, function = parts[part]
        getattr(importlib.import_module(f"benchmarks.{module}"), function)(ledger, work)
        ledger.write(dry=dry)
        print(f"{part}: {(time.monotonic() - began) / 60:.1f} min", flush=True)
