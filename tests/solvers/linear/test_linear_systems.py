"""Linear systems on grids: what `apply` and `matrix` say, and solvers against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.errors import InputError
from sciml.geometry import Box, Disc
from sciml.solvers.linear import Direct, End, GridSystem, MultigridCG
from sciml.support import Apertures, Grid

WALLS, AROUND, OUT = (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC), (End.WALL, End.OPEN)
ENDS = [
    (WALLS, WALLS), (AROUND, WALLS), (WALLS, AROUND), (AROUND, AROUND), (OUT, WALLS), (OUT[::-1], OUT),
    ((End.OPEN, End.OPEN), AROUND), (OUT, (End.OPEN, End.OPEN)),
]  # fmt: skip


def disc(shape=(14, 22), ends=(OUT, WALLS), centre=(0.9, 0.61), radius=0.31, least=0.02) -> GridSystem:
    """A box of 2.2 × 1.4 without a disc."""
    domain = Box((0, 0), (2.2, 1.4)) - Disc(centre, radius)
    grid = Grid.uniform(domain, shape)
    return GridSystem(shape, ends, (2.2 / shape[1], 1.4 / shape[0]), Apertures.of(domain, grid, least).faces)


def varying(shape, ends, contrast=1e3) -> GridSystem:
    random = np.random.default_rng(3)
    faces = []
    for k, pair in enumerate(ends):
        axis = len(shape) - 1 - k
        c = contrast ** random.uniform(0, 1, [n + (a == axis) for a, n in enumerate(shape)])
        if pair[0] is End.PERIODIC:
            first, last = [slice(None)] * len(shape), [slice(None)] * len(shape)
            first[axis], last[axis] = 0, -1
            c[tuple(last)] = c[tuple(first)]
        faces.append(c)
    return GridSystem(shape, ends, tuple(0.1 * (k + 1) for k in range(len(shape))), tuple(faces))


def right_hand_side(system: GridSystem, seed=0) -> np.ndarray:
    rhs = np.random.default_rng(seed).standard_normal(system.shape)
    live = system.live(np)
    return np.where(live, rhs - (rhs[live].mean() if system.closed else 0), 0)


def reference(system: GridSystem, rhs: np.ndarray) -> np.ndarray:
    phi = (np.linalg.pinv(system.matrix().toarray(), rcond=1e-11) @ rhs.ravel()).reshape(system.shape)
    live = system.live(np)
    return np.where(live, phi - (phi[live].mean() if system.closed else 0), 0)


def solved(solver, system: GridSystem, rhs: np.ndarray, guess=None):
    with jax.enable_x64(True):
        phi, info = solver.prepare(system)(rhs, guess)
        return np.asarray(phi), type(info)(*map(np.asarray, info))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("shape", [(8, 12), (5, 7), (6, 200)])
def test_direct_solves_to_rounding_and_matrix_is_apply(shape, ends):
    system = GridSystem(shape, ends, (0.3, 0.7))
    rhs = right_hand_side(system)
    phi, info = solved(Direct(), system, rhs)
    with jax.enable_x64(True):
        again = np.asarray(system.apply(jnp.asarray(phi)))
    assert np.abs(again - rhs).max() < 1e-11 and info.converged and info.iterations == 0
    assert np.allclose(system.matrix() @ np.ravel(phi), np.ravel(again), atol=1e-11)
    assert not system.closed or abs(phi.mean()) < 1e-12


@pytest.mark.parametrize("solver", [Direct(), MultigridCG(1e-12)], ids=["direct", "multigrid"])
@pytest.mark.parametrize("ends", [(OUT, WALLS), (WALLS, WALLS), (AROUND, WALLS), (OUT, AROUND)])
def test_a_disc_in_a_box_is_solved_as_by_dense_algebra(solver, ends):
    system = disc(ends=ends)
    rhs = right_hand_side(system)
    phi, info = solved(solver, system, rhs)
    expected = reference(system, rhs)
    assert info.converged
    assert np.abs(phi - expected).max() < 1e-9 * np.abs(expected).max()


def test_two_bodies_one_of_them_at_a_wall():
    domain = Box((0, 0), (2.2, 1.4)) - (Disc((0.8, 0.0), 0.3) | Disc((1.5, 0.9), 0.2))
    grid = Grid.uniform(domain, (28, 44))
    system = GridSystem((28, 44), (OUT, WALLS), (0.05, 0.05), Apertures.of(domain, grid, 0.02).faces)
    rhs = right_hand_side(system)
    found = [solved(solver, system, rhs)[0] for solver in (Direct(), MultigridCG(1e-12))]
    expected = reference(system, rhs)
    assert all(np.abs(phi - expected).max() < 1e-9 * np.abs(expected).max() for phi in found)


@pytest.mark.parametrize("shape", [(16, 24), (13, 9), (6, 8, 10)])
def test_multigrid_with_coefficients_over_three_decades(shape):
    ends = (OUT, WALLS, AROUND)[: len(shape)]
    system = varying(shape, ends)
    rhs = right_hand_side(system)
    phi, info = solved(MultigridCG(1e-12), system, rhs)
    expected = reference(system, rhs)
    assert info.converged and np.abs(phi - expected).max() < 1e-8 * np.abs(expected).max()


def test_direct_in_three_dimensions():
    system = GridSystem((4, 5, 6), (OUT, WALLS, AROUND), (0.1, 0.2, 0.3))
    rhs = right_hand_side(system)
    phi, _ = solved(Direct(), system, rhs)
    assert np.abs(system.matrix() @ phi.ravel() - rhs.ravel()).max() < 1e-10


def test_multigrid_on_long_cells():
    """Cells sixteen times as long as high, and coefficients that jump by 10³: axes wait for each other."""
    ends = ((End.WALL, End.OPEN), (End.WALL, End.WALL))
    heavy = np.zeros((32, 128))
    heavy[:20, :50] = 1.0
    rho = 1 + 999 * heavy
    c = [2 / (np.pad(rho, pad, mode="edge")[tuple(slice(1, None) if k == a else slice(None) for k in (0, 1))]
              + np.pad(rho, pad, mode="edge")[tuple(slice(None, -1) if k == a else slice(None) for k in (0, 1))])
         for a, pad in ((1, ((0, 0), (1, 1))), (0, ((1, 1), (0, 0))))]  # fmt: skip
    system = GridSystem((32, 128), ends, (16.0, 1.0), tuple(c))
    rhs = np.random.default_rng(0).standard_normal(system.shape)
    plain = MultigridCG(1e-8, max_iterations=400)
    fitted = plain.fitted(system.spacing)
    assert fitted.waits == (4, 0) and plain.fitted((1.0, 1.0)).waits == (0, 0) and fitted.fitted((1.0, 1.0)) is fitted
    with jax.enable_x64(True):
        as_it_is = int(plain.solve(system, jnp.asarray(rhs))[1].iterations)
    counts = [int(solved(solver, system, rhs)[1].iterations) for solver in (plain, fitted)]
    assert counts[0] == counts[1] < 30  # what is prepared is fitted
    assert as_it_is > 3 * counts[1]


def test_iterations_of_multigrid_hardly_grow_with_the_grid():
    counts = []
    for cells in (32, 64, 128):
        system = disc((cells, cells * 11 // 7))
        counts.append(int(solved(MultigridCG(1e-8), system, right_hand_side(system))[1].iterations))
    assert counts[-1] <= 1.5 * counts[0] and counts[-1] <= 20, counts


def test_a_good_guess_saves_iterations_and_a_bad_one_does_no_harm():
    system = disc()
    rhs = right_hand_side(system)
    solver = MultigridCG(1e-10)
    phi, plain = solved(solver, system, rhs)
    other, _ = solved(solver, system, rhs + 1e-6 * right_hand_side(system, 1))
    near, good = solved(solver, system, rhs, other)
    far, bad = solved(solver, system, rhs, 1e6 * right_hand_side(system, 2))
    assert good.iterations <= plain.iterations / 2 and bad.iterations <= plain.iterations + 2
    assert np.allclose(near, phi, rtol=0, atol=1e-8) and np.allclose(far, phi, rtol=0, atol=1e-8)


def test_what_does_not_converge_says_so():
    system = disc()
    _, info = solved(MultigridCG(1e-12, max_iterations=2), system, right_hand_side(system))
    assert not info.converged and info.iterations == 2 and info.residual > 1e-12


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_derivatives_by_right_hand_side_and_coefficients_are_those_of_differences(mode):
    system = varying((6, 8), (OUT, WALLS), contrast=5)
    rhs, weights = right_hand_side(system), right_hand_side(system, 1)
    direction = [np.random.default_rng(4).uniform(0, 1, c.shape) * c for c in system.coefficients]

    def objective(t):
        moved = GridSystem(
            system.shape, system.ends, system.spacing,
            tuple(c + t * d for c, d in zip(system.coefficients, direction, strict=True)),
        )  # fmt: skip
        return jnp.sum(weights * MultigridCG(1e-13).solve(moved, jnp.asarray(rhs) * (1 + t))[0] ** 2)

    with jax.enable_x64(True):
        found = float((jax.grad if mode == "reverse" else jax.jacfwd)(objective)(0.0))
        expected = float((objective(1e-5) - objective(-1e-5)) / 2e-5)
    assert abs(found - expected) < 1e-7 * abs(expected)


def test_what_is_refused():
    with pytest.raises(InputError, match="one end pair and one spacing"):
        GridSystem((4, 4), (WALLS, WALLS), (0.1,))
    with pytest.raises(InputError, match="direct: does not solve this system"):
        Direct().prepare(varying((6, 8), (OUT, WALLS)))
    with pytest.raises(InputError, match="tolerance is 2"):
        MultigridCG(2)
    with pytest.raises(InputError, match="sweeps is 0"):
        MultigridCG(sweeps=0)
