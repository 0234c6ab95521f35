"""Least change onto sparse equations, and the equations that audits judge."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

import sciml
from sciml.boundary import Dirichlet, InSpace, Outflow
from sciml.constraints import (
    CentralLeray,
    DiscreteProjection,
    cell_divergence,
    central_divergence,
    linearise,
    target_of,
)
from sciml.data import solution
from sciml.derivatives import central
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Field
from sciml.support import Grid


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def dependent():
    """Six equations of nine unknowns, of which two follow from the others and one says nothing."""
    a = np.random.default_rng(1).standard_normal((6, 9))
    a[3], a[4], a[5] = a[0] - 2 * a[1], 3 * a[2], 0.0
    return a


@pytest.mark.parametrize("factorise", [True, False])
def test_equals_the_dense_formula(factorise):
    a, mass = dependent(), np.linspace(0.5, 2.0, 9)
    b = a @ np.arange(9.0)
    project = DiscreteProjection(scipy.sparse.csr_array(a), b, mass, factorise=factorise)
    x = noise(4, 9)
    inverse = np.linalg.pinv(a @ np.diag(1 / mass) @ a.T, rcond=1e-12)
    expected = x.numpy() - ((x.numpy() @ a.T - b) @ inverse @ a) / mass
    found = project(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert project.defect(found).abs().max() < 1e-13 * np.abs(b).max()
    torch.testing.assert_close(project(found), found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factorise", [True, False])
def test_derivatives(factorise):
    a = dependent()
    project = DiscreteProjection(a, weights=np.linspace(0.5, 2.0, 9), shape=(3, 3), factorise=factorise)
    x, z = noise(2, 3, 3).requires_grad_(), noise(2, 9, seed=5).requires_grad_()

    def function(x, z):
        return project(x, z @ torch.from_numpy(a.T)) ** 2

    assert torch.autograd.gradcheck(function, (x, z))
    assert torch.autograd.gradgradcheck(function, (x, z), fast_mode=True)
    assert torch.autograd.gradcheck(project, (x,), check_forward_ad=True)


def test_self_adjoint_in_its_weights():
    mass = torch.linspace(0.5, 2.0, 9)
    project, x, y = DiscreteProjection(dependent(), weights=mass.numpy()), noise(9), noise(9, seed=1)
    torch.testing.assert_close((mass * project(x) * y).sum(), (mass * x * project(y)).sum(), rtol=1e-12, atol=0)


def test_contradictions_and_bad_input():
    project = DiscreteProjection(dependent())
    with pytest.raises(InputError, match="contradict each other"):
        project(noise(9), torch.ones(6))
    with pytest.raises(InputError, match="expected one number for each of 6 equations"):
        project(noise(9), torch.ones(5))
    with pytest.raises(InputError, match=r"values: expected \(..., 9,\), got \(8,\)"):
        project(noise(8))
    with pytest.raises(InputError, match="positive"):
        DiscreteProjection(dependent(), weights=np.zeros(9))
    with pytest.raises(InputError, match="weights: expected 9 numbers"):
        DiscreteProjection(dependent(), weights=np.ones(3))
    with pytest.raises(InputError, match="has 9 columns"):
        DiscreteProjection(dependent(), shape=(2, 4))


def test_copies():
    project = DiscreteProjection(dependent())
    x = noise(9)
    for other in (copy.deepcopy(project), pickle.loads(pickle.dumps(project))):
        assert torch.equal(other(x), project(x))
    assert not project.state_dict()


# What audits judge

FACES = (np.linspace(0, 2.0, 25), np.sort(np.append(np.random.default_rng(2).uniform(0.05, 0.95, 15), [0.0, 1.0])))
EVEN = (np.linspace(0, 2.0, 25), np.linspace(0, 1.0, 17))
PARABOLA = InSpace(lambda x: 6 * x[:, 1] * (1 - x[:, 1]))
STILL = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
CHANNEL = {
    "x_min": {"u": Dirichlet(PARABOLA), "v": Dirichlet(0.0)}, "x_max": {"u": Outflow(), "v": Outflow()},
    "y_min": STILL, "y_max": STILL,
}  # fmt: skip
CAVITY = {"x_min": STILL, "x_max": STILL, "y_min": STILL, "y_max": STILL | {"u": Dirichlet(1.0)}}


def body():
    y, x = np.mgrid[:16, :24]
    return ((x - 8) ** 2 + (y - 8) ** 2 > 9).astype(np.uint8)


def judged(values, grid, boundary):
    """The continuity of each control volume, as the audit has it."""
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    fields = {n: np.where(inside, values[..., k, :, :], np.nan) for k, n in enumerate("uv")}
    balance = Balance(flux=(Field("u"), Field("v")))
    found = provider.finite_volume(balance, Grid(grid.faces, grid.periodic), fields, boundary=boundary)
    return np.where(inside, found, np.nan)


@pytest.mark.parametrize("faces", [EVEN, FACES], ids=["even", "stretched"])
@pytest.mark.parametrize("boundary", [CHANNEL, CAVITY, None], ids=["channel", "cavity", "extrapolated"])
@pytest.mark.parametrize("mask", [None, body()], ids=["free", "body"])
def test_audited_divergence_is_zero(faces, boundary, mask):
    grid = Grid(faces, mask=mask)
    equations = cell_divergence(grid, boundary, ("u", "v"))
    project, x = equations.projection(), noise(2, 2, 16, 24)
    defect = judged(x.numpy(), grid, boundary)
    assert np.array_equal(np.isfinite(defect[0]), equations.judged)
    np.testing.assert_allclose(project.defect(x), defect[:, equations.judged], rtol=0, atol=1e-11)
    found = project(x)
    after = judged(found.numpy(), grid, boundary)[:, equations.judged]
    assert np.abs(after).max() < 1e-11 * np.nanmax(np.abs(defect))
    # least change: orthogonal to every homogeneous solution
    other = project(noise(2, 2, 16, 24, seed=3)) - project(noise(2, 2, 16, 24, seed=4))
    weights = torch.from_numpy(equations.weights.copy())
    inner = (weights * (x - found) * other).sum()
    assert abs(float(inner)) < 1e-10 * float((weights * (x - found) ** 2).sum())


@pytest.mark.parametrize("periodic", [(True, True), (True, False)])
@pytest.mark.parametrize("cells", [(24, 16), (13, 7), (5, 6)])
def test_periodic_axes_and_checkerboards(periodic, cells):
    grid = Grid((np.linspace(0, 2, cells[0] + 1), np.linspace(0, 1, cells[1] + 1)), periodic)
    boundary = None if all(periodic) else {s: {"v": Dirichlet(0.0)} for s in ("y_min", "y_max")}
    project, x = cell_divergence(grid, boundary, ("u", "v")).projection(), noise(2, *cells[::-1])
    found = project(x)
    assert np.nanmax(np.abs(judged(found.numpy(), grid, boundary))) < 1e-11
    if all(periodic):  # what the divergence does not see stays
        np.testing.assert_allclose(found.mean((1, 2)), x.mean((1, 2)), atol=1e-13)


def test_equals_the_spectral_projection():
    grid = Grid((np.linspace(0, 2, 25), np.linspace(0, 1, 17)), (True, True))
    x = noise(2, 16, 24)
    torch.testing.assert_close(cell_divergence(grid).projection()(x), CentralLeray((2.0, 1.0))(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask", [None, body()], ids=["free", "body"])
def test_central_differences_of_data(mask):
    grid = Grid(FACES, mask=mask)
    found = central_divergence(grid).projection()(noise(2, 16, 24))
    assert np.nanmax(np.abs(central.divergence(found.numpy(), grid))) < 1e-11


def test_whole_domain_and_other_values():
    """With a body what comes in leaves, although no control volume at the body is judged; also for other inflows."""
    grid = Grid(EVEN, mask=body())
    equations = cell_divergence(grid, CHANNEL, ("u", "v"), whole=True)
    project, x = equations.projection(), noise(2, 16, 24)
    inflow = CHANNEL | {"x_min": {"u": Dirichlet(2.0), "v": Dirichlet(0.0)}}
    for boundary, target, expected in (
        (CHANNEL, None, None),
        (inflow, torch.from_numpy(target_of(equations, grid, inflow, ("u", "v"))), 2.0),
    ):
        found = project(x, target).numpy()
        assert np.abs(judged(found, grid, boundary)[equations.judged]).max() < 1e-11
        lattice = provider.lattice(Grid(EVEN), {"u": found[0], "v": found[1]}, boundary=boundary)
        ends = lattice.faces(Field("u"), 0)[:, [0, -1]].mean(0)
        np.testing.assert_allclose(ends[1], ends[0] if expected is None else expected, rtol=1e-12)
    grid = Grid(EVEN)
    closed = cell_divergence(grid, CAVITY, ("u", "v")).projection()
    into = CAVITY | {"x_min": {"u": Dirichlet(1.0)}}
    with pytest.raises(InputError, match="contradict"):
        closed(x, torch.from_numpy(target_of(cell_divergence(grid, CAVITY, ("u", "v")), grid, into, ("u", "v"))))


def test_single_precision():
    grid = Grid(EVEN, mask=body())
    project, x = cell_divergence(grid, CHANNEL, ("u", "v")).projection(), noise(2, 16, 24).float()
    found = project(x)
    assert found.dtype == torch.float32
    assert project.defect(found).abs().max() < 16 * 4 * torch.finfo(torch.float32).eps * found.abs().max()


@pytest.mark.parametrize("factorise", [True, False])
def test_flat_cells_of_long_channels_leave_the_rounding_of_the_values(factorise):
    """There the potential is far larger than its differences, which are the change."""
    n, length = (64, 64.0) if factorise else (16, 32.0)
    grid = Grid((np.linspace(0, length, n + 1), np.linspace(0, 1, n + 1)))
    equations = cell_divergence(grid, CHANNEL, ("u", "v"))
    project, x = equations.projection(factorise), noise(2, n, n).requires_grad_()
    found = project(x)
    assert np.abs(judged(found.detach().numpy(), grid, CHANNEL)).max() < 10 * np.finfo(float).eps * n * 4.0
    # the derivative is that of the projection: symmetric here, and its own repetition
    v = noise(2, n, n, seed=1)
    (once,) = torch.autograd.grad(found, x, v)
    plain = equations.projection(factorise)(v, torch.zeros_like(project.target))
    torch.testing.assert_close(once, plain, rtol=0, atol=1e-11)


def test_what_is_no_affine_function_of_near_cells():
    grid = Grid(EVEN)
    with pytest.raises(InputError, match="affine"):
        linearise(lambda x: x[:, 0] ** 2, grid, 1)
    with pytest.raises(InputError, match="reach"):
        linearise(lambda x: np.roll(x[:, 0], 5, axis=1), grid, 1)
    with pytest.raises(InputError, match=r"expected \(batch, \*grid\)"):
        linearise(lambda x: x, grid, 1)
    with pytest.raises(InputError, match="boundary: 'left'"):
        cell_divergence(grid, {"left": {"x": Dirichlet(0.0)}})
    with pytest.raises(InputError, match="'u', expected one of x, y"):
        cell_divergence(grid, {"x_min": {"u": Dirichlet(0.0)}})


def test_the_audit_itself_finds_nothing():
    """Continuity of the projected flow, as `sciml.audit` reports it, in control volumes of every size."""
    case, grid = (
        sciml.problems.LidDrivenCavity().case(lid_velocity=1.0, viscosity=1e-2),
        Grid((np.linspace(0, 1, 17),) * 2),
    )
    x = noise(2, 16, 16)
    given = {side: {n: c for n, c in found.items() if n in "uv"} for side, found in case.boundary_conditions.items()}
    for values, least, most in ((x, 1.0, 1e3), (cell_divergence(grid, given, ("u", "v")).projection()(x), 0, 1e-12)):
        fields = {n: v.numpy()[None] for n, v in zip("uv", values, strict=True)}
        found = solution(case, [0.1], fields | {"p": np.zeros((1, 16, 16))}, grid)
        rows = [r for r in sciml.audit(found).select("continuity") if r.size == 1 or values is not x]
        assert rows and all(least <= r.largest <= most for r in rows)


def test_values_that_obey_up_to_rounding_contradict_nothing():
    """What is left of a zero target is rounding of the sums, not of the residual before."""
    rng = np.random.default_rng(3)
    projection = DiscreteProjection(rng.standard_normal((4, 12)))
    x = torch.from_numpy(1e3 * rng.standard_normal((5, 12)))
    for _ in range(3):
        x = projection(x)
    assert float(projection.defect(x).abs().max()) < 1e-11
