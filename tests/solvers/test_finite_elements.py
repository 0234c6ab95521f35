"""Finite elements against manufactured solutions, exact integrals, finite volumes and the theory of elasticity."""

import importlib
import math
from itertools import pairwise

import numpy as np
import pytest

import sciml
import sciml.data
from benchmarks._manufactured import SQUARE, Manufactured, errors, orders, ring
from sciml import Box, Dirichlet, FieldSpec, Flux, Neumann, PDEProblem, Robin, Scales
from sciml.boundary import Outflow, Periodic
from sciml.errors import InputError, SolverError
from sciml.geometry import Disc, Polygon
from sciml.problems import Darcy, ElasticPlate, HeatEquation, HeatPlate, Poisson
from sciml.problems.elastic_plate import plane_stress
from sciml.solvers import FiniteElements, FiniteVolume
from sciml.solvers._fe_space import oriented
from sciml.solvers._newton import Newton
from sciml.support import Mesh

HOLED = SQUARE.without(Disc((0.5, 0.5), 0.25), "hole")
MIXED = {"x_max": Neumann, "y_max": Robin, "y_min": Flux}


def wave(d, x):
    return (d.sin(2.0 * x[0] + x[1]) + x[0] * x[1] ** 2,)


def conducting(q, d, x):
    return -1.0 * (1.0 + 0.5 * x[0] * x[1]) * d.grad(q[0])


def nonlinear(q, d, x):
    return -1.0 * (1.0 + q[0] ** 2) * d.grad(q[0])


def carried(q, d, x):
    return d.vector(2.0 * q[0], -1.0 * q[0] * q[0]) - 0.5 * d.grad(q[0])


class Constants:
    young_modulus, poisson_ratio = 3.0, 0.3


class Displacement:
    def __init__(self, q):
        self.u, self.v = q


def elastic(q, d, x):
    return -1.0 * plane_stress(Displacement(q), d, Constants)


def bent(d, x):
    return d.sin(x[0]) * x[1], d.cos(x[0] + x[1])


# -- orders in space ----------------------------------------------------------------------------------------------

