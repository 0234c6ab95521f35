"""Answers that solve a PDE over given functions: identities, exact solutions, gradients, refusals."""

import numpy as np
import pytest
import scipy.optimize
import torch

from sciml import Box, Dirichlet, FieldSpec, Grid, InTime, ParameterSpec, PDEProblem, Periodic, Scales, implicit
from sciml.constraints import PDEConstraint
from sciml.constraints._differences import Differences
from sciml.constraints._split import Split
from sciml.errors import ConvergenceError, InputError
from sciml.expressions import Balance
from sciml.problems import Burgers, Darcy, DiffusionSorption, TaylorGreen

F64 = torch.float64


class Rod(PDEProblem):
    """∂t u = κ u_xx on [0, 1] with the ends and the start of a polynomial that solves it."""

    name, title, dimensions = "test_rod", "Rod", 1
    fields = (FieldSpec("u", "1"),)
    parameters = (ParameterSpec("diffusivity", "m2 s-1", 0.1),)

    def geometry(self, case):
        return Box((0.0,), (1.0,))

    def value(self, x, t, k=0.1):
        return x**3 + 6 * k * x * t - 0.5 * x

    def boundary_conditions(self, case):
        return {
            "x_min": {"u": Dirichlet(InTime(lambda t: self.value(0.0, t)))},
            "x_max": {"u": Dirichlet(InTime(lambda t: self.value(1.0, t)))},
        }

    def equations(self, q, d, theta, x):
        return {"heat": Balance(storage=q.u, flux=-theta.diffusivity * d.grad(q.u), unit="s-1")}

    def scales(self, case):
        return Scales(1.0, 1.0, {"u": 1.0})

    def initial_state(self, case, grid):
        return {"u": self.value(grid.points()[..., 0], 0.0)}


def smooth(grid, times, count, seed=0, fields=1, cases=1):
    """Random waves over a grid and times, periodic where it is."""
    random = np.random.default_rng(seed)
    points = grid.points()
    shape = (cases, count, fields, 1, *[1] * grid.dimensions)
    total = random.uniform(-3, 3, shape) * (np.asarray(times) / times[-1]).reshape(-1, *[1] * grid.dimensions)
    for axis, (a, b) in enumerate(grid.extents):
        n = random.integers(0, 3, shape) if grid.periodic[axis] else random.uniform(0, 1, shape)
        total = total + 2 * np.pi * n * (points[..., axis] - a) / (b - a)
    return torch.tensor(np.sin(total + random.uniform(0, 6, shape)))


def burgers(count=7, cases=1, cells=24, frames=9):
    members = [Burgers().case(viscosity=0.05, velocity=1.0 + 0.3 * k) for k in range(cases)]
    grid, times = Grid.uniform(members[0].geometry, cells), np.linspace(0.0, 0.3, frames)
    return members, grid, times, smooth(grid, times, count, cases=cases)


