"""The wake of a cylinder from few sensors that measure at few irregular instants, at places and times between them:
learned recurrent dynamics with attention against interpolation in space and time."""

from __future__ import annotations

import itertools
import statistics
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, RBFInterpolator
from scipy.spatial.distance import cdist

from benchmarks import _seeds_wakes
from benchmarks._ledger import WORK, Kept, Ledger
from benchmarks._seeds_wakes import CELLS, DIAMETER, TRAINED, UNSEEN
from sciml import data
from sciml.problem import Case
from sciml.solvers import SensorSurrogate
from sciml.support import Grid
from sciml.training import AdamW, OneCycle, Recipe, Running, Steps

# -- the flows ----------------------------------------------------------------------------------------------------

COARSE = (24, 44)  # fields are means over 2 × 2 cells of the solver
#: D/U, from when vortices begin to be shed to when they have been for long
FIRST, LAST, STEP = 20.0, 70.0, 0.5


def solved(which: Sequence[tuple[float, float]], folder: Path | None) -> xr.Dataset:
    times = np.arange(FIRST, LAST + 1e-9, STEP)
    return _seeds_wakes.solved(which, times, folder, "wake_{:g}_{:g}.npz", cells=COARSE, of_frames=halved)


def halved(case: Case, frames: np.ndarray) -> np.ndarray:
    """Means over 2 × 2 cells of (..., y, x), of those in the fluid."""
    inside = Grid.uniform(case.geometry, CELLS, masked=True).inside
    fluid = np.ones(CELLS) if inside is None else inside.astype(float)

    def sums(a: np.ndarray) -> np.ndarray:
        return a.reshape(*a.shape[:-2], COARSE[0], 2, COARSE[1], 2).sum((-3, -1))

    return sums(frames.astype(float) * fluid) / np.maximum(sums(fluid), 1.0)


# -- what is measured, and what is asked --------------------------------------------------------------------------

SHARES = (0.05, 0.1, 0.25)
#: instants at which sensors measure, and frames between them: drawn from 1 to 4, 0.5 to 2 D/U, or D/U, all the same
INSTANTS, GAP, EVEN = 8, 4, 1.5
WINDOWS = 3


@dataclass(frozen=True, eq=False)
class Window:
    """Sensors on one flow, and all frames between their first and last instant at which they do not measure.

    Args:
        flow: number of the case.
        at, others: frames at which sensors measure, and those that are asked for.
        chosen: which of the points in the fluid are sensors.
    """

    flow: int
    at: np.ndarray
    others: np.ndarray
    chosen: np.ndarray


@dataclass(frozen=True, eq=False)
class Flow:
    """One unseen case: frames (time, field, *shape), and the points that are fluid (N, 2), in D."""

    case: Case
    times: np.ndarray
    frames: np.ndarray
    inside: np.ndarray
    points: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """(time, point, field)."""
        return np.moveaxis(self.frames.reshape(*self.frames.shape[:2], -1)[..., self.inside], 1, 2)


def flows_of(wakes: xr.Dataset) -> list[Flow]:
    found = []
    for i in range(wakes.sizes["case"]):
        case, flow = data.case(wakes, i)
        support = case.support
        assert support is not None
        inside = np.ones(support.size, bool) if support.inside is None else support.inside.reshape(-1)
        frames = np.stack([flow.u.values, flow.v.values], axis=1).astype(float)
        points = support.points().reshape(-1, 2)[inside] / DIAMETER
        found.append(Flow(case, flow.time.values, frames, inside, points))
    return found


def windows(flows: Sequence[Flow], share: float, irregular: bool) -> list[Window]:
    found = []
    for i, flow in enumerate(flows):
        for k in range(WINDOWS):
            draw = np.random.default_rng([11, round(1000 * share), irregular, i, k])
            steps = draw.integers(1, GAP + 1, INSTANTS - 1) if irregular else np.full(INSTANTS - 1, round(EVEN / STEP))
            while steps.sum() >= len(flow.times) // 2:
                steps[np.argmax(steps)] -= 1
            first = draw.integers(0, len(flow.times) - steps.sum())
            at = first + np.append(0, np.cumsum(steps))
            others = np.setdiff1d(np.arange(at[0], at[-1]), at)
            total = len(flow.points)
            chosen = np.sort(draw.choice(total, round(share * total), replace=False))
            found.append(Window(i, at, others, chosen))
    return found


