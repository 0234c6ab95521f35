"""One function, one set of points, everything in the package that says what an equation leaves of it.

Waves on a periodic box, few enough that a grid holds their products exactly: there the derivatives of networks (jets),
automatic differentiation in JAX and torch, spectral derivatives in three libraries, and the tendencies of the
pseudo-spectral solver are the same numbers. Finite volumes are another form of the balance; those of three libraries,
of the finite-volume solver's tendencies and of the audit are the same numbers again; both forms, and finite elements,
agree where the function is a polynomial of second degree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import sciml
from benchmarks._ledger import Ledger
from sciml import Case, Grid
from sciml.constraints import cell_divergence
from sciml.derivatives import jax as on_jax
from sciml.derivatives import numpy as on_numpy
from sciml.derivatives import torch as on_torch
from sciml.problems import Advection, AllenCahn, Burgers, HeatPlate, Poisson, TaylorGreen
from sciml.solvers import FiniteElements, FiniteVolume, PseudoSpectral
from sciml.solvers.pinn import residuals

WAVES = 3  # along each axis
TIME = 0.3


@dataclass(frozen=True)
class Wave:
    """Σ_k a_k cos(k·x + ω_k t + φ_k), in any library."""

    amplitudes: np.ndarray
    numbers: np.ndarray
    rates: np.ndarray
    phases: np.ndarray

    def values(self, z: Any, cos: Callable[[Any], Any]) -> Any:
        """At (..., D + 1) points, time last."""
        total = 0.0
        for a, k, w, p in zip(self.amplitudes, self.numbers, self.rates, self.phases, strict=True):
            turn = sum(float(k[axis]) * z[..., axis] for axis in range(len(k)))
            total = total + float(a) * cos(turn + float(w) * z[..., -1] + float(p))
        return total

    def rate(self, z: np.ndarray) -> np.ndarray:
        """∂/∂t."""
        turned = Wave(-self.amplitudes * self.rates, self.numbers, self.rates, self.phases)
        return turned.values(z, np.sin)


def waves(case: Case, seed: int) -> dict[str, Wave]:
    random = np.random.default_rng(seed)
    lengths = np.array([b - a for a, b in case.geometry.extents])
    found = {}
    for f in case.problem.fields:
        numbers = 2 * np.pi * random.integers(-WAVES, WAVES + 1, (5, len(lengths))) / lengths
        size = case.scales.fields[f.name]
        found[f.name] = Wave(
            0.3 * size * random.standard_normal(5), numbers, random.standard_normal(5), random.uniform(0, 6, 5)
        )
    return found


CASES: Mapping[str, Case] = {
    "Burgers": Burgers().case(viscosity=0.02, length=2.0),
    "Allen-Cahn": AllenCahn().case(diffusivity=1e-2),
    "advection": Advection().case(speed=2.0, length=3.0),
    "Navier-Stokes, periodic": TaylorGreen().case(viscosity=0.05),
}


def measure(ledger: Ledger, work: Any) -> None:
    worst = 0.0
    with jax.enable_x64(True):
        for title, case in CASES.items():
            for form, found in (("strong", strong(case)), ("finite volume", volumes(case))):
                worst = max(worst, _rows(ledger, title, form, found))
        worst = max(worst, _rows(ledger, "Poisson, polynomial", "strong and finite volume", polynomial()))
    worst = max(worst, _rows(ledger, "conduction, polynomial", "weak", elements()))
    worst = max(worst, _rows(ledger, "continuity of Navier-Stokes", "finite volume", constrained()))
    gap = audited()
    worst = max(worst, gap)
    ledger.row(section="residuals", equation="Burgers", form="finite volume, rms", first="finite volumes, NumPy",
               second="audit", difference=gap, values=1)  # fmt: skip
    note = (
        f"largest difference over {len(CASES) + 3} equations, over the largest residual: networks, functions, spectral "
        "derivatives, a solver's tendencies; finite volumes of three libraries, a solver's, a constraint's, the "
        "audit's; both forms, and quadratic elements, on polynomials"
    )
    ledger.check("residuals_of_one_equation_disagree_by", worst, note, note=note)


def _rows(ledger: Ledger, title: str, form: str, found: Mapping[str, np.ndarray]) -> float:
    """Differences from the first, over its largest value."""
    (first, reference), *others = found.items()
    worst = 0.0
    for name, values in others:
        gap = float(np.abs(values - reference).max() / np.abs(reference).max())
        worst = max(worst, gap)
        ledger.row(section="residuals", equation=title, form=form, first=first, second=name, difference=gap,
                   values=int(reference.size))  # fmt: skip
    return worst


def _grid(case: Case) -> Grid:
    return Grid.uniform(case.geometry, 32 if case.problem.dimensions == 1 else 24)


def _sampled(
    case: Case, grid: Grid
) -> tuple[np.ndarray, dict[str, Wave], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(cells, D + 1) points, waves, values and rates on the grid."""
    functions = waves(case, 0)
    points = grid.points().reshape(-1, grid.dimensions)
    z = np.concatenate([points, np.full((len(points), 1), TIME)], axis=1)
    fields = {n: f.values(z, np.cos).reshape(grid.shape) for n, f in functions.items()}
    rates = {n: f.rate(z).reshape(grid.shape) for n, f in functions.items()}
    return z, functions, fields, rates


