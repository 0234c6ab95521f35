"""Scalar balances around bodies: orders against made-up solutions, what is conserved, gradients, restarts."""

from functools import partial

import jax
import numpy as np
import pytest

from sciml import Dirichlet, Flux, InputError, Neumann, Robin, audit, registry
from sciml.expressions import Balance
from sciml.geometry import Box, Disc, Polygon
from sciml.problem import FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems import Poisson
from sciml.solvers import FiniteVolume
from sciml.support import EmbeddedBoundary

pytestmark = pytest.mark.compiled_quickly

SQUARE = Box((0.0, 0.0), (1.0, 1.0))
DISC = Disc((0.47, 0.53), 0.23)


def exact(points):
    return np.sin(2 * points[..., 0] + 0.3) * np.exp(points[..., 1])


def gradient(points):
    return np.stack([2 * np.cos(2 * points[..., 0] + 0.3) * np.exp(points[..., 1]), exact(points)], axis=-1)


class Around(Poisson):
    """−∇·∇p = 3 p* with p* = sin(2x + 0.3) e^y, given on the square; on the body as `kind` says."""

    domain: object = SQUARE - DISC
    kind = "dirichlet"

    def geometry(self, case):
        return self.domain

    def boundary_conditions(self, case):
        return {name: {"p": self.condition(name, b)} for name, b in self.domain.boundaries.items()}

    def condition(self, name, boundary):
        def slope(points, time=0.0):
            return (gradient(points) * boundary.normal(points)).sum(-1)

        if self.kind == "dirichlet" or boundary.side is not None:
            return Dirichlet(lambda points, time: exact(points))
        if self.kind == "neumann":
            return Neumann(slope)
        if self.kind == "flux":
            return Flux(lambda points, time: -slope(points))
        return Robin(lambda points, time: 2 * exact(points) + 0.5 * slope(points), 2.0, 0.5)


def errors(kind, domain, cells):
    problem = Around()
    problem.kind, problem.domain = kind, domain
    solver = FiniteVolume(cells)
    points = solver.grid(problem.case()).points()
    found = solver.solve(problem.case(source=3 * exact(points)))
    inside = np.asarray(domain.contains(points))
    wrong = (found.p.values - exact(points))[inside]
    return np.sqrt(np.mean(wrong**2)), np.abs(wrong).max()


@pytest.mark.parametrize("kind", ["dirichlet", "neumann", "robin", "flux"])
def test_second_order_around_a_disc(kind):
    found = np.array([errors(kind, SQUARE - DISC, n) for n in (32, 64, 128)])
    orders = np.log2(found[:-1] / found[1:])
    assert orders[:, 0].min() > 1.9, (found, orders)
    assert orders[:, 1].min() > 1.6, (found, orders)
    assert found[-1, 1] < 1e-4


def test_domains_that_are_no_box_and_bodies_with_corners():
    bracket = Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0)))
    found = np.array([errors("dirichlet", bracket, n) for n in (16, 32, 64)])
    assert np.log2(found[:-1] / found[1:]).min() > 1.9, found
    wedge = SQUARE - Polygon(((0.31, 0.27), (0.72, 0.36), (0.58, 0.71), (0.38, 0.65)))
    found = np.array([errors("dirichlet", wedge, n) for n in (16, 64)])
    assert np.log2(found[0] / found[1]).min() > 3.2, found  # over two doublings
    found = np.array([errors("neumann", wedge, n) for n in (16, 128)])
    assert np.log2(found[0] / found[1])[0] > 3, found  # of first order at corners, over three doublings


