"""Conjugate gradients: against SciPy's and dense algebra, and with preconditioners that are anything at all."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from _matrices import Given, Noise, closed, poisson, spread

from sciml.solvers.linear import ConjugateGradient, FromOperator, Jacobi, MatrixSystem
from sciml.solvers.linear import _descent as descent
from sciml.solvers.linear._concrete import Concrete

RANDOM = np.random.default_rng(1)
POISSON = poisson(24, 31)
B = RANDOM.standard_normal(POISSON.shape[0])
CUT = Given(lambda r, a: np.clip(r / a.diagonal(), -np.std(r) / 3, np.std(r) / 3), False)


def true(matrix, x, b):
    return np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)


@pytest.fixture
def iterates(monkeypatch):
    """(x, p) after each iteration of what is solved next."""
    found, plain = [], descent.State.along

    def along(self, p, q, slope, curvature):
        plain(self, p, q, slope, curvature)
        found.append((self.x.copy(), p.copy()))

    monkeypatch.setattr(descent.State, "along", along)
    return found


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("directions", [1, 2, 4])
def test_the_identity_gives_the_iterates_of_conjugate_gradients(directions, linear, iterates):
    theirs = []
    sl.cg(POISSON, B, rtol=1e-8, callback=lambda x: theirs.append(x.copy()))
    solver = ConjugateGradient(Given(lambda r, a: r, linear), directions=directions)
    x, info = solver.prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.switched == -1 and info.iterations == len(theirs) == len(iterates)
    size = np.linalg.norm(theirs[-1])
    assert max(np.linalg.norm(a - b) for (a, _), b in zip(iterates, theirs, strict=True)) <= 1e-10 * size
    assert np.array_equal(x, iterates[-1][0])


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("directions", [1, 2, 4])
def test_the_exact_inverse_takes_one_iteration(directions, linear):
    inverse = sl.splu(sp.csc_array(POISSON)).solve
    solver = ConjugateGradient(Given(lambda r, a: -3.7 * inverse(r) if not linear else inverse(r), linear),
                               directions=directions)  # fmt: skip
    x, info = solver.prepare(MatrixSystem(POISSON))(B)
    assert info.iterations == 1 and info.residual < 1e-12 and np.allclose(x, inverse(B), rtol=1e-10)


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), Noise(0.5), CUT])
@pytest.mark.parametrize("directions", [2, 4])
def test_directions_within_the_window_are_conjugate(preconditioner, directions, iterates):
    matrix = POISSON + sp.diags_array(np.geomspace(1e-3, 10, len(B)))
    solver = ConjugateGradient(preconditioner, directions=directions, patience=10_000)
    assert solver.prepare(MatrixSystem(matrix))(B)[1].converged
    ps = np.array([p for _, p in iterates])
    image = (matrix @ ps.T).T
    sizes = np.sqrt(np.sum(ps * image, axis=1))
    products = np.abs(ps @ image.T / np.outer(sizes, sizes))
    assert len(ps) > 10
    assert max(np.diag(products, k).max() for k in range(1, directions + 1)) <= 1e-10
    if preconditioner is not None and not preconditioner.linear:
        assert np.diag(products, directions + 1).max() > 1e-6  # beyond the window nothing makes them so


@pytest.mark.parametrize("share", [0.2, 0.9, 1.0])
@pytest.mark.parametrize("directions", [1, 3])
def test_the_energy_falls_whatever_the_preconditioner_gives(share, directions, iterates):
    exact = sl.spsolve(sp.csc_array(POISSON), B)
    solver = ConjugateGradient(Noise(share), directions=directions, max_iterations=120, patience=40)
    solver.prepare(MatrixSystem(POISSON))(B)
    errors = np.array([np.sqrt((x - exact) @ (POISSON @ (x - exact))) for x, _ in iterates])
    assert len(errors) > 50 and (np.diff(errors) <= 1e-12 * errors[0]).all() and errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("make", [
    lambda: None, Jacobi, lambda: Noise(0.3), lambda: Noise(1.0),
    lambda: Given(lambda r, a: np.sin(np.arange(len(r))), False),
])  # fmt: skip
@pytest.mark.parametrize("matrix", [POISSON, spread(80, 1e5)])
def test_the_residual_that_is_claimed_is_that_of_x(make, matrix):
    b = B[: matrix.shape[0]]
    x, info = ConjugateGradient(make()).prepare(MatrixSystem(matrix))(b)
    assert info.converged and info.residual <= 1e-8
    assert abs(true(matrix, x, b) - info.residual) <= 1e-12
    assert len(info.history) == info.iterations + 1 and info.history[0] == 1 and info.history[-1] == info.residual


def test_what_rounding_does_not_allow_is_not_called_converged():
    matrix = spread(60, 1e5)
    b = matrix @ RANDOM.standard_normal(60)
    x, info = ConjugateGradient(tolerance=1e-17).prepare(MatrixSystem(matrix))(b)
    assert not info.converged and info.iterations < 600 and 1e-17 < info.residual < 1e-9
    assert abs(true(matrix, x, b) - info.residual) <= 1e-12


def test_the_residual_is_computed_anew_where_it_drifts(monkeypatch):
    """Large values early on leave the recursive residual off by their rounding."""
    matrix = sp.diags_array(np.geomspace(1e-9, 1, 400)).tocsr()
    b = np.ones(400)
    x, info = ConjugateGradient(tolerance=1e-9, max_iterations=4000).prepare(MatrixSystem(matrix))(b)
    assert abs(true(matrix, x, b) - info.residual) <= 1e-3 * info.residual
    assert info.converged == (info.residual <= 1e-9)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("linear", [True, False])
def test_a_preconditioner_that_gives_nothing_is_left_at_once(value, linear):
    broken = Given(lambda r, a: np.full_like(r, value), linear)
    x, info = ConjugateGradient(broken).prepare(MatrixSystem(POISSON))(B)
    _, jacobi = ConjugateGradient(Jacobi()).prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.switched == 0 and info.iterations == jacobi.iterations
    assert true(POISSON, x, B) <= 1e-8


def test_a_preconditioner_that_breaks_on_the_way_is_left_there():
    calls = []

    def late(r, a):
        calls.append(0)
        return r if len(calls) < 12 else r * np.nan

    x, info = ConjugateGradient(Given(late, False)).prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.switched == 11 and true(POISSON, x, B) <= 1e-8


def test_one_that_says_that_it_is_linear_and_is_negative_is_left():
    _, info = ConjugateGradient(Given(lambda r, a: -r, True)).prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.switched == 0


def test_a_preconditioner_that_stagnates_is_left_for_the_fallback():
    """It sees half of the unknowns alone."""
    half = (np.arange(len(B)) < len(B) // 2).astype(float)
    solver = ConjugateGradient(Given(lambda r, a: half * r, False))
    x, info = solver.prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.switched == 20 and true(POISSON, x, B) <= 1e-8
    # after it, a preconditioner that is worse than the fallback is never much worse: no more than its own patience
    _, jacobi = ConjugateGradient(Jacobi()).prepare(MatrixSystem(POISSON))(B)
    assert info.iterations <= jacobi.iterations + 60


def test_one_that_is_slow_and_better_than_the_fallback_stays():
    """A damped inverse with noise halves the residual in no 3 iterations, and Jacobi is far from that."""
    matrix = sp.csr_array(POISSON + sp.diags_array(np.geomspace(1e-5, 1e4, len(B))))
    inverse, random = sl.splu(sp.csc_array(matrix)).solve, np.random.default_rng(0)
    rough = Given(lambda r, a: inverse(r * (1 + 0.9 * random.standard_normal(len(r)))), False)
    _, info = ConjugateGradient(rough, patience=3).prepare(MatrixSystem(matrix))(B)
    assert info.converged and info.switched == -1


def test_the_fallback_is_what_was_asked_for():
    inverse = sl.splu(sp.csc_array(POISSON)).solve
    solver = ConjugateGradient(Given(lambda r, a: 0 * r, False), fallback=FromOperator(lambda r: inverse(r)))
    _, info = solver.prepare(MatrixSystem(POISSON))(B)
    assert info.converged and info.iterations == 1 and info.switched == 0


def test_no_right_hand_side_is_no_work():
    x, info = ConjugateGradient(Noise(1.0)).prepare(MatrixSystem(POISSON))(np.zeros(len(B)))
    assert not x.any() and info.iterations == 0 and info.residual == 0 and info.converged


def test_a_guess_helps_as_much_as_it_can_and_never_harms():
    solve = ConjugateGradient(Jacobi()).prepare(MatrixSystem(POISSON))
    x, cold = solve(B)
    assert solve(B, 17 * x)[1].iterations == 0  # of the right direction, of whatever size
    near = x + 1e-5 * np.linalg.norm(x) / np.sqrt(len(x)) * RANDOM.standard_normal(len(x))
    assert solve(B, near)[1].iterations < 0.8 * cold.iterations
    worst = solve(B, 1e9 * RANDOM.standard_normal(len(x)))
    assert worst[1].history[0] <= 1 and worst[1].iterations <= cold.iterations + 5
    assert np.allclose(worst[0], x, atol=1e-6 * abs(x).max())
    assert solve(B, np.zeros(len(B)))[1].iterations == cold.iterations


@pytest.mark.parametrize("make", [lambda: None, Jacobi, lambda: Noise(0.3)])
def test_a_null_space_is_left_out(make):
    matrix = closed(14, 9)
    system = MatrixSystem(matrix, null_space=np.ones(126))
    b = B[:126] + 5
    x, info = ConjugateGradient(make()).prepare(system)(b)
    exact = np.linalg.pinv(matrix.toarray()) @ b
    assert info.converged and abs(x.mean()) < 1e-14 and np.allclose(x, exact, atol=1e-6 * abs(exact).max())
    assert true(matrix, x, b - b.mean()) == pytest.approx(info.residual, abs=1e-13)
    assert not ConjugateGradient().prepare(system)(np.full(126, 3.0))[0].any()


def test_complex_hermitian_matrices():
    random = np.random.default_rng(0)
    part = spread(40, 100)
    skew = random.standard_normal((40, 40))
    matrix = part + 0.1j * (skew - skew.T)
    b = random.standard_normal(40) + 1j * random.standard_normal(40)
    for preconditioner in (None, Jacobi(), Given(lambda r, a: r * 1j, False)):
        x, info = ConjugateGradient(preconditioner).prepare(MatrixSystem(matrix))(b)
        assert info.converged and info.switched == -1 and true(matrix, x, b) <= 1e-8


def test_settings_make_solvers_equal():
    assert ConjugateGradient(Jacobi()) == ConjugateGradient(Jacobi()) != ConjugateGradient()
    assert len({ConjugateGradient(tolerance=1e-6), ConjugateGradient(tolerance=1e-6), ConjugateGradient()}) == 2
    assert ConjugateGradient(Jacobi()).directions == 1 and ConjugateGradient(Noise(0.1)).directions == 2


def test_one_look_at_a_system_serves_many_right_hand_sides():
    solve = ConjugateGradient(Jacobi()).prepare(MatrixSystem(POISSON))
    for seed in range(3):
        b = np.random.default_rng(seed).standard_normal(len(B))
        kept = b.copy()
        x, _ = solve(b)
        assert true(POISSON, x, b) <= 1e-8 and np.array_equal(b, kept)
    assert Concrete(MatrixSystem(POISSON)).size == len(B)