def _beginning(case: Case, name: str, values: np.ndarray) -> Case:
    """The case with this initial field."""
    given: dict[str, Any] = {**case.parameters, name: values}
    return case.problem.case(**given)


def _flat(found: Mapping[str, Any]) -> np.ndarray:
    """Balances and their components one after the other."""
    return np.concatenate([np.asarray(v).reshape(-1) for v in found.values()])


def strong(case: Case) -> dict[str, np.ndarray]:
    """∂t storage + ∇·flux − source at cell centres."""
    grid = _grid(case)
    z, functions, fields, rates = _sampled(case, grid)
    balances = case.problem.balances()  # type: ignore[attr-defined]
    given: dict[str, Any] = {"parameters": case.parameters}
    in_jax = {n: lambda p, f=f: f.values(p, jnp.cos) for n, f in functions.items()}
    in_torch = {n: lambda p, f=f: f.values(p, torch.cos) for n, f in functions.items()}
    found = {
        "functions, JAX": _flat({n: on_jax.residual(b, in_jax, jnp.asarray(z), **given) for n, b in balances.items()}),
        "functions, torch": _flat(
            {n: on_torch.residual(b, in_torch, torch.as_tensor(z), **given) for n, b in balances.items()}
        ),
    }
    own = residuals(case, in_jax)
    names = [n for n in own if n.split(".")[0] in balances]
    found["network"] = np.concatenate([np.asarray(own[n](z)) for n in names])
    libraries: Mapping[str, tuple[Any, Callable[[np.ndarray], Any]]] = {
        "NumPy": (on_numpy, np.asarray), "JAX": (on_jax, jnp.asarray), "torch": (on_torch, torch.as_tensor),
    }  # fmt: skip
    for library, (provider, to) in libraries.items():
        there = {n: to(v) for n, v in fields.items()}
        changing = {n: to(v) for n, v in rates.items()}
        found[f"spectral, {library}"] = _flat(
            {
                n: provider.strong(b, grid, there, rates=changing, method="spectral", **given)
                for n, b in balances.items()
            }
        )
    if case.problem.dimensions == 1:
        (name,) = fields
        start = case.problem.inputs[0].name
        begun = _beginning(case, start, fields[name])
        answer = PseudoSpectral(grid.shape[0]).solve(begun, [0.0])
        found["pseudo-spectral solver"] = (rates[name] - answer[f"{name}_tendency"].values[0]).reshape(-1)
    return found


def volumes(case: Case) -> dict[str, np.ndarray]:
    """The balance of each cell, by its volume."""
    grid = _grid(case)
    _, _, fields, rates = _sampled(case, grid)
    balances = case.problem.balances()  # type: ignore[attr-defined]
    given = {"parameters": case.parameters, "boundary": case.boundary_conditions}
    libraries: Mapping[str, tuple[Any, Callable[[np.ndarray], Any]]] = {
        "NumPy": (on_numpy, np.asarray), "JAX": (on_jax, jnp.asarray), "torch": (on_torch, torch.as_tensor),
    }  # fmt: skip
    found = {}
    for library, (provider, to) in libraries.items():
        there, changing = ({n: to(v) for n, v in some.items()} for some in (fields, rates))
        found[f"finite volumes, {library}"] = _flat(
            {n: provider.finite_volume(b, grid, there, rates=changing, **given) for n, b in balances.items()}
        )
    if case.problem.dimensions == 1:
        (name,) = fields
        start = case.problem.inputs[0].name
        begun = _beginning(case, start, fields[name])
        answer = FiniteVolume.on(grid.shape, "float64", True).solve(begun, [0.0])
        found["finite-volume solver"] = (rates[name] - answer[f"{name}_tendency"].values[0]).reshape(-1)
    return found


