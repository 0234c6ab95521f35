"""Density that a flow carries, from few measurements in half of the window: by construction, by penalty, by
interpolation."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RBFInterpolator

from benchmarks._ledger import Kept, Ledger
from sciml.problems import MassTransport
from sciml.solvers import PINN, LagrangianFlowNetwork
from sciml.solvers.pinn import Adam, Architecture, LevenbergMarquardt, PINNRecipe
from sciml.training import Running

# -- the flow -----------------------------------------------------------------------------------------------------

UNTIL, HALF = 1.2, 2.0
TURN, SHEAR, STRETCH, DRIFT = 1.5, 0.6, 0.15, (0.25, -0.15)
#: weight, middle, and standard deviations of each heap along axes that are turned by the angle
HEAPS = (
    (1.0, (0.75, 0.7), (0.34, 0.2), 0.3), (0.8, (-0.8, 0.55), (0.22, 0.32), -0.5),
    (1.2, (-0.6, -0.75), (0.3, 0.24), 0.9), (0.9, (0.7, -0.65), (0.2, 0.28), 0.0),
)  # fmt: skip
FRAMES, SENSORS, NOISE = 21, 60, 0.1
#: draws of sensors, noise and weights that are judged; by draw 1 steps and sizes were chosen, of the flow 10, 25 and 60
#: steps of five maps, of the penalty 25, 60 and 120 steps
DRAWS = (0, 2, 3)
CASE = MassTransport(2).case(half_width=HALF, size=1.0, speed=2.0)
#: of the central rule of eighth order, at one to four steps
EIGHTH, STEPS = (4 / 5, -1 / 5, 4 / 105, -1 / 280), (4e-3, 2e-3, 1e-3, 5e-4, 2.5e-4)

# -- rows ---------------------------------------------------------------------------------------------------------

FLOW = "Lagrangian flow network"
PENALTY = "PINN, balance of mass as a penalty"


def flow(seed: int) -> tuple[Any, PINNRecipe]:
    """The flow, and how it is fitted."""
    model = LagrangianFlowNetwork(Architecture(width=10, depth=1), rounds=3, bends=4)
    return model, PINNRecipe(until=UNTIL, phases=(LevenbergMarquardt(25),), seed=seed)


def penalty(seed: int) -> tuple[Any, PINNRecipe]:
    """About as many weights, and as long on the processor."""
    phases = (Adam(500), LevenbergMarquardt(60))
    return PINN(Architecture(width=20, depth=3)), PINNRecipe(until=UNTIL, phases=phases, points=1500, seed=seed)


TRAINED = {FLOW: flow, PENALTY: penalty}
#: kernel, smoothing, and how many metres a second counts as
KERNELS = tuple(itertools.product(("linear", "thin_plate_spline"), (0.0, 1e-2), (0.5, 2.0)))


def motion(t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A, ∂t A, b and ∂t b of x = A(t) X + b(t): turned, sheared, stretched, drifting."""
    c, s = math.cos(TURN * t), math.sin(TURN * t)
    turn, turning = np.array([[c, -s], [s, c]]), TURN * np.array([[-s, -c], [c, -s]])
    size, growing = math.exp(STRETCH * t), STRETCH * math.exp(STRETCH * t)
    shear, shearing = np.array([[size, SHEAR * t], [0.0, 1.0]]), np.array([[growing, SHEAR], [0.0, 0.0]])
    drift = np.array(DRIFT)
    return turn @ shear, turning @ shear + turn @ shearing, drift * t, drift


def truth(points: np.ndarray) -> dict[str, np.ndarray]:
    """Density and velocity at (N, 3), time last."""
    found = np.empty((len(points), 3))
    for t in np.unique(points[:, 2]):
        here = points[:, 2] == t
        a, rate, b, drift = motion(float(t))
        labels = np.linalg.solve(a, (points[here, :2] - b).T).T
        density = np.zeros(len(labels))
        for weight, middle, (along, across), angle in HEAPS:
            c, s = math.cos(angle), math.sin(angle)
            gap = (labels - middle) @ np.array([[c, -s], [s, c]])
            density += weight * np.exp(-0.5 * ((gap / (along, across)) ** 2).sum(axis=1))
        found[here, 0] = density / np.linalg.det(a)
        found[here, 1:] = labels @ rate.T + drift
    return dict(zip(("density", "u", "v"), found.T, strict=True))


