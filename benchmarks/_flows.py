"""Flows with known answers for the incompressible solver, and errors against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sciml.problems import LidDrivenCavity, TaylorGreen, _ghia
from sciml.solvers import IncompressibleFlow
from sciml.solvers.linear import End

HEIGHT, VISCOSITY = 1.5, 0.05


def _psi(x, y, t):
    """Stream function of the manufactured flow: vanishes on all walls, with tangential velocity on each of them."""
    s = y / HEIGHT
    one = 0.3 * jnp.sin(jnp.pi * x) ** 2 * jnp.sin(jnp.pi * s) * s * jnp.cos(2 * t)
    return one + 1.6 * x * (1 - x) ** 2 * y * (HEIGHT - y) * (1 + jnp.sin(3 * t)) * jnp.exp(-y)


def _pressure(x, y, t):
    return jnp.cos(2 * x + 1) * jnp.exp(-y) * jnp.cos(3 * t)


def _u(x, y, t):
    return jax.grad(_psi, 1)(x, y, t)


def _v(x, y, t):
    return -jax.grad(_psi, 0)(x, y, t)


def _force(component: Callable, axis: int, x, y, t):
    """∂t w + u ∂x w + v ∂y w + ∂p − ν ∇²w for one velocity component w, by automatic differentiation."""
    slope_x, slope_y = jax.grad(component, 0), jax.grad(component, 1)
    laplacian = jax.grad(slope_x, 0)(x, y, t) + jax.grad(slope_y, 1)(x, y, t)
    advection = _u(x, y, t) * slope_x(x, y, t) + _v(x, y, t) * slope_y(x, y, t)
    return jax.grad(component, 2)(x, y, t) + advection + jax.grad(_pressure, axis)(x, y, t) - VISCOSITY * laplacian


def _on(function: Callable, x, y, t):
    """A function of (x, y, t) over arrays of positions and times: (T, y, x)."""
    over_x = jax.vmap(function, (0, None, None))
    over_y = jax.vmap(over_x, (None, 0, None))
    return jax.jit(jax.vmap(over_y, (None, None, 0)))(jnp.asarray(x), jnp.asarray(y), jnp.asarray(t))


def manufactured(n: int, cfl: float, end: float = 0.5, knots: int = 4001) -> dict[str, Any]:
    """Errors of the wall-bounded manufactured flow on n × n cells of [0, 1] × [0, 1.5] with four sliding walls.

    The walls' velocities vary along them and in time; a force drives the flow. Both are given at `knots` times, linear
    in between (their error, of the knot spacing squared, is far below the solver's).
    `sciml.solvers._march`.

    Returns:
        root mean square errors of "u", "v" (face values), "p", "u_tendency", and the fields themselves.
    """
    inputs, exact = _given(n, end, knots)
    with jax.enable_x64(True):
        parameters = {"density": 1.0, "viscosity": VISCOSITY, "width": 1.0, "height": HEIGHT}
        solver = IncompressibleFlow(n, cfl=cfl, dtype="float64", derivative="forward")
        times, ends = jnp.asarray([end / 2, end]), ((End.WALL, End.WALL),) * 2
        found = jax.jit(lambda p, i: solver._simulate(p, i, times, ends, "forward"))(parameters, inputs)
        errors = {k: float(jnp.sqrt(jnp.mean((found[k][-1] - v) ** 2))) for k, v in exact.items()}
        fields = {k: np.asarray(found[k][-1]) for k in exact}
        return {"errors": errors, "fields": fields, "substeps": int(found["substeps"].sum())}


@cache
def _given(n: int, end: float, knots: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(inputs of the solver, exact fields at the end) of the manufactured flow: the same for steps of any size."""
    with jax.enable_x64(True):
        xf, yf = np.linspace(0, 1, n + 1), np.linspace(0, HEIGHT, n + 1)
        xc, yc = (xf[1:] + xf[:-1]) / 2, (yf[1:] + yf[:-1]) / 2
        t = np.linspace(0, end, knots)
        zero, one, top = np.zeros(1), np.ones(1), np.full(1, HEIGHT)
        coarse = t[:: max(1, knots // 500)]  # forces take memory, and are smooth
        force_u = _on(lambda x, y, t: _force(_u, 0, x, y, t), xf, yc, coarse)
        force_v = _on(lambda x, y, t: _force(_v, 1, x, y, t), xc, yf, coarse)
        inputs = {
            "y_min_u": (t, _on(_u, xf, zero, t)[:, 0]),
            "y_max_u": (t, _on(_u, xf, top, t)[:, 0]),
            "x_min_v": (t, _on(_v, zero, yf, t)[:, :, 0]),
            "x_max_v": (t, _on(_v, one, yf, t)[:, :, 0]),
            "u_face": _on(_u, xf, yc, zero)[0],
            "v_face": _on(_v, xc, yf, zero)[0],
            "force": (coarse, force_u, force_v),
        }
        last = jnp.asarray([end])
        exact = {
            "u_face": _on(_u, xf, yc, last)[0],
            "v_face": _on(_v, xc, yf, last)[0],
            "p": _on(_pressure, xc, yc, last)[0],
            "u_tendency": _on(jax.grad(_u, 2), xc, yc, last)[0],
        }
        exact["p"] = exact["p"] - exact["p"].mean()
        return inputs, exact


def taylor_green(n: int, cfl: float = 2.0) -> dict[str, float]:
    """Root mean square errors of u, v, p over [0, 2] in units of U and ρU², in float64."""
    case = TaylorGreen().case(viscosity=0.05)
    solution = IncompressibleFlow(n, cfl=cfl, dtype="float64").solve(case, times=[1.0, 2.0])
    exact = case.exact([1.0, 2.0], (solution.x.values, solution.y.values))
    return {k: float(np.sqrt(np.mean((solution[k].values - exact[k]) ** 2))) for k in ("u", "v", "p")}


def orders(errors: list[dict[str, float]]) -> dict[str, float]:
    """Observed order of each quantity between the last two of a sequence of halved cells (or steps)."""
    return {k: float(np.log2(errors[-2][k] / errors[-1][k])) for k in errors[-1]}


STEADY = {100: 25.0, 400: 50.0, 1000: 100.0}  # L/U after which centre lines change by less than 1e-4


@cache
def _settled(n: int, reynolds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, u along x = 0.5 and v along y = 0.5 of the settled unit cavity, walls included."""
    end = STEADY[reynolds]
    case = LidDrivenCavity().case(viscosity=1 / reynolds)
    solution = IncompressibleFlow(n, tendencies=False).solve(case, times=[end - 1, end])
    centres = np.concatenate([[0.0], solution.x.values, [1.0]])
    u = np.concatenate([[0.0], solution.u_face.values[-1][:, n // 2], [1.0]])
    v = np.concatenate([[0.0], solution.v_face.values[-1][n // 2], [0.0]])
    return centres, u, v


def centre_lines(n: int, reynolds: int, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Settled u along x = 0.5 and v along y = 0.5 of the unit cavity at positions `where`, by cubic splines."""
    from scipy.interpolate import CubicSpline

    centres, u, v = _settled(n, reynolds)
    return CubicSpline(centres, u)(where), CubicSpline(centres, v)(where)


def cavity_deviations(reynolds: int, grids: tuple[int, int, int] = (64, 128, 256)) -> dict[str, float]:
    """Largest deviations of both centre lines of the coarsest grid from the extrapolation of the finer two (Richardson,
    order 2) at 129 points, and of the coarsest grid and the extrapolation from the published tables."""
    places = {"own": (np.linspace(0, 1, 129),) * 2, "ghia": (_ghia.u(reynolds)[0], _ghia.v(reynolds)[0])}
    where = np.unique(np.concatenate([p for pair in places.values() for p in pair]))
    lines = {n: centre_lines(n, reynolds, where) for n in grids}
    best = tuple((4 * f - c) / 3 for f, c in zip(lines[grids[2]], lines[grids[1]], strict=True))

    def worst(a: Any, b: Any, at: Any) -> float:
        return max(float(np.max(np.abs((x - y)[np.searchsorted(where, p)]))) for x, y, p in zip(a, b, at, strict=True))

    table = []
    for (positions, values), p in zip((_ghia.u(reynolds), _ghia.v(reynolds)), places["ghia"], strict=True):
        full = np.zeros(where.size)
        full[np.searchsorted(where, p)] = values[np.searchsorted(positions, p)]
        table.append(full)
    return {
        "own_extrapolation": worst(lines[grids[0]], best, places["own"]),
        "ghia": worst(lines[grids[0]], table, places["ghia"]),
        "ghia_of_extrapolation": worst(best, table, places["ghia"]),
    }
