"""Whether COMSOL's files are solutions of the cases that are made of them: conditions and equations, tried on values.

    python -m benchmarks._physics_proof FOLDER

Derivatives are those of polynomials of fourth degree through the values at the 36 nearest points (least squares); the
equations are the problem's own balances in their strong form. Next to their residuals stands what is left with the best
viscosity and density for the file, found by least squares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from benchmarks._physics_cases import GIVEN, Given
from sciml import Case, Flux, Neumann
from sciml.calculus import Derivative, expanded, strong
from sciml.derivatives.numpy import backend
from sciml.expressions import Coordinate, Expression, Field, Parameter, evaluate

NEIGHBOURS, DEGREE, POINTS = 36, 4, 1500
NEAR = 0.04  # of the size of the domain: points nearer to its boundary than that are left out of the equations


def derivatives(points: np.ndarray, values: np.ndarray, at: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
    """α -> (M, F): D^α up to second order of F fields, given at points (N, 2), at places (M, 2)."""
    powers = [(a, b) for a in range(DEGREE + 1) for b in range(DEGREE + 1 - a)]
    distance, near = KDTree(points).query(at, k=NEIGHBOURS)
    size = distance[:, -1]
    z = (points[near] - at[:, None]) / size[:, None, None]
    matrix = np.stack([z[..., 0] ** a * z[..., 1] ** b for a, b in powers], axis=-1)
    fitted = np.linalg.pinv(matrix, rcond=1e-8) @ values[near]
    factor = {0: 1.0, 1: 1.0, 2: 2.0}
    return {
        (a, b): fitted[:, k] * (factor[a] * factor[b]) / size[:, None] ** (a + b)
        for k, (a, b) in enumerate(powers)
        if a + b <= 2
    }


def value(e: Expression, case: Case, fields: list[str], at: np.ndarray, found: Mapping[tuple[int, ...], Any]) -> Any:
    """(M,) an expanded expression at places, from the derivatives of the fields there."""

    def leaf(node: Expression) -> Any:
        match node:
            case Field(name):
                return found[0, 0][:, fields.index(name)]
            case Derivative(Field(name), alpha):
                return found[alpha[0], alpha[1]][:, fields.index(name)]
            case Parameter(name):
                return case.parameters[name]
            case Coordinate(axis):
                return at[:, axis]
        raise TypeError(f"unexpected {node!r}")

    def nowhere(node: Any) -> Any:
        raise TypeError(f"unexpected {node!r}")

    return np.broadcast_to(evaluate(e, leaf, nowhere, backend.functions), len(at))


def conditions(given: Given) -> dict[str, float]:
    """Largest deviation of the file from each condition, over the scale of the field; of a force from that of pressure,
    and of a slope from that over the size of the domain, their mean."""
    case, fields = given.case, list(given.fields)
    values = np.stack([given.fields[n] for n in fields], axis=1)
    momentum = case.problem.balances()["momentum"].components()  # type: ignore[attr-defined]
    worst: dict[str, float] = {}
    for name, laws in case.boundary_conditions.items():
        boundary = case.geometry.boundaries[name]
        on = np.asarray(boundary.distance(given.points)) < 1e-6 * boundary.size
        at = given.points[on]
        # in a corner the wall decides
        inner = np.ones(len(at), bool)
        for other, theirs in case.boundary_conditions.items():
            if other != name and (any(isinstance(c, Flux) for c in laws.values()) or set(theirs) - set(laws)):
                inner &= np.asarray(case.geometry.boundaries[other].distance(at)) > 0.02 * boundary.size
        at = at[inner]
        for field, law in laws.items():
            target = np.broadcast_to(law.at(0.0, at), len(at))
            if isinstance(law, Flux):
                near = derivatives(given.points, values, at)
                normal = boundary.normal(at)
                row = momentum[fields.index(field)][1]
                through = [value(expanded(f, 2), case, fields, at, near) for f in row]
                gap = np.abs(sum(normal[:, k] * t for k, t in enumerate(through)) - target).mean()
                scale = case.scales.fields["p"]
            elif isinstance(law, Neumann):
                near = derivatives(given.points, values, at)
                slopes = np.stack([near[1, 0][:, fields.index(field)], near[0, 1][:, fields.index(field)]], axis=1)
                gap = np.abs(np.sum(boundary.normal(at) * slopes, axis=1) - target).mean()
                scale = case.scales.fields[field] / case.scales.length
            else:
                gap = np.abs(values[on][inner][:, fields.index(field)] - target).max()
                scale = case.scales.fields[field]
            worst[f"{name}, {field}, {len(at)} points"] = float(gap / scale)
    return worst


def equations(given: Given) -> dict[str, float]:
    """What is left of the balances inside, over their largest term (rms); and the file's own viscosity and density."""
    case, fields = given.case, list(given.fields)
    values = np.stack([given.fields[n] for n in fields], axis=1)
    size = max(b - a for a, b in case.geometry.extents)
    inside = np.flatnonzero(case.geometry.signed_distance(given.points) > NEAR * size)
    at = given.points[np.random.default_rng(0).permutation(inside)[:POINTS]]
    near = derivatives(given.points, values, at)
    balances = case.problem.balances()  # type: ignore[attr-defined]
    left = {n: np.stack([value(e, case, fields, at, near) for e in strong(b)]) for n, b in balances.items()}
    u, v, _ = near[0, 0].T
    (ux, vx, px), (uy, vy, py) = near[1, 0].T, near[0, 1].T
    laplacian = near[2, 0].T[:2] + near[0, 2].T[:2]
    pressure, carried = np.stack([px, py]), np.stack([u * ux + v * uy, u * vx + v * vy])
    nu = case.parameters["viscosity"]
    terms = [float(np.sqrt(np.mean(t**2))) for t in (pressure, carried, nu * laplacian)]
    columns = np.stack([-carried.ravel(), laplacian.ravel()], axis=1)
    (density, viscosity), *_ = np.linalg.lstsq(columns, pressure.ravel(), rcond=None)
    best = pressure + density * carried - viscosity * laplacian
    gradient = np.sqrt(np.mean(np.stack([ux, uy, vx, vy]) ** 2))
    return {
        "points": float(len(at)),
        "continuity": float(np.sqrt(np.mean(left["continuity"] ** 2)) / gradient),
        "momentum": float(np.sqrt(np.mean(left["momentum"] ** 2)) / max(terms)),
        "momentum_best": float(np.sqrt(np.mean(best**2)) / max(terms)),
        "viscosity": nu, "viscosity_best": float(viscosity), "density_best": float(density),
    }  # fmt: skip


def against_exact(given: Given) -> float:
    """Relative L2 difference of the file from the exact solution."""
    (name,) = given.fields
    exact = given.case.exact(given.times, (given.points[:, 0],))[name]
    return float(np.linalg.norm(given.fields[name] - exact) / np.linalg.norm(exact))


def main(folder: Path) -> None:
    for name, make in GIVEN.items():
        given = make(folder)
        print(f"{name}: {given.title}: {len(given.points)} points")
        if given.times is not None:
            print(f"  relative L2 difference from the exact solution {against_exact(given):.2e}")
            continue
        for what, gap in conditions(given).items():
            print(f"  {what}: {gap:.1e}")
        print("  " + ", ".join(f"{k} {v:.4g}" for k, v in equations(given).items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
