"""What surrogates are worth beside the solvers: error against cost of whole cases, from their first frame on.

Two things are asked of every row and every test case: all frames, one after another, and the last frame alone. For
the latter a solver marches, too, but a network may take longer steps, or one. Costs are those of `rollout`, which takes
true frames on the data's grid and gives frames there (a solver marches through all times in one go); all rows take
turns on one core, in seconds of the processor, which what else a machine does takes nothing from, and the least of
several rounds counts, of each case by itself and of many at a time. What is compiled for the first answers is counted
by itself. Errors are of one kind: squares over the squares of the truth, of all fields and cases together, in the
problem's scales.

A surrogate is held against a solver that is as exact, on whatever grid, costs between grids interpolated. What its data
and its training cost, over what it saves in a case, is after how many cases it has paid for itself.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks._cfdbench_figures import NUMERICAL, one_core
from benchmarks._cfdbench_rows import DESIGN, PROFILES, SUBSETS, TRIALS, TUNING
from benchmarks._cfdbench_twins import twins
from benchmarks._ledger import RESULTS, Ledger
from sciml import load
from sciml.errors import InputError, SolverError
from sciml.evaluation._held import Held
from sciml.solver import Restartable
from sciml.solvers import OpenFOAM, Surrogate, baselines, interpolation, references
from sciml.solvers._foam_run import environment
from sciml.solvers.generation import prepare
from sciml.training.samples import open_data, table

#: cells of solvers, in array order; of the cavity fewer than those that its truth is from, of the tube the coarsest,
#: which are as exact as all rows; of the dam, which wants grid lines along the sides of its barrier, the fewest from
#: these on that fit a case
SQUARES = tuple((n, n) for n in (8, 16, 24, 32, 48, 64, 80, 128))
GRIDS = {
    "cavity": SQUARES[:5], "tube": SQUARES[:5], "cylinder": SQUARES,
"dam": ((8, 30), (16, 30), (20, 30), (20, 60), (40, 60), (40, 90)),
}  # fmt: skip
FOAM = {"cavity": (32, 64), "cylinder": (32, 64), "tube": (32, 64), "dam": ()}
BASELINES: dict[str, Any] = {
    "persistence": baselines.Persistence,
    "mean field": baselines.MeanField,
    "interpolation": interpolation.ParameterInterpolation,
}
ROUNDS = 3
SLOW = 0.5  # s a case: more of them at a time gain nothing, as faster ones show
COPIES = 4  # of each test case, where many are asked at a time
ALL, LAST = "all frames", "the last frame"

Which = slice | np.ndarray  # of the test cases
EVERY = slice(None)
TEST, NEW = "all test cases", "new flows"


@dataclass
class Row:
    """A solver, and of what is asked of it the error and the seconds.

    Args:
        each: of a numerical row, the solver of each case.
        squares: asked -> (case, 2) of the error and of the truth.
        seconds: asked -> (round, case) of each case by itself.
        together: asked -> (round,) of `COPIES` of each case at a time, over their number.
        first: asked -> seconds of all cases the first time that they are asked, compiling included.
    """

    name: str
    kind: str
    solver: Restartable
    each: Sequence[Any] = ()
    squares: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, list[list[float]]] = field(default_factory=dict)
    together: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def error(self, asked: str, which: Which = EVERY) -> float:
        """Σ |q̂ − q|² / Σ |q|² over these cases."""
        square, label = self.squares[asked][which].sum(axis=0)
        return float(square / label)

    def alone(self, asked: str, which: Which = EVERY) -> float:
        """Seconds of a case by itself: the mean over cases of the least."""
        return float(np.min(self.seconds[asked], axis=0)[which].mean())

    def many(self, asked: str) -> float:
        """Of all cases: together or one after another, as it is faster."""
        return min(*self.together[asked], self.alone(asked))

    def compiling(self, asked: str) -> float:
        """Seconds that the first answers of all cases took beyond what they take."""
        return max(0.0, self.first[asked] - len(self.seconds[asked][0]) * self.alone(asked))

    def spread(self, asked: str) -> float:
        """The largest of the rounds over the least."""
        rounds = np.mean(self.seconds[asked], axis=1)
        return float(rounds.max() / rounds.min())


def compare(ledger: Ledger, work: Any, flow: str, runs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """All rows of a flow on its test cases, written to the ledger."""
    fields = work.fields(flow)
    held = Held(table(open_data(work.data(flow))[0], "test", fields), 1)
    found = list(_rows(flow, held, work.data(flow), runs, work.quick))
    compile_anew()
    for row in found:
        for asked in _asked(row):
            began = clock()
            row.squares[asked] = _squares(held, row, asked)
            row.first[asked] = clock() - began
        told = row.failed or ", ".join(f"{asked} {row.error(asked):.3g}" for asked in row.squares)
        print(f"{flow}: {row.name}: {told}", flush=True)
    found = [r for r in found if not r.failed]
    with one_core():
        for _ in range(1 if work.quick else ROUNDS):
            for row in found:
                _timed(held, row)
    made = generation(flow, work)
    known = twins(work.data(flow), work.manifest(flow), mirrored=True) | twins(work.data(flow), work.manifest(flow))
    new = np.array([m["number"] not in known for m in work.manifest(flow) if m["split"] == "test"])
    lines = []
    for of, which in {TEST: EVERY, NEW: new}.items() if not new.all() and new.any() else ((TEST, EVERY),):
        for row in found:
            lines += _told(flow, row, found, (of, which), made[1], work)
    for line in lines:
        ledger.row(**line)
    about = {
        "cases": made[0],
        "seconds_estimated": finite(made[1]),
        "test_cases": len(held),
        "new_flows": int(new.sum()),
    }
    ledger.row(section="worth, data", flow=flow, **about, together=COPIES * len(held), rounds=ROUNDS)
    return lines


def _rows(flow: str, held: Held, path: Path, runs: Mapping[str, Path], quick: bool) -> Iterator[Row]:
    cases, problem = held.table.cases, held.table.problem
    for name, cls in BASELINES.items():
        yield Row(name, "baseline", cls().fit(path, fields=held.table.fields))
    for name, run in runs.items():
        yield Row(name, "learned", load(run))
    for counts in GRIDS[flow][:4] if quick else GRIDS[flow]:
        each = [_fitted(problem, counts, case) for case in cases]
        if all(each):
            name = references.sized(counts) + (" and more" if any(s.resolution != counts for s in each) else "")
            yield Row(f"{NUMERICAL}{name}", "solver", each[0], each)
    if environment() is None:
        print("OpenFOAM is not installed: its rows are left out", flush=True)
        return
    for n in FOAM[flow]:
        solver = OpenFOAM(n, cfl=0.9)  # as exact as at 0.3, for less
        if all(references.takes(solver, c) for c in cases):
            yield Row(f"OpenFOAM {references.sized((n, n))}", "openfoam", solver, [solver] * len(cases))


@cache
def _solver(problem: Any, counts: tuple[int, int]) -> Any:
    return references.reference(problem, counts)


def _fitted(problem: Any, counts: tuple[int, int], case: Any) -> Any:
    """The solver on the fewest cells, from these on, that takes the case; None where none with up to five times as many
    a side does."""
    sides = [range(n, 5 * n + 1, step) for n, step in zip(counts, (2, 10), strict=True)]
    for cells in sorted(itertools.product(*sides), key=lambda c: (c != counts, math.prod(c))):
        solver = _solver(problem, cells)
        if solver is not None and references.takes(solver, case):
            return solver
    return None


def _asked(row: Row) -> tuple[str, ...]:
    """A step of several frames answers the last one alone."""
    return (ALL, LAST) if row.solver.every == 1 else (LAST,)


def _times(held: Held, i: int, asked: str) -> np.ndarray:
    assert held.table.times is not None
    times = held.table.times[i]
    return times[1:] if asked == ALL else times[-1:]


def _answers(held: Held, row: Row, cases: Sequence[int], asked: str) -> list[list[np.ndarray]]:
    """By time, by case. A numerical solver marches through all times in one go: a restart at each of them would cost it
    more."""
    starts = held.starts([(i, 0) for i in cases], row.solver)
    times = [_times(held, i, asked) for i in cases]
    if not row.each:
        return list(row.solver.rollout(starts, np.stack(times)))
    answers: list[Any] = [None] * len(cases)
    for solver in dict.fromkeys(row.each[i] for i in cases):
        these = [j for j, i in enumerate(cases) if row.each[i] is solver]
        back = [solver.back(starts[j], solver.grid(starts[j].case)) for j in these]
        begins = [solver.begin(starts[j]) for j in these]
        found = solver.run([starts[j].case for j in these], [times[j] for j in these], begins)
        for j, onto, f in zip(these, back, found, strict=True):
            answers[j] = list(np.moveaxis(onto(np.stack([f[n] for n in held.table.fields])), 0, 1))
    return [list(frame) for frame in zip(*answers, strict=True)]


def _squares(held: Held, row: Row, asked: str) -> np.ndarray:
    """(case, 2) Σ |q̂ − q|² and Σ |q|², means over the domain, in the problem's scales."""
    found = np.zeros((len(held), 2))
    for i in range(len(held)):
        try:
            answers = _answers(held, row, [i], asked)
        except (InputError, SolverError) as error:
            row.failed = f"{held.table.cases[i].label}: {error}"
            return found
        first = held.length(i) - len(answers)
        for k, (answer,) in enumerate(answers):
            truth, weights = held.frames(i, first + k)[0], held.weights(i)
            gap = np.where(weights > 0, answer / held.scale(i) - truth, 0.0)
            gap = np.where(np.isfinite(gap), gap, np.inf)
            found[i] += (gap**2 * weights).sum(), (truth**2 * weights).sum()
    return found


