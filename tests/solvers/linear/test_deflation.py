"""Deflation: its iterates against deflated conjugate gradients written down with dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from _matrices import closed, poisson

from sciml.errors import InputError
from sciml.solvers.linear import ConjugateGradient, Deflation, IncompleteCholesky, Jacobi, MatrixSystem
from sciml.solvers.linear import _descent as descent

RANDOM = np.random.default_rng(5)
MATRIX = sp.csr_array(poisson(13, 17) + sp.diags_array(np.geomspace(1e-3, 30, 221)))
SYSTEM = MatrixSystem(MATRIX)
B = RANDOM.standard_normal(221)
SMOOTH = np.linalg.eigh(MATRIX.toarray())[1][:, :6]  # of the lowest energy


def deflated(matrix, b, basis, inverse, steps):
    """x after each step of P A x̂ = P b by preconditioned conjugate gradients, x = Q b + Pᵀ x̂."""
    q = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T)
    left = np.eye(len(b)) - matrix @ q
    x, r, found = np.zeros_like(b), left @ b, []
    z = inverse @ r
    p = z
    for _ in range(steps):
        w = left @ (matrix @ p)
        share = (r @ z) / (p @ w)
        x, new = x + share * p, r - share * w
        after = inverse @ new
        p = after + (new @ after) / (r @ z) * p
        r, z = new, after
        found.append(q @ b + left.T @ x)
    return found


@pytest.mark.parametrize("preconditioner", [None, Jacobi()], ids=["none", "jacobi"])
def test_iterates_are_those_of_deflated_conjugate_gradients(preconditioner, monkeypatch):
    ours, plain = [], descent.State.along

    def along(self, *given):
        plain(self, *given)
        ours.append(self.x.copy())

    monkeypatch.setattr(descent.State, "along", along)
    snapshots = (SMOOTH @ RANDOM.standard_normal((6, 6)) + 1e-3 * RANDOM.standard_normal((221, 6))).T
    _, info = ConjugateGradient(Deflation(snapshots, preconditioner)).prepare(SYSTEM)(B)
    inverse = np.eye(221) if preconditioner is None else np.diag(1 / MATRIX.diagonal())
    theirs = deflated(MATRIX.toarray(), B, snapshots.T, inverse, len(ours))
    exact = np.linalg.solve(MATRIX.toarray(), B)
    assert info.converged and len(ours) == info.iterations
    apart = np.array([np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]) / abs(exact).max()
    assert apart[:20].max() <= 1e-10 and apart.max() <= 1e-6  # both lose digits as they go on
    # the error is A-orthogonal to the snapshots throughout
    for iterate in ours:
        error = snapshots @ (MATRIX @ (exact - iterate))
        assert np.abs(error).max() <= 1e-10 * np.linalg.norm(B)


def test_the_lowest_modes_leave_the_rate_of_the_rest():
    """κ of what is left gives the bound of Chebyshev polynomials; without deflation many more are needed."""
    values = np.linalg.eigvalsh(MATRIX.toarray())
    x, info = ConjugateGradient(Deflation(SMOOTH.T)).prepare(SYSTEM)(B)
    exact = np.linalg.solve(MATRIX.toarray(), B)
    rate = (np.sqrt(values[-1] / values[6]) - 1) / (np.sqrt(values[-1] / values[6]) + 1)
    start = SMOOTH @ (SMOOTH.T @ B / values[:6])
    first, last = (np.sqrt((exact - v) @ (MATRIX @ (exact - v))) for v in (start, x))
    assert last <= 2 * rate**info.iterations * first * 1.001
    assert info.iterations < 0.8 * ConjugateGradient().prepare(SYSTEM)(B)[1].iterations


def test_what_is_within_the_span_takes_no_iteration():
    past = RANDOM.standard_normal((4, 221))
    for preconditioner in (None, IncompleteCholesky()):
        solve = ConjugateGradient(Deflation(past, preconditioner)).prepare(SYSTEM)
        x, info = solve(MATRIX @ (past.T @ [1.0, -2, 0.5, 3]))
        assert info.iterations == 0 and np.allclose(x, past.T @ [1.0, -2, 0.5, 3], atol=1e-9)
        assert solve(B)[1].converged and solve.bytes >= 2 * past.nbytes
    guessed = ConjugateGradient(Deflation(past)).prepare(SYSTEM)(MATRIX @ (past[0] + SMOOTH[:, 0]), SMOOTH[:, 0])
    assert guessed[1].converged


def test_solutions_are_added_and_dependent_ones_do_no_harm():
    first = Deflation([SMOOTH[:, 0]], keep=2)
    second = first.add(SMOOTH[:, 1]).add(SMOOTH[:, 1] * (1 + 1e-15))
    assert len(first.snapshots) == 1 and len(second.snapshots) == 2 and first != second
    x, info = ConjugateGradient(second).prepare(SYSTEM)(B)
    assert info.converged and np.linalg.norm(B - MATRIX @ x) <= 1e-8 * np.linalg.norm(B)
    assert first == Deflation(SMOOTH[:, :1].T, keep=2) and hash(first) == hash(Deflation(SMOOTH[:, :1].T, keep=2))
    nothing, plain = (ConjugateGradient(*p).prepare(SYSTEM)(B) for p in ((Deflation(np.zeros((2, 221))),), ()))
    assert np.linalg.norm(nothing[0] - plain[0]) <= 1e-6 * np.linalg.norm(plain[0])
    # by rounding, which depends on where arrays lie in memory, one of them may fall below the tolerance a step earlier
    assert abs(nothing[1].iterations - plain[1].iterations) <= 1


def test_as_few_modes_as_asked_and_those_of_the_largest_energy():
    snapshots = np.array([1e-6, 1.0, 1e-3])[:, None] * SMOOTH.T[:3]
    one = ConjugateGradient(Deflation(snapshots, modes=1)).prepare(SYSTEM)
    assert one(MATRIX @ SMOOTH[:, 1])[1].iterations == 0 and one(MATRIX @ SMOOTH[:, 0])[1].iterations > 0


def test_as_an_operator_it_is_symmetric_and_positive_and_knows_null_spaces():
    system = MatrixSystem(closed(9, 9), null_space=np.ones(81))
    deflation = Deflation(RANDOM.standard_normal((3, 81)) + 4, Jacobi())
    operator = deflation.operator(system)
    made = np.stack([operator @ e for e in np.eye(81)], axis=1)
    values = np.linalg.eigvalsh((made + made.T) / 2)
    assert abs(made - made.T).max() < 1e-12 * abs(made).max() and abs(values[0]) < 1e-12 < 1e-3 < values[1]
    x, info = ConjugateGradient(deflation).prepare(system)(B[:81])
    assert info.converged and abs(x.mean()) < 1e-14


def test_wrong_snapshots_are_refused():
    for given, message in (
        ([], "expected snapshots of one shape, got none"),
        ([np.ones(3), np.ones(4)], "expected snapshots of one shape"),
        ([np.array([1.0, np.nan])], "expected finite snapshots"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"deflation: {message}"):
            Deflation(given)
    with pytest.raises(InputError, match=r"snapshots: expected an array of shape \(221,\), got \(3,\)"):
        ConjugateGradient(Deflation([np.ones(3)])).prepare(SYSTEM)
    with pytest.raises(InputError, match="deflation: modes is 0"):
        Deflation([np.ones(3)], modes=0)