def joined(residuals, times, inside=None):
    """Rows whose sum of squares is the sum of their means over equal cells and over time: the first interval goes back
    to the start, the last one is half as long as others."""
    spans = np.r_[1.5, np.ones(len(times) - 3), 0.5]
    parts = []
    for name, r in residuals.items():
        r = inside(r) if inside and not name.startswith("initial") else r.reshape(-1)
        weights = torch.ones(len(r), dtype=F64)
        if not name.startswith("initial"):
            weights = torch.tensor(np.repeat(spans, len(r) // len(spans)))
        parts.append(r * (weights / weights.sum()).sqrt())
    return torch.cat(parts)


# -- exact ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experts", [1, 4])
def test_a_linear_equation_takes_one_step_and_its_conditions_hold(experts):
    rod, times = Rod(), np.linspace(0.0, 1.0, 9)
    grid = Grid.uniform(rod.case().geometry, 16)
    x, t = torch.tensor(grid.centres[0]), torch.tensor(times)[:, None]
    powers = [x**i * t**j for i in range(4) for j in range(3) if i + 2 * j <= 4]
    basis = torch.stack(torch.broadcast_tensors(*powers))[None, :, None]
    found = PDEConstraint(rod, experts, ridge=0.0)(basis, rod.case(), grid, times)
    assert (found.steps == 1).all() and found.converged.all()
    assert (found.fields[0, 0] - rod.value(x, t)).abs().max() < 1e-11
    assert set(found.residuals) == {"heat", "initial.u", "x_min.u", "x_max.u"}
    assert all(r.abs().max() < 1e-10 for r in found.residuals.values())


def test_one_expert_is_the_least_squares_solution():
    """Against the rows written out as a matrix."""
    rod, times, ridge = Rod(), np.linspace(0.0, 1.0, 7), 1e-2
    grid = Grid.uniform(rod.case().geometry, 12)
    basis = smooth(grid, times, 5)
    constraint = PDEConstraint(rod, ridge=ridge)
    rows = [
        constraint.residuals(b, rod.case(), grid, times)[0]
        for b in (*basis.swapaxes(0, 1)[:, None, 0], 0 * basis[:, 0])
    ]
    stacked = [joined(each, times) for each in rows]
    offset = stacked.pop()
    matrix = torch.stack([s - offset for s in stacked], 1)
    whole = torch.cat([matrix, ridge * torch.eye(5, dtype=F64)])
    expected = torch.linalg.lstsq(whole, -torch.cat([offset, torch.zeros(5, dtype=F64)])[:, None]).solution[:, 0]
    found = constraint(basis, rod.case(), grid, times)
    assert torch.allclose(found.weights[0, 0], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("experts", [1, 2])
def test_an_equation_that_is_not_linear_against_scipy(experts):
    """Each expert finds what least squares over its own cells, all of the start and the ridge give."""
    (case,), grid, times, basis = burgers(count=4, cells=12)
    constraint = PDEConstraint(case.problem, experts, ridge=1e-2, tolerance=1e-10)
    found, split = constraint(basis, case, grid, times), Split(experts, grid)

    whole = PDEConstraint(case.problem)

    def rows(w, k):
        field = torch.einsum("n,nfts->fts", torch.tensor(w), basis[0])[None]
        every = whole.residuals(field, case, grid, times)[0]
        parts = joined(every, times, lambda r: split(r.reshape(1, 1, 8, 12))[0, k, 0])
        return np.concatenate([parts.numpy(), 1e-2 * w])

    composed = found.residuals["momentum"].reshape(experts, -1)
    for k in range(experts):
        peer = scipy.optimize.least_squares(rows, np.zeros(4), args=(k,), xtol=1e-15, ftol=1e-15, gtol=1e-12)
        assert peer.cost > 1e-3  # the functions do not hold the solution
        assert np.allclose(found.weights[0, k], peer.x, atol=1e-6)
        own = rows(found.weights[0, k].numpy(), k)[: composed.shape[1]]
        assert np.allclose(own, joined({"momentum": composed[k]}, times), atol=1e-12)


def test_a_flow_in_the_plane_finds_itself_among_other_functions():
    """Three fields, four experts, spectral in space: Taylor and Green's vortices are one function of eight."""
    case = TaylorGreen().case(viscosity=0.1)
    grid, times = Grid.uniform(case.geometry, 12), np.linspace(0.0, 0.2, 7)
    exact = case.exact(times, grid.centres)
    fields = np.stack([exact[f.name] for f in case.problem.fields])
    others = smooth(grid, times, 7, fields=3)
    basis = torch.cat([torch.tensor(fields)[None, None], others], 1)
    found = PDEConstraint(case.problem, (2, 2), spectral=True, ridge=1e-8)(basis, case, grid, times)
    first = torch.eye(8, dtype=F64)[0]
    assert found.weights.shape == (1, 4, 8)
    assert (found.weights - first).abs().max() < 1e-4  # the differences in time are of fourth order
    assert found.residuals["momentum.0"].abs().max() < 1e-4


def test_a_steady_equation_with_a_coefficient_and_flux_conditions():
    """Darcy's law with closed walls: a pressure that falls in a straight line, whatever the function beside it."""
    case = Darcy(walls="closed").case(source=0.0, pressure_left=1.0, pressure_right=3.0)
    grid = Grid.uniform(case.geometry, (8, 12))
    x, y = (torch.tensor(grid.points()[..., a]) for a in (0, 1))
    (xl, xh), _ = grid.extents
    basis = torch.stack([torch.ones_like(x), x, x * y, y**2, x**2 * y])[None, :, None]
    found = PDEConstraint(case.problem, (2, 4), ridge=0.0)(basis, case, grid)
    assert (found.steps == 1).all()
    assert (found.fields[0, 0] - (1.0 + 2.0 * (x - xl) / (xh - xl))).abs().max() < 1e-10


# -- gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("experts", "points"), [(1, None), (4, None), (4, 40)])
def test_gradients_where_a_residual_is_left(experts, points):
    """Central differences, which a Hessian without the curvature of the residual would miss by far."""
    members, grid, times, basis = burgers(cases=2)
    constraint = PDEConstraint(members[0].problem, experts, points=points, ridge=1e-2, tolerance=1e-12)
    start = None
    direction, pull = smooth(grid, times, 7, seed=5, cases=2), smooth(grid, times, 1, seed=6)[:, 0]

    def goal(b):
        found = constraint(b, members, grid, times, start=start, generator=torch.Generator().manual_seed(0))
        return (found.fields * pull).mean() + 0.1 * found.loss, found

    _, found = goal(basis.clone().requires_grad_())
    assert found.loss > 1e-2
    start = found.weights.detach()
    basis.requires_grad_()
    slope = torch.autograd.grad(goal(basis)[0], basis)[0]
    with torch.no_grad():
        h = 1e-4
        ends = [goal(basis + s * direction)[0].item() for s in (h, -h, 2 * h, -2 * h)]
    difference = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
    assert (slope * direction).sum().item() == pytest.approx(difference, rel=1e-6)


def test_the_shortcut_of_gauss_and_newton_would_be_seen(monkeypatch):
    from sciml.constraints import _implicit

    members, grid, times, basis = burgers()
    constraint = PDEConstraint(members[0].problem, ridge=1e-2, tolerance=1e-12)
    basis.requires_grad_()

    def slope():
        return torch.autograd.grad(constraint(basis, members, grid, times).fields.square().mean(), basis)[0]

    whole = slope()
    monkeypatch.setattr(_implicit, "add_curvature", lambda *_: None)
    assert (slope() - whole).norm() > 1e-3 * whole.norm()


def test_weights_and_gradients_are_those_of_the_general_solver():
    """Against least squares that differentiates residuals by itself, at each step and at the end."""
    members, grid, times, basis = burgers(count=3, cells=12, frames=6)
    case, constraint = members[0], PDEConstraint(members[0].problem, ridge=1e-2, tolerance=1e-12)
    basis.requires_grad_()
    found = constraint(basis, case, grid, times)

    def residual(w, b):
        rows = constraint.residuals(torch.einsum("n,cnfts->cfts", w, b), case, grid, times)[0]
        return torch.cat([joined(rows, times), 1e-2 * w])

    peer = implicit.torch.least_squares(residual, found.weights[0, 0].detach(), basis)
    assert torch.allclose(found.weights[0, 0], peer, atol=1e-8)
    slopes = [torch.autograd.grad(w.square().sum(), basis)[0] for w in (found.weights, peer)]
    assert torch.allclose(*slopes, rtol=1e-6, atol=1e-9)


def test_memory_knows_no_number_of_steps():
    members, grid, times, basis = burgers()
    basis.requires_grad_()
    sizes, steps = [], []
    for tolerance in (0.5, 1e-12):
        kept = []

        def pack(t, kept=kept):
            kept.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            found = PDEConstraint(members[0].problem, 4, tolerance=tolerance)(basis, members, grid, times)
        sizes.append(sum(kept))
        steps.append(int(found.steps.sum()))
    assert steps[1] > steps[0] + 4 and sizes[0] == sizes[1]


# -- parts ------------------------------------------------------------------------------------------------------


def test_a_batch_is_its_cases_one_by_one():
    members, grid, times, basis = burgers(cases=3)
    constraint = PDEConstraint(members[0].problem, 4)
    found = constraint(basis, members, grid, times)
    for k, case in enumerate(members):
        alone = constraint(basis[k : k + 1], case, grid, times)
        assert torch.allclose(alone.fields[0], found.fields[k], atol=1e-9)
        assert (alone.steps[0] == found.steps[k]).all()


def test_all_points_drawn_are_all_points():
    members, grid, times, basis = burgers()
    every, drawn = (PDEConstraint(members[0].problem, 2, points=n) for n in (None, 12 * 8))
    assert torch.equal(every(basis, members, grid, times).fields, drawn(basis, members, grid, times).fields)
    some = PDEConstraint(members[0].problem, 2, points=48)(basis, members, grid, times)
    assert some.residuals["momentum"].shape == (1, 96)


def test_weights_of_a_mean_may_follow_place_and_time():
    """A weight that is a number or a function that gives it; none at all in a half leaves it to the other one."""
    members, grid, times, basis = burgers()

    def fields(weight):
        constraint = PDEConstraint(members[0].problem, ridge=0.0, weights={"interior": weight})
        return constraint(basis, members, grid, times).fields

    assert torch.equal(fields(2.0), fields(lambda points, t: np.full(len(t), 2.0)))
    seen = []

    def late(points, t):
        seen.append((points[0, 0], points[-1, 0], t[0], t[-1], len(t)))
        return np.where(t > 0.15, 1.0, 0.0)

    assert not torch.allclose(fields(late), fields(1.0), atol=1e-3)
    assert seen == [(grid.centres[0][0], grid.centres[0][-1], times[1], times[-1], 8 * 24)]
    with pytest.raises(InputError, match=r"weights: interior: expected \(192,\) finite numbers ≥ 0"):
        fields(lambda points, t: -t)


def test_sharing_out_and_putting_together():
    grid = Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), (6, 8))
    split = Split((4, 2), grid)
    values = torch.arange(2 * 3 * 5 * 6 * 8).reshape(2, 3, 5, 6, 8)
    parts = split(values)
    assert parts.shape == (2, 8, 3, 5 * 3 * 2)
    assert torch.equal(split.merged(parts, 5), values)
    assert torch.equal(parts[:, 5].reshape(2, 3, 5, 3, 2), values[..., 3:6, 2:4])  # x runs fastest
    assert split.owners((0, 1), 1).tolist() == [3, 3, 3, 7, 7, 7]
    whole = Split(1, grid)
    assert torch.equal(whole.merged(whole(values), 5), values)


@pytest.mark.parametrize("order", [2, 4])
def test_differences_are_of_their_order_at_walls_too(order):
    errors = []
    for n in (20, 40):
        faces = np.linspace(0, 1, n + 1) ** 1.3
        grid, times = Grid((faces,)), np.linspace(0.0, 1.0, n // 2 + 1) ** 1.2
        x, t = torch.tensor(grid.centres[0]), torch.tensor(times)[:, None]
        of = Differences(grid, times, order, False)
        u = torch.sin(3 * x + 2 * t)
        inside = [(of(u, (2, 0)), -9 * u), (of(u, (0, 1)), 2 * torch.cos(3 * x + 2 * t)), (of(u, (1, 1)), -6 * u)]
        end = 3 * faces[-1] + 2 * t[:, 0]
        sides = [(of(u, (0, 0), (0, 1)), torch.sin(end)), (of(u, (1, 1), (0, 1)), -6 * torch.sin(end))]
        errors.append([(a - b).abs().max().item() for a, b in inside + sides])
    assert all(a / b > 0.8 * 2**order for a, b in zip(*errors, strict=True))


def test_around_a_period_differences_are_those_of_fourier():
    grid = Grid((np.linspace(0, 2 * np.pi, 33),), (True,))
    x = torch.tensor(grid.centres[0])
    u = torch.exp(torch.sin(x))
    second = u * (torch.cos(x) ** 2 - torch.sin(x))
    assert (Differences(grid, None, 4, True)(u, (2,)) - second).abs().max() < 1e-11
    assert (Differences(grid, None, 4, False)(u, (2,)) - second).abs().max() < 2e-3


def test_float32_solves_as_well():
    members, grid, times, basis = burgers()
    wide, narrow = (PDEConstraint(members[0].problem, 2, ridge=1e-2, tolerance=1e-4) for _ in range(2))
    fields = [c(b, members, grid, times).fields for c, b in ((wide, basis), (narrow, basis.float()))]
    assert fields[1].dtype == torch.float32 and (fields[0] - fields[1]).abs().max() < 1e-3


# -- what cannot be -----------------------------------------------------------------------------------------------


def test_a_solve_that_does_not_converge_is_told():
    members, grid, times, basis = burgers()
    with pytest.raises(ConvergenceError, match="1 of 1 solves did not converge in 1 steps"):
        PDEConstraint(members[0].problem, max_steps=1)(basis, members, grid, times)
    with pytest.warns(UserWarning, match="did not converge"):
        found = PDEConstraint(members[0].problem, max_steps=1, on_failure="warn")(basis, members, grid, times)
    assert not found.converged.any()
    basis.requires_grad_()
    with pytest.warns(UserWarning, match="count as constants"):
        found = PDEConstraint(members[0].problem, max_steps=1, on_failure="warn")(basis, members, grid, times)
    held = torch.einsum("ckn,cnfts->cfts", found.weights.detach(), basis)
    slopes = [torch.autograd.grad(f.square().sum(), basis)[0] for f in (found.fields, held)]
    assert torch.allclose(*slopes)


def test_functions_that_depend_on_each_other_are_told():
    members, grid, times, basis = burgers()
    basis = torch.cat([basis, basis[:, :1]], 1).requires_grad_()
    found = PDEConstraint(members[0].problem, ridge=0.0, max_steps=200, on_failure="warn")(basis, members, grid, times)
    with pytest.warns(UserWarning, match="1 of 8 directions without curvature"):
        torch.autograd.grad(found.loss, basis)
    ridge = PDEConstraint(members[0].problem, ridge=1e-3)(basis, members, grid, times)
    assert ridge.weights[0, 0, 0].item() == pytest.approx(ridge.weights[0, 0, 7].item())  # the shortest of all
    torch.autograd.grad(ridge.loss, basis)


class Free(Rod):
    def boundary_conditions(self, case):
        return {"x_min": {"u": Dirichlet(0.0)}}


def test_refusals():
    members, grid, times, basis = burgers()
    problem = members[0].problem
    for options, message in (
        ({"experts": 5}, "experts: 5 along x do not divide its 24 cells"),
        ({"experts": (2, 2)}, "experts: expected at most 1 counts"),
        ({"weights": {"x_min": 2.0}}, "weights: no rows are called 'x_min'; known: initial, interior"),
        ({"order": 3}, "order: expected 2 or 4, got 3"),
        ({"ridge": -1.0}, "ridge: expected a number ≥ 0, got -1.0"),
        ({"on_failure": "ignore"}, "on_failure: expected 'raise' or 'warn'"),
    ):
        with pytest.raises(InputError, match=message.replace("(", r"\(")):
            PDEConstraint(problem, **options)(basis, members, grid, times)
    good = PDEConstraint(problem)
    with pytest.raises(InputError, match=r"basis: expected \(case, basis, field"):
        good(basis[:, :, :, :, :20], members, grid, times)
    with pytest.raises(InputError, match="the equations hold rates of change"):
        good(basis[:, :, :, 0], members, grid)
    with pytest.raises(InputError, match="has 4 values along t, expected at least 5 for its derivative of order 1"):
        good(basis[:, :, :, :4], members, grid, times[:4])
    with pytest.raises(InputError, match="no condition for 'u' on 'x_max'"):
        rod = Free()
        line = Grid.uniform(rod.case().geometry, 24)
        PDEConstraint(rod)(basis, rod.case(), line, times)
    with pytest.raises(InputError, match="got one of 'diffusion_sorption'"):
        good(basis, DiffusionSorption().case(), grid, times)
    with pytest.raises(InputError, match="times: expected increasing"):
        good(basis, members, grid, times[::-1])
    with pytest.raises(InputError, match="periodic where the domain is"):
        good(basis, members, Grid(grid.faces), times)
    assert isinstance(members[0].boundary_conditions["x_min"]["u"], Periodic)