def squares(flow: Flow, w: Window, answer: np.ndarray, mean: np.ndarray) -> tuple[float, float]:
    """Σ |û − u|² and Σ |u − ū|² at points that are no sensors and times at which none measures; ū is the mean of the
    training flows.

    Args:
        answer: (time, point, field).
        mean: (point, field).
    """
    rest = np.setdiff1d(np.arange(len(flow.points)), w.chosen)
    truth = flow.values[w.others][:, rest]
    return float(((answer[:, rest] - truth) ** 2).sum()), float(((truth - mean[rest]) ** 2).sum())


# -- rows without training ----------------------------------------------------------------------------------------

KERNELS = ("linear", "thin_plate_spline", "cubic")
#: of space-time radial functions: D that a D/U counts as, and share of the inlet's speed at which the frame moves
PACES, DRIFTS = (0.2, 0.3, 0.4), (0.0, 0.7, 0.9, 1.0)
#: of kriging, D
LENGTHS = (0.5, 0.8, 1.2)


def in_space(kind: str, places: np.ndarray, values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., point, field) from (..., sensor, field), at each instant by itself."""
    flat = np.moveaxis(values, -2, 0).reshape(len(places), -1)
    if kind == "nearest":
        found = NearestNDInterpolator(places, flat)(points)
    elif kind == "piecewise linear":
        found = LinearNDInterpolator(places, flat)(points)
        found = np.where(np.isfinite(found), found, NearestNDInterpolator(places, flat)(points))
    else:
        found = RBFInterpolator(places, flat, kernel=kind)(points)
    return np.moveaxis(found.reshape(len(points), *values.shape[:-2], values.shape[-1]), 0, -2)


def in_time(known: np.ndarray, instants: np.ndarray, times: np.ndarray, before: bool = False) -> np.ndarray:
    """(time, ...) from (instant, ...): linear between the instants on both sides, or the latest one before."""
    k = np.searchsorted(instants, times, "right") - 1
    if before:
        return known[k]
    share = ((times - instants[k]) / (instants[k + 1] - instants[k])).reshape(-1, *[1] * (known.ndim - 1))
    return (1 - share) * known[k] + share * known[k + 1]


def placed(f: Flow, points: np.ndarray, frames: np.ndarray, pace: float, drift: float) -> np.ndarray:
    """Points (N, 2) at some frames as places (frames · N, 3) of space and time, in D."""
    t = np.repeat(f.times[frames] / f.case.scales.time, len(points))
    x = np.tile(points, (len(frames), 1))
    return np.stack([x[:, 0] - drift * t, x[:, 1], pace * t], 1)


def interpolators(mean: np.ndarray) -> dict[str, Any]:
    """Ways to interpolate by what they are called: functions of (flow, window) -> (time, point, field).

    Args:
        mean: (point, field) of the training flows.
    """

    def by_turns(kind: str, before: bool) -> Any:
        def answer(f: Flow, w: Window) -> np.ndarray:
            known = in_space(kind, f.points[w.chosen], f.values[w.at][:, w.chosen], f.points)
            return in_time(known, f.times[w.at], f.times[w.others], before)

        return answer

    def together(kernel: str, pace: float, drift: float) -> Any:
        def answer(f: Flow, w: Window) -> np.ndarray:
            seen = f.values[w.at][:, w.chosen].reshape(-1, 2)
            table = RBFInterpolator(placed(f, f.points[w.chosen], w.at, pace, drift), seen, kernel=kernel)
            return table(placed(f, f.points, w.others, pace, drift)).reshape(len(w.others), -1, 2)

        return answer

    def kriging(length: float, pace: float, drift: float) -> Any:
        """About the mean of the training flows, with the covariance (1 + r) exp(−r)."""

        def answer(f: Flow, w: Window) -> np.ndarray:
            known = placed(f, f.points[w.chosen], w.at, pace, drift)
            seen = (f.values[w.at][:, w.chosen] - mean[w.chosen]).reshape(-1, 2)
            r = cdist(known, known) / length
            weight = np.linalg.solve((1 + r) * np.exp(-r) + 1e-4 * np.eye(len(r)), seen)
            r = cdist(placed(f, f.points, w.others, pace, drift), known) / length
            return mean + ((1 + r) * np.exp(-r) @ weight).reshape(len(w.others), -1, 2)

        return answer

    spaces = ("nearest", "piecewise linear", *KERNELS)
    found = {f"{k.replace('_', ' ')} in space, linear in time": by_turns(k, False) for k in spaces}
    found |= {f"persistence, {k.replace('_', ' ')} in space": by_turns(k, True) for k in spaces}
    for pace, drift in itertools.product(PACES, DRIFTS):
        name = f"linear radial functions of space and time, 1 D/U as {pace:g} D, carried by {drift:g} U"
        found[name] = together("linear", pace, drift)
        for length in LENGTHS:
            name = (
                f"kriging about the mean of training, length {length:g} D, 1 D/U as {pace:g} D, carried by {drift:g} U"
            )
            found[name] = kriging(length, pace, drift)
    return found


def gappy(train: Sequence[Flow], mean: np.ndarray, modes: int, ridge: float = 1e-3) -> Any:
    """Coefficients of the first modes of the training flows from the sensors, at each instant by regularised least
    squares, linear in time in between. It is told whole training flows, as the operator is, and is no interpolation."""
    frames = np.concatenate([f.values - mean for f in train])[::2]
    _, size, basis = np.linalg.svd(frames.reshape(len(frames), -1), full_matrices=False)
    spread = size[:modes] / np.sqrt(len(frames))
    basis = (basis[:modes] * spread[:, None]).reshape(modes, *mean.shape)

    def answer(f: Flow, w: Window) -> np.ndarray:
        a = basis[:, w.chosen].reshape(modes, -1)
        seen = (f.values[w.at][:, w.chosen] - mean[w.chosen]).reshape(len(w.at), -1)
        weight = np.linalg.solve(a @ a.T + ridge * a.shape[1] * np.mean(a**2) * np.eye(modes), a @ seen.T).T
        return mean + np.einsum("tk,kpf->tpf", in_time(weight, f.times[w.at], f.times[w.others]), basis)

    return answer


# -- the operator -------------------------------------------------------------------------------------------------

NAME, STEPS = "continuous from sparse", 5000


def trained(wakes: xr.Dataset, seed: int, steps: int, folder: Path | None) -> SensorSurrogate:
    model = SensorSurrogate(gap=GAP, instants=INSTANTS, queries=256)
    optimiser = AdamW(lr=4e-3, average=0.99)
    recipe = Recipe(length=Steps(steps), batch=8, optimiser=optimiser, schedule=OneCycle(), seed=seed)
    resume = folder is not None and (folder / "checkpoints").is_dir()
    return model.fit(wakes, recipe, validation=None, running=Running(out=folder, resume=resume, progress=False))


def reconstructed(model: SensorSurrogate) -> Any:
    def answer(f: Flow, w: Window) -> np.ndarray:
        places = f.points[w.chosen] * DIAMETER
        points = np.concatenate([np.tile(places, (len(w.at), 1)), np.repeat(f.times[w.at], len(places))[:, None]], 1)
        seen = f.values[w.at][:, w.chosen].reshape(-1, 2)
        told = {"points": points, "u": seen[:, 0], "v": seen[:, 1]}
        found = model.reconstruct(f.case, told, f.times[w.others])
        frames = np.stack([found.u.values, found.v.values], -1)
        return frames.reshape(len(w.others), -1, 2)[:, f.inside]

    return answer


# -- all of it ----------------------------------------------------------------------------------------------------


def judged(answer: Any, flows: Sequence[Flow], several: Sequence[Window], mean: np.ndarray) -> dict[str, Any]:
    """(Σ |û − u|² / Σ |u − ū|²)^½ over all windows, the least and the most of a flow."""
    began = time.process_time()
    sums = np.array([squares(flows[w.flow], w, answer(flows[w.flow], w), mean) for w in several])
    seconds = (time.process_time() - began) / len(several)
    of = np.array([w.flow for w in several])
    each = [float(np.sqrt(np.divide(*sums[of == i].sum(0)))) for i in np.unique(of)]
    whole = float(np.sqrt(np.divide(*sums.sum(0))))
    return {"error": whole, "error_least": min(each), "error_most": max(each), "by_flow": each,
            "seconds_per_window": seconds}  # fmt: skip


def measure(ledger: Ledger, work: Any) -> None:
    folder = None if work.quick else WORK / "seeds" / "sparse"
    kept = Kept("seeds/sparse", packages=("torch", "scipy"), dry=work.quick, files=("_seeds_sparse.py",))
    few = slice(0, 2 if work.quick else None)
    wakes, unseen = solved(TRAINED[few], folder), solved(UNSEEN[few], folder)
    flows, train = flows_of(unseen), flows_of(wakes)
    mean = np.mean([f.values.mean(0) for f in train], axis=0)
    seeds, steps = range(3 if work.full else 1), 4 if work.quick else STEPS
    ledger.seeds(*seeds)
    models = [trained(wakes, s, steps, None if folder is None else folder / f"run_{steps}_{s}") for s in seeds]
    sets = [(share, True) for share in SHARES] + [(0.1, False)]
    worst, told = 0.0, []
    for share, irregular in sets:
        several = windows(flows, share, irregular)[few]
        common = {"section": "sparse", "sensors_percent": round(100 * share), "irregular": irregular,
                  "windows": len(several)}  # fmt: skip
        ways = {name: kept(lambda a=a, s=several: judged(a, flows, s, mean), what=name, share=share,
                           irregular=irregular) for name, a in interpolators(mean).items()}  # fmt: skip
        best = {}
        kinds = {
            "persistence": [n for n in ways if n.startswith("persistence")],
            "interpolation of measurements alone": [n for n in ways if not n.startswith(("persistence", "kriging"))],
            "interpolation": [n for n in ways if not n.startswith("persistence")],
        }
        for kind, names in kinds.items():
            name = min(names, key=lambda n: ways[n]["error"])
            best[kind] = ways[name]
            ledger.row(row=kind, how=name, tried=len(names), **common, **ways[name])
        modes = {n: judged(gappy(train, mean, n), flows, several, mean) for n in (1, 2, 3, 4, 6, 8, 12, 16)}
        n = min(modes, key=lambda m: modes[m]["error"])
        ledger.row(row="modes of the training flows", how=f"{n} of them, chosen on the test", **common, **modes[n])
        runs = [judged(reconstructed(m), flows, several, mean) for m in models]
        middle = statistics.median(r["error"] for r in runs)
        run = min(runs, key=lambda r: abs(r["error"] - middle))
        ratio = middle / best["interpolation"]["error"]
        ledger.row(
            row=NAME, how=f"{models[0].weights} weights, {steps} steps", over_interpolation=ratio, seeds=len(runs),
            seed_least=min(r["error"] for r in runs), seed_most=max(r["error"] for r in runs), **common, **run,
        )  # fmt: skip
        worst = max(worst, ratio)
        told.append(f"{round(100 * share)} % {'irregular' if irregular else 'even'} {ratio:.3g}")
    note = "error at points and times that were not measured, of unseen flows, over that of the best of "
    note += f"{sum(not n.startswith('persistence') for n in interpolators(mean))} ways to interpolate, which look at "
    note += f"instants on both sides and are chosen on the test: {', '.join(told)}"
    ledger.check("continuous_query_error_over_interpolation", worst, note, note=note)
    if not work.quick:
        picture(models[0], flows, windows(flows, 0.1, True), mean, Path(__file__).parents[1] / "docs" / "sparse.png")


def picture(
    model: SensorSurrogate, flows: Sequence[Flow], several: Sequence[Window], mean: np.ndarray, path: Path
) -> None:
    """The velocity across the stream of one flow between two instants: sensors, truth, and answers."""
    import matplotlib.pyplot as plt

    w = several[2 * WINDOWS]
    f = flows[w.flow]
    gaps = np.diff(w.at)
    k = int(np.argmax(np.where(np.arange(len(gaps)) < 2, 0, gaps)))
    middle = int(np.searchsorted(w.others, (w.at[k] + w.at[k + 1]) // 2))
    ways = {n: a for n, a in interpolators(mean).items() if not n.startswith("persistence")}
    name = min(ways, key=lambda n: squares(f, w, ways[n](f, w), mean)[0])
    answers = {"truth": f.values[w.others], NAME: reconstructed(model)(f, w), name: ways[name](f, w)}
    figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
    most = float(np.abs(f.values[..., 1]).max())
    shape = f.frames.shape[2:]
    extent = (-3, 8, -3, 3)
    for place, (title, values) in zip(axes, answers.items(), strict=True):
        flat = np.full(f.inside.shape, np.nan)
        flat[f.inside] = values[middle][:, 1]
        place.imshow(flat.reshape(shape), origin="lower", extent=extent, cmap="RdBu_r", vmin=-most, vmax=most)
        place.set(xticks=[], yticks=[])
        place.set_title(textwrap.fill(title, 44), fontsize=9)
    axes[0].plot(*f.points[w.chosen].T, "k.", ms=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
