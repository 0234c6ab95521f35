"""What projections leave of divergences, of equations and bounds, and of boundary values, and what they cost.

Frames are of chance, which obey nothing. Divergences of answers are those of the audit, which judges no cells that a
body cuts; others are evaluated here anew, by differences of the values and not by the matrices of the projections.
Costs are beside one forward pass of the FNO and the U-Net of the CFDBench table on the same batch, in seconds of the
processor, calls taking turns.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import torch

import sciml
from benchmarks._cfdbench_rows import ENTRIES
from benchmarks._constraints_implicit import measure_implicit as measure_implicit  # the other part of this ledger
from benchmarks._ledger import Ledger, extremes
from sciml import Case, Grid, PDEProblem, data
from sciml.boundary import Dirichlet
from sciml.constraints import (
    CentralLeray,
    Leray,
    Projection,
    StaggeredProjection,
    cell_curl,
    cell_velocity,
    central_divergence,
    face_curl,
    face_velocity,
    hold_on_bodies,
)
from sciml.derivatives import central
from sciml.derivatives import numpy as provider
from sciml.expressions import Balance, Field
from sciml.operators import FNO, DeepONet, UNet
from sciml.problems import CylinderFlow, DamFlow, LidDrivenCavity, Poisson, TubeFlow
from sciml.solvers import Surrogate
from sciml.training import BoundaryValues, DivergenceFree, Query, Recipe, Running, Steps

# -- settings ---------------------------------------------------------------------------------------------------

CELLS, FRAMES, BATCH, REPEATS = 64, 4, 8, 15
OPERATORS = {"FNO": FNO, "U-Net": UNet}  # with the options of these rows of the CFDBench table
#: flow -> problem, fields, and what its cases differ by: bodies and boxes of other shapes
FLOWS: Mapping[str, tuple[type[PDEProblem], tuple[str, ...], tuple[dict[str, float], ...]]] = {
    "cavity": (LidDrivenCavity, ("u", "v"), ({}, {"width": 0.5}, {"lid_velocity": 3.0, "height": 2.0})),
    "cylinder": (CylinderFlow, ("u", "v"), ({}, {"radius": 0.02}, {"x_max": 0.3, "inlet_velocity": 2.0})),
    "tube": (TubeFlow, ("u", "v", "alpha"), ({}, {"length": 2.0}, {"diameter": 0.5})),
    "dam": (DamFlow, ("u", "v", "alpha"), ({}, {"barrier_height": 0.2}, {"barrier_width": 0.2, "width": 2.0})),
}
QUIET = Running(progress=False)


def taking_turns(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of the processor of each call; the order is reversed from turn to turn."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for turn in range(repeats + 1):
            for name in sorted(calls, reverse=bool(turn % 2)):
                began = time.process_time()
                calls[name]()
                if turn:  # the first one warms up
                    found[name].append(time.process_time() - began)
    return found


def over(numerator: Sequence[float], denominator: Sequence[float], name: str) -> dict[str, float]:
    """Median, least and most of the ratios, turn by turn, as columns."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return {name: statistics.median(ratios), f"{name}_least": min(ratios), f"{name}_most": max(ratios)}


# -- divergence: answers of surrogates ----------------------------------------------------------------------------


def noise(problem: PDEProblem, fields: Sequence[str], seed: int, cells: int, **parameters: Any) -> Any:
    """Frames of chance, of the size of the problem's scales."""
    random, case = np.random.default_rng(seed), problem.case(**parameters)
    grid = Grid.uniform(case.geometry, (cells, cells), True)
    grid = grid if grid.mask is not None and not grid.mask.all() else Grid.uniform(case.geometry, (cells, cells))
    shape = (FRAMES, *grid.shape)
    made = {n: (("time", "y", "x"), random.standard_normal(shape) * case.scales.fields.get(n, 1.0)) for n in fields}
    return data.solution(case.on(grid), 0.1 * case.scales.time * np.arange(FRAMES), made, grid)


