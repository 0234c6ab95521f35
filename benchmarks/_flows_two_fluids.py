"""Flows of two fluids with known answers for the two-phase solver, and errors against them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._flows_gradients import compare
from sciml.problems import DamFlow, TubeFlow
from sciml.solvers import TwoPhaseFlow, _volume_fraction
from sciml.solvers.linear import End, MultigridCG

AIR = {"air_density": 1.2, "air_viscosity": 1.8e-5}
WATER = {"density": 1000.0, "viscosity": 1e-3}
PERIODIC = ((End.PERIODIC, End.PERIODIC), (End.WALL, End.WALL))


def run(
    alpha: np.ndarray, size: tuple[float, float], times: Any, *, gravity: float = 9.81, ends: Any = None,
    dtype: str = "float64", **fluids: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The frames of a box of (width, height) with fluids at rest."""
    ny, nx = alpha.shape
    parameters = WATER | AIR | fluids | {"gravity": gravity, "width": size[0], "height": size[1]}
    inputs = {"alpha": alpha, "u_face": np.zeros((ny, nx + 1)), "v_face": np.zeros((ny + 1, nx))}
    solver = TwoPhaseFlow((ny, nx), dtype=dtype, derivative="forward")
    with jax.enable_x64(dtype == "float64"):
        found = jax.jit(lambda p, i, t: solver.simulate(p, i, t, ends))(parameters, inputs, np.asarray(times, float))
        return {k: np.asarray(a) for k, a in found.items()}


def shares(inside: Callable, shape: tuple[int, int], size: tuple[float, float], parts: int = 16) -> np.ndarray:
    """Of each cell the share in which inside(x, y), by `parts`² points."""
    (ny, nx), (width, height) = shape, size
    y, x = (np.arange(n * parts) + 0.5 for n in (ny, nx))
    found = inside(x[None] * width / (nx * parts), y[:, None] * height / (ny * parts))
    return np.broadcast_to(found, (ny * parts, nx * parts)).reshape(ny, parts, nx, parts).mean((1, 3))


def vortex(n: int, period: float = 2.0, cfl: float = 0.45) -> dict[str, float]:
    """A disc in a single vortex that turns back (W. J. Rider, D. B. Kothe, J. Comput. Phys. 141, 112 (1998)): the area
    in which α differs at last, what it leaves [0, 1] by at any time, and the share that is lost."""
    start = shares(lambda x, y: (x - 0.5) ** 2 + (y - 0.75) ** 2 < 0.15**2, (n, n), (1.0, 1.0))
    x = np.linspace(0, 1, n + 1)
    psi = np.sin(np.pi * x)[None] ** 2 * np.sin(np.pi * x)[:, None] ** 2 / np.pi
    u: Any = np.diff(psi, axis=0) * n
    v: Any = -np.diff(psi, axis=1) * n
    steps = math.ceil(period * n / cfl)
    tau = period / steps

    def body(k: Any, carry: Any) -> Any:
        alpha, low, high = carry
        share = jnp.cos(jnp.pi * (k + 0.5) / steps) * tau * n
        alpha = _volume_fraction.carried(
            alpha, u * share, v * share, lambda a: jnp.pad(a, 2, mode="edge"), lambda f, s, axis: f, k % 2 == 0
        )
        return alpha, jnp.minimum(low, alpha.min()), jnp.maximum(high, alpha.max())

    with jax.enable_x64(True):
        found = jax.jit(lambda a: jax.lax.fori_loop(0, steps, body, (a, 0.0, 1.0)))(jnp.asarray(start))
        end, low, high = (np.asarray(a) for a in found)
    return {
        "area_error": float(np.abs(end - start).sum() / n**2),
        "overshoot": max(float(-low), float(high - 1), 0.0),
        "volume_error": abs(float(end.sum()) / float(start.sum()) - 1),
    }


