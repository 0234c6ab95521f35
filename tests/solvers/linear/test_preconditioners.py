"""Preconditioners: what they are as matrices, and in our iterations and SciPy's."""

import numpy as np
import pyamg
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from _matrices import Given, closed, poisson, spread
from pyamg.gallery import load_example

from sciml.errors import InputError
from sciml.solvers.linear import (
    ConjugateGradient,
    End,
    FromOperator,
    GridSystem,
    IncompleteCholesky,
    Jacobi,
    MatrixSystem,
    RugeStuben,
    SmoothedAggregation,
)
from sciml.solvers.linear._concrete import Concrete

RANDOM = np.random.default_rng(3)
POISSON = poisson(15, 21)
B = RANDOM.standard_normal(POISSON.shape[0])
ALL = [Jacobi(), IncompleteCholesky(), RugeStuben(), SmoothedAggregation()]


def dense(preconditioner, system):
    operator = preconditioner.operator(system)
    return np.stack([operator @ e for e in np.eye(system.size)], axis=1)


def jumps(shape=(12, 13), contrast=1e4):
    random, faces = np.random.default_rng(0), []
    for axis in (1, 0):
        faces.append(contrast ** random.uniform(0, 1, [n + (a == axis) for a, n in enumerate(shape)]))
    return GridSystem(shape, ((End.WALL, End.OPEN), (End.OPEN, End.WALL)), (0.1, 0.1), tuple(faces))


@pytest.mark.parametrize("preconditioner", ALL, ids=lambda p: p.name)
@pytest.mark.parametrize("system", [MatrixSystem(POISSON), jumps()], ids=["constant", "jumps"])
def test_they_are_symmetric_and_positive(preconditioner, system):
    made = dense(preconditioner, system)
    assert abs(made - made.T).max() <= 1e-12 * abs(made).max()
    random = RANDOM.standard_normal((system.size, 50))
    assert (np.sum(random * (made @ random), axis=0) > 0).all() and np.linalg.eigvalsh((made + made.T) / 2).min() > 0


@pytest.mark.parametrize("matrix", [POISSON, jumps().matrix(), load_example("knot")["A"].tocsr(), spread(20, 50)])
def test_incomplete_factors_are_those_of_the_pattern(matrix):
    matrix = sp.csr_array(matrix)
    system, full = MatrixSystem(matrix), matrix.toarray()
    lower = IncompleteCholesky().lower(system).toarray()
    product, pattern = lower @ lower.T, full != 0
    assert not lower[np.tril(~pattern)].any() and not np.triu(lower, 1).any() and (np.diag(lower) > 0).all()
    assert abs(product - full)[pattern].max() <= 1e-13 * abs(full).max()
    r = RANDOM.standard_normal(len(full))
    z = IncompleteCholesky().set_up(Concrete(system))[0](r)
    assert np.allclose(product @ z, r, atol=1e-9 * abs(r).max())
    if pattern.all():
        assert np.allclose(lower, np.linalg.cholesky(full), atol=1e-12)


def test_a_pivot_that_breaks_down_is_mended_by_a_shift_and_said():
    """Kershaw's matrix, positive definite, whose factors without fill have a negative pivot."""
    matrix = np.array([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]])
    assert np.linalg.eigvalsh(matrix).min() > 0
    system = MatrixSystem(matrix)
    with pytest.warns(
        UserWarning, match="incomplete_cholesky: a pivot was not positive, the diagonal is enlarged by"
    ) as said:
        solve = ConjugateGradient(IncompleteCholesky()).prepare(system)
    share = float(str(said[0].message).split()[-1])
    assert solve(np.arange(4.0))[1].converged
    lower = IncompleteCholesky(share).lower(system).toarray()
    wanted = matrix + share * np.diag(np.diag(matrix))
    assert abs(lower @ lower.T - wanted)[matrix != 0].max() < 1e-14
    assert IncompleteCholesky(share) != IncompleteCholesky() and len({IncompleteCholesky(), IncompleteCholesky(0)}) == 1


