"""The wake of a cylinder on its way to vortex shedding: learned dynamics of a few modes against linear ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import _seeds_wakes
from benchmarks._ledger import WORK, Kept, Ledger, extremes
from benchmarks._seeds_wakes import CELLS, TRAINED, UNSEEN
from sciml import data
from sciml.problem import Case
from sciml.problems import CylinderFlow
from sciml.solver import Start
from sciml.solvers import DynamicModes, NeuralODE, ProperModes
from sciml.training import Growing, Recipe, Running, Steps

# -- the flows ----------------------------------------------------------------------------------------------------

#: D/U, from when the start is over to when vortices are shed for long
FIRST, LAST, STEP = 10.0, 70.0, 0.5
#: as `TRAINED` and `UNSEEN`
BEYOND = ((220, 0.1),)
#: D/U at which forecasts begin, and how long they last: from the first growth of waves to their last shape
STARTS, AHEAD = (12.0, 20.0, 30.0, 45.0), 25.0
NAME, MODES, LENGTH = "neural ODE", 20, 3000
BLIND, BY_RE = "linear, best rank and history", "linear by log Re, best rank, history and degree"
SHOWN = (132, 12.0)  # Reynolds number and start of the forecast that is drawn
#: of linear dynamics: numbers of modes, frames looked back, powers of log Re in the matrices
RANKS, HISTORIES, DEGREES, HISTORY, RIDGE = (2, 4, 6, 8, 10, 14, 20, 24), (1, 2, 4), (0, 1, 2, 3), 4, 1e-9


def solved(which: Sequence[tuple[float, float]], folder: Path | None) -> xr.Dataset:
    times = np.arange(FIRST, LAST + 1e-9, STEP)
    return _seeds_wakes.solved(which, times, folder, f"wake_{CELLS[0]}_{{:g}}_{{:g}}_{LAST:g}.npz")


# -- forecasts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is to be forecast: the frame (field, y, x) at which it begins, and those that follow (time, field, y, x)."""

    case: Case
    start: float
    before: np.ndarray
    truth: np.ndarray
    times: np.ndarray


Tables = dict[str, list[Forecast]]


def forecasts(wakes: xr.Dataset) -> list[Forecast]:
    found = []
    for i in range(wakes.sizes["case"]):
        case, flow = data.case(wakes, i)
        times, frames = flow.time.values, np.stack([flow.u.values, flow.v.values], axis=1).astype(float)
        for start in STARTS:
            k, n = round((start - FIRST) / STEP), round(AHEAD / STEP)
            # linear rows may look back over several frames
            found.append(Forecast(case, start, frames[max(k - HISTORY + 1, 0) : k + 1], frames[k + 1 : k + 1 + n],
                                  times[max(k - HISTORY + 1, 0) : k + 1 + n]))  # fmt: skip
    return found


def answered(solver: Any, history: int = 1) -> Callable[[Forecast], np.ndarray]:
    """By a solver, from the last frames."""

    def answer(f: Forecast) -> np.ndarray:
        assert f.case.support is not None
        n = len(f.before)
        begun = Start(f.case, f.case.support, f.before[-history:], float(f.times[n - 1]), fields=("u", "v"))
        return np.stack([frames[0] for frames in solver.rollout([begun], f.times[None, n:])])

    return answer


def scores(answers: Sequence[np.ndarray], several: Sequence[Forecast], mean: np.ndarray) -> dict[str, Any]:
    """(Σ |u − û|² / Σ |u − ū|²)^½ with the mean of training ū: of all forecasts, by case, by start, by time ahead."""
    gaps = np.array([((a - f.truth) ** 2).sum(axis=(1, 2, 3)) for a, f in zip(answers, several, strict=True)])
    sizes = np.array([((f.truth - mean) ** 2).sum(axis=(1, 2, 3)) for f in several])
    gaps = np.where(np.isfinite(gaps), gaps, 1e12)

    def error(rows: Any, columns: Any = slice(None)) -> float:
        return float(np.sqrt(gaps[rows][..., columns].sum() / sizes[rows][..., columns].sum()))

    reynolds = np.array([round(CylinderFlow().reynolds(f.case)) for f in several])
    starts = np.array([f.start for f in several])
    return {
        "error": error(slice(None)),
        "by_case": {f"{re:g}": error(reynolds == re) for re in np.unique(reynolds)},
        "by_start": {f"{t:g}": error(starts == t) for t in STARTS},
        "by_lead": [error(slice(None), [k]) for k in range(gaps.shape[1])],
    }


# -- linear rows --------------------------------------------------------------------------------------------------