def stored(solution: Any) -> Case:
    return data.case(data.pack([solution], dtype=None), 0)[0]


def support(case: Case) -> Grid:
    assert isinstance(case.support, Grid)
    return case.support


def fitted(operator: Any, solutions: Sequence[Any], fields: Sequence[str], precision: Any, **options: Any) -> Surrogate:
    """After two steps on chance: weights that know nothing, in the units of the data."""
    torch.manual_seed(0)
    model = Surrogate(operator, fields=tuple(fields), **options)
    recipe = Recipe(length=Steps(2), batch=4, precision=precision)
    return model.fit(list(solutions), recipe, validation=None, split=None, running=QUIET)


@dataclass(frozen=True)
class Left:
    """Of a velocity: the largest divergence, 1/s, the audit's relative defect, and the largest |u| over the least h."""

    divergence: float
    relative: float | None
    rate: float

    @property
    def share(self) -> float:
        return self.divergence / self.rate


def audited(answer: Any) -> Left:
    rows = sciml.audit(answer).select("continuity")
    speed = max(float(np.nanmax(np.abs(answer[n].values))) for n in ("u", "v"))
    width = min(float(np.diff(answer[a].values).min()) for a in ("x", "y"))
    return Left(max(r.largest for r in rows), max(r.relative for r in rows), speed / width)


def measure_flows(ledger: Ledger, quick: bool) -> list[float]:
    """Rollouts from frames of chance; what is left in double precision."""
    cells, worst = (16 if quick else CELLS), []
    for flow, (kind, fields, settings) in FLOWS.items():
        solutions = [noise(kind(), fields, seed, cells, **s) for seed, s in enumerate(settings)]
        for precision in ("float64", "float32"):
            plain = fitted(FNO, solutions, fields, precision, width=6, modes=(3, 3), layers=1)
            held = plain.constrained(DivergenceFree())
            for solution, setting in zip(solutions, settings, strict=True):
                case, times = stored(solution), solution.time.values[1:]
                before, after = (audited(m.resume(case, solution.isel(time=0), times)) for m in (plain, held))
                worst += _divergence_row(
                    ledger, "surrogate constraint", flow, precision, before, after, case=_told(setting),
                    cells=f"{cells}²",
                )  # fmt: skip
    return worst


def _told(setting: Mapping[str, float]) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in setting.items()) or "default"


def _divergence_row(
    ledger: Ledger, kind: str, what: str, precision: str, before: Left | None, after: Left, **columns: Any
) -> list[float]:
    """A row; the worse of absolute and relative where it is one of double precision."""
    ledger.row(
        section="divergence", kind=kind, what=what, precision=precision, **columns,
        before_per_second=None if before is None else before.divergence, after_per_second=after.divergence,
        before_audit_relative=None if before is None else before.relative, after_audit_relative=after.relative,
        before_over_speed_by_cell=None if before is None else before.share, after_over_speed_by_cell=after.share,
        speed_by_cell_per_second=after.rate,
    )  # fmt: skip
    shares = [after.divergence, after.share, 0.0 if after.relative is None else after.relative]
    return [max(shares)] if precision == "float64" else []


# -- what projections of surrogates cost --------------------------------------------------------------------------


def table_rows(solutions: Sequence[Any], fields: Sequence[str], quick: bool) -> dict[str, Surrogate]:
    """The FNO and the U-Net of the CFDBench table, untrained."""
    small: dict[str, Any] = {"width": 8} if quick else {}
    return {
        name: fitted(operator, solutions, fields, "float32", **(dict(ENTRIES[name].options) | small))
        for name, operator in OPERATORS.items()
    }