@pytest.mark.parametrize("name, null, most", [
    ("airfoil", False, (52, 50, 6, 7)), ("bar", False, (183, 128, 16, 39)), ("knot", False, (60, 60, 8, 6)),
    ("local_disc_galerkin_diffusion", False, (377, 299, 59, 32)), ("unit_cube", False, (37, 10, 3, 3)),
    ("unit_square", True, (70, 62, 9, 10)),
])  # fmt: skip
def test_iterations_on_the_matrices_of_pyamg(name, null, most):
    example = load_example(name)
    matrix = sp.csr_array(example["A"])
    system = MatrixSystem(matrix, null_space=np.ones(matrix.shape[0]) if null else None)
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    more = {"B": example["B"]} if example["B"] is not None else {}
    counts = []
    for preconditioner in (None, Jacobi(), SmoothedAggregation(**more), RugeStuben()):
        x, info = ConjugateGradient(preconditioner).prepare(system)(b)
        wanted = b - b.mean() if null else b
        assert info.converged and info.switched == -1
        assert np.linalg.norm(wanted - matrix @ x) <= 1.0001e-8 * np.linalg.norm(wanted)
        counts.append(info.iterations)
    assert all(abs(n - m) <= max(1, 0.04 * m) + (4 if null else 0) for n, m in zip(counts, most, strict=True)), counts
    factor = ConjugateGradient(IncompleteCholesky()).prepare(system)(b)[1]
    assert factor.converged and factor.iterations <= 0.6 * counts[1]


@pytest.mark.parametrize("preconditioner", [*ALL, None], ids=lambda p: p.name if p else "none")
def test_in_scipys_iteration_they_do_what_they_do_in_ours(preconditioner):
    system, count = MatrixSystem(POISSON), []
    more = {} if preconditioner is None else {"M": preconditioner.operator(system)}
    theirs, _ = sl.cg(system.operator(), B, rtol=1e-8, callback=lambda x: count.append(0), **more)
    ours, info = ConjugateGradient(preconditioner).prepare(system)(B)
    assert info.iterations == len(count) and np.allclose(ours, theirs, atol=1e-9 * abs(ours).max())


def test_pyamgs_own_operator_within_ours():
    made = pyamg.ruge_stuben_solver(sp.csr_matrix(POISSON)).aspreconditioner()
    x, info = ConjugateGradient(FromOperator(made)).prepare(MatrixSystem(POISSON))(B)
    other, same = ConjugateGradient(RugeStuben()).prepare(MatrixSystem(POISSON))(B)
    assert info.iterations == same.iterations and np.array_equal(x, other)


def test_operators_matrices_and_functions_over_all_unknowns():
    """Also where some unknowns have no equation."""
    faces = [np.ones((9, 8)), np.ones((10, 7))]
    faces[0][3, 2:5] = faces[1][3:5, 2] = faces[1][3:5, 3] = 0  # closes two cells
    faces[0][3, 3] = 0
    system = GridSystem((9, 7), ((End.WALL, End.OPEN), (End.WALL, End.WALL)), (1.0, 1.0), tuple(faces))
    assert system.live(np).sum() == 61
    b = RANDOM.standard_normal((9, 7))
    inverse = np.linalg.pinv(system.matrix().toarray())
    for given in (inverse, sl.aslinearoperator(inverse), lambda r: inverse @ r, lambda r: (inverse @ r)[:, None]):
        x, info = ConjugateGradient(FromOperator(given)).prepare(system)(b)
        assert info.iterations == 1 and np.allclose(x.ravel(), inverse @ np.where(system.live(np), b, 0).ravel())
    assert FromOperator(inverse) == FromOperator(inverse) != FromOperator(inverse, linear=False)


@pytest.mark.parametrize("preconditioner", ALL, ids=lambda p: p.name)
def test_a_null_space_is_respected(preconditioner):
    matrix = closed(13, 16)
    system = MatrixSystem(matrix, null_space=np.ones(208))
    b = B[:208]
    x, info = ConjugateGradient(preconditioner).prepare(system)(b)
    assert info.converged and info.switched == -1 and info.iterations <= 80
    assert np.allclose(x, np.linalg.pinv(matrix.toarray()) @ b, atol=1e-7)
    made = dense(preconditioner, system)
    assert abs(made @ np.ones(208)).max() <= 1e-12 * abs(made).max()
    two = MatrixSystem(sp.block_diag([matrix, matrix]), null_space=np.kron(np.eye(2), np.ones((208, 1))))
    assert ConjugateGradient(preconditioner).prepare(two)(np.concatenate([b, -3 * b]))[1].converged