def compile_anew() -> None:
    """From here on nothing is taken from what other processes compiled."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()


def clock() -> float:
    """Seconds of the processor, those of programs that were run included."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _timed(held: Held, row: Row) -> None:
    """One round, after what is compiled in it. Of what takes longer than `SLOW` a case, many take as long as one after
    another."""
    every = list(range(len(held)))
    for asked in _asked(row):
        found = []
        for i in every:
            began = clock()
            _answers(held, row, [i], asked)  # compiled since its error was found
            found.append(clock() - began)
        fresh = asked not in row.seconds
        row.seconds.setdefault(asked, []).append(found)
        if row.alone(asked) > SLOW:
            row.together[asked] = [float(np.mean(found))]
            continue
        if fresh:
            _answers(held, row, every * COPIES, asked)
        began = clock()
        _answers(held, row, every * COPIES, asked)
        row.together.setdefault(asked, []).append((clock() - began) / (COPIES * len(every)))


def generation(flow: str, work: Any) -> tuple[int, float]:
    """Cases that train or validate, and the seconds of one core that making them takes, by the solver's estimate."""
    cases = [m for m in work.manifest(flow) if m["split"] in ("train", "validation")]
    if work.given.release is not None or work.quick:
        return len(cases), math.nan
    seconds, count = 0.0, 0
    for subset, size in zip(SUBSETS, DESIGN[flow], strict=True):
        share = max(work.given.fraction, min(1.0, 10 / size))
        plan = prepare(flow, None, subset, 21, 64, PROFILES[flow], fraction=share).plan()
        seconds, count = seconds + (plan.core_seconds or math.nan), count + sum(plan.cases.values())
    return len(cases), seconds * len(cases) / count


