"""The CFDBench table: every baseline on every flow, by one protocol. Ledger `cfdbench`, a page, and pictures.

    python -m benchmarks.cfdbench [--all] [--flow cavity ...] [--row U-Net ...] [--fraction 0.1] [--minutes 2]

trains the best rows of each kind, and holds surrogates against solvers, error against cost; with `--all`, which takes
some eight hours, every row, and the parts that are told of at the end.

Data are made by this package, two flows at a time: a share of each subset of the published design, of ten cases at
least, with 21 frames a case, on 64 × 64 cells (or are read from the published release, `--release FOLDER`). One
stratified split by case. Each row learns from bc, prop and geo together on its own task, frame after frame or any time
at once, for equally many minutes on one core, two rows at a time; before that each tries the same three pairs of batch
and learning rate for a fifth as long on the flow's own data, and keeps the one with the least validation loss. What is
done is kept in benchmarks/work/cfdbench (or `--work`), so that an interrupted run goes on.

`--row NAME ... --join [GROUP]` trains these rows alone and writes them beside the table, as a part of their own, where
cases and split are those of the table, and values too but for what solvers round otherwise on another machine.
`--seeds 3` trains the best three rows of each flow anew with other seeds.
`--published-split` splits as the published code does with its seed 0. `--quick` tries all on very little. The ledger
takes what the table's own settings give; with others figures are printed, and pictures stay beside the runs.

Parts are `data`, `table` and `worth` (error against cost), which are the default; `loop` (coarse solvers with a learned
correction), `files` (training from files), `processes` (training in two of them), `gradients` (derivatives of numbers
made of flows, from solvers and from surrogates), `triangles` (the cylinder's flows at the nodes of triangles).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sciml
from benchmarks import (
    _cfdbench_checks,
    _cfdbench_figures,
    _cfdbench_files,
    _cfdbench_gradients,
    _cfdbench_join,
    _cfdbench_loop,
    _cfdbench_loop_pictures,
    _cfdbench_pictures,
    _cfdbench_processes,
    _cfdbench_split,
    _cfdbench_triangles,
    _cfdbench_twins,
    _cfdbench_worth,
    _cfdbench_worth_pictures,
    _cfdbench_worth_steady,
    _deepcfd,
)
from benchmarks._cfdbench_rows import (
    DEEPCFD,
    DESIGN,
    ENTRIES,
    EVERY,
    FLOWS,
    LEAST,
    PROFILES,
    STEADY,
    STEPS,
    SUBSETS,
    TELLING,
    TRIALS,
    TRIANGLES,
    TUNING,
    WORTH,
    Entry,
)
from benchmarks._ledger import HERE, WORK, Ledger
from benchmarks._runs import TOGETHER, Runs, digest
from sciml import data
from sciml.data.importers import cfdbench
from sciml.solvers import generate
from sciml.studies._plan import Plan

USUAL = ("data", "table", "worth")  # on two cores within three hours
PARTS = (*USUAL, "loop", "files", "processes", "gradients", "triangles")
DOCS = HERE.parent / "docs"
SHARE, MINUTES = 0.1, 2.0  # of the design, and of training
BEST = 3  # rows of each flow that further seeds are for


class Work:
    """What is made and where, for one set of arguments."""

    def __init__(self, given: argparse.Namespace):
        self.given, self.quick = given, given.quick
        source = "quick" if given.quick else f"{given.fraction:g}"
        if given.release is not None:
            source = f"release-{digest(str(given.release.resolve()))}"
        self.sets = given.work / source  # data, whatever is trained on them
        self.runs = given.work / f"{source}-runs"
        self.minutes = 0.05 if given.quick else given.minutes

    # -- data -------------------------------------------------------------------------------------------------

    def data(self, flow: str) -> Path:
        """The data set of a flow, with its split; made where it is not there."""
        if flow == DEEPCFD:
            return _deepcfd.make(self.sets / "deepcfd.h5", 16 if self.quick else 200)
        if flow == TRIANGLES:
            return _cfdbench_triangles.make(self.sets / flow / "cylinder.h5", self.data("cylinder"), self.quick)
        profile = "published" if self.given.published_frames else PROFILES[flow]
        out = self.sets / (f"{flow}.h5" if self.given.release is not None else f"{flow}-{profile}.h5")
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.exists() and self.given.release is not None:
            whole = out.with_suffix(".whole.h5")
            if not whole.exists():
                cfdbench.import_tree(self.given.release, whole, flow)
            _cfdbench_split.cut(whole, out, STEPS + 1, EVERY.get(flow, 1))
        elif not out.exists():
            self._generate(flow, out, profile)
        # the published code counts so in the tube, frame after frame
        return _cfdbench_split.split(out, self.given.published_split, int if flow == "tube" else round)

    def _generate(self, flow: str, out: Path, profile: str) -> None:
        """The share of each subset, or as many of its cases as can be split."""
        frames, cells = (6, 32) if self.quick else (STEPS + 1, 64)
        parts = []
        for subset, size in zip(SUBSETS, DESIGN[flow], strict=True):
            part = out.with_suffix(f".{subset}.h5")
            share = 4 / size if self.quick else max(self.given.fraction, min(1.0, LEAST / size))
            if not part.exists():
                generate(flow, part, profile=profile, frames=frames, fraction=share, resolution=cells, subset=subset)
            parts.append(data.open(part).load())
        data.write(data.concat(parts), out)

    def fields(self, flow: str) -> tuple[str, ...]:
        """What is seen and predicted: of what the data hold."""
        if flow == DEEPCFD:
            return ("u", "v", "p")
        if flow == TRIANGLES:
            return _cfdbench_triangles.FIELDS
        held = data.open(self.data(flow))
        wanted = FLOWS[flow] + (("p",) if self.given.pressure else ())
        missing = [n for n in wanted if n not in held]
        if missing:
            print(f"{flow}: the data hold no {', '.join(missing)}: left out", flush=True)
        return tuple(n for n in wanted if n in held)

    def subset(self, flow: str) -> list[str] | None:
        return None if flow == DEEPCFD else self.given.subset

    def manifest(self, flow: str) -> list[dict[str, Any]]:
        """Of the subsets that are taken."""
        every, taken = _cfdbench_split.manifest(self.data(flow)), self.subset(flow)
        return every if taken is None else [m for m in every if m["subset"] in taken]

    # -- training -----------------------------------------------------------------------------------------------

    def trained(self, flow: str, chosen: dict[str, Entry], seed: int = 0) -> dict[str, Path]:
        """A run of each row that did not diverge."""
        fields, subset = self.fields(flow), self.subset(flow)

        def plan(entry: Entry, share: float, trial: tuple[int, float], seed: int) -> Plan:
            return entry.plan(share * self.minutes, trial, seed, fields, flow == DEEPCFD, subset)

        content = digest(*(m["sha256"] + m["split"] for m in self.manifest(flow)))
        return Runs(
            flow, self.data(flow), content, self.runs / flow, plan, TRIALS,
            lambda trial: f"batch {trial[0]}, rate {trial[1]:g}", TUNING,
        ).trained(chosen, seed)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part alone")
    parser.add_argument("--flow", nargs="+", choices=(*FLOWS, DEEPCFD), default=[*FLOWS, DEEPCFD])
    parser.add_argument("--row", nargs="+", choices=tuple(ENTRIES | STEADY), help="these rows alone")
    parser.add_argument("--all", action="store_true", help="every row and every part")
    parser.add_argument(
        "--join", nargs="?", const=_cfdbench_join.NAME, metavar="GROUP",
        help="write --row beside the table, in place of the group that was joined by this name before",
    )  # fmt: skip
    parser.add_argument("--subset", nargs="+", choices=SUBSETS, help="trained and tested on these alone")
    parser.add_argument("--fraction", type=float, default=SHARE, help="of each subset of the published design")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training a row, on one core")
    parser.add_argument("--seeds", type=int, default=1, help="of the best three rows of each flow")
    parser.add_argument("--pressure", action="store_true", help="predict the pressure, too")
    parser.add_argument("--release", type=Path, help="folder of the published release, in place of data of our own")
    parser.add_argument("--published-frames", action="store_true", help="cavity and cylinder, too, as published")
    parser.add_argument("--published-split", action="store_true", help="as the published code splits with seed 0")
    parser.add_argument("--work", type=Path, default=WORK / "cfdbench", help="where data and runs are kept")
    parser.add_argument("--report", action="store_true", help="a page of each flow beside its runs")
    parser.add_argument("--quick", action="store_true", help="very little of all, nothing written")
    given = parser.parse_args()
    if given.published_split and given.release is None and given.fraction != 1:
        parser.error("--published-split: of the whole design; give --release FOLDER or --fraction 1")
    if given.join and (given.row is None or not _standard(given, rows=True)):
        parser.error("--join: give --row NAME ..., and the table's own settings otherwise")
    parts = PARTS if given.all else USUAL
    for part in parts if given.part is None else (given.part,):
        PROGRAMS[part](given)


def make(given: argparse.Namespace) -> None:
    """Data of all flows, two at a time."""
    if len(given.flow) == 1:
        Work(given).data(given.flow[0])
        return

    def one(flow: str) -> None:
        command = [sys.executable, "-m", "benchmarks.cfdbench", *sys.argv[1:], "--part", "data", "--flow", flow]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})

    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(one, reversed(given.flow)))  # the ones that take longest first


def files(given: argparse.Namespace) -> None:
    """Training from files, beside the published way."""
    ledger = Ledger("cfdbench", part="files")
    _cfdbench_files.compare(ledger, given.work / "files", given.quick)
    ledger.write(dry=given.quick)


def processes(given: argparse.Namespace) -> None:
    """The same training in one process and in two."""
    ledger = Ledger("cfdbench", part="processes")
    _cfdbench_processes.compare(ledger, given.work / "processes", given.quick)
    ledger.write(dry=given.quick)


def gradients(given: argparse.Namespace) -> None:
    """Derivatives of numbers made of flows, from solvers and from surrogates."""
    ledger = Ledger("cfdbench", part="gradients", threads=1)
    ledger.seeds(0)
    work = given.work / "gradients" / ("quick" if given.quick else "")
    _cfdbench_gradients.measure(ledger, work, given.flow, given.quick)
    ledger.write(dry=given.quick)


def table(given: argparse.Namespace) -> None:
    """Every row on every flow; each flow is written as soon as it is done."""
    work, found, began = Work(given), {}, time.monotonic()
    for flow in given.flow:
        entries = STEADY if flow == DEEPCFD else {n: e for n, e in ENTRIES.items() if flow in e.flows}
        wanted = given.row or (tuple(entries) if given.all else TELLING)
        chosen = {n: e for n, e in entries.items() if n in wanted}
        if not chosen:
            continue
        differ = _cfdbench_join.same(flow, work.manifest(flow)) if given.join else []
        ledger = Ledger("cfdbench", part=_cfdbench_join.part(flow, given.join) if given.join else flow, threads=1)
        runs = {n: [p] for n, p in work.trained(flow, chosen).items()}
        found[flow] = _cfdbench_figures.figures(work, flow, runs)
        if given.seeds > 1:
            best = _cfdbench_figures.best(found[flow], BEST)
            for seed in range(1, given.seeds):
                for name, run in work.trained(flow, {n: chosen[n] for n in best}, seed).items():
                    runs[name].append(run)
            found[flow] = _cfdbench_figures.figures(work, flow, runs)
        ledger.seeds(*range(given.seeds))
        if given.join:
            _cfdbench_join.rows(ledger, flow, found[flow], work.manifest(flow), differ, given.join)
            ledger.write()
            continue
        _cfdbench_figures.rows(ledger, flow, found[flow], work.manifest(flow))
        more = ""
        if flow != DEEPCFD:
            more = _cfdbench_twins.rows(ledger, flow, found[flow], work.data(flow), work.manifest(flow))
        for name in sorted(set(chosen) - set(runs)):
            ledger.row(section="comparison", flow=flow, row=name, kind="learned", task="diverged")
        _cfdbench_checks.check(ledger, flow, found[flow], more)
        ledger.write(dry=not _standard(given))
        folder = DOCS if _standard(given) else work.runs
        _cfdbench_pictures.worst(work, flow, found[flow], folder / f"cfdbench_worst_{flow}.png")
        if given.report:
            every = [p for several in runs.values() for p in several]
            sciml.report(every, data=work.data(flow), out=work.runs / f"{flow}.html")
        print(f"{flow}: {(time.monotonic() - began) / 60:.1f} min so far", flush=True)
    if given.join:
        return
    ledger = Ledger("cfdbench", part="all flows", threads=1)
    _cfdbench_checks.across(ledger, found)
    everything = set(found) == {*FLOWS, DEEPCFD}
    ledger.write(dry=not (_standard(given) and everything))
    if found:
        folder = DOCS if _standard(given) and everything else work.runs
        _cfdbench_pictures.figures(found, folder / "cfdbench.png")
        _cfdbench_pictures.maps(work, found, folder / "cfdbench_maps.png")
        print(f"pictures: {folder}")


def worth(given: argparse.Namespace) -> None:
    """Error against cost, beside solvers on several grids; each flow is written as soon as it is done."""
    work, usual = Work(given), _standard(given)
    for flow in given.flow:
        entries = STEADY if flow == DEEPCFD else ENTRIES
        chosen = {n: entries[n] for n in WORTH[flow] if given.row is None or n in given.row}
        ledger = Ledger("cfdbench", part=f"worth, {flow}", threads=1)
        ledger.seeds(0)
        part = _cfdbench_worth_steady if flow == DEEPCFD else _cfdbench_worth
        part.compare(ledger, work, flow, work.trained(flow, chosen))
        ledger.write(dry=not usual)
    if not usual:
        return
    ledger = Ledger("cfdbench", part="worth", threads=1)
    lines = _cfdbench_worth.lines()
    _cfdbench_checks.cheaper(ledger, lines)
    ledger.write()
    _cfdbench_worth_pictures.fronts(lines, DOCS / "cfdbench_worth.png")


def loop(given: argparse.Namespace) -> None:
    """Coarse solvers with a learned correction, beside finer ones alone."""
    work, flow = Work(given), "cylinder"
    ledger = Ledger("cfdbench", part="loop", threads=1)
    ledger.seeds(0)
    others = work.trained(flow, {n: ENTRIES[n] for n in _cfdbench_loop.OWN})
    lines = _cfdbench_loop.compare(ledger, work, flow, others)
    ledger.write(dry=not _standard(given))
    _cfdbench_loop_pictures.front(lines, (DOCS if _standard(given) else work.runs) / "corrected.png")


def triangles(given: argparse.Namespace) -> None:
    """Graphs and operators on points, on the cylinder's flows at the nodes of triangles."""
    work = Work(given)
    ledger = Ledger("cfdbench", part="triangles", threads=1)
    ledger.seeds(0)
    picture = (DOCS if _standard(given) else work.runs) / "cfdbench_triangles.png"
    _cfdbench_triangles.compare(ledger, work, picture)
    ledger.write(dry=not _standard(given))


def _standard(given: argparse.Namespace, rows: bool = False) -> bool:
    """Whether these are the table's own settings, so that figures belong in the ledger; `rows`: of some rows, too."""
    usual = given.fraction == SHARE and given.minutes == MINUTES and given.release is None
    usual = usual and (rows or given.row is None) and given.subset is None
    return usual and not (given.quick or given.pressure or given.published_split or given.published_frames)


PROGRAMS = {
    "data": make, "table": table, "worth": worth, "loop": loop, "files": files, "processes": processes,
    "gradients": gradients, "triangles": triangles,
}  # fmt: skip

if __name__ == "__main__":
    main()
