"""Steady flows past random polygons in a channel, in the layout of DeepCFD, by this package's own solver."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sciml import data
from sciml.boundary import Conditions, Dirichlet, InSpace, Outflow
from sciml.data import _deepcfd, splits
from sciml.errors import InputError, SolverError
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
    """The data set; flows that are done are kept beside it, so that the same call goes on. Polygons whose flow does not
    become steady are left out, and others drawn."""
    if out.exists():
        return out
    random = np.random.default_rng(seed)
    folder = out.with_suffix(".parts")
    folder.mkdir(parents=True, exist_ok=True)
    drawn, kept = 0, 0
    while kept < cases:
        made = [ObstacleFlow(polygon(random)).case(label=f"polygon{drawn + k:04d}") for k in range(PORTION)]
        path = folder / f"{drawn:05d}.npz"
        if not path.exists():
            temporary = path.with_suffix(".part.npz")
            np.savez(temporary, **_solved(made))  # pyright: ignore[reportArgumentType]
            temporary.replace(path)
        with np.load(path) as part:
            kept += len(part["given"])
        drawn += PORTION
        print(f"{out.name}: {min(kept, cases)} of {cases} flows", flush=True)
        if drawn > 2 * cases + PORTION:
            raise RuntimeError(f"{out.name}: of {drawn} polygons only {kept} have a steady flow")
    split = splits.by_case(["all"] * cases, (0.6, 0.1, 0.3), seed)
    about = {"generator": "benchmarks", "seed": seed, "not_steady": drawn - kept}
    packed = _deepcfd.packed(itertools.islice(_stored(folder), cases), (LENGTH, HEIGHT), split, about)
    data.write(packed, out)
    return out


def _solved(cases: list[Case]) -> dict[str, np.ndarray]:
    solver = IncompressibleFlow(SHAPE, tendencies=False)
    x, wanted = np.zeros((0, 3, *SHAPE), "f4"), np.zeros((0, 3, *SHAPE))
    for case in cases:
        try:
            answer = solver.solve(case, TIMES)
        except (InputError, SolverError) as error:  # a corner thinner than a cell, say
            print(f"{case.label}: {error}: left out", flush=True)
            continue
        found = np.stack([answer[n].values for n in ("u", "v", "p")], axis=1).astype("f8")  # time, field
        change = np.linalg.norm(found[1, :2] - found[0, :2]) / np.linalg.norm(found[1, :2])
        if not change <= UNSTEADY:
            print(f"{case.label}: not steady, changes by {change:.1e}: left out", flush=True)
            continue
        x = np.append(x, given(case, Grid.uniform(case.geometry, SHAPE))[None], axis=0)
        wanted = np.append(wanted, found[1:] / np.array([1.0, 1.0, DENSITY])[:, None, None], axis=0)
    return {"given": x, "wanted": wanted}


def _stored(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    k = 0
    for path in sorted(folder.glob("[0-9]*.npz")):
        if path.name.endswith(".part.npz"):
            continue
        with np.load(path) as part:
            for a, b in zip(part["given"], part["wanted"], strict=True):
                yield f"case{k:04d}", a, b
                k += 1