CASES = {
    "variable coefficient": (wave, conducting, SQUARE, MIXED),
    "nonlinear coefficient": (wave, nonlinear, SQUARE, MIXED),
    "advection": (wave, carried, SQUARE, MIXED),
    "around a hole": (wave, conducting, HOLED, MIXED),
    "elasticity": (bent, elastic, SQUARE, {"x_max": Flux, "y_max": Flux}),
    "elasticity around a hole": (bent, elastic, HOLED, {"x_max": Flux, "y_max": Flux}),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_errors_fall_with_the_order_of_the_elements(name, order):
    problem = Manufactured(*CASES[name])
    found = []
    for n in (8, 16, 32) if order == 1 else (6, 12, 24):
        case = problem.case()
        case = case.on(ring(n)) if problem.domain is HOLED else case
        found.append(errors(FiniteElements(n, order=order), case))
    l2, h1 = zip(*found, strict=True)
    assert orders(l2) > order + 0.9 and orders(h1) > order - 0.1
    assert l2[-1] < 0.1 ** (order + 1)


def test_fluxes_through_a_round_hole_are_of_second_order():
    problem = Manufactured(wave, conducting, HOLED, {"hole": Flux, **MIXED})
    l2 = [errors(FiniteElements(order=1), problem.case().on(ring(n)))[0] for n in (8, 16, 32)]
    assert orders(l2) > 1.9


def test_one_dimension_and_three():
    def along(d, x):
        return (d.exp(x[0]),)

    line = Manufactured(along, lambda q, d, x: -1.0 * d.grad(q[0]), Box((0.0,), (1.0,)), {"x_max": Neumann})
    assert orders([errors(FiniteElements(n, order=2), line.case())[0] for n in (8, 16)]) > 2.9
    cube = Manufactured(
        lambda d, x: (d.sin(x[0] + x[1]) * x[2],), lambda q, d, x: -1.0 * (1.0 + x[0]) * d.grad(q[0]),
        Box((0.0,) * 3, (1.0,) * 3), {"z_max": Neumann},
    )  # fmt: skip
    assert orders([errors(FiniteElements(n), cube.case())[0] for n in (3, 6)]) > 1.8


def test_an_unstructured_mesh_of_a_plate_with_two_holes():
    shape = Box((0.0, 0.0), (2.0, 1.0)).without(Disc((0.6, 0.5), 0.2), "round")
    shape = shape.without(Polygon(((1.2, 0.3), (1.7, 0.4), (1.4, 0.7))), "corners")
    problem = Manufactured(wave, nonlinear, shape, {"corners": Flux, "y_min": Robin})
    case = problem.case()
    solver = FiniteElements(16, order=2)
    assert {k for k, f in solver.space(case).facets.items() if len(f)} == set(shape.boundaries)
    assert errors(solver, case)[0] < 2e-4


# -- the weak form ------------------------------------------------------------------------------------------------


def test_the_residual_is_the_exact_integral():
    """u = x² + y and v = x (1 − y) on [0, 1]², quadratic elements, flux −(1 + u) ∇u and source x:
    A(v) = −∫ ∇v·flux + ∮ v flux·n − ∫ v x with zero flux on the sides but y_min, where it is 3."""
    square = {"x_min": Flux(0.0), "x_max": Flux(0.0), "y_max": Flux(0.0), "y_min": Flux(3.0)}

    class Plain(Manufactured):
        def equations(self, q, d, theta, x):
            return {"b": sciml.Balance(flux=-1.0 * (1.0 + q.u0) * d.grad(q.u0), source=x[0])}

        def boundary_conditions(self, case):
            return {b: {"u0": c} for b, c in square.items()}

    solver = FiniteElements(3, order=2)
    system = solver.system(Plain(wave, conducting).case())
    x, y = system.space.nodes.T
    u, v = (x**2 + y)[None], x * (1 - y)
    s, w = np.polynomial.legendre.leggauss(6)
    s, w = (s + 1) / 2, w / 2
    X, Y = np.meshgrid(s, s)
    weights = np.outer(w, w)
    k = 1 + X**2 + Y
    inner = (k * ((1 - Y) * 2 * X - X * 1.0) * weights).sum()
    exact = inner + 3.0 * (w * s).sum() - (X * (1 - Y) * X * weights).sum()
    assert v @ system.outflow(u, 0.0)[0] == pytest.approx(exact, rel=1e-13)
    # with v = 1: what goes out, without what comes in
    assert system.outflow(u, 0.0).sum() == pytest.approx(3.0 - 0.5, rel=1e-13)


def test_what_goes_through_the_boundary_is_what_the_source_gives():
    problem = Manufactured(wave, nonlinear, HOLED, {"hole": Flux, **MIXED})
    solver = FiniteElements(order=2)
    case = problem.case().on(ring(6))
    system = solver.system(case)
    (found,) = solver.run([case], [np.zeros(1)])
    reaction = system.outflow(found["u0_dofs"][:1], 0.0)
    assert np.abs(reaction[~system.fixed]).max() < 1e-12
    # the reactions of the given values are the flux through x_min, that flows out where it is positive
    y = (np.arange(400) + 0.5) / 400
    points = np.stack([np.zeros(400), y], axis=1)
    through = -(problem.number(nonlinear([sciml.expressions.Field("u0")], _D, None)[0], points)).mean()
    assert -reaction[system.fixed].sum() == pytest.approx(through, rel=2e-3)


_D = sciml.expressions.Operators(2)


@pytest.mark.parametrize("name", ["nonlinear coefficient", "advection", "elasticity"])
def test_the_tangent_is_the_limit_of_differences(name):
    problem = Manufactured(*CASES[name])
    system = FiniteElements(4, order=2).system(problem.case())
    random = np.random.default_rng(0)
    state = system.impose(random.standard_normal((len(system.fields), system.space.size)), 0.0)
    trial = np.where(system.fixed, 0.0, random.standard_normal(state.shape))
    zero, h = np.zeros(state.shape), 1e-6
    ends = [system.residual(state + s * h * trial, 0.0, 0.0, 1.0, zero) for s in (1, -1)]
    found = system.matrix(state, 0.0, 0.0, 1.0) @ trial.ravel()[system.free]
    assert np.abs(found - (ends[0] - ends[1]) / (2 * h)).max() < 1e-7 * np.abs(found).max()


def test_newton_converges_quadratically():
    system = FiniteElements(8, order=2).system(Manufactured(wave, nonlinear, SQUARE, MIXED).case())
    newton = Newton(system, "lu", np.ones(1))
    zero = np.zeros((1, system.space.size))
    newton(system.impose(zero, 0.0), 0.0, 0.0, 1.0, zero)
    changes = [c for c in newton.changes if 1e-14 < c < 0.1]
    assert len(changes) >= 3
    assert all(b < 3 * a**2 for a, b in pairwise(changes) if b > 1e-13)


@pytest.mark.parametrize("order", [1, 2])
def test_patch_test(order):
    """A constant strain is exact on any mesh."""
    mesh = ring(4)
    moved = np.array(mesh.position)
    inside = (np.abs(moved - 0.5) < 0.499).all(1) & (np.linalg.norm(moved - 0.5, axis=1) > 0.26)
    moved[inside] += np.random.default_rng(0).uniform(-0.01, 0.01, (inside.sum(), 2))
    problem = Manufactured(
        lambda d, x: (0.1 + 0.2 * x[0] - 0.3 * x[1], 0.5 * x[0] + 0.7 * x[1]), elastic, HOLED,
        {"x_max": Flux, "y_min": Flux},
    )  # fmt: skip
    case = problem.case().on(Mesh(moved, mesh.cells))
    assert max(errors(FiniteElements(order=order), case)) < 1e-13


# -- in time ------------------------------------------------------------------------------------------------------


def swinging(d, x):
    return (d.sin(3.0 * x.time + 1.0) * (1.0 + x[0] * x[1]) + x[0],)


def stored(q, d, x):
    return [q[0] + 0.2 * q[0] * q[0] * q[0]]


@pytest.mark.parametrize(
    ("method", "theta", "order"), [("sdirk2", 0.5, 2), ("bdf2", 0.5, 2), ("theta", 0.5, 2), ("theta", 1.0, 1)]
)
@pytest.mark.parametrize("laws", ["linear", "nonlinear"])
def test_order_in_time(method, theta, order, laws):
    # bilinear in space: exact for quadratic elements, so that all of the error is that in time
    law = (conducting, lambda q, d, x: [q[0]]) if laws == "linear" else (nonlinear, stored)
    problem = Manufactured(swinging, law[0], SQUARE, {"x_max": Neumann, "y_max": Robin}, law[1])
    found = []
    for step in (0.02, 0.01):
        solver = FiniteElements(1, order=2, method=method, theta=theta, time_step=step)
        found.append(errors(solver, problem.case(), [0.1, 0.2])[0])
    assert orders(found) > order - 0.1


def test_factors_are_kept_where_the_matrix_stays():
    problem = Manufactured(swinging, conducting, SQUARE, {"x_max": Robin}, lambda q, d, x: [q[0]])
    solver, case = FiniteElements(4, time_step=0.01), problem.case()
    system = solver.system(case)
    newton = Newton(system, "lu", np.ones(1))
    times = np.array([0.1, 0.2, 0.3])
    values, _, counts = solver._march(case, system, newton, solver._beginning(case, system), times)
    assert counts.sum() == 30 and newton.factorisations == 1 and np.isfinite(values).all()


def test_a_restart_goes_on_as_if_nothing_had_been():
    problem = Manufactured(swinging, nonlinear, SQUARE, {}, lambda q, d, x: [q[0]])
    solver, case = FiniteElements(6, time_step=0.05), problem.case()
    whole = solver.solve(case, [0.0, 0.1, 0.2])
    rest = solver.resume(case, whole.isel(time=slice(0, 2)), [0.2])
    assert np.abs(rest.u0.values[-1] - whole.u0.values[-1]).max() < 1e-14
    assert np.abs(whole.u0.values[0] - problem.value(0, np.stack([whole.x, whole.y], 1))).max() < 1e-15


def test_the_heat_equation_of_the_package():
    case = HeatEquation().case()
    found = FiniteElements(64, order=2, time_step=0.01).solve(case, [0.5, 1.0])
    exact = case.exact([0.5, 1.0], (found.x.values,))["T"]
    assert np.abs(found["T"].values - exact).max() < 2e-3


# -- linear algebra -----------------------------------------------------------------------------------------------


def test_cholesky_gives_what_lu_gives():
    pytest.importorskip("cholespy")
    case = ElasticPlate().case()
    found = [FiniteElements(12, factor=f).solve(case) for f in ("lu", "cholesky")]
    assert np.abs(found[0].u - found[1].u).max() < 1e-9 * np.abs(found[0].u).max()
    with pytest.raises(SolverError, match="not symmetric"):
        FiniteElements(4, factor="cholesky").solve(Manufactured(wave, carried).case())


def test_cholesky_needs_a_package(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match="needs the package cholespy"):
        FiniteElements(factor="cholesky")


class Free(PDEProblem):
    name, title, dimensions, steady = "test_free", "test", 2, True
    fields = (FieldSpec("q", "1"),)
    condition = Neumann(0.0)

    def geometry(self, case):
        return SQUARE

    def scales(self, case):
        return Scales(1.0, 1.0, {"q": 1.0})

    def equations(self, q, d, theta, x):
        return {"q": sciml.Balance(flux=-1.0 * d.grad(q.q), source=d.cos(math.pi * x[0]))}

    def boundary_conditions(self, case):
        return {b: {"q": self.condition} for b in SQUARE.boundaries}


def test_an_open_level_is_named():
    with pytest.raises(SolverError, match=r"singular: the level of 'q' is open, as no Dirichlet or Robin"):
        FiniteElements(4).solve(Free().case())
    problem = Manufactured(bent, elastic, SQUARE, dict.fromkeys(SQUARE.boundaries, Flux))
    with pytest.raises(SolverError, match="singular"):
        FiniteElements(4).solve(problem.case())


class Held(Free):
    condition = Robin(0.0, 1.0, 1.0)


def test_a_robin_condition_fixes_the_level():
    found = FiniteElements(16, order=2).solve(Held().case())
    assert np.isfinite(found.q).all() and np.abs(found.q).max() < 1.0


def test_a_turning_plate_is_singular_too():
    class Hinged(ElasticPlate):
        def boundary_conditions(self, case):
            given = super().boundary_conditions(case)
            return {**given, "x_min": {"u": Flux(0.0), "v": Dirichlet(0.0)}, "x_max": {"u": Flux(0.0), "v": Flux(0.0)}}

    with pytest.raises(SolverError, match="the level of 'u' is open"):
        FiniteElements(8).solve(Hinged().case())


# -- agreement ----------------------------------------------------------------------------------------------------


def test_agreement_with_finite_volumes():
    random = np.random.default_rng(0)
    rough = 1.0 + random.uniform(0.0, 1.0, (4, 4))
    cases = [Poisson().case(source=random.standard_normal((4, 4)))]
    cases.append(Darcy(walls="closed").case(permeability=rough, pressure_left=1.0, source=0.3))
    for case in cases:
        volumes = FiniteVolume(64).solve(case)
        points = np.stack(np.meshgrid(volumes.x, volumes.y), -1).reshape(-1, 2)
        found = FiniteElements(32, order=2).solve(case, points=points).p.values.reshape(64, 64)
        assert np.abs(found - volumes.p.values).max() < 5e-3 * np.abs(found).max()


def test_layers_of_a_porous_medium_are_exact():
    case = Darcy(walls="closed").case(
        permeability=np.tile([1.0, 4.0, 2.0, 8.0], (4, 1)), source=0.0, pressure_left=1.0, pressure_right=-1.0
    )
    found = FiniteElements(8).solve(case)
    x = np.unique(found.x.values)
    exact = np.interp(found.x.values, x, case.exact(None, (x, np.zeros(1)))["p"][0])
    assert np.abs(found.p.values - exact).max() < 1e-13


def stress_at(case, solver, points):
    slopes = solver.gradients(case, points)
    (ux, uy), (vx, vy) = slopes["u"], slopes["v"]
    e, nu = case.young_modulus, case.poisson_ratio
    return e / (1 - nu**2) * np.array([ux + nu * vy, vy + nu * ux, (1 - nu) / 2 * (uy + vx)])


def test_the_stress_beside_a_small_hole_is_three_times_as_large():
    """Kirsch (1898): σ at the hole is 3 across the pull and −1 along it; without lateral contraction the clamp does not
    disturb the pull."""
    a = 0.03
    case = ElasticPlate().case(width=1.0, height=1.0, hole_x=0.5, hole_y=0.5, hole_radius=a, poisson_ratio=0.0)
    case = case.on(ring(16, radius=a, layers=20, growth=20.0))
    solver = FiniteElements(order=2)
    top, beside = np.array([[0.5, 0.5 + 1.001 * a]]), np.array([[0.5 - 1.001 * a, 0.5]])
    assert stress_at(case, solver, top)[0, 0] / case.traction_x == pytest.approx(3.0, rel=0.03)
    assert stress_at(case, solver, beside)[1, 0] / case.traction_x == pytest.approx(-1.0, rel=0.06)
    # away from the hole as far as the theory says: σ_xx on the axis across the pull, in radii
    r = np.array([1.5, 2.0, 3.0, 5.0])
    theory = 1 + 0.5 / r**2 + 1.5 / r**4
    points = np.stack([np.full(4, 0.5), 0.5 + a * r], axis=1)
    assert stress_at(case, solver, points)[0] / case.traction_x == pytest.approx(theory, rel=0.03)


def test_a_pulled_plate_is_longer():
    """Without a hole to speak of: u = t x / E, v = −ν t y / E but for the clamp."""
    case = ElasticPlate().case(width=4.0, height=0.5, hole_x=2.0, hole_y=0.25, hole_radius=0.02)
    found = FiniteElements(64, order=2).solve(case, points=np.array([[4.0, 0.25]]))
    assert found.u.values[0] == pytest.approx(case.traction_x * 4.0 / case.young_modulus, rel=0.02)


# -- meshes and requests ------------------------------------------------------------------------------------------


def test_answers_at_points_are_the_quadratic_itself():
    problem = Manufactured(lambda d, x: (x[0] ** 2 - x[0] * x[1],), lambda q, d, x: -1.0 * d.grad(q[0]))
    points = np.random.default_rng(0).uniform(0, 1, (50, 2))
    found = FiniteElements(3, order=2).solve(problem.case(), points=points)
    assert np.abs(found.u0.values - problem.value(0, points)).max() < 1e-13
    slopes = FiniteElements(3, order=2).gradients(problem.case(), points)["u0"]
    assert np.abs(slopes.T - problem.gradient(0, points)).max() < 1e-12


def test_quadrilaterals_and_other_numberings():
    n = 8
    x, y = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1))
    k = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    cells = np.stack([k, k + 1, k + n + 2, k + n + 1], axis=1)
    shuffled = np.random.default_rng(0).permutation((n + 1) ** 2)
    position = np.empty(((n + 1) ** 2, 2))
    position[shuffled] = np.stack([x.ravel(), y.ravel()], axis=1)
    case = Poisson().case().on(Mesh(position, {"quadrilateral": shuffled[cells]}))
    found = FiniteElements().solve(case)
    exact = np.sin(np.pi * position[:, 0]) * np.sin(np.pi * position[:, 1])
    assert np.abs(found.p.values - exact).max() < 0.02 and found.connectivity.shape == (64, 4)