def test_algebraic_multigrid_needs_as_many_iterations_on_finer_grids_and_counts_its_bytes():
    for preconditioner in (RugeStuben(), SmoothedAggregation()):
        counts = []
        for n in (16, 64):
            solve = ConjugateGradient(preconditioner).prepare(MatrixSystem(poisson(n, n)))
            counts.append(solve(RANDOM.standard_normal(n * n))[1].iterations)
            made = (
                pyamg.ruge_stuben_solver if preconditioner.name == "ruge_stuben" else pyamg.smoothed_aggregation_solver
            )
            ratio = made(sp.csr_matrix(poisson(n, n))).operator_complexity() - 1
            assert 0.8 * ratio <= solve.bytes / (12 * poisson(n, n).nnz) <= ratio + 2
        assert counts[1] <= counts[0] + 4


def test_what_they_cannot_take_is_said(monkeypatch):
    system = MatrixSystem(POISSON)
    with pytest.raises(InputError, match=r"jacobi: expected a positive diagonal, got -1 in row 2"):
        Jacobi().operator(MatrixSystem(np.diag([1.0, 1, -1])))
    with pytest.raises(InputError, match=r"jacobi: expected no zero on the diagonal, got 0 in row 1"):
        Jacobi().operator(MatrixSystem(np.array([[1.0, 2], [3, 0]])))
    with pytest.raises(InputError, match="incomplete_cholesky: expected a positive diagonal, got 0 in row 1"):
        IncompleteCholesky().operator(MatrixSystem(np.array([[1.0, 2], [2, 0]])))
    with pytest.raises(InputError, match="incomplete_cholesky: expected a real matrix"):
        IncompleteCholesky().operator(MatrixSystem(np.array([[2, 1j], [-1j, 3]])))
    with pytest.raises(InputError, match="incomplete_cholesky: shift is -1, expected a number from 0 on"):
        IncompleteCholesky(-1)
    with pytest.raises(InputError, match="not made for this system"):
        IncompleteCholesky().operator(MatrixSystem(np.triu(np.ones((3, 3)))))
    with pytest.raises(InputError, match="ruge_stuben: cycle is 'Z', expected one of V, W, F"):
        RugeStuben("Z")
    with pytest.raises(InputError, match=r"ruge_stuben: pyamg does not take these options: .*nonsense"):
        RugeStuben(nonsense=3).operator(system)
    with pytest.raises(InputError, match="from_operator: expected a LinearOperator, a matrix or a function, got str"):
        FromOperator("amg")
    with pytest.raises(InputError, match=r"from_operator: expected an operator of shape \(315, 315\), got \(3, 3\)"):
        ConjugateGradient(FromOperator(np.eye(3))).prepare(system)
    with pytest.raises(InputError, match=r"expected the operator to give 315 values, got an array of \(2,\)"):
        ConjugateGradient(FromOperator(lambda r: r[:2])).prepare(system)(B)
    with pytest.raises(InputError, match="expected real numbers from the operator, got complex128"):
        ConjugateGradient(FromOperator(lambda r: 1j * r)).prepare(system)(B)
    import sciml.solvers.linear.algebraic_multigrid as amg

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(amg.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"smoothed_aggregation: needs the package pyamg; pip install 'sciml\[amg\]'"):
        SmoothedAggregation().operator(system)


def test_wrong_systems_and_settings_of_conjugate_gradients():
    identity = Given(lambda r, a: r, True)
    for settings, message in (
        ({"tolerance": 0}, "tolerance is 0, expected a number in"), ({"tolerance": 2.0}, "tolerance is 2.0"),
        ({"max_iterations": 0}, "max_iterations is 0, expected a whole number from 1 on"),
        ({"directions": 1.5}, "directions is 1.5"), ({"patience": 0}, "patience is 0"),
        ({"preconditioner": "jacobi"}, r"preconditioner is 'jacobi', expected a Preconditioner \(FromOperator makes"),
        ({"fallback": Given(lambda r, a: r, False)}, "fallback is given, expected a linear preconditioner"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"conjugate_gradient: {message}"):
            ConjugateGradient(**settings)
    assert ConjugateGradient(identity).supports(MatrixSystem(POISSON))
