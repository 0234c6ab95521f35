"""Observed orders of the finite elements, against solutions that are chosen."""

from __future__ import annotations

from typing import Any

from benchmarks._ledger import Ledger, extremes
from benchmarks._manufactured import SQUARE, Manufactured, errors, orders, ring
from sciml import Flux, Neumann, Robin
from sciml.geometry import Disc
from sciml.problems.elastic_plate import plane_stress
from sciml.solvers import FiniteElements

HOLED = SQUARE.without(Disc((0.5, 0.5), 0.25), "hole")
MIXED = {"x_max": Neumann, "y_max": Robin, "y_min": Flux}
LOADED = {"x_max": Flux, "y_max": Flux}
SIDES = {1: (16, 32, 64), 2: (12, 24, 48)}
STEPS = (0.02, 0.01, 0.005)  # in time


def _wave(d: Any, x: Any) -> Any:
    return (d.sin(2.0 * x[0] + x[1]) + x[0] * x[1] ** 2,)


def _conducting(q: Any, d: Any, x: Any) -> Any:
    return -1.0 * (1.0 + 0.5 * x[0] * x[1]) * d.grad(q[0])


def _nonlinear(q: Any, d: Any, x: Any) -> Any:
    return -1.0 * (1.0 + q[0] ** 2) * d.grad(q[0])


def _bent(d: Any, x: Any) -> Any:
    return d.sin(x[0]) * x[1], d.cos(x[0] + x[1])


def _swinging(d: Any, x: Any) -> Any:
    """Linear in each coordinate: exact for quadratic elements, so that all of the error is that in time."""
    return (d.sin(5.0 * x.time) * (1.0 + x[0]) * (1.0 + x[1]),)


class _Steel:
    young_modulus, poisson_ratio = 3.0, 0.3


class _Displacement:
    def __init__(self, q: Any):
        self.u, self.v = q


def _elastic(q: Any, d: Any, x: Any) -> Any:
    return -1.0 * plane_stress(_Displacement(q), d, _Steel)  # pyright: ignore[reportArgumentType]


PROBLEMS = {
    "conduction, variable coefficient, mixed conditions": (_wave, _conducting, SQUARE, MIXED),
    "conduction, nonlinear coefficient": (_wave, _nonlinear, SQUARE, MIXED),
    "conduction around a hole": (_wave, _conducting, HOLED, MIXED),
    "plane elasticity": (_bent, _elastic, SQUARE, LOADED),
    "plane elasticity around a hole": (_bent, _elastic, HOLED, LOADED),
}


def measure(ledger: Ledger, work: Any) -> None:
    """Orders in L² and H¹, between the last two of three meshes, and in time."""
    deficits = {}

    def row(problem: str, element: str, norm: str, promised: float, found: list[float]) -> None:
        observed = orders(found)
        deficits[f"{problem}, {element}, {norm}"] = promised - observed
        ledger.row(section="elements", problem=problem, element=element, norm=norm, promised=promised,
                   observed=observed, deficit=promised - observed, least_error=found[-1])  # fmt: skip

    for name, (exact, flux, domain, conditions) in PROBLEMS.items():
        problem = Manufactured(exact, flux, domain, conditions)
        for order, sides in SIDES.items():
            found = []
            for n in sides[:2] if work.given.quick else sides:
                case = problem.case().on(ring(n)) if domain is HOLED else problem.case()
                found.append(errors(FiniteElements(n, order=order), case))
            for k, norm in enumerate(("L2", "H1")):
                row(name, f"P{order}", norm, order + 1 - k, [f[k] for f in found])
    swinging = Manufactured(_swinging, _nonlinear, SQUARE, {"x_max": Neumann, "y_max": Robin}, lambda q, d, x: [q[0]])
    for method in ("sdirk2", "bdf2"):
        found = [
            errors(FiniteElements(1, order=2, method=method, time_step=step), swinging.case(), [0.1, 0.2])[0]
            for step in STEPS
        ]
        row("nonlinear conduction in time", method, "L2", 2, found)
    worst = max(deficits, key=lambda n: deficits[n])
    note = f"of {len(deficits)} orders, the least good one: {worst}"
    ledger.check("fem_observed_order_deficit", deficits[worst], note,
                 spread=extremes(list(deficits.values()), "problems, elements and norms"), note=note)  # fmt: skip