def bad(change):
    mesh = FiniteElements(4).grid(Poisson().case())
    position, cells = np.array(mesh.position), np.array(mesh.cells["triangle"])
    position, cells = change(position, cells)
    FiniteElements().solve(Poisson().case().on(Mesh(position, {"triangle": cells})))


def test_meshes_that_are_none():
    def inverted(p, c):
        c[3] = c[3][[0, 2, 1]]
        return p, c

    def folded(p, c):
        p[12] += (0.4, 0.0)  # beyond its neighbours
        return p, c

    def flat(p, c):
        a, b = c[5, 0], c[5, 1]
        p[c[5, 2]] = (p[a] + p[b]) / 2
        return p, c

    def loose(p, c):
        return np.concatenate([p, [[0.5, 0.5]]]), c

    def apart(p, c):
        far = np.array([[3.0, 3.0], [4.0, 3.0], [3.0, 4.0]])
        return np.concatenate([p, far]), np.concatenate([c, [[25, 26, 27]]])

    def twice(p, c):
        return p, np.concatenate([c, c[:1]])

    for change, message in (
        (inverted, "cell 3 is inverted"), (folded, r"is inverted|is degenerate"), (flat, r"cell \d+ is degenerate"),
        (loose, "node 25 belongs to no cell"), (apart, "falls into 2 parts; cell 32 is disconnected"),
        (twice, "are a facet of 3 cells"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            bad(change)
    with pytest.raises(InputError, match="where the domain has no boundary"):
        FiniteElements().solve(Poisson().case().on(ring(8)))


def test_conditions_that_do_not_fit():
    class Missing(Free):
        def boundary_conditions(self, case):
            return {"x_min": {"q": Dirichlet(0.0)}}

    class Unknown(Free):
        def boundary_conditions(self, case):
            return {"hole": {"q": Dirichlet(0.0)}}

    class Around(Free):
        condition = Periodic()

    with pytest.raises(InputError, match="x_max: expected a condition on q"):
        FiniteElements(4).solve(Missing().case())
    with pytest.raises(InputError, match="hole: no boundary is called that"):
        FiniteElements(4).solve(Unknown().case())
    with pytest.raises(InputError, match="other than Periodic"):
        FiniteElements(4).solve(Around().case())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "order is 3"), ({"resolution": 0}, "resolution is 0"),
        ({"method": "euler"}, "method is 'euler'"),
        ({"theta": 0.2}, "theta is 0.2"), ({"factor": "qr"}, "factor is 'qr'"), ({"time_step": -1.0}, "time_step is"),
    ],
)  # fmt: skip
def test_settings_that_there_are_not(options, message):
    with pytest.raises(InputError, match=message):
        FiniteElements(**options)


