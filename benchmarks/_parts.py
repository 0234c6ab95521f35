"""The parts of a benchmark, one after another."""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
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


class Work:
    """What the parts of a benchmark on data of others share, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given = given

    @property
    def data(self) -> Path | None:
        """The folder with others' data, where there is one."""
        return self.given.data

    @property
    def quick(self) -> bool:
        return bool(self.given.quick)


def arguments(doc: str | None, parts: Mapping[str, Any]) -> argparse.ArgumentParser:
    """The options of such a benchmark, to which its own are added."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=tuple(parts), default=tuple(parts), help="these parts alone")
    parser.add_argument("--data", type=Path, default=None, help="folder with others' data")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What is given; the folder of data by SCIML_FOREIGN_DATA where no option names it."""
    given = parser.parse_args()
    if given.data is None and "SCIML_FOREIGN_DATA" in os.environ:
        given.data = Path(os.environ["SCIML_FOREIGN_DATA"])
    if given.data is not None and not given.data.is_dir():
        parser.error(f"--data: {given.data} is not a folder")
    return given