def _told(
    flow: str, row: Row, rows: Sequence[Row], cases: tuple[str, Which], made: float, work: Any
) -> list[dict[str, Any]]:
    """What the ledger says of a row, of all cases or some.

    Args:
        made: seconds that the data took.
    """
    lines, (of, which) = [], cases
    for asked in _asked(row):
        line: dict[str, Any] = {
            "section": "worth", "flow": flow, "asked": asked, "of": of, "row": row.name, "kind": row.kind,
            "nmse": finite(row.error(asked, which)), "milliseconds": 1e3 * row.alone(asked, which),
            "milliseconds_together": 1e3 * row.many(asked) if of == TEST else None,
            "slowest_round_over_fastest": row.spread(asked), "seconds_compiling": row.compiling(asked),
            "weights": None,
        }  # fmt: skip
        if row.kind in ("learned", "baseline") and row.name != "persistence":
            solvers = [r for r in rows if r.kind in ("solver", "openfoam")]
            line |= against(row, solvers, asked, which)
            if of == TEST:
                line |= together(row, solvers, asked)
            line |= paid(line, made + (spent(work) if row.kind == "learned" else 0.0))
        if row.kind == "learned":
            assert isinstance(row.solver, Surrogate)
            line["weights"] = row.solver.weights
        lines.append(line)
    return lines


