"""Guesses for the next solve of a march."""

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.solvers.linear import (
    End,
    Extrapolated,
    GridSystem,
    MultigridCG,
    Previous,
    Projected,
    WarmStart,
    Zero,
    load_recorded,
    replay,
    save_recorded,
)
from sciml.solvers.linear.families import Constant, LogNormal
from sciml.solvers.linear.guesses import galerkin

WALLS = (End.WALL, End.WALL)


def march(rhs_at, system=None, count=8):
    """Solves of one system whose right-hand side goes with time."""
    system = LogNormal(1.0).draw(0, (12, 10)) if system is None else system
    return [(system, rhs_at(k)) for k in range(count)]


def fields(count, seed=0, shape=(12, 10)):
    return np.random.default_rng(seed).standard_normal((count, *shape))


def test_a_solution_that_is_linear_in_time_is_extrapolated_exactly():
    a, b, c = fields(3)
    solver = MultigridCG(1e-10)
    line, curve = march(lambda k: a + k * b), march(lambda k: a + k * b + k**2 * c)
    assert np.all(replay(line, solver, Extrapolated(1)).first[2:] < 1e-8)
    assert np.all(replay(curve, solver, Extrapolated(1)).first[2:] > 1e-4)
    assert np.all(replay(curve, solver, Extrapolated(2)).first[3:] < 1e-7)
    # before as many are known, by those that are: the first from zero, the second from the first
    assert replay(curve, solver, Extrapolated(2)).first[0] == pytest.approx(1.0)
    first = replay(curve, solver, Extrapolated(2)).first[1]
    assert first == pytest.approx(replay(curve, solver, Previous()).first[1])


def test_projection_finds_what_lies_among_the_last_solutions():
    a, b, c = fields(3)
    going = march(lambda k: np.cos(k) * a + np.sin(0.7 * k) * b + k * c)
    found = replay(going, MultigridCG(1e-11), Projected(3))
    assert np.all(found.first[3:] < 1e-8) and np.all(found.iterations[3:] <= found.iterations[0] / 2)
    assert np.all(found.residual <= 1e-11)


def test_projection_makes_the_energy_of_the_error_least():
    system = LogNormal(1.0).draw(3, (9, 11))
    matrix = system.matrix().toarray()
    rng = np.random.default_rng(2)
    x, columns = rng.standard_normal(99), list(rng.standard_normal((4, 9, 11)))
    rhs = (matrix @ x).reshape(9, 11)
    found = galerkin(columns, system, rhs).ravel()
    # (x − x⁰) is orthogonal to all columns in the inner product of A
    for column in columns:
        assert abs(column.ravel() @ matrix @ (x - found)) <= 1e-9 * np.linalg.norm(matrix @ x)
    dependent = galerkin([*columns, columns[0] + columns[1]], system, rhs).ravel()
    np.testing.assert_allclose(dependent, found, atol=1e-8)
    assert galerkin([], system, rhs) is None


def test_projection_of_a_closed_box_does_not_mind_the_constant():
    system = GridSystem((8, 8), (WALLS, WALLS), (0.1, 0.1))
    rng = np.random.default_rng(0)
    matrix = system.matrix().toarray()
    x = rng.standard_normal(64)
    columns = [x.reshape(8, 8) + 5, rng.standard_normal((8, 8)), np.ones((8, 8))]
    found = galerkin(columns, system, (matrix @ x).reshape(8, 8))
    np.testing.assert_allclose(matrix @ found.ravel(), matrix @ x, atol=1e-9 * np.abs(matrix @ x).max())


def test_a_beside_guess_joins_the_projection():
    a, b = fields(2)
    system = Constant((End.OPEN, End.OPEN)).draw(0, (12, 10))
    inverse = np.linalg.inv(system.matrix().toarray())

    class Knows(WarmStart):
        name = "knows"

        def guess(self, past, system, rhs, step):
            return 3 * (inverse @ rhs.ravel()).reshape(rhs.shape)  # of the wrong size alone

    going = march(lambda k: np.cos(3 * k) * a + k**3 * b, system)
    assert np.all(replay(going, MultigridCG(1e-10), Projected(1, Knows())).first < 1e-9)


def test_iterations_saved_are_counted_against_another():
    a, b = fields(2)
    going = march(lambda k: a + 0.01 * k * b)
    zero, last = (replay(going, MultigridCG(1e-8), s) for s in (Zero(), Previous()))
    assert last.saved(zero, 1) == pytest.approx(1 - last.iterations[1:].sum() / zero.iterations[1:].sum())
    assert last.saved(zero) > 0.1 and zero.saved(zero) == 0
    assert np.allclose(zero.first, 1)


def test_recorded_systems_come_back(tmp_path):
    family = LogNormal(1.0, ends=(WALLS, (End.OPEN, End.WALL)))
    first, second = family.draw(0, (5, 6)), family.draw(1, (5, 6))
    plain = GridSystem((5, 6), (WALLS, WALLS), (0.1, 0.2))
    kept = list(zip([first, first, second, plain], fields(4, shape=(5, 6)), strict=True))
    save_recorded(tmp_path / "march.npz", kept)
    found = load_recorded(tmp_path / "march.npz")
    assert len(found) == 4
    for (system, rhs), (other, again) in zip(kept, found, strict=True):
        assert (system.shape, system.ends, system.spacing) == (other.shape, other.ends, other.spacing)
        assert np.array_equal(rhs, again) and abs(system.matrix() - other.matrix()).max() == 0
    assert found[3][0].coefficients is None
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="expected a file of save_recorded"):
        load_recorded(tmp_path / "other.npz")
    with pytest.raises(InputError, match="at least one system"):
        save_recorded(tmp_path / "none.npz", [])


def test_what_is_refused():
    with pytest.raises(InputError, match="order is 3"):
        Extrapolated(3)
    with pytest.raises(InputError, match="count is 0"):
        Projected(0)