class Linear:
    """Linear dynamics c(t + Δt) = b + Σ_j A_j c(t − jΔt) of the first modes, one for all cases or with matrices that
    are polynomials of log Re; what would grow is held to its size."""

    def __init__(self, train: xr.Dataset):
        flows = [data.case(train, i) for i in range(train.sizes["case"])]
        frames = [np.stack([f.u.values, f.v.values], axis=1).astype(float) for _, f in flows]
        support = flows[0][0].support
        assert support is not None
        self.modes, whole = ProperModes.of(np.concatenate(frames), support.weights(), max(*RANKS, MODES))
        self.courses = np.split(whole / whole.std(), np.cumsum([len(f) for f in frames])[:-1])
        self.scale = whole.std()
        self.place = [place_of(case) for case, _ in flows]

    def law(self, degree: int, rank: int, history: int) -> Callable[[Case], np.ndarray]:
        """The step of (1, the last coefficients, the oldest first) of a case."""
        found = _polynomial([c[:, :rank] for c in self.courses], self.place, degree, history)
        return lambda case: _held(found(place_of(case)))

    def answer(self, f: Forecast, step: np.ndarray, rank: int, history: int) -> np.ndarray:
        past = self.modes.coefficients(f.before)[-history:, :rank] / self.scale
        past = np.concatenate([np.repeat(past[:1], history - len(past), axis=0), past])
        state, course = np.append(1.0, past.ravel()), []
        for _ in range(len(f.truth)):
            state = step @ state
            course.append(state[-rank:] * self.scale)
        return self.short(np.array(course))

    def short(self, coefficients: np.ndarray) -> np.ndarray:
        """Frames of the first coefficients."""
        return self.modes.mean + np.tensordot(coefficients, self.modes.modes[: coefficients.shape[1]], 1)


def place_of(case: Case) -> float:
    assert isinstance(case.problem, CylinderFlow)
    return float(np.log(case.problem.reynolds(case) / 130))


def linear_rows(train: xr.Dataset, tables: Tables) -> dict[str, Any]:
    """Scores for all ranks, histories and degrees, and of the truth's own first modes, by table."""
    made = Linear(train)
    mean = made.modes.mean
    found: dict[str, Any] = {"mean": mean.tolist(), "floor": {}, "rows": {table: [] for table in tables}}
    for table, several in tables.items():
        floor = [made.short(made.modes.coefficients(f.truth)[:, :MODES]) for f in several]
        found["floor"][table] = {**scores(floor, several, mean), "modes": MODES}
    for degree, rank, history in itertools.product(DEGREES, RANKS, HISTORIES):
        law, what = made.law(degree, rank, history), {"degree": degree, "modes": rank, "history": history}
        for table, several in tables.items():
            answers = [made.answer(f, law(f.case), rank, history) for f in several]
            found["rows"][table].append({**what, **scores(answers, several, mean)})
    return found


def _polynomial(courses: Sequence[np.ndarray], place: Sequence[float], degree: int, h: int) -> Callable[[float], Any]:
    """The step of (1, the last h coefficients, the oldest first) at a place."""
    rank = courses[0].shape[1]
    before, after = [], []
    for c, x in zip(courses, place, strict=True):
        past = np.array([np.append(1.0, c[k : k + h].ravel()) for k in range(len(c) - h)])
        before.append(np.concatenate([past * x**d for d in range(degree + 1)], axis=1))
        after.append(c[h:])
    design = np.concatenate(before)
    gram = design.T @ design
    rates = np.linalg.solve(gram + RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)),
                            design.T @ np.concatenate(after)).reshape(degree + 1, 1 + h * rank, rank)  # fmt: skip

    def law(x: float) -> np.ndarray:
        companion = np.eye(1 + h * rank, k=rank)
        companion[0] = 0.0
        companion[0, 0] = 1.0
        companion[-rank:] = np.sum([r * x**d for d, r in enumerate(rates)], axis=0).T
        return companion

    return law


def _held(step: np.ndarray) -> np.ndarray:
    """Without growth."""
    values, vectors = np.linalg.eig(step)
    if np.abs(values).max() <= 1.0 or np.linalg.cond(vectors) > 1e10:
        return step
    return np.linalg.solve(vectors.T, (vectors * (values / np.maximum(np.abs(values), 1.0))).T).T.real


# -- all of it ----------------------------------------------------------------------------------------------------


def recipe(seed: int) -> Recipe:
    return NeuralODE.default_recipe().replace(length=Steps(LENGTH), objective=Growing(steps=40, until=0.5), seed=seed)


def learned(train: xr.Dataset, tables: Tables, mean: np.ndarray, seed: int, folder: Path | None) -> dict[str, Any]:
    model = NeuralODE(MODES)
    began = time.process_time()
    model.fit(train, recipe(seed), split=None, running=Running(progress=False))
    seconds = time.process_time() - began
    if folder is not None:
        model.save(folder / f"neural_ode_{seed}")
    more = {"seconds": seconds, "weights": model.weights, "steps": LENGTH, "modes": MODES}
    return by_table(answered(model), tables, mean, more)


def dynamic(train: xr.Dataset, tables: Tables, mean: np.ndarray, history: int) -> dict[str, Any]:
    model = DynamicModes(history).fit(train, split=None)
    return by_table(answered(model, history), tables, mean, {"modes": len(model.modes), "history": history})