def polynomial() -> dict[str, np.ndarray]:
    """−∇·∇p − s for p = 1 + 2x − y + 3x² − xy + 2y², s = 7: −17 everywhere; finite volumes away from the walls."""
    grid = Grid.uniform(Poisson().case().geometry, 16)
    case = Poisson().case(source=np.full(grid.shape, 7.0))

    def p(z: Any) -> Any:
        x, y = z[..., 0], z[..., 1]
        return 1 + 2 * x - y + 3 * x * x - x * y + 2 * y * y

    points = grid.points()
    z = np.concatenate([points, np.zeros((*grid.shape, 1))], axis=-1)
    inside = (slice(2, -2), slice(2, -2))
    at = z[inside].reshape(-1, 3)
    (balance,) = case.problem.balances().values()  # type: ignore[attr-defined]
    source = {"source": lambda z: 7.0 + 0.0 * z[0]}
    found = {"functions, JAX": np.asarray(on_jax.residual(balance, {"p": p}, jnp.asarray(at), inputs=source))}
    found["network"] = np.asarray(residuals(case, {"p": p}, inputs=source)["potential"](at))
    given: dict[str, Any] = {"inputs": {"source": np.full(grid.shape, 7.0)}, "boundary": case.boundary_conditions}
    volumes = on_numpy.finite_volume(balance, grid, {"p": p(z)}, **given)
    found["finite volumes"] = np.asarray(volumes)[inside].reshape(-1)
    return found


def elements() -> dict[str, np.ndarray]:
    """−k ∂xx T = s on a plate with T(0) = 0 that is insulated elsewhere: where a network's residual is zero, for
    T = s x(2w − x)/(2k), quadratic elements have to answer with the same."""
    heat = 1e6
    case = HeatPlate().case(source=np.full(4, heat), source_points=np.array([[0.0, 0], [1, 0], [0, 0.6], [1, 0.6]]))

    def exact(z: Any) -> Any:
        return heat / (2 * case.conductivity) * z[..., 0] * (2 * case.width - z[..., 0])

    random = np.random.default_rng(0)
    z = np.concatenate([case.geometry.sample(200, random), np.zeros((200, 1))], axis=1)
    given = {"source": lambda z: heat + 0.0 * z[0], "profile": lambda z: 1.0 + 0.0 * z[0]}
    left = residuals(case, {"T": exact}, inputs=given)["energy"](z)
    answer = FiniteElements(resolution=6, order=2).solve(case, None, z[:, :2])["T"].values
    size = exact(z).max()
    return {"polynomial": exact(z) / size, "network": exact(z) / size + np.asarray(left) / heat,
            "quadratic elements": answer / size}  # fmt: skip


def constrained() -> dict[str, np.ndarray]:
    """∇·u of waves as finite volumes have it, and A u − b of the equations that a projection holds answers to."""
    case = CASES["Navier-Stokes, periodic"]
    grid = _grid(case)
    _, _, fields, _ = _sampled(case, grid)
    given: dict[str, Any] = {"parameters": case.parameters, "boundary": case.boundary_conditions}
    balance = case.problem.balances()["continuity"]  # type: ignore[attr-defined]
    found = {"finite volumes, NumPy": np.asarray(on_numpy.finite_volume(balance, grid, fields, **given)).reshape(-1)}
    equations = cell_divergence(grid, velocity=("u", "v"))  # all sides are periodic
    values = np.stack([fields["u"], fields["v"]]).reshape(-1)
    return found | {"constraint": np.asarray(equations.matrix @ values - equations.target)}


def audited() -> float:
    """How far the audit's rms over single cells is from that of the finite volumes, over the latter."""
    case = CASES["Burgers"]
    grid = _grid(case)
    _, _, fields, rates = _sampled(case, grid)
    begun = _beginning(case, "initial_velocity", fields["u"])
    answer = sciml.data.solution(
        begun, [TIME], {"u": fields["u"][None], "u_tendency": (("time", "x"), rates["u"][None])}, grid
    )
    (row,) = sciml.audit(answer).select("momentum", 1)
    ours = volumes(case)["finite volumes, NumPy"]
    rms = float(np.sqrt(np.mean(ours**2)))
    return abs(row.rms - rms) / rms