def measured(seed: int) -> dict[str, np.ndarray]:
    """What sensors at random places of two opposite quadrants tell, with noise of a tenth of each field's spread."""
    random = np.random.default_rng([7, seed])
    places = random.uniform(0.0, HALF, (SENSORS, 2)) * np.where(np.arange(SENSORS)[:, None] % 2, 1.0, -1.0)
    times = np.linspace(0.0, UNTIL, FRAMES)
    points = np.concatenate([np.tile(places, (FRAMES, 1)), np.repeat(times, SENSORS)[:, None]], axis=1)
    values = truth(points)
    noisy = {n: v + NOISE * v.std() * random.standard_normal(len(v)) for n, v in values.items()}
    return {"points": points, **noisy}


def places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of cells (N, 2), times between those of the measurements, and which places lie where sensors are (N,)."""
    line = HALF * ((np.arange(48) + 0.5) / 24 - 1)
    x, y = (a.ravel() for a in np.meshgrid(line, line))
    return np.stack([x, y], axis=1), np.linspace(0.0, UNTIL, 2 * FRAMES - 1)[1::4], x * y > 0


def scores(answer: Mapping[str, np.ndarray]) -> dict[str, float]:
    """R² of density and of velocity where nothing was measured, and of density where sensors are.

    Args:
        answer: (time, place) at `places`.
    """
    at, times, seen = places()
    points = np.concatenate([np.tile(at, (len(times), 1)), np.repeat(times, len(at))[:, None]], axis=1)
    wanted = {n: v.reshape(len(times), -1) for n, v in truth(points).items()}

    def r2(names: tuple[str, ...], here: np.ndarray) -> float:
        gap = sum(float(((answer[n] - wanted[n])[:, here] ** 2).sum()) for n in names)
        return 1 - gap / sum(float(((wanted[n] - wanted[n][:, here].mean())[:, here] ** 2).sum()) for n in names)

    return {
        "density_held_out": r2(("density",), ~seen), "velocity_held_out": r2(("u", "v"), ~seen),
        "density_measured": r2(("density",), seen),
    }  # fmt: skip


def fitted(row: str, seed: int) -> tuple[Any, dict[str, Any]]:
    """A trained solver, and its scores."""
    model, recipe = TRAINED[row](seed)
    began = time.process_time()
    model.fit(CASE, recipe, observations=measured(seed), running=Running(progress=False))
    seconds = time.process_time() - began
    at, times, _ = places()
    answer = model.solve(CASE, times, at)
    found = scores({n: answer[n].values for n in ("density", "u", "v")})
    return model, {**found, "seconds": seconds, "weights": model.weights, "steps": model.record["steps"]}


def interpolated(seed: int) -> dict[str, Any]:
    """The best of several kinds of radial basis functions in space and time, each through density and velocity, chosen
    by the density where nothing was measured: no one could choose so well."""
    seen = measured(seed)
    at, times, _ = places()
    points = np.concatenate([np.tile(at, (len(times), 1)), np.repeat(times, len(at))[:, None]], axis=1)
    values = np.stack([seen[n] for n in ("density", "u", "v")], axis=1)
    best: dict[str, Any] = {}
    for kernel, smoothing, pace in KERNELS:
        scale = np.array([1.0, 1.0, pace])
        began = time.process_time()
        table = RBFInterpolator(seen["points"] * scale, values, smoothing=smoothing, kernel=kernel)(points * scale)
        several = table.T.reshape(3, len(times), -1)
        found = scores(dict(zip(("density", "u", "v"), several, strict=True)))
        if not best or found["density_held_out"] > best["density_held_out"]:
            kind = f"{kernel.replace('_', ' ')}, smoothed by {smoothing:g}, 1 s as {pace:g} m"
            best = {**found, "kind": kind, "seconds": time.process_time() - began}
    return best


# -- the balance of mass ------------------------------------------------------------------------------------------


def defects(fields: Any, points: np.ndarray) -> dict[str, float]:
    """The largest |∂t ρ + ∇·(ρ v)| at points, and the largest |∂t ρ| beside it, both over the scale of ρ over that of
    time, in float64: by derivatives of the answers, exact but for rounding, and by differences of eighth order. These
    know nothing of how fields are made, and their steps have to be finer than the fields are steep."""
    size, unit = CASE.scales.fields["density"] / CASE.scales.time, np.eye(3)

    def balance(x: Any) -> Any:
        slopes = jax.jacfwd(lambda y: fields(y)[0] * jnp.append(fields(y)[1:], 1.0))(x)
        return jnp.stack([jnp.trace(slopes), slopes[2, 2]])

    with jax.enable_x64(True):
        exact = np.abs(np.asarray(jax.jit(jax.vmap(balance))(jnp.asarray(points)))).max(axis=0)
        at = jax.jit(jax.vmap(fields))
        apart = []
        for step in STEPS:
            total = np.zeros(len(points))
            for axis, (j, weight), sign in itertools.product(range(3), enumerate(EIGHTH, 1), (1, -1)):
                q = np.asarray(at(jnp.asarray(points + sign * j * step * unit[axis])))
                total += sign * weight / step * q[:, 0] * (1.0 if axis == 2 else q[:, 1 + axis])
            apart.append(float(np.abs(total).max()) / size)
    return {"defect": float(exact[0]) / size, "rate": float(exact[1]) / size, "by_differences": min(apart)}


def somewhere(count: int = 400) -> np.ndarray:
    random = np.random.default_rng(5)
    places = random.uniform(-0.9 * HALF, 0.9 * HALF, (count, 2))
    return np.concatenate([places, random.uniform(0.05, UNTIL - 0.05, (count, 1))], axis=1)


def at_random(seed: int) -> dict[str, float]:
    """The same with weights that nobody trained."""
    model = LagrangianFlowNetwork(Architecture(width=10, depth=1), rounds=3, bends=4)
    random = np.random.default_rng(seed)
    with jax.enable_x64(True):
        frame = model.untrained(CASE, UNTIL, seed)
        leaves, structure = jax.tree.flatten(frame.network)
        leaves = [a + 0.3 * random.standard_normal(np.shape(a)) for a in leaves]
        return defects(frame.with_network(jax.tree.unflatten(structure, leaves)), somewhere())


# -- all of it ----------------------------------------------------------------------------------------------------


def measure(ledger: Ledger, work: Any) -> None:
    kept = Kept("seeds/density", packages=("equinox", "optax"), dry=work.quick, files=("_seeds_density.py",))
    seeds = DRAWS[:1] if work.quick else DRAWS
    ledger.seeds(*seeds)
    worst = []
    for k in range(3):
        found = kept(lambda k=k: at_random(k), what="weights at random", seed=k)
        worst.append(found["defect"])
        ledger.row(section="density", table="defect", row=f"weights at random, draw {k}", **found)
    for row in TRAINED:
        runs = [kept(lambda r=row, s=seed: _run(r, s), what=row, seed=seed) for seed in seeds]
        told = [run.pop("defects") for run in runs]
        _row(ledger, row, runs)
        worst_of = {name: max(one[name] for one in told) for name in told[0]}
        ledger.row(section="density", table="defect", row=row, **worst_of)
        worst += [d["defect"] for d in told] if row == FLOW else []
    _row(ledger, "interpolation", [kept(lambda s=s: interpolated(s), what="interpolation", seed=s) for s in seeds])
    note = "by derivatives of answers at 400 points, weights at random three times and those trained, of the largest"
    ledger.check("lflow_continuity_defect", max(worst), "weights of no training obey it as well", note=note)


def _run(row: str, seed: int) -> dict[str, Any]:
    model, found = fitted(row, seed)
    return {**found, "defects": defects(model.windows[0].fields, somewhere())}


def _row(ledger: Ledger, row: str, runs: list[dict[str, Any]]) -> None:
    every: dict[str, Any] = {}
    for name in ("density_held_out", "velocity_held_out", "density_measured", "seconds"):
        values = [run[name] for run in runs]
        every[name] = statistics.median(values)
        if name in ("density_held_out", "velocity_held_out"):
            every |= {f"{name}_least": min(values), f"{name}_most": max(values)}
    more = {k: runs[0][k] for k in ("weights", "steps", "kind") if k in runs[0]}
    ledger.row(section="density", table="scores", row=row, seeds=len(runs), **every, **more)