def by_table(answer: Callable[[Forecast], np.ndarray], tables: Tables, mean: np.ndarray, more: dict[str, Any]) -> Any:
    return {t: {**scores([answer(f) for f in several], several, mean), **more} for t, several in tables.items()}


def measure(ledger: Ledger, work: Any) -> None:
    kept = Kept("seeds/ode", packages=("equinox", "optax", "diffrax"), dry=work.quick, files=("_seeds_ode.py",))
    folder = None if work.quick else kept.folder
    if work.quick:
        global LENGTH, RANKS
        LENGTH, RANKS = 20, (4, 10)
    seeds = range(3 if work.full else 1)
    ledger.seeds(*seeds)
    train = solved(TRAINED[:: 4 if work.quick else 1], folder)
    sets = {"unseen": UNSEEN[: 1 if work.quick else None], "beyond": BEYOND}
    tables = {table: forecasts(solved(which, folder)) for table, which in sets.items()}
    linear = kept(lambda: linear_rows(train, tables), what="linear")
    mean = np.array(linear["mean"])
    still = by_table(lambda f: np.repeat(f.before[-1:], len(f.truth), axis=0), tables, mean, {})
    modes = [kept(lambda h=h: dynamic(train, tables, mean, h), what="dynamic modes", history=h) for h in (1, 2)]
    runs = [kept(lambda k=k: learned(train, tables, mean, k, folder), what=NAME, seed=k) for k in seeds]
    for table, several in tables.items():
        every = linear["rows"][table]
        rows = {
            "persistence": [still[table]],
            **{f"dynamic modes, history {m[table]['history']}": [m[table]] for m in modes},
            BLIND: [min((r for r in every if not r["degree"]), key=lambda r: r["error"])],
            BY_RE: [min((r for r in every if r["degree"]), key=lambda r: r["error"])],
            NAME: [run[table] for run in runs],
            f"the first {MODES} modes of the truth": [linear["floor"][table]],
        }
        for name, found in rows.items():
            _row(ledger, table, name, found)
        if table == "unseen":
            _checked(ledger, rows)
            _picture(train, several, rows, folder)


def _row(ledger: Ledger, table: str, name: str, runs: Sequence[dict[str, Any]]) -> None:
    middle = sorted(runs, key=lambda r: r["error"])[len(runs) // 2]
    by_case = middle["by_case"].values()
    more = {k: middle[k] for k in ("modes", "history", "degree", "weights", "steps", "seconds")
            if k in middle}  # fmt: skip
    more |= {f"error_from_{start}": e for start, e in middle["by_start"].items()}
    ledger.row(section="ode", table=table, row=name, seeds=len(runs), error=middle["error"], least_case=min(by_case),
               most_case=max(by_case), **more)  # fmt: skip


def _checked(ledger: Ledger, rows: dict[str, list[dict[str, Any]]]) -> None:
    linear = {n: r[0] for n, r in rows.items() if n.startswith(("linear", "dynamic"))}
    best = min(linear, key=lambda n: linear[n]["error"])
    runs = sorted(rows[NAME], key=lambda r: r["error"])
    middle = runs[len(runs) // 2]
    by_case = [middle["by_case"][c] / linear[best]["by_case"][c] for c in middle["by_case"]]
    ledger.check(
        "neural_ode_cylinder_error_over_linear", middle["error"] / linear[best]["error"],
        "the learned vector field errs more than half as much as the best linear dynamics",
        spread=extremes(by_case, "unseen Reynolds numbers"),
        note=f"over {best}, chosen by these very errors; persistence errs {rows['persistence'][0]['error']:.2f}",
    )  # fmt: skip


def _picture(train: xr.Dataset, several: Sequence[Forecast], rows: Any, folder: Path | None) -> None:
    """Of all rows, and of one unseen case from its first waves on."""
    from benchmarks._seeds_ode_picture import drawn

    if folder is None or not (folder / "neural_ode_0").exists():
        return
    f = next(f for f in several if f.start == SHOWN[1] and round(CylinderFlow().reynolds(f.case)) == SHOWN[0])
    made, best = Linear(train), rows[BY_RE][0]
    rank, history = best["modes"], best["history"]
    answers = {
        "truth": f.truth, NAME: answered(NeuralODE.load(folder / "neural_ode_0"))(f),
        BY_RE: made.answer(f, made.law(best["degree"], rank, history)(f.case), rank, history),
    }  # fmt: skip
    y, x = CELLS[0] // 2, round(CELLS[1] * (3 + 2.6) / 11)
    drawn(
        {n: a[:, 1, y, x] for n, a in answers.items()}, STEP * np.arange(1, len(f.truth) + 1),
        {n: a[-1, 1] for n, a in answers.items()}, {n: r[0]["by_lead"] for n, r in rows.items()},
        f"Re {SHOWN[0]}, unseen, from {SHOWN[1]:g} D/U on",
    )  # fmt: skip


if __name__ == "__main__":
    solved(TRAINED + UNSEEN + BEYOND, WORK / "seeds" / "ode")