def test_problems_that_it_takes():
    solver = FiniteElements()
    assert all(map(solver.supports, (Poisson(), Darcy(), HeatEquation(), HeatPlate(), ElasticPlate())))
    assert not solver.supports(sciml.problems.LidDrivenCavity())
    assert not FiniteVolume(8).supports(HeatPlate())  # whose functions are given at points of their own
    with pytest.raises(InputError, match="periodic"):
        solver.solve(sciml.problems.Burgers().case(), [0.1])


def test_outflow_leaves_what_is_carried():
    problem = Manufactured(lambda d, x: (2.0 + x[1],), lambda q, d, x: d.vector(q[0], 0.0) - 0.01 * d.grad(q[0]))
    problem.conditions = {"x_max": Outflow}
    problem._condition = _with_outflow(problem._condition)
    assert max(errors(FiniteElements(4), problem.case())) < 1e-12


def _with_outflow(usual):
    return lambda kind, *rest: Outflow() if kind is Outflow else usual(kind, *rest)


# -- the problems of the package ----------------------------------------------------------------------------------


def test_a_plate_with_nothing_but_a_warm_edge_is_warm():
    edge = np.stack([np.zeros(9), np.linspace(0, 0.6, 9)], axis=1)
    holes = np.array([[0.5, 0.3, 0.1, 0, 0], [0.8, 0.2, 0.05, 6, 0.2]])
    case = HeatPlate(steady=False).case(
        edge_points=edge,
        edge_temperature=np.full(9, 7.0),
        holes=holes,
        initial_temperature=7.0,
        conductivity_slope=1e-3,
    )
    found = FiniteElements(12).solve(case, times=[100.0, 1e5])
    assert np.abs(found["T"].values - 7.0).max() < 1e-10


