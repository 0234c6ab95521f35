"""The CFDBench table: every baseline on every flow, by one protocol. Ledger `cfdbench`, a page, and pictures.

    python -m benchmarks.cfdbench [--flow cavity ...] [--row U-Net ...] [--fraction 0.1] [--minutes 2] [--seeds 1]

Data are made by this package: a share of the published design, with 21 frames a case, on 64 × 64 cells (or are read
from the published release, `--release FOLDER`). One stratified split by case. Each row learns from bc, prop and geo
together on its own task, frame after frame or any time at once, for equally many minutes on one core, two rows at a
time; before that each tries the same learning rates for a quarter as long on the flow's own data, and keeps the one
with the least validation loss. What is done is kept in benchmarks/work/cfdbench (or `--work`), so that an interrupted
run goes on.

`--seeds 3` trains the best three rows of each flow anew with other seeds. `--published-split` splits as the published
code does with its seed 0. `--quick` tries all on very little, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import sciml
from benchmarks import _cfdbench_figures, _cfdbench_files, _cfdbench_split, _deepcfd
from benchmarks._cfdbench_rows import DEEPCFD, ENTRIES, FLOWS, RATES, STEADY, STEPS, Entry
from benchmarks._ledger import HERE, WORK, Ledger
from sciml.cli._side_by_side import Run, train
from sciml.data.importers import cfdbench
from sciml.solvers import generate

PARTS = ("table", "files")
DOCS = HERE.parent / "docs"
TUNING = 0.25  # of the minutes of a row, for each learning rate
TOGETHER = 2  # rows that learn at the same time, on a core each


class Work:
    """What is made and where, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given, self.quick = given, given.quick
        source = "quick" if given.quick else f"{given.fraction:g}" if given.release is None else "release"
        kinds = (("pressure", given.pressure), ("published-split", given.published_split))
        self.sets = given.work / source  # data, whatever is trained on them
        self.folder = self.sets / "-".join(["runs", *(name for name, on in kinds if on)])
        self.minutes = 0.05 if given.quick else given.minutes

    # -- data -------------------------------------------------------------------------------------------------

    def data(self, flow: str) -> Path:
        """The data set of a flow, with its split; made where it is not there."""
        if flow == DEEPCFD:
            return _deepcfd.make(self.sets / "deepcfd.h5", 16 if self.quick else 200)
        out = self.sets / f"{flow}.h5"
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.exists() and self.given.release is not None:
            cfdbench.import_tree(self.given.release, out, flow)
        elif not out.exists():
            cases, share = (10, None) if self.quick else (None, self.given.fraction)
            frames = 6 if self.quick else STEPS + 1
            generate(flow, out, profile="published", frames=frames, cases=cases, fraction=share)
        return _cfdbench_split.split(out, self.given.published_split)

    def manifest(self, flow: str) -> list[dict[str, Any]]:
        return _cfdbench_split.manifest(self.data(flow))

    # -- training -----------------------------------------------------------------------------------------------

    def trained(self, flow: str, chosen: dict[str, Entry], seed: int = 0) -> dict[str, Path]:
        """A run of each row, two at a time."""
        source, todo, runs = self.data(flow), {}, {}
        fields = ("u", "v", "p") if flow == DEEPCFD else FLOWS[flow] + (("p",) if self.given.pressure else ())
        rates = self.tuned(flow, chosen, source, fields)
        for name, entry in chosen.items():
            plan = entry.plan(self.minutes, rates[name], seed, fields, flow == DEEPCFD)
            runs[name] = self.folder / flow / f"{_file(name)}-{seed}-{self.minutes:g}"
            if not (runs[name] / "weights.safetensors").exists():
                todo[f"{flow}: {name}"] = Run(plan, source, runs[name])
        self._train(todo)
        return runs

    def tuned(self, flow: str, chosen: dict[str, Entry], source: Path, fields: tuple[str, ...]) -> dict[str, float]:
        """The learning rate of each row that has the least validation loss after a short training."""
        places, todo = {}, {}
        minutes = TUNING * self.minutes
        for name, entry in chosen.items():
            for rate in RATES:
                place = self.folder / flow / "tuning" / f"{_file(name)}-{rate:g}-{minutes:g}"
                places[name, rate] = place
                if not (place / "weights.safetensors").exists():
                    plan = entry.plan(minutes, rate, 1, fields, flow == DEEPCFD)
                    todo[f"{flow}: {name}, rate {rate:g}"] = Run(plan, source, place)
        self._train(todo)
        found = {key: _validation(place) for key, place in places.items()}
        return {name: min(RATES, key=lambda rate: found[name, rate]) for name in chosen}

    def _train(self, todo: dict[str, Run]) -> None:
        names = list(todo)
        for k in range(0, len(names), TOGETHER):
            train({n: todo[n] for n in names[k : k + TOGETHER]})


def _file(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _validation(run: Path) -> float:
    """The last loss on the validation split."""
    losses = [
        float(record["validation"])
        for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        if record.get("validation") is not None
    ]
    return losses[-1] if losses and math.isfinite(losses[-1]) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part alone")
    parser.add_argument("--flow", nargs="+", choices=(*FLOWS, DEEPCFD), default=[*FLOWS, DEEPCFD])
    parser.add_argument("--row", nargs="+", choices=tuple(ENTRIES | STEADY), help="these rows alone")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the published design")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training a row, on one core")
    parser.add_argument("--seeds", type=int, default=1, help="of the best three rows of each flow")
    parser.add_argument("--pressure", action="store_true", help="predict the pressure, too")
    parser.add_argument("--release", type=Path, help="folder of the published release, in place of data of our own")
    parser.add_argument("--published-split", action="store_true", help="as the published code splits with seed 0")
    parser.add_argument("--work", type=Path, default=WORK / "cfdbench", help="where data and runs are kept")
    parser.add_argument("--report", action="store_true", help="a page of each flow beside its runs")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    for part in PARTS if given.part is None else (given.part,):
        globals()[part](given)


def files(given: argparse.Namespace) -> None:
    """Training from files, beside the published way."""
    ledger = Ledger("cfdbench", part="files")
    _cfdbench_files.compare(ledger, given.work / "files", given.quick)
    ledger.write(dry=given.quick)


def table(given: argparse.Namespace) -> None:
    """Every row on every flow."""
    whole = set(given.flow) == {*FLOWS, DEEPCFD} and given.row is None
    work, ledger = Work(given), Ledger("cfdbench", part="table")
    found = {}
    for flow in given.flow:
        entries = STEADY if flow == DEEPCFD else ENTRIES
        chosen = {n: e for n, e in entries.items() if given.row is None or n in given.row}
        runs = {n: [p] for n, p in work.trained(flow, chosen).items()}
        found[flow] = _cfdbench_figures.figures(work, flow, runs)
        if given.seeds > 1:
            best = _cfdbench_figures.best(found[flow], 3)
            for seed in range(1, given.seeds):
                for name, run in work.trained(flow, {n: chosen[n] for n in best}, seed).items():
                    runs[name].append(run)
            found[flow] = _cfdbench_figures.figures(work, flow, runs)
        _cfdbench_figures.rows(ledger, flow, found[flow], work.manifest(flow))
        if given.report:
            sciml.report([p for several in runs.values() for p in several], data=work.data(flow),
                         out=work.folder / f"{flow}.html")  # fmt: skip
    _cfdbench_figures.checks(ledger, found)
    ledger.write(dry=given.quick)
    if whole and not given.quick:
        _cfdbench_figures.picture(found, DOCS / "cfdbench.png")


if __name__ == "__main__":
    main()