@registry.problems.register("plate_with_a_hole")
class Plate(PDEProblem):
    """∂t T − ∇·κ∇T = 0 on a square around a disc, insulated unless told otherwise."""

    name, title, dimensions = "plate_with_a_hole", "Plate with a hole", 2
    fields = (FieldSpec("T", "K"),)
    parameters = (ParameterSpec("diffusivity", "m2 s-1", 0.1),)
    inside: object = Flux(0.0)

    def geometry(self, case):
        return SQUARE - DISC

    def boundary_conditions(self, case):
        return {name: {"T": Flux(0.0)} for name in SQUARE.boundaries} | {"obstacle": {"T": self.inside}}

    def equations(self, q, d, theta, x):
        return {"energy": Balance(storage=q.T, flux=-theta.diffusivity * d.grad(q.T), unit="K s-1")}

    def scales(self, case):
        return Scales(1.0, 10.0, {"T": 1.0})

    def initial_state(self, case, grid):
        points = grid.points()
        return {"T": np.cos(np.pi * points[..., 0]) + points[..., 1]}


def total(solution):
    shares = EmbeddedBoundary.of(SQUARE - DISC, FiniteVolume(32).grid(Plate().case())).apertures.volumes
    return (np.nan_to_num(solution.T.values) * shares).sum(axis=(1, 2)) / shares.sum()


def test_insulated_bodies_keep_heat_and_what_flows_in_is_counted():
    solver, length = FiniteVolume(32), 2 * np.pi * 0.23
    kept = solver.solve(Plate().case(), times=[0.0, 0.1, 1.0, 20.0])
    assert np.ptp(total(kept)) < 1e-13
    inside = SQUARE.contains(solver.grid(Plate().case()).points()) & (kept.mask.values != 0)
    assert np.ptp(kept.T.values[-1][inside]) < 1e-4
    assert audit(kept).select("energy", 1)[0].rms < 1e-12
    heated = Plate()
    heated.inside = Flux(-0.2)
    found = total(solver.solve(heated.case(), times=[0.0, 0.5, 1.0]))
    area = EmbeddedBoundary.of(SQUARE - DISC, solver.grid(heated.case())).apertures.volumes.mean()
    assert np.diff(found) == pytest.approx(0.1 * length / area, rel=2e-3)  # the polygon is shorter than the circle


def test_simulate_solve_and_restarts_agree_and_gradients_are_right():
    solver, case = FiniteVolume(12, time_step=0.1), Plate().case()
    times = [0.1, 0.3]
    found = solver.solve(case, times)
    with jax.enable_x64(True):

        @partial(jax.value_and_grad, has_aux=True)
        def squares(diffusivity):
            again = solver.simulate({"diffusivity": diffusivity}, {}, times, case)["T"]
            return (again**2).sum(), again

        (_, again), slope = jax.jit(squares)(0.1)
    assert np.abs(np.asarray(again) - found.T.values).max() < 1e-11
    up, down = (
        sum(float(np.sum(f**2)) for f in solver.solve(Plate().case(diffusivity=0.1 + e), times).T.values)
        for e in (1e-5, -1e-5)
    )
    assert float(slope) == pytest.approx((up - down) / 2e-5, rel=1e-6)
    resumed = solver.resume(case, found.isel(time=[0]), [0.3])
    assert np.array_equal(resumed.T.values[0], found.T.values[1])


def test_no_value_anywhere_leaves_the_level_open():
    from sciml import SolverError

    problem = Around()
    problem.kind, problem.domain = "neumann", Polygon(((0.1, 0.0), (0.9, 0.0), (1.0, 0.6), (0.3, 1.0), (0.0, 0.5)))
    with pytest.raises(SolverError, match="level of the solution is open"):
        FiniteVolume(24).solve(problem.case())


def test_grids_that_are_too_coarse_are_refused():
    problem = Around()
    problem.domain = SQUARE - Box((0.2, 0.505), (0.8, 0.515))
    with pytest.raises(InputError, match="is thinner than a cell; expected finer cells"):
        FiniteVolume(16).solve(problem.case())
    problem.domain = SQUARE - Disc((0.5, 0.32), 0.3)
    with pytest.raises(InputError, match="within two cells of y_min"):
        FiniteVolume(16).solve(problem.case())