def spent(work: Any) -> float:
    """Seconds of one core that a row trains, trials included."""
    return 60 * work.minutes * (1 + len(TRIALS) * TUNING)


def paid(line: Mapping[str, Any], seconds: float) -> dict[str, float | None]:
    """After how many cases so many seconds have come back."""
    found: dict[str, float | None] = {}
    for kind in ("", "_together"):
        saved = line.get(f"saved_milliseconds{kind}") or 0.0
        found[f"pays_after_cases{kind}"] = seconds / (1e-3 * saved) if saved > 0 and math.isfinite(seconds) else None
    return found


def against(row: Row, solvers: Sequence[Row], asked: str, which: Which = EVERY) -> dict[str, Any]:
    """What a solver costs that is as exact as the row, over what the row costs; nothing where no solver is."""
    points = [(s.error(asked, which), s.alone(asked, which), s.name) for s in solvers]
    return beside(row.error(asked, which), row.alone(asked, which), points)


def together(row: Row, solvers: Sequence[Row], asked: str) -> dict[str, Any]:
    """The same, of all cases at a time."""
    points = [(s.error(asked), s.many(asked), s.name) for s in solvers]
    return beside(row.error(asked), row.many(asked), points, "_together")


def beside(error: float, mine: float, points: Sequence[tuple[float, float, str]], kind: str = "") -> dict[str, Any]:
    """The cheapest solver that is as exact, and what one would cost that is just as exact: between two grids costs are
    straight lines over errors, in logarithms, so that a grid that is missed by little does not count as one more.

    Args:
        error, mine: of the row, and its seconds.
        points: error, seconds and name of each solver.
    """
    exact = sorted((p for p in points if p[0] <= error), key=lambda p: p[1])
    if not exact:
        return {}
    least, cost, name = exact[0]
    below = [p for p in points if p[0] > error and p[1] < cost]
    theirs = cost
    if below:  # the most exact of those that are cheaper
        worse, cheaper, _ = min(below)
        share = math.log(error / worse) / math.log(least / worse)
        theirs = math.exp(math.log(cheaper) + share * math.log(cost / cheaper))
    saved = 1e3 * (theirs - mine)
    return {f"as_exact{kind}": name, f"times_cheaper{kind}": theirs / mine, f"saved_milliseconds{kind}": saved}


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def lines() -> list[dict[str, Any]]:
    """Of all flows, as the ledger holds them."""
    path = RESULTS / "cfdbench.json"
    held = json.loads(path.read_text())["rows"] if path.exists() else []
    return [r for r in held if r.get("section") == "worth"]
