"""One multigrid cycle in NumPy, torch and JAX: symmetric, positive, the same, as good on fine grids as on coarse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from _grid_systems import AROUND, OPEN, OUT, SYSTEMS, WALLS, blocks, check_cycle, gaps, of_cells, random

from sciml.errors import InputError
from sciml.solvers.linear import GridSystem, MatrixSystem, Multigrid, MultigridCG
from sciml.solvers.linear._arrays import NUMPY
from sciml.solvers.linear._coarse_grids import halved
from sciml.solvers.linear._cycle import Plain, cycle, levels
from sciml.solvers.linear._multigrid_cg import JAX


@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_cycle_is_linear_symmetric_and_positive(name, sweeps):
    system = SYSTEMS[name]
    check_cycle(Multigrid(sweeps, (3, 0) if name == "long" else ()).operator(system), system)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_same_in_numpy_torch_and_jax(name):
    system = SYSTEMS[name]
    r = random(system)
    fixed = system.conductances(np)
    expected = cycle(NUMPY, *levels(NUMPY, fixed, system.ends, system.shape, (), Plain()), system.ends, r, 1, ())
    with jax.enable_x64(True):

        @jax.jit
        def traced(fixed, r):
            return cycle(JAX, *levels(JAX, fixed, system.ends, system.shape, (), Plain()), system.ends, r, 1, ())

        found = np.asarray(traced([jnp.asarray(c) for c in fixed], jnp.asarray(r)))
    size = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-10 * size
    tensor = torch.as_tensor(r)
    whole = Multigrid().operator(system) @ r.ravel()
    if system.null_space() is None or system.null_space().shape[1] == 1:
        apply = Multigrid().on_tensors(system, tensor)
        assert np.abs(apply(tensor).numpy().ravel() - whole).max() < 1e-10 * size
        assert apply(tensor).dtype == torch.float64


def test_torch_has_the_derivatives_by_right_hand_side_and_coefficients():
    system = of_cells(np.exp(np.random.default_rng(2).standard_normal((9, 12))), (OUT, WALLS))
    r = torch.as_tensor(random(system)).requires_grad_()
    faces = tuple(torch.as_tensor(c).requires_grad_() for c in system.coefficients)
    assert torch.autograd.gradcheck(lambda r, *c: Multigrid().on_tensors(system, r, c)(r), (r, *faces), fast_mode=True)


@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (5, 6, 8)])
def test_coarse_conductances_are_half_of_galerkins(shape):
    """Halving along one axis: Σ over coarse faces normal to it is half of PᵀAP's, over the others the same."""
    ends = (OPEN, OUT, WALLS)[: len(shape)]
    system = of_cells(np.exp(np.random.default_rng(0).standard_normal(shape)), ends)
    fixed = system.conductances(np)
    for axis in range(len(shape)):
        coarse = halved(NUMPY, fixed, axis)
        m = [(n + 1) // 2 if a == axis else n for a, n in enumerate(shape)]
        parent = np.ravel_multi_index([i // 2 if a == axis else i for a, i in enumerate(np.indices(shape))], m).ravel()
        p = np.eye(int(np.prod(m)))[parent]
        twice = [2 * c if len(shape) - 1 - k == axis else c for k, c in enumerate(coarse)]
        expected = p.T @ (system.matrix() @ p)
        assert np.abs(_matrix(twice, ends) - expected).max() < 1e-12 * np.abs(expected).max()


def _matrix(conductances, ends) -> np.ndarray:
    """Of conductances as they are: spacing 1, and ends' factors taken out."""
    d = len(ends)
    shape = tuple(n - (a == d - 1) for a, n in enumerate(conductances[0].shape))
    plain = GridSystem(shape, ends, (1.0,) * d).conductances(np)
    given = tuple(c / np.where(w > 0, w, 1) for c, w in zip(conductances, plain, strict=True))
    return GridSystem(shape, ends, (1.0,) * d, given).matrix().toarray()


def iterations(system: GridSystem) -> int:
    with jax.enable_x64(True):
        phi, info = MultigridCG(1e-8, 300).prepare(system)(random(system))
    rest = random(system).ravel() - system.matrix() @ np.asarray(phi).ravel()
    assert bool(info.converged)
    assert np.linalg.norm(rest) == pytest.approx(float(info.residual) * np.linalg.norm(random(system)), rel=1e-3)
    return int(info.iterations)


@pytest.mark.parametrize(("d", "sizes", "most"), [(2, (32, 256), 12), (3, (16, 32), 15)])
def test_iterations_hardly_grow(d, sizes, most):
    counts = [iterations(of_cells(np.ones((n,) * d), (OPEN,) * d)) for n in sizes]
    assert counts[-1] <= counts[0] + 3 and counts[-1] <= most, counts


@pytest.mark.parametrize(("shift", "most"), [(0, 30), (3, 110)], ids=["aligned", "between"])
def test_jumps_of_ten_thousand(shift, most):
    """A chessboard that no coarse grid sees is the hardest there is: it takes several times as many iterations."""
    assert iterations(of_cells(blocks(64, 8, shift), (OPEN, OPEN))) <= most


def test_gaps_of_one_cell():
    """Plates of one cell vanish on coarse grids: slower than without, and right."""
    for ends in ((OUT, OPEN), (AROUND, WALLS)):
        assert iterations(of_cells(gaps(64), ends)) <= 65


@pytest.mark.parametrize("name", ["gaps, open", "gaps, closed", "space"])
def test_scipy_takes_it(name):
    system, counts = SYSTEMS[name], []
    r = random(system).ravel()
    for m in (None, Multigrid().operator(system)):
        count = [0]
        x, failed = scipy.sparse.linalg.cg(
            system.operator(), r, rtol=1e-10, maxiter=2000, M=m, callback=lambda _, c=count: c.__setitem__(0, c[0] + 1)
        )
        assert not failed
        assert np.linalg.norm(system.matrix() @ x - r) < 1e-8 * np.linalg.norm(r)
        counts.append(count[0])
    assert counts[1] < counts[0] / 2, counts


def test_cycles_in_float32_cost_few_iterations():
    system = of_cells(blocks(64, 7, 3), (OPEN, OUT))
    with jax.enable_x64(True):
        infos = [MultigridCG(1e-8, 300, single=s).prepare(system)(random(system))[1] for s in (False, True)]
    assert infos[1].converged and infos[1].iterations <= 1.3 * infos[0].iterations


def test_the_history_is_that_of_the_residual():
    system = SYSTEMS["odd"]
    with jax.enable_x64(True):
        _, info = MultigridCG(1e-8, max_iterations=40, record=True).prepare(system)(random(system))
        early = MultigridCG(1e-8, max_iterations=3).prepare(system)(random(system))[1]
    history, count = np.asarray(info.history), int(info.iterations)
    assert history.shape == (41,) and history[0] == pytest.approx(1) and np.isnan(history[count + 1 :]).all()
    assert history[count] <= 1e-8 < history[count - 1]
    assert history[3] == pytest.approx(float(early.residual), rel=1e-6) and early.history is None


def test_many_right_hand_sides_and_many_systems_at_once():
    ends = (OUT, WALLS)
    cells = [blocks(16, 4, s) for s in (0, 1)]
    systems = [of_cells(c, ends) for c in cells]
    rhs = np.stack([random(s, k) for k, s in enumerate(systems)])
    with jax.enable_x64(True):
        faces = tuple(jnp.stack(c) for c in zip(*(s.coefficients for s in systems), strict=True))

        def solve(c, b):
            return MultigridCG(1e-11).solve(GridSystem((16, 16), ends, systems[0].spacing, c), b)[0]

        both = np.asarray(jax.vmap(solve)(faces, jnp.asarray(rhs)))
        slope = jax.grad(lambda c: jnp.sum(jax.vmap(solve)(c, jnp.asarray(rhs)) ** 2))(faces)
    for found, system, b in zip(both, systems, rhs, strict=True):
        assert np.linalg.norm(system.matrix() @ found.ravel() - b.ravel()) < 1e-10 * np.linalg.norm(b)
    # φ goes as 1/c: Σ c ∂/∂c of Σ φ² is −2 Σ φ²
    total = sum(float((np.asarray(c) * np.asarray(s)).sum()) for c, s in zip(faces, slope, strict=True))
    assert total == pytest.approx(-2 * float((both**2).sum()), rel=1e-8)


def test_what_is_refused():
    with pytest.raises(InputError, match="multigrid: not made for this system"):
        Multigrid().operator(MatrixSystem(np.eye(3)))
    with pytest.raises(InputError, match="sweeps is 0"):
        Multigrid(0)
    with pytest.raises(InputError, match="waits is"):
        Multigrid(waits=[1])