def test_heat_through_the_holes_leaves_through_the_edge():
    holes = np.array([[0.5, 0.3, 0.1, 5, 0.0]])
    case = HeatPlate().case(holes=holes, hole_flux=1000.0, conductivity_slope=1e-3)
    solver = FiniteElements(12, order=2)
    system = solver.system(case)
    (found,) = solver.run([case], [np.zeros(1)])
    perimeter = 5 * 2 * 0.1 * math.sin(math.pi / 5)
    out = -system.outflow(found["T_dofs"][:1], 0.0)[system.fixed].sum()  # what the edge takes up
    assert out == pytest.approx(1000.0 * perimeter, rel=1e-10)


def test_holes_that_touch_are_refused():
    for holes, message in (
        ([[0.05, 0.3, 0.1, 0, 0]], "hole 0 touches the edge"),
        ([[0.4, 0.3, 0.1, 0, 0], [0.5, 0.3, 0.1, 4, 0]], "hole 1 touches hole 0"),
        ([[0.4, 0.3, 0.1, 2, 0]], "2 corners"),
        ([[0.4, 0.3, 0.1]], r"expected \(N, 5\)"),
    ):
        with pytest.raises(InputError, match=message):
            _ = HeatPlate().case(holes=np.array(holes)).geometry


@pytest.mark.parametrize("name", ["heat_plate", "elastic_plate"])
def test_generated_plates_come_back(name, tmp_path):
    path = tmp_path / "plates.h5"
    made = sciml.solvers.generate(name, path, cases=2, resolution=6, progress=False)
    assert not made.failed and made.cases == {"random": 2}
    with sciml.data.open(path) as data:
        sizes = set()
        for i in range(2):
            case, solution = sciml.data.case(data, i)
            assert isinstance(case.support, Mesh) and solution.connectivity.shape[1] == 3
            fields = [f.name for f in case.problem.fields]
            again = FiniteElements().solve(case)  # on the mesh that it was made on
            for f in fields:
                size = np.abs(again[f].values).max()
                assert np.abs(again[f].values - solution[f].values).max() < 1e-5 * size
            sizes.add(solution.sizes["node"])
    assert len(sizes) == 2


