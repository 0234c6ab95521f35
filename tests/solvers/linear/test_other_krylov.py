"""Minimal residuals, generalised minimal residuals and direct factors."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from _matrices import FILES, closed, poisson, spread
from pyamg.gallery import load_example

from sciml.errors import InputError, SolverError
from sciml.solvers.linear import (
    GMRES,
    MINRES,
    ConjugateGradient,
    FromOperator,
    IncompleteCholesky,
    Jacobi,
    MatrixSystem,
    SparseDirect,
)

RANDOM = np.random.default_rng(2)
POISSON = poisson(12, 17)
B = RANDOM.standard_normal(POISSON.shape[0])


def true(matrix, x, b):
    return np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)


@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
@pytest.mark.parametrize("matrix", [POISSON, sp.csr_array(POISSON - 1.3 * sp.eye_array(len(B)))])
def test_minimal_residuals_of_definite_and_indefinite_matrices(matrix, preconditioner):
    x, info = MINRES(preconditioner).prepare(MatrixSystem(matrix))(B)
    assert info.converged and info.residual <= 1e-8 and true(matrix, x, B) == pytest.approx(info.residual, rel=1e-6)
    assert len(info.history) == info.iterations + 1 and info.history[-1] == info.residual
    if preconditioner is None:
        assert (np.diff(info.history) <= 1e-12).all()  # what the method is named after


def test_minimal_residuals_stop_at_the_first_iterate_that_is_good_enough():
    eager, exact = (MINRES(tolerance=t).prepare(MatrixSystem(POISSON))(B)[1] for t in (1e-3, 1e-9))
    assert eager.iterations == np.flatnonzero(np.array(exact.history) <= 1e-3)[0]
    few = MINRES(max_iterations=7).prepare(MatrixSystem(POISSON))(B)[1]
    assert few.iterations == 7 and not few.converged


def test_recirculating_flow_by_generalised_minimal_residuals():
    matrix = sp.csr_array(load_example("recirc_flow")["A"])
    b = RANDOM.standard_normal(matrix.shape[0])
    exact, direct = SparseDirect().prepare(MatrixSystem(matrix))(b)
    assert direct.residual < 1e-13 and true(matrix, exact, b) < 1e-13
    for solver in (GMRES(Jacobi()), GMRES(restart=225)):
        x, info = solver.prepare(MatrixSystem(matrix))(b)
        assert info.converged and true(matrix, x, b) <= 1e-8 and info.residual == pytest.approx(true(matrix, x, b))
        assert np.allclose(x, exact, atol=1e-4 * abs(exact).max())
    inverse = FromOperator(np.linalg.inv(matrix.toarray()))
    assert GMRES(inverse).prepare(MatrixSystem(matrix))(b)[1].iterations <= 2
    cut = GMRES(max_iterations=30).prepare(MatrixSystem(matrix))(b)[1]
    assert cut.iterations == 30 and not cut.converged


def test_complex_waves_by_generalised_minimal_residuals_and_factors():
    matrix = sp.csr_array(load_example("helmholtz_2D")["A"])
    system = MatrixSystem(matrix)
    assert not system.symmetric
    b = RANDOM.standard_normal(matrix.shape[0]) + 1j * RANDOM.standard_normal(matrix.shape[0])
    exact, direct = SparseDirect().prepare(system)(b)
    assert direct.converged and true(matrix, exact, b) < 1e-12
    x, info = GMRES(Jacobi(), tolerance=1e-5).prepare(system)(b)
    assert info.converged and true(matrix, x, b) <= 1e-5 and np.iscomplexobj(x)
    near, again = GMRES(Jacobi(), tolerance=1e-5).prepare(system)(b, (2 - 3j) * exact)
    assert again.iterations == 0 and np.allclose(near, exact)


@pytest.mark.skipif(not FILES.exists(), reason="the files are not here")
def test_stiffness_and_crystal_matrices():
    lines = np.loadtxt(FILES / "bcsstk01.tri", skiprows=3)
    i, j = lines[:, :2].astype(int).T - 1
    lower = sp.coo_array((lines[:, 2], (np.maximum(i, j), np.minimum(i, j))), shape=(48, 48)).tocsr()
    stiff = sp.csr_array(lower + sp.tril(lower, -1).T)
    growth = sp.csr_array(scipy.io.mmread(FILES / "cryg2500.mtx"))
    for matrix, factors in ((stiff, ("lu", "cholesky")), (growth, ("lu",))):
        b = matrix @ np.ones(matrix.shape[0])
        for factor in factors:
            x, info = SparseDirect(factor).prepare(MatrixSystem(matrix))(b)
            assert info.residual <= 1e-12 and true(matrix, x, b) <= 1e-12
    b = stiff @ np.ones(48)
    plain, jacobi = (
        ConjugateGradient(p, max_iterations=2000).prepare(MatrixSystem(stiff))(b)[1] for p in (None, Jacobi())
    )
    assert jacobi.converged and jacobi.iterations < plain.iterations / 2
    x, info = ConjugateGradient(IncompleteCholesky()).prepare(MatrixSystem(stiff))(b)
    assert info.converged and info.iterations < jacobi.iterations and np.allclose(x, 1, atol=1e-3)


@pytest.mark.parametrize("factor", ["lu", "cholesky"])
def test_direct_factors_of_singular_matrices(factor):
    one, other = closed(6, 7), closed(5, 4)
    null = np.zeros((62, 2))
    null[:42, 0] = null[42:, 1] = 1
    for matrix, kept in ((one, np.ones(42)), (sp.block_diag([one, other]), null)):
        b = RANDOM.standard_normal(matrix.shape[0])
        x, info = SparseDirect(factor).prepare(MatrixSystem(matrix, null_space=kept))(b)
        assert info.residual < 1e-13 and info.converged
        assert np.allclose(x, np.linalg.pinv(matrix.toarray()) @ b, rtol=0, atol=1e-11)


def test_a_factor_is_kept_and_an_ill_conditioned_one_corrected():
    prepared = SparseDirect().prepare(MatrixSystem(POISSON))
    assert prepared.bytes > POISSON.nnz * 12
    for seed in range(3):
        b = np.random.default_rng(seed).standard_normal(len(B))
        assert true(POISSON, prepared(b)[0], b) < 1e-14
    hard = spread(50, 1e9)
    assert SparseDirect().prepare(MatrixSystem(hard))(np.ones(50))[1].residual < 1e-6
    indefinite = sp.csr_array(POISSON - 1.3 * sp.eye_array(len(B)))
    assert SparseDirect().prepare(MatrixSystem(indefinite))(B)[1].residual < 1e-12


def test_settings_make_solvers_equal():
    assert MINRES(Jacobi()) == MINRES(Jacobi()) != MINRES() and GMRES() == GMRES() != GMRES(restart=9)
    assert SparseDirect() == SparseDirect() != SparseDirect("cholesky") and GMRES() != MINRES()
    assert len({hash(GMRES()), hash(GMRES()), hash(MINRES()), hash(SparseDirect())}) == 3


def test_what_cannot_be_solved_is_said():
    with pytest.raises(InputError, match=r"minres: expected a symmetric matrix; for others use GMRES\(\)"):
        MINRES().prepare(MatrixSystem(sp.csr_array(np.triu(np.ones((4, 4))))))
    wave = sp.csr_array(np.array([[2, 1j], [-1j, 3]]))
    with pytest.raises(InputError, match="minres: expected a real matrix, got a complex one"):
        MINRES().prepare(MatrixSystem(wave))(np.ones(2))
    with pytest.raises(SolverError, match="sparse_direct: the matrix is singular to rounding: pass null_space= to"):
        SparseDirect().prepare(MatrixSystem(np.diag([1.0, 2.0, 0.0]) + np.diag([0.0, 1e-20, 0.0])))
    for solver in (MINRES(), GMRES(), SparseDirect()):
        with pytest.raises(
            InputError, match=rf"{solver.name}: the matrix is singular, it takes constants to zero: pass "
        ):
            solver.prepare(MatrixSystem(closed(4, 5)))
    crooked = np.array([[1.0, -1.0], [2.0, -2.0]])
    with pytest.raises(InputError, match="expected a symmetric matrix where there is a null space"):
        SparseDirect().prepare(MatrixSystem(crooked, null_space=np.ones(2)))
    with pytest.raises(InputError, match="expected a symmetric matrix for factor 'cholesky'"):
        SparseDirect("cholesky").prepare(MatrixSystem(np.triu(np.ones((4, 4)))))
    with pytest.raises(InputError, match="sparse_direct: factor is 'qr', expected one of lu, cholesky"):
        SparseDirect("qr")
    with pytest.raises(SolverError, match="not positive, which factor 'cholesky' needs"):
        SparseDirect("cholesky").prepare(MatrixSystem(np.array([[1.0, 2.0], [2.0, 1.0]])))
