"""Operators on any geometry: every operator on every set, and what their mathematics promises. Ledger `operators`.

    python -m benchmarks.operators [--part table ...] [--set graetz ...] [--row FLARE ...] [--seeds N]
        [--irregular FOLDER]

Parts: `identities` (padded against unpadded), `attention` (cost from 1k to 256k points, linear against explicit),
`elements` (orders of the finite elements), `table` (every operator on every set), `steps` (what a frame tells of the
next one), `padding` (of batches), `meshes` (the same model on finer and coarser meshes), `intervals` (coverage of
calibrated error bars).

The table. Others' sets are read from `--irregular` (rows of these are left out where it is not there), two more are
made by this package's finite elements. Each row tries three times, for a short while, how many samples and points a
batch has and how fast it learns, and keeps what has the least validation loss; then all train for equally many minutes
on one core, two at a time. What is done is kept in benchmarks/work/operators (or `--work`), so that an interrupted run
goes on. The best three rows of the elastic block are trained with three seeds, for
its goal is nearer than seeds are to each other; `--seeds N` does so of every set. `--quick` tries all on very little.
The ledger takes what the table's own settings give.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import _operators_checks, _operators_figures, _operators_parts, _operators_pictures
from benchmarks._ledger import HERE, RESULTS, WORK, Ledger
from benchmarks._operators_rows import TRIALS, Entry, Trial, rows_of
from benchmarks._operators_sets import SETS, Set
from benchmarks._runs import Runs, digest
from sciml import data
from sciml.errors import InputError
from sciml.solvers import (
    DynamicModes,
    LinearRegression,
    MeanField,
    NearestCase,
    ParameterInterpolation,
    Persistence,
    PODRegression,
)
from sciml.studies._plan import Plan

DOCS = HERE.parent / "docs"
PARTS = ("identities", "attention", "elements", "table", "steps", "padding", "meshes", "intervals")
MINUTES = 2.4  # of training a row, on one core
TUNING = 0.15  # of the minutes of a row, for each trial
BEST = 3  # rows of each set that further seeds are for
#: row -> what makes it for a set, None where it is no row of that
FLOORS: Mapping[str, Callable[[Set], Any]] = {
    "mean field": lambda kind: MeanField(),
    "persistence": lambda kind: Persistence(),
    "dynamic modes": lambda kind: DynamicModes(kind.history),
    "nearest case": lambda kind: NearestCase(),
    "linear regression": lambda kind: LinearRegression(),
    "POD regression": lambda kind: PODRegression(),
    "POD regression, linear in load": lambda kind: PODRegression(kind.linear_in) if kind.linear_in else None,
    "interpolation": lambda kind: ParameterInterpolation(),
}


class Work:
    """What is made and where, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.folder = given.work / ("quick" if given.quick else "whole")
        self.minutes = 0.05 if given.quick else given.minutes

    def data(self, name: str) -> Path | None:
        """The data set; made where it is not there, None where nothing to make it of is."""
        out = self.folder / "sets" / f"{name}.h5"
        if out.exists():
            return out
        source: Path | None = self.given.irregular
        if SETS[name].given and (source is None or not source.is_dir()):
            return None
        out.parent.mkdir(parents=True, exist_ok=True)
        SETS[name].make(out, source, self.given.quick)
        return out

    def runs(self, name: str, path: Path) -> Runs[Entry, Trial]:
        def plan(entry: Entry, share: float, trial: Trial, seed: int) -> Plan:
            return entry.plan(name, share * self.minutes * SETS[name].patience, trial, seed)

        dataset = data.open(path)
        content = digest(str(dataset["sha256"].values.tolist()), str(dataset["split"].values.tolist()))
        return Runs(name, path, content, self.folder / "runs" / name, plan, TRIALS, str, TUNING)

    def floors(self, name: str, path: Path, joined: bool = True) -> dict[str, Any]:
        """What needs no training, where it has an answer. It chooses nothing by validation cases, and learns from these
        as well, where it is not to be compared on them (`joined`)."""
        found, known = {}, data.open(path)
        known = _joined(known) if joined else known
        for row, make in FLOORS.items():
            solver = make(SETS[name])
            if solver is None:
                continue
            try:
                found[row] = solver.fit(known)
            except InputError as error:
                print(f"{name}: {row}: left out: {error}", flush=True)
        return found


def _joined(dataset: xr.Dataset) -> xr.Dataset:
    """The data set with its validation cases among those of training."""
    codes, flags = dataset["split"].values, data.schema.flag_names(dataset["split"])
    whole = np.where(flags == "validation", data.splits.codes(np.array(["train"]))[0], codes)
    return dataset.assign(split=(dataset["split"].dims, whole, dataset["split"].attrs))


def table(given: argparse.Namespace) -> None:
    """Every row on every set; each set is written as soon as it is done."""
    work, began = Work(given), time.monotonic()
    for name in given.set:
        path = work.data(name)
        chosen = {n: e for n, e in rows_of(name).items() if given.row is None or n in given.row}
        if path is None or not chosen:
            print(f"{name}: left out: {'no rows' if path else 'give --irregular FOLDER'}", flush=True)
            continue
        ledger = Ledger("operators", part=name, threads=1)
        every, floors = work.runs(name, path), (work.floors(name, path), work.floors(name, path, joined=False))
        runs = {n: [p] for n, p in every.trained(chosen).items()}
        found = _operators_figures.figures(name, path, work.folder, runs, floors)
        seeds = SETS[name].seeds if given.seeds is None else given.seeds
        if seeds > 1:
            best = _operators_figures.best(found, BEST)
            for seed in range(1, seeds):
                for row, run in every.trained({n: chosen[n] for n in best}, seed).items():
                    runs[row].append(run)
            found = _operators_figures.figures(name, path, work.folder, runs, floors)
        ledger.seeds(*range(seeds))
        _operators_figures.rows(ledger, name, found)
        for row in sorted(set(chosen) - set(runs)):
            ledger.row(section="comparison", set=name, title=SETS[name].title, row=row, kind="diverged")
        _operators_checks.check(ledger, name, found)
        standard = _standard(given, name)
        ledger.write(dry=not standard)
        folder = DOCS if standard else work.folder
        _operators_pictures.case(name, path, found, runs, folder / f"operators_{name}.png")
        if standard:
            rows = json.loads((RESULTS / "operators.json").read_text())["rows"]
            _operators_pictures.overview(rows, DOCS / "operators.png")
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} min so far", flush=True)


def _standard(given: argparse.Namespace, name: str) -> bool:
    """Whether these are the table's own settings, so that figures belong in the ledger; more seeds do no harm."""
    enough = given.seeds is None or given.seeds >= SETS[name].seeds
    return enough and given.minutes == MINUTES and given.row is None and not given.quick


def _part(name: str) -> Any:
    """A part that trains nothing for the table."""

    def run(given: argparse.Namespace) -> None:
        ledger = Ledger("operators", part=name, threads=1)
        _operators_parts.PARTS[name](ledger, Work(given))
        ledger.write(dry=given.quick)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    parser.add_argument("--set", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--row", nargs="+", help="these rows of the table alone")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training a row, on one core")
    parser.add_argument("--seeds", type=int, help="of the best three rows of each set (default: the set's own number)")
    parser.add_argument("--irregular", type=Path, help="folder of others' sets")
    parser.add_argument("--work", type=Path, default=WORK / "operators", help="where data and runs are kept")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    for part in given.part:
        (table if part == "table" else _part(part))(given)


if __name__ == "__main__":
    main()
