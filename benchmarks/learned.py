"""The ledger `learned`: surrogates on supports of every kind, and what their rollouts cost.

    python -m benchmarks.learned [--heat unsteady_heat.npz] [--quick]

* Stretched against uniform: the same FNO, cases, recipe and number of cells, for the heat equation on a grid whose
  cells grow towards the middle (`FiniteVolume(stretching=2)`) and on a uniform one; relative L² over all times against
  the exact solution, quadrature-weighted, mean over held-out cases, over three seeds.
* DeepONet on nodes: temperature on the 441 nodes of a triangulated square over 100 times, two parameters, 80 given
  cases of which the last 20 are held out; the network is asked for all times from the parameters alone. Relative L²
  over all times and nodes (dual areas as weights), mean over cases, over that of persistence from the first frame. The
  data (`--heat`, or the environment variable SCIML_UNSTEADY_HEAT) are not part of this package: arrays coords
  (node, 2), triangles, params (case, 2), T (case, time, node).
* Leak: potential flow past a cylinder that is masked out; the largest change of any value inside when the values
  outside change, for every operator and every step of a rollout.
* Streaming: peak memory of a process that goes through 500 steps of a three-dimensional rollout, over that of 50.
* Overhead: 100 steps of a batch of 8 on 64² through `Surrogate.rollout`, over the bare loop x ← x + operator(x).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sciml
from benchmarks._ledger import Kept, Ledger, extremes
from sciml import DataProblem, Grid, Mesh, Recipe, Running, Start
from sciml.solvers import FiniteVolume, Surrogate
from sciml.solvers.interpolation import ParameterInterpolation
from sciml.training import AdamW, Epochs, Steps, Subsample

THREADS = 2
QUIET = Running(progress=False, device="cpu")
SEEDS = (0, 1, 2)


# -- stretched grids ---------------------------------------------------------------------------------------------------


def stretched(stretching: float, seed: int, epochs: float) -> float:
    """Mean over held-out cases of the relative L² error over all times."""
    problem, times = sciml.problems.HeatEquation(), np.linspace(0, 1, 11)
    values = np.geomspace(0.02, 0.2, 32)
    held = values[2::4]  # none at the ends: no extrapolation
    train = [problem.case(diffusivity=v) for v in values if v not in held]
    data = FiniteVolume(32, stretching=stretching).solve_many(train, times, progress=False)
    model = Surrogate("fno", width=16, modes=(8,)).fit(
        data, Recipe(length=Epochs(epochs), optimiser=AdamW(lr=4e-3), seed=seed), validation=None, running=QUIET
    )
    errors = []
    for v in held:
        case = problem.case(diffusivity=v)
        answer = model.solve(case, times)
        exact = case.exact(times, (answer.x.values,))["T"]
        weights = model.encoding.support(case).weights()
        error = np.sqrt((weights * (answer["T"].values - exact) ** 2).sum() / (weights * exact**2).sum())
        errors.append(float(error))
    return float(np.mean(errors))


def grids(ledger: Ledger, keep: Kept, quick: bool) -> None:
    epochs = 5 if quick else 150
    ratios = []
    for seed in SEEDS[: 1 if quick else 3]:
        pair = {
            s: keep(lambda s=s, seed=seed: stretched(s, seed, epochs), part="stretched", value=s, seed=seed, n=epochs)
            for s in (0.0, 2.0)
        }
        ratios.append(pair[2.0] / pair[0.0])
        errors = {"relative_l2_uniform": pair[0.0], "relative_l2_stretched": pair[2.0]}
        ledger.row(section="stretched grid", row="FNO", seed=seed, **errors)
    ledger.check(
        "stretched_grid_error_over_uniform_grid", statistics.median(ratios), "see the rows",
        spread=extremes(ratios, f"{len(ratios)} seeds"),
    )  # fmt: skip


# -- nodes -------------------------------------------------------------------------------------------------------------


def heat(path: Path, seed: int, steps: int) -> dict[str, float]:
    with np.load(path, allow_pickle=False) as archive:
        coords, triangles, params, fields = (archive[n] for n in ("coords", "triangles", "params", "T"))
    problem = DataProblem("unsteady_heat", ["T"], ["first", "second"])
    mesh, times = Mesh(coords, {"triangle": triangles}), np.arange(1.0, 101.0)
    cases = [problem.case(first=a, second=b) for a, b in params]
    solutions = [
        sciml.data.solution(c, times, {"T": (("time", "node"), values)}, mesh)
        for c, values in zip(cases, fields, strict=True)
    ]
    model = Surrogate("deeponet", sciml.Query(start=False), width=128, basis=64, frequencies=6)
    recipe = Recipe(
        length=Steps(steps), batch=32, optimiser=AdamW(lr=3e-3, average=0.99), augmentations=(Subsample(128),),
        seed=seed,
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(solutions[:60], recipe, validation=None, running=QUIET)
    seconds = time.perf_counter() - began
    weights = mesh.weights()

    def relative(made: np.ndarray, truth: np.ndarray) -> float:
        return float(np.sqrt((weights * (made - truth) ** 2).sum() / (weights * truth**2).sum()))

    made = [relative(model.solve(c, times)["T"].values, t) for c, t in zip(cases[60:], fields[60:], strict=True)]
    still = [relative(np.broadcast_to(t[0], t.shape), t) for t in fields[60:]]
    mean = [relative(fields[:60].mean(0), t) for t in fields[60:]]
    known = ParameterInterpolation().fit(solutions[:60], split=None)
    between = [
        relative(known.resume(case, solution.isel(time=[0]), times)["T"].values, t)
        for case, solution, t in zip(cases[60:], solutions[60:], fields[60:], strict=True)
    ]
    return {
        "training_seconds": seconds, "relative_l2": float(np.mean(made)),
        "relative_l2_persistence": float(np.mean(still)), "relative_l2_mean_field": float(np.mean(mean)),
        "relative_l2_interpolation": float(np.mean(between)),
    }  # fmt: skip


def nodes(ledger: Ledger, keep: Kept, quick: bool, path: Path | None) -> None:
    name = "points_deeponet_heat_rollout_over_persistence"
    if path is None or not path.is_file():
        ledger.check(name, None, "no data: neither --heat nor SCIML_UNSTEADY_HEAT names unsteady_heat.npz")
        return
    steps, ratios = 50 if quick else 4000, []
    for seed in SEEDS[: 1 if quick else 3]:
        found = keep(lambda seed=seed: heat(path, seed, steps), part="heat", seed=seed, steps=steps)
        ledger.row(section="nodes", row="DeepONet (Query, from parameters alone)", seed=seed, **found)
        ratios.append(found["relative_l2"] / found["relative_l2_persistence"])
    others = ", ".join(
        f"{words} {found[f'relative_l2_{key}'] / found['relative_l2_persistence']:.2g}"
        for words, key in (("mean field", "mean_field"), ("interpolation in the parameters", "interpolation"))
    )
    ledger.check(
        name, statistics.median(ratios), "see the rows", spread=extremes(ratios, f"{len(ratios)} seeds"),
        note="relative L2 over all 100 times, each asked for at once from the parameters alone; persistence repeats "
        f"the first frame; {others}",
    )  # fmt: skip


# -- masks -------------------------------------------------------------------------------------------------------------


def past_cylinder(n: int, cases: int, frames: int) -> list[Any]:
    """Potential flow u − iv = U(t)(1 − r²/z²) past a masked cylinder, U(t) = 1 + a sin(2πt), on [−2, 2] × [−1, 1]."""
    problem = DataProblem("flow_past_cylinder", ["u", "v"], ["radius", "amplitude"])
    faces = (np.linspace(-2, 2, 2 * n + 1), np.linspace(-1, 1, n + 1))
    bare = Grid(faces)
    z = bare.points()[..., 0] + 1j * bare.points()[..., 1]
    times = np.linspace(0, 1, frames)
    found = []
    for i in range(cases):
        radius, amplitude = 0.25 + 0.2 * i / max(cases - 1, 1), 0.2 + 0.5 * ((3 * i) % cases) / cases
        grid = Grid(faces, mask=np.abs(z) > radius)
        flow = np.where(np.abs(z) > radius, 1 - radius**2 / z**2, 0)
        speed = 1 + amplitude * np.sin(2 * np.pi * times)
        values = speed[:, None, None] * flow
        case = problem.case(radius=radius, amplitude=amplitude)
        fields = {"u": (("time", "y", "x"), values.real), "v": (("time", "y", "x"), -values.imag)}
        found.append(sciml.data.solution(case, times, fields, grid))
    return found


def leak(operator: str, options: dict[str, Any], stepping: Any, steps: int) -> float:
    """The largest change of any value inside, over all steps, when values outside change."""
    data = past_cylinder(16, 6, 12)
    model = Surrogate(operator, stepping, **options).fit(
        data, Recipe(length=Steps(steps)), validation=None, running=QUIET
    )
    case, solution = sciml.data.case(sciml.data.pack(data), 2)
    support = case.support
    assert support is not None and support.inside is not None
    frames = np.stack([solution[n].values for n in ("u", "v")], axis=1)
    times = solution.time.values
    generator = np.random.default_rng(0)
    worst, answers = 0.0, []
    for level in (0.0, 1.0, 1e6):
        disturbed = np.where(support.inside, frames, level * generator.standard_normal(frames.shape))
        start = Start(case, support, disturbed[:2], float(times[1]), (disturbed[0], float(times[0])))
        answers.append(np.stack([f[0] for f in model.rollout([start], times[None, 2:])])[..., support.inside])
    for other in answers[1:]:
        worst = max(worst, float(np.abs(other - answers[0]).max()))
    return worst


def masks(ledger: Ledger, keep: Kept, quick: bool) -> None:
    rows: list[tuple[str, dict[str, Any], Any]] = [
        ("fno", {"width": 12, "modes": (6, 6)}, sciml.Autoregressive()),
        ("fno", {"width": 12, "modes": (6, 6), "patch": 2}, sciml.Autoregressive(history=2)),
        ("fno", {"width": 12, "modes": (6, 6)}, sciml.Window(2, 3)),
        ("unet", {"width": 12}, sciml.Autoregressive()),
        ("deeponet", {"width": 32}, sciml.Query()),
        ("deeponet", {"width": 32}, sciml.Autoregressive()),
    ]
    found = []
    for operator, options, stepping in rows:
        change = leak(operator, options, stepping, 3 if quick else 40)
        found.append(change)
        ledger.row(section="mask", row=operator, stepping=repr(stepping), largest_change_inside=change)
    ledger.check("masked_flow_leak_outside_domain", max(found), "see the rows", note="largest of all operators")


# -- rollouts ----------------------------------------------------------------------------------------------------------


def wiggles(shape: tuple[int, ...], cases: int = 2, frames: int = 3) -> list[Any]:
    """Any small data set on a grid of this shape."""
    problem = DataProblem("wiggles", ["u", "v"], ["phase"], len(shape))
    grid = Grid(tuple(np.linspace(0, 1, n + 1) for n in reversed(shape)))
    s = grid.points().sum(-1)
    times = np.arange(float(frames))
    dims = ("time", *grid.dims)
    found = []
    for i in range(cases):
        waves = [np.sin(2 * np.pi * (s - 0.05 * t + 0.3 * i)) for t in times]
        fields = {"u": (dims, np.stack(waves)), "v": (dims, 0.5 * np.stack(waves))}
        found.append(sciml.data.solution(problem.case(phase=0.3 * i), times, fields, grid))
    return found


def peak(steps: int) -> float:
    """Peak memory in bytes of this process during so many steps of a rollout of two cases of two fields on 48³."""
    data = wiggles((48, 48, 48))
    model = Surrogate("fno", width=6, modes=(4, 4, 4), layers=2).fit(
        data, Recipe(length=Steps(1), batch=1), validation=None, running=QUIET
    )
    starts = [_start(sciml.data.pack(data), i) for i in range(2)]
    clock = np.stack([s.time + 1.0 + np.arange(steps) for s in starts])
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here, not from training
    last = 0.0
    for frames in model.rollout(starts, clock):
        last += float(frames[0].mean())
    assert np.isfinite(last)
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) * 1024


def _start(dataset: Any, i: int) -> Start:
    case, solution = sciml.data.case(dataset, i)
    assert case.support is not None
    frames = np.stack([solution[n].values[:1] for n in ("u", "v")], axis=1)
    return Start(case, case.support, frames, float(solution.time.values[0]))


def streaming(ledger: Ledger, keep: Kept, quick: bool) -> None:
    found = {}
    for steps in (5, 50) if quick else (50, 500):
        command = [sys.executable, "-m", "benchmarks.learned", "--peak", str(steps)]
        found[steps] = keep(
            lambda command=command: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout),
            part="peak", steps=steps,
        )  # fmt: skip
        frames = steps * 2 * 2 * 48**3 * 4
        ledger.row(section="streaming", row="FNO, 48³", steps=steps, peak_bytes=found[steps], all_frames_bytes=frames)
    few, many = found.values()
    ledger.check("streamed_rollout_peak_memory_growth_500_over_50_steps", many / few, "see the rows")


def overhead(repeats: int, steps: int) -> list[dict[str, float]]:
    """Seconds of the rollout and of the bare loop, one after the other, several times."""
    data = wiggles((64, 64), cases=8)
    model = Surrogate("fno", width=32, modes=(12, 12)).fit(
        data, Recipe(length=Steps(1)), validation=None, running=QUIET
    )
    packed = sciml.data.pack(data)
    starts = [_start(packed, i) for i in range(8)]
    clock = np.stack([s.time + 1.0 + np.arange(steps) for s in starts])
    e, operator = model.encoding, model.operator
    x = torch.from_numpy(e.starts(starts)[:, -1])
    params = torch.from_numpy(np.stack([e.params(s.case, np.zeros(1))[0] for s in starts]))
    found = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        for _frames in model.rollout(starts, clock):
            pass
        middle = time.perf_counter()
        with torch.no_grad():
            y = x.clone()
            for _step in range(steps):
                y = y + operator(y, params)
        found.append({"rollout_seconds": middle - began, "bare_loop_seconds": time.perf_counter() - middle})
    return found[1:]


def costs(ledger: Ledger, quick: bool) -> None:
    found = overhead(1 if quick else 7, 10 if quick else 100)
    for row in found:
        ledger.row(section="overhead", row="FNO, 64², batch 8, 100 steps", **row)
    ratios = [r["rollout_seconds"] / r["bare_loop_seconds"] for r in found]
    ledger.check(
        "surrogate_rollout_over_bare_operator_loop", statistics.median(ratios), "see the rows",
        spread=extremes(ratios, f"{len(ratios)} pairs"),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heat", type=Path, default=os.environ.get("SCIML_UNSTEADY_HEAT"), help="unsteady_heat.npz")
    parser.add_argument("--quick", action="store_true", help="everything small, nothing written")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.peak:
        print(peak(arguments.peak))
        return
    if not arguments.quick:  # what the ledger records: where the data lay is nobody's business
        sys.argv[1:] = [] if arguments.heat is None else ["--heat", Path(arguments.heat).name]
    ledger, keep = Ledger("learned", threads=THREADS), Kept("learned", dry=arguments.quick)
    ledger.seeds(*SEEDS)
    costs(ledger, arguments.quick)
    grids(ledger, keep, arguments.quick)
    masks(ledger, keep, arguments.quick)
    streaming(ledger, keep, arguments.quick)
    nodes(ledger, keep, arguments.quick, None if arguments.heat is None else Path(arguments.heat))
    ledger.write(dry=arguments.quick)


if __name__ == "__main__":
    main()