def forward(model: Surrogate, case: Case, frames: np.ndarray) -> Callable[[], Any]:
    """One application of the operator to a batch of frames of one case."""
    e, grid, n = model.encoding, support(case), len(frames)
    given = e.given([case] * n, [grid] * n)
    state = torch.from_numpy(np.stack([e.normalise(case, f, grid) for f in frames]))[:, None].to(e.torch_dtype)
    params = torch.from_numpy(np.repeat(e.params(case, np.zeros(1)), n, axis=0))
    return lambda: e.apply(model.operator, state, given, params, None)


def chance(fields: Sequence[str], case: Case, count: int) -> np.ndarray:
    """(count, field, y, x) physical."""
    sizes = np.array([case.scales.fields.get(n, 1.0) for n in fields])
    grid = support(case)
    found = np.random.default_rng(5).standard_normal((count, len(fields), *grid.shape))
    inside = grid.inside
    return found * sizes[:, None, None] * (1.0 if inside is None else inside)


def measure_cost(ledger: Ledger, quick: bool) -> None:
    """The projection of a batch beside one forward pass; and the first call, with what is read off and factorised."""
    cells = 16 if quick else CELLS
    for flow, (kind, fields, settings) in FLOWS.items():
        solution = noise(kind(), fields, 0, cells, **settings[0])
        case, models = stored(solution), table_rows([solution], fields, quick)
        frames = chance(fields, case, BATCH)
        calls = {name: forward(model, case, frames) for name, model in models.items()}
        with torch.no_grad():
            answers = calls["FNO"]()
            began = time.process_time()
            held = models["FNO"].constrained(DivergenceFree()).encoding
            laws = held.given([case] * BATCH, [support(case)] * BATCH).laws
            assert laws is not None
            laws(answers, None)
            first = time.process_time() - began
        calls["projection"] = lambda laws=laws, answers=answers: laws(answers, None)
        seconds = taking_turns(calls, 1 if quick else REPEATS)
        ledger.row(
            section="divergence_cost", flow=flow, batch=BATCH, cells=f"{cells}²", first_call_seconds=first,
            **{f"{_key(name)}_seconds": statistics.median(s) for name, s in seconds.items()},
            **over(seconds["projection"], seconds["FNO"], "over_fno"),
            **over(seconds["projection"], seconds["U-Net"], "over_unet"), repeats=len(seconds["FNO"]),
        )  # fmt: skip


def _key(name: str) -> str:
    return name.lower().replace("-", "")


# -- divergence: staggered grids, periodic boxes, potentials ------------------------------------------------------


def stretched(n: int, length: float, ratio: float) -> np.ndarray:
    """Widths that grow from one end to the other by this ratio."""
    widths = np.geomspace(1.0, ratio, n)
    return length * widths / widths.sum()


def of_faces(velocity: Sequence[torch.Tensor], widths: Sequence[np.ndarray], fluid: np.ndarray | None = None) -> Left:
    """Differences of face velocities over the widths, summed."""
    total = np.zeros(())
    for axis, (v, w) in enumerate(zip(velocity, widths, strict=True)):
        total = total + np.diff(v.double().numpy(), axis=-1 - axis) / w.reshape((-1,) + (1,) * axis)
    total = np.abs(total if fluid is None else np.where(fluid, total, 0.0))
    speed = max(float(v.abs().max()) for v in velocity)
    return Left(float(total.max()), None, speed / min(float(w.min()) for w in widths))