def test_generated_plates_in_time(tmp_path):
    path = tmp_path / "plates.h5"
    made = sciml.solvers.generate(
        "heat_plate", path, cases=2, resolution=6, frames=4, profile="transient", progress=False
    )
    assert not made.failed and made.frames == 4
    with sciml.data.open(path) as data:
        case, solution = sciml.data.case(data, 1)
        assert not case.problem.steady and solution["T"].dims == ("time", "node")
        assert np.allclose(solution["T"].values[0], case.initial_temperature, rtol=1e-6)
        assert np.allclose(solution.time, 0.02 * case.scales.time * np.arange(4))
        # it comes to what is steady
        steady = HeatPlate().case(**{**case.parameters}, **case.inputs).on(case.support)
        late = FiniteElements(time_step=5 * case.scales.time).solve(case, [100 * case.scales.time])
        assert np.allclose(late["T"].values[0], FiniteElements().solve(steady)["T"].values, atol=1e-6)


def test_oriented_cells_turn_one_way():
    position = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = oriented(position, np.array([[0, 1, 2], [1, 2, 3]]), "triangle").cells["triangle"]
    sides = position[found[:, 1:]] - position[found[:, :1]]
    assert (np.linalg.det(sides) > 0).all()


def test_points_outside_of_the_domain_are_refused():
    from sciml.problems import Poisson

    solver, case = FiniteElements(8), Poisson().case()
    with pytest.raises(InputError, match=r"points: point 1 at \(1000, 0\) lies outside of the domain"):
        solver.solve(case, points=[[0.5, 0.5], [1e3, 0.0]])
    with pytest.raises(InputError, match="points: expected at least one point, got none"):
        solver.solve(case, points=np.zeros((0, 2)))
    with pytest.raises(InputError, match=r"points: expected finite coordinates, got \[nan, 0.0\] in row 1"):
        solver.solve(case, points=[[0.0, 0.0], [np.nan, 0.0]])
    assert solver.solve(case, points=[[1.0, 1.0]]).attrs["status"] == "ok"
