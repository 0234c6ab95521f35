"""Steady flows past random polygons in a channel, in the layout of DeepCFD, by this package's own solver."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sciml import data
from sciml.boundary import Conditions, Dirichlet, InSpace, Outflow
from sciml.data import _deepcfd, splits
from sciml.expressions import Balance, Operators
from sciml.geometry import Box, Difference, Polygon
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems._incompressible import navier_stokes
from sciml.solvers import IncompressibleFlow
from sciml.support import Grid

SHAPE = (80, 176)  # published are 79 × 172
LENGTH, HEIGHT, SPEED, DENSITY = 0.26, 0.12, 0.1, 1.0
VISCOSITY = 1e-4  # Pa s: Re 20 to 45 by the size of the obstacle
TIMES = (22.0, 25.0)  # s: a flow is steady where it differs no more between the two than by UNSTEADY
UNSTEADY = 1e-3
PORTION = 8


def _profile(mean: float, y: np.ndarray) -> np.ndarray:
    return 6 * mean * y * (HEIGHT - y) / HEIGHT**2


class ObstacleFlow(PDEProblem):
    """Incompressible flow in a channel with a parabolic inlet past a polygon; it starts as it comes in."""

    name, title, dimensions = "obstacle_flow", "Flow past a polygon", 2
    fields = (FieldSpec("u", "m s-1"), FieldSpec("v", "m s-1"), FieldSpec("p", "Pa", role="diagnostic"))
    parameters = (
        ParameterSpec("density", "kg m-3", DENSITY, 0.0, open_minimum=True),
        ParameterSpec("viscosity", "Pa s", VISCOSITY, 0.0, open_minimum=True),
        ParameterSpec("inlet_velocity", "m s-1", SPEED, 0.0, open_minimum=True),
    )
    velocity = ("u", "v")

    def __init__(self, corners: tuple[tuple[float, float], ...]):
        self.corners = corners

    @property
    def options(self) -> dict[str, Any]:
        return {"corners": [list(c) for c in self.corners]}

    def geometry(self, case: Case) -> Difference:
        return Box((0.0, 0.0), (LENGTH, HEIGHT)).without(Polygon(self.corners), "obstacle")

    def boundary_conditions(self, case: Case) -> Conditions:
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        profile = InSpace(lambda x: _profile(case.inlet_velocity, x[..., 1]))
        outlet = {"u": Outflow(), "v": Outflow(), "p": Dirichlet(0.0)}
        inlet = {"u": Dirichlet(profile), "v": Dirichlet(0.0)}
        return {"x_min": inlet, "x_max": outlet, "y_min": rest, "y_max": rest, "obstacle": rest}

    def scales(self, case: Case) -> Scales:
        speed = case.inlet_velocity
        fields = {"u": speed, "v": speed, "p": case.density * speed**2}
        return Scales(HEIGHT, HEIGHT / speed, fields, velocity=speed, pressure=case.density * speed**2)

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        along = _profile(case.inlet_velocity, np.asarray(grid.centres[1]))[:, None] * np.ones(len(grid.centres[0]))
        return {"u": along, "v": np.zeros_like(along), "p": np.zeros_like(along)}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return navier_stokes(q, d, theta)


def polygon(random: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """A star-shaped polygon of three to six corners."""
    count = int(random.integers(3, 7))
    angles = 2 * math.pi * (np.arange(count) + random.uniform(-0.3, 0.3, count)) / count + random.uniform(0, 2 * np.pi)
    radii = random.uniform(0.01, 0.0225) * random.uniform(0.6, 1.0, count)
    middle = np.array([random.uniform(0.05, 0.1), random.uniform(0.045, 0.075)])
    corners = middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return tuple((float(x), float(y)) for x, y in corners)


def given(case: Case, grid: Grid) -> np.ndarray:
    """(3, y, x): distance to the obstacle, region, distance to the walls."""
    y, x = np.meshgrid(grid.centres[1], grid.centres[0], indexing="ij")
    obstacle = -Polygon(case.problem.corners).signed_distance(np.stack([x, y], axis=-1))  # type: ignore[attr-defined]
    region = np.ones(SHAPE)
    region[:, 0], region[:, -1] = 3.0, 4.0
    region[0], region[-1] = 2.0, 2.0
    region[obstacle <= 0] = _deepcfd.OBSTACLE
    return np.stack([obstacle, region, np.minimum(y, HEIGHT - y)]).astype(np.float32)


def make(out: Path, cases: int = 200, seed: int = 0) -> Path:
    """The data set; flows that are done are kept beside it, so that the same call goes on."""
    if out.exists():
        return out
    random = np.random.default_rng(seed)
    made = [ObstacleFlow(polygon(random)).case(label=f"case{k:04d}") for k in range(cases)]
    folder = out.with_suffix(".parts")
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(0, cases, PORTION):
        path = folder / f"{k:05d}.npz"
        if not path.exists():
            temporary = path.with_suffix(".part.npz")
            np.savez(temporary, **_solved(made[k : k + PORTION]))  # pyright: ignore[reportArgumentType]
            temporary.replace(path)
            print(f"{out.name}: {min(k + PORTION, cases)} of {cases} flows", flush=True)
    split = splits.by_case(["all"] * cases, (0.6, 0.1, 0.3), seed)
    packed = _deepcfd.packed(_stored(folder), (LENGTH, HEIGHT), split, {"generator": "benchmarks", "seed": seed})
    data.write(packed, out)
    return out


def _solved(cases: list[Case]) -> dict[str, np.ndarray]:
    solver = IncompressibleFlow(SHAPE, tendencies=False)
    answers = [solver.solve(case, TIMES) for case in cases]
    x, wanted = [], []
    for case, answer in zip(cases, answers, strict=True):
        found = np.stack([answer[n].values for n in ("u", "v", "p")], axis=1).astype("f8")  # time, field
        change = np.linalg.norm(found[1, :2] - found[0, :2]) / np.linalg.norm(found[1, :2])
        if answer.attrs["status"] != "ok" or not change <= UNSTEADY:
            raise RuntimeError(f"{case.label}: {answer.attrs['status']}; not steady, changes by {change:.1e}")
        x.append(given(case, Grid.uniform(case.geometry, SHAPE)))
        wanted.append(found[1] / np.array([1.0, 1.0, DENSITY])[:, None, None])
    return {"given": np.stack(x), "wanted": np.stack(wanted)}


def _stored(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    k = 0
    for path in sorted(folder.glob("[0-9]*.npz")):
        if path.name.endswith(".part.npz"):
            continue
        with np.load(path) as part:
            for a, b in zip(part["given"], part["wanted"], strict=True):
                yield f"case{k:04d}", a, b
                k += 1