def at_rest(n: int, dtype: str) -> dict[str, float]:
    """A tank of water at rest with its surface within cells, densities 1000 and 1.2, for 1 s: what moves."""
    alpha = shares(lambda x, y: y < 0.301 + 0 * x, (n, 3 * n // 2), (1.0, 0.75), 32)
    found = run(alpha, (1.0, 0.75), [0.0, 1.0], dtype=dtype)
    return {
        "fastest_m_per_s": float(max(np.abs(found[k]).max() for k in "uv")),
        "alpha_moved": float(np.abs(found["alpha"][-1] - alpha).max()),
        "steps": int(found["substeps"].sum()),
    }


def vortices(n: int, viscosity: float = 1e-3, end: float = 0.5) -> dict[str, float]:
    """Water alone: decaying vortices that a stream carries along (G. I. Taylor, 1923), in a periodic box; root mean
    square error of u over that of the vortices."""
    k, stream = 2 * np.pi, (0.7, 0.4)
    faces = np.linspace(0, 1, n + 1)

    def velocities(time: float) -> tuple[Any, Any]:
        x, y = (faces - speed * time for speed in stream)
        psi = math.exp(-2 * k * k * viscosity * time) * np.cos(k * x)[None] * np.cos(k * y)[:, None] / k
        return stream[0] + np.diff(psi, axis=0) * n, stream[1] - np.diff(psi, axis=1) * n

    solver = TwoPhaseFlow(n, dtype="float64", derivative="forward")
    parameters = WATER | AIR | {"density": 1.0, "viscosity": viscosity, "gravity": 0.0, "width": 1.0, "height": 1.0}
    inputs = dict(zip(("u_face", "v_face"), velocities(0.0), strict=True)) | {"alpha": np.ones((n, n))}
    with jax.enable_x64(True):
        around = ((End.PERIODIC, End.PERIODIC), (End.PERIODIC, End.PERIODIC))
        found = jax.jit(lambda p, i: solver.simulate(p, i, np.array([end]), around))(parameters, inputs)
        exact = velocities(end)[0]
        error = np.asarray(found["u_face"][0]) - exact
        return {"u_off_by": float(np.sqrt((error**2).mean() / ((exact - stream[0]) ** 2).mean()))}


def growth(n: int) -> dict[str, float]:
    """Heavy over light: amplitude a₀ cosh σt with σ² = A g k tanh(kH/2), of viscosity to first order (S.
    Chandrasekhar, Hydrodynamic and Hydromagnetic Stability, 1961); n cells to a wave length, density ratio 3."""
    width, height, first, gravity, nu = 1.0, 2.0, 0.01, 1.0, 1e-4
    k, atwood, times = 2 * np.pi / width, 0.5, np.linspace(0, 1.2, 7)
    sigma = math.sqrt(atwood * gravity * k * math.tanh(k * height / 2) + (nu * k * k) ** 2) - nu * k * k
    alpha = shares(lambda x, y: y > height / 2 + first * np.cos(k * x), (2 * n, n), (width, height), 32)
    found = run(
        alpha, (width, height), times, gravity=gravity, ends=PERIODIC, density=3.0, air_density=1.0,
        viscosity=3 * nu, air_viscosity=nu,
    )  # fmt: skip
    interface = height - found["alpha"].sum(1) * height / (2 * n)
    amplitude = 2 * (interface * np.cos(k * (np.arange(n) + 0.5) / n)).mean(1)
    rates = np.arccosh(amplitude[3:] / amplitude[0]) / times[3:]
    return {"theory_per_s": sigma, "rate_per_s": float(rates[-1]), "off_by": float(np.abs(rates / sigma - 1).max())}


def entrance(reynolds: float) -> float:
    """Lengths over d of a plane channel until the middle is within 1 % of its final speed: F. Durst, S. Ray, B. Ünsal,
    O. A. Bayoumi, J. Fluids Eng. 127, 1154 (2005), equation 24."""
    return (0.631**1.6 + (0.0442 * reynolds) ** 1.6) ** (1 / 1.6)


def tube(n: int) -> dict[str, Any]:
    """A tube of n cells across at Re 20 fills; then its flow against the developed profile, the entrance length and
    the developed pressure gradient."""
    flow = TubeFlow()
    case = flow.case(inlet_velocity=1.0, density=100.0, viscosity=0.5, length=0.4, diameter=0.1)
    times = [0.05, 0.1, 0.2, 4.0]  # at last the air that clung to the walls has gone as well
    found = TwoPhaseFlow((n, 4 * n)).solve(case, times)
    alpha, area = found.alpha.values.astype("f8"), (0.1 / n) ** 2
    faces = np.linspace(0, 1, n + 1)
    exact = n * np.diff(3 * faces**2 - 2 * faces**3)  # means of 6 y (1 − y) over cells
    u, p = found.u.values[-1].astype("f8"), found.p.values[-1].astype("f8")
    middle = u[n // 2] / exact[n // 2]
    slope = np.diff(p[:, -n:].mean(0)).mean() / (0.1 / n)
    return {
        "profile_off_by": float(np.abs(u[:, -n] - exact).max() / exact.max()),
        "entrance_diameters": float(np.interp(0.99, middle, (np.arange(4 * n) + 0.5) / n)),
        "entrance_published": entrance(flow.reynolds(case)),
        "pressure_gradient_off_by": abs(float(slope) / (-12 * 0.5 / 0.1**2) - 1),
        **balance(alpha.sum((1, 2)) * area, [min(0.1 * t, 0.04) for t in times], alpha),
    }


def balance(water: np.ndarray, wanted: Any, alpha: np.ndarray) -> dict[str, float]:
    """How far volumes of water (m²) are off what came in, the most over times, and how far α leaves [0, 1]."""
    return {
        "water_off_by": float(np.max(np.abs(np.asarray(water) / np.asarray(wanted) - 1))),
        "overshoot": max(float(-alpha.min()), float(alpha.max() - 1), 0.0),
    }


def dam(**values: Any) -> dict[str, Any]:
    """Water over the barrier, on the cells on which data are made, until it would leave: what has come in."""
    case = DamFlow().case(**values)
    ny, nx = DamFlow.design().cells(case, (64, 64))
    times = np.linspace(0.0, 0.7 * case.width / max(case.velocity, math.sqrt(9.81 * 0.1)) / 2, 6)
    found = TwoPhaseFlow((ny, nx)).solve(case, times)
    alpha = found.alpha.values.astype("f8")
    area = case.width * case.height / alpha[0].size
    wanted = [0.01 + 0.1 * case.velocity * t for t in times]
    return {
        "cells": [ny, nx], "seconds_solved": float(times[-1]), "steps": int(found.attrs["substeps"]),
        "reached": float(found.x.values[(alpha[-1] > 0.01).any(0)].max()),
        **balance(alpha.sum((1, 2)) * area, wanted, alpha),
    }  # fmt: skip


def gradient(n: int = 24, eps: float = 1e-4) -> dict[str, Any]:
    """Of the flow of two fluids with a smooth α, by both densities and viscosities, weight, the speed at first and α at
    first. No cell has α = 1/2, where a fluid becomes the fuller one and the scheme another."""
    x = (np.arange(n) + 0.5) / n
    alpha = 0.5 - 0.5 * np.tanh((x[:, None] - 0.47 - 0.1 * np.cos(2 * np.pi * x + 0.3)[None]) / 0.12)
    weights = np.cos(3 * x)[None] * np.sin(2 * x + 1)[:, None]
    f = np.linspace(0, 1, n + 1)
    psi = 0.1 * np.sin(np.pi * f)[None] ** 2 * np.sin(np.pi * f)[:, None] ** 2
    u, v = np.diff(psi, axis=0) * n, -np.diff(psi, axis=1) * n
    solver = TwoPhaseFlow(n, dtype="float64", pressure_solver=MultigridCG(tolerance=1e-12))

    def loss(theta: jax.Array) -> Any:
        parameters = {
            "density": 3.0 * theta[0], "viscosity": 0.03 * theta[1], "gravity": theta[2], "air_density": theta[5],
            "air_viscosity": 0.01 * theta[6], "width": 1.0, "height": 1.0,
        }  # fmt: skip
        inputs = {
            "alpha": alpha + 0.01 * (theta[4] - 1) * weights, "u_face": u * theta[3], "v_face": v * theta[3]
        }  # fmt: skip
        found = solver.simulate(parameters, inputs, np.array([0.3]))
        return jnp.mean(weights * (found["alpha"] + 10 * found["u"] ** 2 + found["v"])), found["substeps"].sum()

    with jax.enable_x64(True):
        return compare(loss, np.array([1.0, 1.0, 1.03, 0.97, 1.0, 1.0, 1.0]), eps) | {"cells": [n, n]}
