"""Solvers on the host in traced code: flows past a body and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.errors import InputError
from sciml.problems import CylinderFlow
from sciml.solvers import IncompressibleFlow
from sciml.solvers.linear import (
    GMRES,
    ConjugateGradient,
    Direct,
    End,
    GridSystem,
    IncompleteCholesky,
    Jacobi,
    MatrixSystem,
    RugeStuben,
    SparseDirect,
)

WALLS, OUT = (End.WALL, End.WALL), (End.WALL, End.OPEN)
FEW = 1e-11


@pytest.mark.parametrize("solver", [SparseDirect(), ConjugateGradient(RugeStuben(), FEW)], ids=lambda s: s.name)
def test_the_flow_past_a_cylinder_is_that_of_the_direct_solver(solver):
    case, times = CylinderFlow().case(), [0.01, 0.02]
    ours, theirs = (
        IncompressibleFlow((12, 24), dtype="float64", pressure_solver=s).solve(case, times) for s in (solver, None)
    )
    assert np.allclose(ours.u.values, theirs.u.values, rtol=0, atol=1e-8)
    assert np.allclose(ours.force_x.values, theirs.force_x.values, rtol=1e-6)


@pytest.mark.parametrize("ends", [(OUT, WALLS), (WALLS, WALLS)])
@pytest.mark.parametrize("solver", [
    ConjugateGradient(IncompleteCholesky(), FEW), ConjugateGradient(Jacobi(), FEW, directions=2), SparseDirect(),
    GMRES(tolerance=FEW),
], ids=["incomplete", "jacobi", "direct", "gmres"])  # fmt: skip
def test_derivatives_agree_with_differences(solver, ends):
    with jax.enable_x64(True):
        random = np.random.default_rng(0)
        rhs, weights = (jnp.asarray(random.standard_normal((5, 6))) for _ in range(2))
        faces = tuple(jnp.asarray(random.uniform(0.5, 2, s)) for s in ((5, 7), (6, 6)))

        def value(faces, rhs):
            system = GridSystem((5, 6), ends, (0.3, 0.2), faces)
            phi, info = solver.solve(system, system.centred(rhs))
            return jnp.sum(weights * phi) + 0 * info.residual

        found = jax.jit(jax.grad(value, (0, 1)))(faces, rhs)
        step = 1e-6
        for _ in range(2):
            change = jax.tree.map(lambda a: jnp.asarray(random.standard_normal(a.shape)), (faces, rhs))
            up, down = (
                value(*jax.tree.map(lambda a, c, s=sign: a + s * step * c, (faces, rhs), change)) for sign in (1, -1)
            )
            slope = sum(jnp.sum(g * c) for g, c in zip(jax.tree.leaves(found), jax.tree.leaves(change), strict=True))
            assert abs((up - down) / (2 * step) - slope) <= 2e-6 * max(abs(float(slope)), 1)


def test_grids_whose_cells_are_partly_closed_and_not_whole():
    faces = [np.ones((9, 8)), np.ones((10, 7))]
    faces[0][3, 2:5] = faces[1][3:5, 2] = faces[1][3:5, 3] = 0
    for ends in ((OUT, WALLS), (WALLS, WALLS)):
        system = GridSystem((9, 7), ends, (1.0, 1.0), tuple(faces))
        rhs = np.random.default_rng(1).standard_normal((9, 7))
        live = system.live(np)
        wanted = np.where(live, rhs - (rhs[live].mean() if system.closed else 0), 0)
        with jax.enable_x64(True):
            theirs = np.asarray(Direct().prepare(system)(wanted)[0])
        for solver in (ConjugateGradient(RugeStuben(), FEW), ConjugateGradient(None, FEW), SparseDirect("cholesky")):
            x, info = solver.prepare(system)(rhs)
            assert x.shape == (9, 7) and not x[~live].any() and info.converged
            assert np.allclose(x, theirs, atol=1e-8)


def test_bad_right_hand_sides_and_guesses_are_named():
    system = GridSystem((4, 5), (OUT, WALLS), (1.0, 1.0))
    for solver in (ConjugateGradient(), SparseDirect(), GMRES()):
        solve = solver.prepare(system)
        good = np.ones((4, 5))
        with pytest.raises(InputError, match=r"rhs: expected an array of shape \(4, 5\), got \(5, 4\)"):
            solve(good.T)
        with pytest.raises(InputError, match=r"rhs: expected an array of shape \(4, 5\), got \(3, 3\)"):
            solve(np.ones((3, 3)))
        with pytest.raises(InputError, match="rhs: 1 of 20 values are not finite"):
            solve(np.where(np.arange(20).reshape(4, 5) == 7, np.nan, good))
        with pytest.raises(InputError, match="guess: 20 of 20 values are not finite"):
            solve(good, good * np.inf)
        with pytest.raises(InputError, match="guess: expected an array of shape"):
            solve(good, np.ones(3))
        with pytest.raises(InputError, match="rhs: expected real numbers, as the matrix is real, got complex128"):
            solve(good + 0j)
        with pytest.raises(InputError, match="rhs: expected numbers, got"):
            solve(np.full((4, 5), "a"))
        assert np.allclose(solve(good)[0], solve(good.ravel())[0])


def test_wrong_matrices_are_named():
    for matrix, message in (
        (np.ones((2, 3)), "matrix: expected a square matrix, got 2 × 3"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "matrix: 2 entries are not finite, the first in row 0"),
    ):
        with pytest.raises(InputError, match=message):
            MatrixSystem(matrix)