def chance_like(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    random = np.random.default_rng(3)
    return tuple(torch.from_numpy(random.standard_normal((BATCH, *s))).to(dtype) for s in shapes)


def measure_staggered(ledger: Ledger, quick: bool) -> list[float]:
    """A channel with a cylinder and an inflow, open or with as much going out; a box in space with an obstacle."""
    nx, ny = (24, 16) if quick else (128, 64)
    wx, wy = stretched(nx, 2.2, 3.0), stretched(ny, 1.0, 2.0)
    x, y = np.cumsum(wx) - wx / 2, np.cumsum(wy) - wy / 2
    fluid = (x - 0.5) ** 2 + (y[:, None] - 0.5) ** 2 > 0.15**2
    opened = [np.zeros((ny, nx + 1), bool), np.zeros((ny + 1, nx), bool)]
    opened[0][:, -1] = True
    inflow = torch.from_numpy(6 * y * (1 - y))
    n = 8 if quick else 20
    wide = (stretched(n, 1.0, 2.0), stretched(n + 2, 1.0, 1.5), stretched(n + 4, 1.0, 3.0))
    block = np.ones((n + 4, n + 2, n), bool)
    block[: n // 2, n // 3 : n // 2, n // 3 : 2 * n // 3] = False
    kinds = {
        "cylinder in a channel, open outflow": StaggeredProjection((wx, wy), fluid=fluid, open_faces=opened),
        "cylinder in a channel, given outflow": StaggeredProjection((wx, wy), fluid=fluid, adjust=True),
        "obstacle in a closed box in space": StaggeredProjection(wide, fluid=block),
    }
    worst = []
    for what, project in kinds.items():
        widths = project.widths
        for dtype in (torch.float64, torch.float32):
            faces = chance_like(*project.shapes, dtype=dtype)
            given = None
            if len(widths) == 2:
                given = tuple(torch.zeros(s, dtype=dtype) for s in project.shapes)
                given[0][:, 0], given[0][:, -1] = inflow, inflow.mean()
            after = of_faces(project(faces, given), widths, project.fluid)
            cells = " by ".join(str(len(w)) for w in widths)
            worst += _divergence_row(ledger, "StaggeredProjection", what, str(dtype).removeprefix("torch."),
                                     of_faces(faces, widths, project.fluid), after, cells=cells)  # fmt: skip
    return worst


def measure_boxes(ledger: Ledger, quick: bool) -> list[float]:
    """Periodic boxes, by derivatives of waves and by central differences; central differences around a hole."""
    shapes = (((1.0, 2.0), (12, 9)),) if quick else (
        ((1.0, 1.0), (64, 64)), ((1.0, 2.5), (63, 128)), ((1.0, 2.0, 0.7), (32, 24, 17)))  # fmt: skip
    worst = []
    for lengths, cells in shapes:
        grid = Grid(tuple(np.linspace(0, a, n + 1) for a, n in zip(lengths, cells, strict=True)), (True,) * len(cells))

        def waves(u: np.ndarray, grid: Grid = grid) -> np.ndarray:
            names = "xyz"[: grid.dimensions]
            balance = Balance(flux=tuple(Field(n) for n in names))
            return provider.strong(balance, grid, {n: u[:, k] for k, n in enumerate(names)}, method="spectral")[0]

        def differences(u: np.ndarray, grid: Grid = grid) -> np.ndarray:
            # from positions, as data are audited: where these are equal to rounding alone, some 50 roundings remain
            return central.divergence(u.swapaxes(0, 1), grid)

        for kind, measure in ((Leray, waves), (CentralLeray, differences)):
            for dtype in (torch.float64, torch.float32):
                worst += _of_cells(ledger, kind.__name__, "periodic box", kind(lengths), grid, measure, dtype)
    n = 12 if quick else 64
    mask = np.ones((n, n))
    mask[n // 3 : n // 2, n // 4 : n // 2] = 0
    grid = Grid((np.linspace(0, 1, n + 1) ** 1.2, np.linspace(0, 1, n + 1)), (False, False), mask)
    project = central_divergence(grid).projection()

    def inside(u: np.ndarray) -> np.ndarray:
        return central.divergence(u.swapaxes(0, 1), grid)

    for dtype in (torch.float64, torch.float32):
        worst += _of_cells(ledger, "DiscreteProjection", "stretched cells around a hole", project, grid, inside, dtype)
    return worst


def _of_cells(
    ledger: Ledger, kind: str, what: str, project: Any, grid: Grid, measure: Any, dtype: torch.dtype
) -> list[float]:
    (u,) = chance_like((grid.dimensions, *grid.shape), dtype=dtype)
    least = min(float(w.min()) for w in grid.widths)

    def left(v: torch.Tensor) -> Left:
        found = np.abs(measure(v.double().numpy()))
        return Left(float(np.nanmax(found)), None, float(v.abs().max()) / least)

    return _divergence_row(
        ledger, kind, what, str(dtype).removeprefix("torch."), left(u), left(project(u)),
        cells=" by ".join(map(str, reversed(grid.shape))),
    )  # fmt: skip


def measure_potentials(ledger: Ledger, quick: bool) -> list[float]:
    """Velocities of stream functions and vector potentials of chance, of speeds of some ones."""
    n = 8 if quick else 64
    worst: list[float] = []

    def add(what: str, left: Left, cells: str) -> None:
        nonlocal worst
        worst += _divergence_row(ledger, "potential", what, "float64", None, left, cells=cells)

    widths = (stretched(n, 1.0, 3.0), stretched(n, 1.0, 2.0))
    (psi,) = chance_like((n + 1, n + 1))
    as_tensors = torch.from_numpy(widths[0]), torch.from_numpy(widths[1])
    add("stream function, faces", of_faces(face_velocity(psi / n, as_tensors), widths), f"{n} by {n}")
    solid = np.zeros((n, n), bool)
    solid[n // 3 : n // 2, n // 4 : n // 2] = True
    held = face_velocity(hold_on_bodies(psi / n, solid), as_tensors)
    add("stream function, faces, around a body", of_faces(held, widths, ~solid), f"{n} by {n}")
    for walls in ((None, None), (None, (0.2, -0.4)), ((0.3, 0.3), (0.3, 0.3))):
        grid = Grid((np.linspace(0, 1, n + 1), np.linspace(0, 2, n + 1)), tuple(w is None for w in walls))
        v = cell_velocity(psi[0, 1:, 1:] / n, (1 / n, 2 / n), walls).numpy()
        boundary = {f"{a}_{e}": {c: Dirichlet(0.0)} for a, c, w in zip("xy", "uv", walls, strict=True) if w
                    for e in ("min", "max")}  # fmt: skip
        balance = Balance(flux=(Field("u"), Field("v")))
        found = provider.finite_volume(balance, grid, {"u": v[0], "v": v[1]}, boundary=boundary)
        count = sum(w is not None for w in walls)
        left = Left(float(np.abs(np.asarray(found)).max()), None, float(np.abs(v).max()) * n)
        add(f"stream function, centres of cells, walls along {count} of 2 axes", left, f"{n} by {n}")
    m = 6 if quick else 24
    wide = (stretched(m, 1.0, 2.0), stretched(m + 2, 1.0, 3.0), stretched(m + 4, 1.0, 1.5))
    a = chance_like((m + 5, m + 3, m), (m + 5, m + 2, m + 1), (m + 4, m + 3, m + 1))
    wx, wy, wz = (torch.from_numpy(w) for w in wide)
    curl = face_curl((a[0] / m, a[1] / m, a[2] / m), (wx, wy, wz))
    add("vector potential, faces", of_faces(curl, wide), f"{m} by {m + 2} by {m + 4}")
    grid = Grid((np.linspace(0, 1, m + 1),) * 3, (True,) * 3)
    (potential,) = chance_like((3, m, m, m))
    v = cell_curl(potential / m, (1 / m, 1 / m, 1 / m))
    found = np.abs(central.divergence(v.numpy().swapaxes(0, 1), grid)).max()
    add("vector potential, centres of cells", Left(float(found), None, float(v.abs().max()) * m), f"{m} by {m} by {m}")
    return worst


# -- affine sets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sets:
    """A x = b, C x ≤ d, l ≤ x ≤ h with a point in it."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    low: float
    high: float

    @property
    def size(self) -> int:
        return self.a.shape[1]

    def projection(self) -> Projection:
        equations = (self.a, self.b) if len(self.a) else None
        return Projection(self.size, equations, (self.c, self.d) if len(self.c) else None, self.low, self.high)

    def left(self, x: np.ndarray) -> dict[str, float]:
        """Largest distances from the planes of equations, out of those of inequalities, and out of bounds."""
        lengths = [np.linalg.norm(m, axis=1) for m in (self.a, self.c)]
        return {
            "equations": float((np.abs(x @ self.a.T - self.b) / lengths[0]).max(initial=0.0)),
            "inequalities": float(((x @ self.c.T - self.d) / lengths[1]).max(initial=0.0)),
            "bounds": float(np.maximum(self.low - x, x - self.high).max(initial=0.0)),
        }


def of_chance(n: int, m: int, p: int, bounds: bool, spread: bool = False) -> Sets:
    """Rows of chance of length about one, or, where `spread`, of lengths from 10⁻³ to 10³."""
    random = np.random.default_rng(n + m + p)
    a, c = (random.standard_normal((k, n)) / np.sqrt(n) for k in (m, p))
    if spread:
        a, c = (r * 10 ** random.uniform(-3, 3, (len(r), 1)) for r in (a, c))
    inside = random.uniform(-0.8, 0.8, n)
    room = random.uniform(0, 0.3, p) * np.linalg.norm(c, axis=1)
    return Sets(a, a @ inside, c, c @ inside + room, *((-1.0, 1.0) if bounds else (-np.inf, np.inf)))


def means_of_blocks(n: int, blocks: int, bounds: bool) -> Sets:
    """Of a field of n by n values in [0, 1] the means over blocks by blocks equal squares."""
    number = (np.arange(n) * blocks // n)[:, None] * blocks + np.arange(n) * blocks // n
    a = (number.ravel() == np.arange(blocks**2)[:, None]) * (blocks / n) ** 2.0
    b = np.random.default_rng(n).uniform(0.05, 0.95, len(a))
    return Sets(a, b, np.zeros((0, n * n)), np.zeros(0), *((0.0, 1.0) if bounds else (-np.inf, np.inf)))


def optimality(s: Sets, z: np.ndarray, x: np.ndarray) -> float:
    """How far z − x is from being a combination of what holds with equality, with multipliers of the right sign, over
    its largest value; the multipliers by least squares."""
    worst = 0.0
    for zi, xi in zip(z, x, strict=True):
        free = (xi > s.low) & (xi < s.high)
        active = s.c @ xi - s.d > -1e-9 * np.linalg.norm(s.c, axis=1)
        rows = np.concatenate([s.a, s.c[active]])
        step, size = zi - xi, np.abs(zi - xi).max()
        w = np.linalg.lstsq(rows[:, free].T, step[free], rcond=1e-12)[0]
        rest = step - w @ rows
        lengths = np.linalg.norm(s.c[active], axis=1)
        gaps = [np.abs(rest[free]), np.maximum(-w[len(s.a) :], 0.0) * lengths, np.maximum(rest[xi <= s.low], 0.0),
                np.maximum(-rest[xi >= s.high], 0.0)]  # fmt: skip
        worst = max(worst, *(float(g.max(initial=0.0)) / size for g in gaps))
    return worst


def least_distance(s: Sets, z: np.ndarray) -> np.ndarray:
    """The nearest point by Lawson and Hanson's least distance programming: non-negative least squares of the dual."""
    start = np.linalg.lstsq(s.a, s.b, rcond=None)[0] if len(s.a) else np.zeros(s.size)
    null = scipy.linalg.null_space(s.a) if len(s.a) else np.eye(s.size)
    origin = start + null @ (null.T @ (z - start))
    eye = np.eye(s.size)
    g = np.concatenate([-s.c, eye, -eye])
    h = np.concatenate([-s.d, np.full(s.size, s.low), np.full(s.size, -s.high)])
    some = np.isfinite(h)
    g, h = g[some] @ null, (h - g @ origin)[some]
    matrix, wanted = np.concatenate([g.T, h[None]]), np.append(np.zeros(null.shape[1]), 1.0)
    u = scipy.optimize.nnls(matrix, wanted, maxiter=100 * len(h))[0]
    r = matrix @ u - wanted
    return origin - null @ (r[:-1] / r[-1])


def measure_affine(ledger: Ledger, quick: bool) -> None:
    fields = FLOWS["cavity"][1]
    cells = 16 if quick else CELLS
    solution = noise(LidDrivenCavity(), fields, 0, cells)
    case, models = stored(solution), table_rows([solution], fields, quick)
    plain = forward(models["FNO"], case, chance(fields, case, BATCH))
    n = cells * cells
    kinds = {
        "20 equations": of_chance(400, 20, 0, False),
        "20 equations, bounds": of_chance(400, 20, 0, True),
        "20 equations, 30 inequalities, bounds": of_chance(400, 20, 30, True),
        "the same with rows of lengths 1e-3 to 1e3": of_chance(400, 20, 30, True, spread=True),
        "200 equations": of_chance(n, 200, 0, False),
        "64 means of blocks": means_of_blocks(cells, 8, False),
        "one mean, bounds": means_of_blocks(cells, 1, True),
        "64 means of blocks, bounds": means_of_blocks(cells, 8, True),
        "40 inequalities": of_chance(n, 0, 40, False),
        "40 equations, 40 inequalities, bounds": of_chance(n, 40, 40, True),
        "100 equations, 100 inequalities, bounds": of_chance(n, 100, 100, True),
    }
    worst = []
    for what, s in kinds.items():
        project = s.projection()
        z = 1.5 * np.random.default_rng(1).standard_normal((BATCH, s.size))
        given = torch.from_numpy(z)
        began = time.process_time()
        x = project(given).numpy()
        first = time.process_time() - began
        calls = {"FNO": plain, "projection": lambda project=project, given=given: project(given)}
        seconds = taking_turns(calls, 1 if quick else REPEATS if first < 0.5 else 4)
        left, before = s.left(x), s.left(z)
        worst.append(max(left.values()))
        both = [a + b for a, b in zip(seconds["projection"], seconds["FNO"], strict=True)]
        ratio = over(both, seconds["FNO"], "fno_and_projection_over_fno")
        ledger.row(
            section="affine", sets=what, values=s.size, batch=BATCH,
            equations_defect=left["equations"], inequalities_violated_by=left["inequalities"],
            bounds_violated_by=left["bounds"], before=max(before.values()),
            at_bounds_share=float(np.mean((x <= s.low) | (x >= s.high))), optimality_gap=optimality(s, z, x),
            projection_seconds=statistics.median(seconds["projection"]), fno_seconds=statistics.median(seconds["FNO"]),
            **ratio, less_than_twice=ratio["fno_and_projection_over_fno"] < 2.0, repeats=len(both),
        )  # fmt: skip
    for what, s in {
        "5 equations, 10 inequalities, bounds": of_chance(60, 5, 10, True),
        "10 inequalities, bounds": of_chance(40, 0, 10, True),
        "20 equations, 30 inequalities": of_chance(80, 20, 30, False),
    }.items():
        z = 1.5 * np.random.default_rng(2).standard_normal((BATCH, s.size))
        x = s.projection()(torch.from_numpy(z)).numpy()
        other = np.stack([least_distance(s, row) for row in z])
        worst.append(max(s.left(x).values()))
        ledger.row(
            section="affine_against_nnls", sets=what, values=s.size, batch=BATCH,
            distance=float(np.abs(x - other).max()), defect=max(s.left(x).values()),
            defect_nnls=max(s.left(other).values()), optimality_gap=optimality(s, z, x),
        )  # fmt: skip
    note = (
        "largest distance of values of size one from the planes of equations, and beyond inequalities and bounds, of "
        f"{len(worst)} sets, batches of {BATCH}, float64"
    )
    ledger.check("affine_projection_defect", max(worst), spread=extremes(worst, "sets"), note=note)


# -- boundary values ----------------------------------------------------------------------------------------------


def measure_boundary(ledger: Ledger, quick: bool) -> None:
    """DeepONets of chance: p = 0 on all sides, and a lid that moves."""
    random = np.random.default_rng(0)
    solutions = []
    for _ in range(3):
        grid = Grid.uniform(Poisson().case().geometry, (16, 16))
        case = Poisson().case(source=random.standard_normal((16, 16))).on(grid)
        solutions.append(data.solution(case, None, {"p": (("y", "x"), random.standard_normal((16, 16)))}, grid))
    flows = [noise(LidDrivenCavity(), ("u", "v"), k, 16, lid_velocity=1.0 + k) for k in range(3)]
    for problem, made, fields, stepping in (
        ("Poisson", solutions, ("p",), None),
        ("cavity, at any time", flows, ("u", "v"), Query()),
    ):
        for precision in ("float64", "float32"):
            plain = fitted(DeepONet, made, fields, precision, **({} if stepping is None else {"stepping": stepping}))
            held = plain.constrained(BoundaryValues())
            gaps, before, points = 0.0, 0.0, 0
            for solution in made[:1] if quick else made:
                case = stored(solution)
                times = None if case.problem.steady else solution.time.values[1:]
                for side, at in _sides(case, 9 if quick else 129).items():
                    answers = [m.solve(case, times=times, points=at) for m in (held, plain)]
                    points += len(at)
                    for name in fields:
                        wanted = case.boundary_conditions[side][name].at(0.0, at)
                        size = case.scales.fields[name]
                        gap, gap_before = (float(np.abs(a[name].values - wanted).max()) / size for a in answers)
                        gaps, before = max(gaps, gap), max(before, gap_before)
            ledger.row(
                section="boundary", operator="DeepONet", problem=problem, precision=precision,
                before_over_scale=before, after_over_scale=gaps, points=points,
            )  # fmt: skip


def _sides(case: Case, count: int) -> dict[str, np.ndarray]:
    """Points on the sides of a box, corners left out."""
    (x0, x1), (y0, y1) = case.geometry.extents
    s = np.linspace(0.0, 1.0, count + 2)[1:-1]
    x, y = x0 + s * (x1 - x0), y0 + s * (y1 - y0)
    return {
        "x_min": np.stack([0 * s + x0, y], 1), "x_max": np.stack([0 * s + x1, y], 1),
        "y_min": np.stack([x, 0 * s + y0], 1), "y_max": np.stack([x, 0 * s + y1], 1),
    }  # fmt: skip


# -- all of it ----------------------------------------------------------------------------------------------------


def measure_exact(ledger: Ledger, work: Any) -> None:
    """Rows and checks of the part `exact`."""
    quick = bool(work.given.quick)
    ledger.seeds(0)
    torch.set_num_threads(1)
    worst: list[float] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="surrogate")  # of cases and times unlike those it was made with
        for measure in (measure_flows, measure_staggered, measure_boxes, measure_potentials):
            worst += measure(ledger, quick)
        measure_cost(ledger, quick)
        measure_affine(ledger, quick)
        measure_boundary(ledger, quick)
    note = (
        f"largest of {len(worst)} rows in float64, velocities of chance in the problems' units: of each the worst of "
        "the divergence in 1/s, the same over |u|/h, and the audit's relative defect"
    )
    ledger.check(
        "divergence_after_projection_float64", max(worst), spread=extremes(worst, f"{len(worst)} rows"), note=note
    )
