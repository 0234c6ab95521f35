"""The residual of an equation, typed once, is the same number wherever the package computes it.

Smooth manufactured fields, in every problem that states equations: what a PINN is trained on, differences of the
balance's storage, flux and source that are taken here, finite volumes, the residual within a training loss, the audit
of a data set, and the assembled weak form of finite elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import sciml
from sciml import registry
from sciml.derivatives import numpy as on_arrays
from sciml.derivatives import torch as on_tensors
from sciml.errors import InputError
from sciml.expressions import (
    Choice,
    Constant,
    Coordinate,
    Field,
    Function,
    Input,
    Operation,
    Parameter,
    Partial,
    Time,
    leaves,
)
from sciml.problem import PDEProblem
from sciml.solvers import FiniteElements
from sciml.solvers.pinn import residuals
from sciml.support import Grid
from sciml.training import Autoregressive, Steady
from sciml.training.encoding import GridEncoding
from sciml.training.normalisation import FeatureScaler, FieldScaler
from sciml.training.physics import Equations
from sciml.training.samples import TimeStep

# problems of this package, since other tests register theirs
OURS = {
    n: p for n in sorted(registry.problems.names()) if (p := registry.problems.get(n)).__module__.startswith("sciml.")
}
PROBLEMS: dict[str, PDEProblem] = {n: p() for n, p in OURS.items() if issubclass(p, PDEProblem)}
# one balance of three fields, without beginning and sides: no numerical solver takes it, and the networks that do have
# tests of their own
del PROBLEMS["mass_transport"]
#: options with which a problem has other balances
PROBLEMS["heat_plate, transient"] = sciml.problems.HeatPlate(steady=False)
STATED = list(PROBLEMS)

PERIODIC = "elements take no periodic domain"
SADDLE = "velocity and pressure under a constraint need elements of other kinds"
#: what a problem does not have, and why; anything else has to agree
EXCEPTIONS = {
    ("finite elements", "advection"): PERIODIC,
    ("finite elements", "allen_cahn"): PERIODIC,
    ("finite elements", "burgers"): PERIODIC,
    ("finite elements", "diffusion"): PERIODIC,
    ("finite elements", "cylinder_flow"): SADDLE,
    ("finite elements", "isotropic_turbulence"): SADDLE,
    ("finite elements", "kolmogorov_flow"): SADDLE,
    ("finite elements", "taylor_green_3d"): SADDLE,
    ("finite elements", "dam_flow"): SADDLE,
    ("finite elements", "lid_driven_cavity"): SADDLE,
    ("finite elements", "taylor_green"): SADDLE,
    ("finite elements", "tube_flow"): SADDLE,
    ("finite elements", "turbulent_channel"): SADDLE,
}
#: of a balance that is no polynomial of the place, what the quadrature of finite elements may be off by
INEXACT = {"reversing_swirl": 2e-5}
#: in characteristic times: rates by central differences are then off by some 1e-10 where a storage is no polynomial, as
#: that of sorption, and by 1e-13 from rounding
STEP = 1e-3
#: parameters with which every term counts in waves as long as the domain
SETTINGS: dict[str, dict[str, float]] = {
    "advection": {"speed": 0.7, "length": 1.5},
    "allen_cahn": {"diffusivity": 0.05},
    "burgers": {"viscosity": 0.05, "length": 1.5},
    "cylinder_flow": {"viscosity": 0.05},
    "dam_flow": {"viscosity": 5.0, "air_viscosity": 1.0, "air_density": 20.0},
    "heat_equation": {"diffusivity": 0.1, "length": 0.8},
    "heat_plate": {"conductivity": 0.2, "conductivity_slope": 0.2},
    "isotropic_turbulence": {"viscosity": 0.1, "forcing": 0.4},
    "kolmogorov_flow": {"viscosity": 0.1, "wavenumber": 1.0},
    "lid_driven_cavity": {"viscosity": 0.1, "width": 0.8},
    "porous_medium": {"exponent": 1.0},  # quadrature is exact for polynomials
    "stefan": {"threshold": 0.05},  # all of it warm: quadrature does not see kinks
    "taylor_green": {"viscosity": 0.1},
    "taylor_green_3d": {"viscosity": 0.1},
    "tube_flow": {"viscosity": 2.0, "air_viscosity": 0.5, "air_density": 20.0},
}


@dataclass(frozen=True)
class Waves:
    """size · (½ + Σ_k a_k sin(k·x + ω_k t + φ_k)), within (0.1, 0.9) · size, in any library."""

    size: float
    numbers: np.ndarray
    rates: np.ndarray
    phases: np.ndarray

    def __call__(self, z: Any, sin: Any = jnp.sin) -> Any:
        total = 0.5
        for k, w, p in zip(self.numbers, self.rates, self.phases, strict=True):
            turn = sum(float(n) * z[..., a] for a, n in enumerate(k)) + float(w) * z[..., -1] + float(p)
            total = total + 0.2 * sin(turn)
        return self.size * total

    def rate(self, z: np.ndarray) -> np.ndarray:
        turns = z[..., :-1] @ self.numbers.T + z[..., -1:] * self.rates + self.phases
        return self.size * 0.2 * (np.cos(turns) * self.rates).sum(-1)


class Made:
    """Manufactured fields and inputs of one case of a problem."""

    def __init__(self, name: str):
        self.problem = PROBLEMS[name]
        self.settings = SETTINGS.get(self.problem.name, {})
        self.case = self.problem.case(**self.settings)
        self.balances = self.problem.balances()
        self.d, self.time = self.problem.dimensions, 0.3 * self.case.scales.time
        self.random = np.random.default_rng(sum(map(ord, name)))
        scales = self.case.scales
        self.fields = {f.name: self.waves(scales.fields.get(f.name, 1.0)) for f in self.problem.fields}
        named = {leaf for b in self.balances.values() for s, f, q in b.components() for e in (s, *f, q)
                 if e is not None for leaf in leaves(e)}  # fmt: skip
        specs = {s.name: s for s in self.problem.inputs}
        self.specs = {leaf.name: specs[leaf.name] for leaf in sorted(named, key=repr) if isinstance(leaf, Input)}
        self.inputs = {n: self.waves(1.0, still=True) for n in self.specs}

    def waves(self, size: float, still: bool = False) -> Waves:
        random, lengths = self.random, np.array([b - a for a, b in self.case.geometry.extents])
        numbers = random.uniform(0.5, 1.0, (2, self.d))
        numbers = np.where(self.case.geometry.periodic, np.array([[1], [2]]), numbers) * random.choice(
            [-1, 1], (2, self.d)
        )
        rates = np.zeros(2) if still or self.problem.steady else random.uniform(1, 2, 2) / self.case.scales.time
        return Waves(size, 2 * np.pi * numbers / lengths, rates, random.uniform(0, 6, 2))

    def points(self, places: np.ndarray) -> np.ndarray:
        """With the time."""
        return np.concatenate([places, np.full((*places.shape[:-1], 1), self.time)], axis=-1)

    @cached_property
    def pinn(self) -> Any:
        """(N, D + 1) -> (row, N), what a PINN minimises."""
        found = residuals(self.case, self.fields, inputs=self.inputs)
        rows = [r for n, r in found.items() if n.split(".")[0] in self.balances]
        assert len(rows) == sum(len(b.components()) for b in self.balances.values())
        return lambda z: np.stack([np.asarray(r(z)) for r in rows])

    def grid(self, n: int, masked: bool = False) -> Grid:
        return Grid.uniform(self.case.geometry, (n,) * self.d, masked)

    def on(self, grid: Grid) -> Any:
        """The case with the inputs on the cells of a grid, or at the middles of these."""
        places, given = grid.points(), {}
        for n, f in self.inputs.items():
            given[n] = f(self.points(places), np.sin)
            if at := self.specs[n].at:
                given |= {n: given[n].ravel(), at: places.reshape(-1, self.d)}
        return self.problem.case(**self.settings, **given)

    def values(self, grid: Grid, shift: float = 0.0) -> dict[str, np.ndarray]:
        """At cell centres, and what `shift` times the rates adds."""
        z = self.points(grid.points())
        return {n: f(z, np.sin) + shift * f.rate(z) for n, f in self.fields.items()}

    def volumes(self, n: int) -> np.ndarray:
        """(row, *shape) from centre values by finite volumes, with the conditions of the case."""
        grid = self.grid(n)
        z = self.points(grid.points())
        fields = self.values(grid)
        given = {
            "rates": {n: f.rate(z) for n, f in self.fields.items()},
            "inputs": {n: f(z, np.sin) for n, f in self.inputs.items()},
            "parameters": self.case.parameters, "boundary": self.case.boundary_conditions, "time": self.time,
        }  # fmt: skip
        rows = [on_arrays.finite_volume(b, grid, fields, **given) for b in self.balances.values()]
        return np.concatenate([r.reshape(-1, *grid.shape) for r in rows])

    def spectral(self, n: int) -> np.ndarray:
        """(row, *shape) from centre values by spectral derivatives."""
        grid = self.grid(n)
        rates = {n: f.rate(self.points(grid.points())) for n, f in self.fields.items()}
        given = {"rates": rates, "parameters": self.case.parameters, "time": self.time, "method": "spectral"}
        rows = [on_arrays.strong(b, grid, self.values(grid), **given) for b in self.balances.values()]
        return np.concatenate([r.reshape(-1, *grid.shape) for r in rows])

    def inner(self, grid: Grid, margin: float) -> np.ndarray:
        """Cells whose centres are at least this share of the extents off the sides that are not periodic."""
        found, points = np.ones(grid.shape, bool), grid.points()
        for a, ((low, high), periodic) in enumerate(zip(grid.extents, grid.periodic, strict=True)):
            if not periodic:
                share = (points[..., a] - low) / (high - low)
                found &= (share > margin) & (share < 1 - margin)
        return found


made = cache(Made)


# -- an evaluation of one's own -----------------------------------------------------------------------------------

#: of eighth order, for half of the differences of points at ±1 ... ±4 steps
DIFFERENCES = (8 / 5, -2 / 5, 8 / 105, -1 / 140)
OPERATIONS = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power,
    "minimum": np.minimum, "maximum": np.maximum,
}  # fmt: skip


def value(e: Any, z: np.ndarray, m: Made, steps: np.ndarray) -> Any:
    """An expression at points, its derivatives by differences."""
    match e:
        case Constant(number):
            return number
        case Field(name):
            return m.fields[name](z, np.sin)
        case Input(name):
            return m.inputs[name](z, np.sin)
        case Parameter(name):
            return m.case.parameters[name]
        case Coordinate(axis):
            return z[..., axis]
        case Time():
            return z[..., -1]
        case Partial(argument, axis):
            return difference(argument, z, m, steps, axis)
        case Operation(name, a, b):
            return OPERATIONS[name](value(a, z, m, steps), value(b, z, m, steps))
        case Function(name, a):
            return getattr(np, name)(value(a, z, m, steps))
        case Choice(a, b, c):
            return np.where(value(a, z, m, steps) > 0, value(b, z, m, steps), value(c, z, m, steps))
    raise TypeError(e)


def difference(e: Any, z: np.ndarray, m: Made, steps: np.ndarray, axis: int) -> Any:
    h, total = steps[axis], 0.0
    for k, weight in enumerate(DIFFERENCES, 1):
        move = np.zeros(z.shape[-1])
        move[axis] = k * h
        total = total + weight / 2 * (value(e, z + move, m, steps) - value(e, z - move, m, steps))
    return total / h


def differences(m: Made, z: np.ndarray) -> np.ndarray:
    """(row, N): ∂t storage + ∇·flux − source."""
    steps = np.array([(b - a) / 80 for a, b in m.case.geometry.extents] + [m.case.scales.time / 20])
    rows = []
    for b in m.balances.values():
        for storage, flux, source in b.components():
            total = np.zeros(len(z)) - value(source, z, m, steps)
            if storage is not None:
                total = total + difference(storage, z, m, steps, m.d)
            for axis, f in enumerate(flux):
                total = total + difference(f, z, m, steps, axis)
            rows.append(total)
    return np.stack(rows)


def sizes(rows: np.ndarray) -> np.ndarray:
    """(row, 1, ...) largest values."""
    return np.abs(rows).max(axis=tuple(range(1, rows.ndim)), keepdims=True)


@pytest.mark.parametrize("name", STATED)
def test_pinn_and_differences(name):
    """Rows of a PINN, and of functions in torch, against differences of the balances."""
    m = made(name)
    assert m.balances
    z = m.points(m.case.geometry.sample(20, np.random.default_rng(0)))
    expected = differences(m, z)
    assert (sizes(expected) > 0).all()
    assert (np.abs(m.pinn(z) - expected) <= 1e-7 * sizes(expected)).all()
    functions, inputs = ({n: lambda p, f=f: f(p, torch.sin) for n, f in fs.items()} for fs in (m.fields, m.inputs))
    found = [on_tensors.residual(b, functions, torch.as_tensor(z), m.case.parameters, inputs).reshape(-1, len(z))
             for b in m.balances.values()]  # fmt: skip
    assert (np.abs(m.pinn(z) - np.concatenate(found)) <= 1e-10 * sizes(expected)).all()


@pytest.mark.parametrize("name", STATED)
def test_finite_volumes(name):
    """From centre values they come to the mean over each cell as the square of its size; on a torus spectral
    derivatives are those of the fields to rounding."""
    m = made(name)
    n = (48, 24, 12)[m.d - 1]
    grids = [m.grid(n), m.grid(2 * n)]
    nodes, weights = np.polynomial.legendre.leggauss(2)
    stencil = np.stack(np.meshgrid(*[nodes / 2] * m.d, indexing="ij"), -1).reshape(-1, m.d)
    shares = np.prod(np.meshgrid(*[weights / 2] * m.d, indexing="ij"), axis=0).reshape(-1)
    inside = [m.inner(g, 0.13) for g in grids]
    places = [(g.points()[i][:, None] + stencil * [float(w[0]) for w in g.widths]) for g, i in
              zip(grids, inside, strict=True)]  # fmt: skip
    every = [*places, grids[0].points()]
    found = m.pinn(m.points(np.concatenate([p.reshape(-1, m.d) for p in every])))
    errors, first = [], 0
    for g, i, p in zip(grids, inside, places, strict=True):
        count = p.shape[0] * p.shape[1]
        means = found[:, first : first + count].reshape(len(found), p.shape[0], -1) @ shares
        first += count
        errors.append(np.sqrt(np.mean((m.volumes(g.shape[0])[:, i] - means) ** 2, axis=1)) / sizes(means)[:, 0])
    orders = np.log2(errors[0] / errors[1])
    assert (errors[1] < 0.05).all() and (orders > 1.7).all(), (orders, errors)
    if all(m.case.geometry.periodic):
        rows = m.spectral(n)
        assert (np.abs(rows - found[:, first:].reshape(rows.shape)) <= 1e-10 * sizes(rows)).all()


def encoding(case: Any, grid: Grid, fields: tuple[str, ...]) -> GridEncoding:
    """One that leaves normalised values as odd multiples of physical ones."""
    stepping: Any = Steady() if case.problem.steady else Autoregressive()
    n = len(fields)
    none = FieldScaler((), np.zeros(0), np.zeros(0))
    return GridEncoding(
        case.problem, fields, stepping, None if case.problem.steady else TimeStep("physical", 1.0), grid, False, True,
        case.mask(grid) is not None, FieldScaler(fields, np.linspace(0.1, 0.2, n), np.linspace(1.5, 2.5, n)),
        np.ones((stepping.ahead, n)), none, FeatureScaler((), *[np.zeros(0)] * 4), (0.0, 1.0), "float64",
    )  # fmt: skip


def in_the_loss(m: Made, grid: Grid, method: str = "finite_volume") -> tuple[np.ndarray, np.ndarray]:
    """(row, *shape) residuals within a training loss, and which of them are of control volumes.

    Steps that end in the same frame, one forwards and one backwards in time, with θ = 1: the mean of their rates is
    that of the storage, exact for products of two fields, and as good as exact with so short a step.
    """
    case = m.on(grid).on(grid)
    e = encoding(case, grid, tuple(m.fields))
    step = STEP * case.scales.time

    def frame(shift: float) -> torch.Tensor:
        return torch.from_numpy(e.normalise(case, np.stack(list(m.values(grid, shift).values())), grid))

    now = frame(0.0)[None]
    if m.problem.steady:
        supplied = Equations(e, method=method).supplied([case], None)
        ((group, found),) = supplied.residuals(None, now[None])
    else:
        times = m.time + np.array([[-step, 0.0], [step, 0.0]])
        supplied = Equations(e, method=method, implicit=1.0).supplied([case, case], times)
        before = torch.stack([frame(-step), frame(step)])
        ((group, found),) = supplied.residuals(before, torch.stack([now, now]))
    rows = np.concatenate([found[b].mean(1)[:, 0].numpy() for b in m.balances])
    used = np.concatenate([group.weights[b][:, 0].numpy() > 0 for b in m.balances])
    return rows, used


@pytest.mark.parametrize("name", STATED)
def test_loss(name):
    """The residual within a loss is that of finite volumes, on a torus also the spectral one."""
    m = made(name)
    grid = m.grid(24, masked=True)
    found, used = in_the_loss(m, grid)
    expected = m.volumes(24)
    # of parts of a side, and of two fluids that leave, more is known than finite volumes are told here
    compared = used & m.inner(grid, 2.5 / 24)
    assert compared.any(axis=tuple(range(1, compared.ndim))).all()
    assert (np.abs(found - expected) <= 1e-9 * sizes(expected))[compared].all()
    if all(m.case.geometry.periodic):
        assert used.all()
        spectral, strong = in_the_loss(m, grid, "spectral")[0], m.spectral(24)
        assert (np.abs(spectral - strong) <= 1e-9 * sizes(strong)).all()


@pytest.mark.parametrize("name", STATED)
def test_audit(name):
    """The rms over single cells, in the audit of a data set that holds the fields, is that of the residual in a loss
    over the same control volumes, of all of them up to the sides."""
    m = made(name)
    grid = m.grid(24, masked=True)
    case = m.on(grid)
    lead = () if m.problem.steady else ("time",)
    dims = (*lead, *("x", "y", "z")[: m.d][::-1])
    z = m.points(grid.points())
    fields = {n: (dims, v if m.problem.steady else v[None]) for n, v in m.values(grid).items()}
    if not m.problem.steady:
        fields |= {f"{n}_tendency": (dims, m.fields[n].rate(z)[None]) for n in m.problem.state_fields}
    dataset = sciml.data.solution(case, None if m.problem.steady else [m.time], fields, grid)
    audit = sciml.audit(dataset)
    found, used = in_the_loss(m, grid)
    expected = np.sqrt([np.mean(r[u] ** 2) for r, u in zip(found, used, strict=True)])
    names = [n if len(b.components()) == 1 else f"{n} {'xyz'[i]}" for n, b in m.balances.items()
             for i in range(len(b.components()))]  # fmt: skip
    rms = [next(r.rms for r in audit.select(n, 1) if r.check == "balance") for n in names]
    np.testing.assert_allclose(rms, expected, rtol=1e-9)


@pytest.mark.parametrize("name", STATED)
def test_finite_elements(name):
    """Of a polynomial of second degree the assembled residual, for each function of quadratic elements that vanishes on
    the boundary, is the integral of that function times the strong residual, to rounding. Where a coefficient jumps,
    the fields bend so that their flux does not."""
    m = made(name)
    solver = FiniteElements(resolution=6, order=2)
    if ("finite elements", name) in EXCEPTIONS:
        if solver.supports(m.problem):
            with pytest.raises(InputError, match="periodic"):
                solver.space(m.case)
        return
    assert solver.supports(m.problem)
    given, inputs = stepped(m)
    case = m.problem.case(**m.settings, **given)
    middle = np.array([(a + b) / 2 for a, b in case.geometry.extents])
    jumps = [n for n, s in m.specs.items() if s.kind == "coefficient" and len(s.dims) == m.d]
    random, scales, lengths = np.random.default_rng(1), case.scales, np.ptp(case.geometry.extents, axis=1)

    def polynomial(size: float) -> Any:
        a, b, c = random.uniform(0.2, 1.0, m.d), random.uniform(-1, 1, (m.d, m.d)), random.uniform(1, 2)

        def f(z: Any) -> Any:
            s = [(z[..., k] - middle[k]) / lengths[k] for k in range(m.d)]
            linear = 1 + sum(a[k] * s[k] for k in range(m.d)) + c * z[..., -1] / scales.time
            if jumps:
                return size * s[0] * linear / inputs[jumps[0]](z)
            return size * (linear + sum(b[j, k] * s[j] * s[k] for j in range(m.d) for k in range(m.d)))

        return f

    fields = {f.name: polynomial(scales.fields.get(f.name, 1.0)) for f in m.problem.fields}
    system, space = solver.system(case), solver.space(case)
    places, weights = space.cells.points, space.cells.weights
    rows = residuals(case, fields, inputs=inputs)
    rows = [r for n, r in rows.items() if n.split(".")[0] in m.balances]
    at = m.points(places.reshape(-1, m.d))
    expected = np.stack([space.cells.vector({0: np.asarray(r(at)).reshape(weights.shape)}, space.size) for r in rows])

    def state(time: float) -> np.ndarray:
        z = np.concatenate([space.nodes, np.full((space.size, 1), time)], axis=1)
        with jax.enable_x64(True):
            return np.stack([np.asarray(f(jnp.asarray(z))) for f in fields.values()])

    found = system.outflow(state(m.time), m.time)
    if not m.problem.steady:
        step = STEP * scales.time
        later, sooner = (system.storage(state(m.time + s), m.time + s) for s in (step, -step))
        found = found + (later - sooner) / (2 * step)
    inside = np.ones(space.size, bool)
    for boundary in case.geometry.boundaries:
        inside[space.on(boundary)] = False
    assert inside.sum() > 2
    assert (np.abs(found - expected)[:, inside] <= INEXACT.get(name, 1e-10) * sizes(np.abs(found))).all()
    assert (np.abs(expected[:, inside]).max(1) > 1e-6 * sizes(found)[:, 0]).all()


def stepped(m: Made) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs that elements know exactly, and the same as functions: on cells two halves; at points linear."""
    extents = m.case.geometry.extents
    middle, given, functions = sum(extents[0]) / 2, {}, {}
    corners = np.stack(np.meshgrid(*extents, indexing="ij"), -1).reshape(-1, m.d)
    for k, (n, spec) in enumerate(m.specs.items()):
        if spec.at:
            slope = np.linspace(0.3, -0.2, m.d) * (k + 1)
            given |= {n: 2 + corners @ slope, spec.at: corners}
            functions[n] = lambda z, slope=slope: 2 + sum(float(s) * z[..., a] for a, s in enumerate(slope))
        else:
            given[n] = np.broadcast_to(np.array([1.5, 4.0]), (2,) * m.d).copy()
            functions[n] = lambda z: jnp.where(z[..., 0] < middle, 1.5, 4.0)
    return given, functions


def test_exceptions_are_of_problems_that_there_are():
    assert {n for _, n in EXCEPTIONS} <= set(STATED)
    assert {form for form, _ in EXCEPTIONS} == {"finite elements"}
