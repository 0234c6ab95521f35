"""Ritz pairs against dense algebra, and the right-hand sides that are made of them."""

import numpy as np
import pytest

from sciml.solvers.linear import End, GridSystem
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._ritz import coefficients, ritz

WALLS, OUT = (End.WALL, End.WALL), (End.WALL, End.OPEN)


def concrete(shape=(11, 13), ends=(WALLS, OUT)) -> Concrete:
    return Concrete(GridSystem(shape, ends, (0.3, 0.2)))


def test_vectors_are_orthonormal_and_diagonalise_the_matrix_on_their_space():
    system = concrete()
    found = ritz(system, 60, np.random.default_rng(0))
    spectrum = np.linalg.eigvalsh(system.matrix.toarray())
    assert found.steps == 60 and len(found.values) == 60
    assert np.abs(found.vectors @ found.vectors.T - np.eye(60)).max() < 1e-12
    diagonal = found.vectors @ (system.matrix @ found.vectors.T)
    assert np.abs(diagonal - np.diag(found.values)).max() < 1e-11 * spectrum[-1]
    assert (np.diff(found.values) > 0).all()
    assert spectrum[0] - 1e-10 < found.values[0] and found.values[-1] < spectrum[-1] + 1e-10


def test_extreme_values_converge_from_within():
    system = concrete()
    spectrum = np.linalg.eigvalsh(system.matrix.toarray())
    ends = [ritz(system, m, np.random.default_rng(0)).values[[0, -1]] for m in (5, 10, 20, 40, 80)]
    low, high = np.transpose(ends)
    assert (np.diff(low) <= 1e-9).all() and (np.diff(high) >= -1e-9).all()
    assert low[-1] == pytest.approx(spectrum[0], rel=1e-10) and high[-1] == pytest.approx(spectrum[-1], rel=1e-10)


def test_of_a_closed_box_constants_are_left_out():
    system = concrete(ends=(WALLS, WALLS))
    found = ritz(system, 200, np.random.default_rng(1))
    assert np.abs(found.vectors.sum(axis=1)).max() < 1e-10
    spectrum = np.linalg.eigvalsh(system.matrix.toarray())
    assert found.values[0] == pytest.approx(spectrum[1], rel=1e-9)  # the first is the zero of the constants


def test_a_space_that_is_exhausted_gives_every_eigenvalue_once():
    system = Concrete(GridSystem((6, 6), (OUT, OUT), (1.0, 1.0)))  # i, j and j, i have the same
    found = ritz(system, 36, np.random.default_rng(0))
    spectrum = np.linalg.eigvalsh(system.matrix.toarray())
    distinct = spectrum[np.r_[True, np.diff(spectrum) > 1e-9]]
    assert found.steps == len(distinct) < 22
    assert np.abs(found.values - distinct).max() < 1e-10


def test_low_vectors_are_nine_times_as_strong_and_right_hand_sides_of_norm_one():
    found = ritz(concrete(), 40, np.random.default_rng(0))
    drawn = coefficients(found, 4000, np.random.default_rng(0))
    assert np.abs(np.linalg.norm(drawn @ found.vectors, axis=1) - 1).max() < 1e-12
    strength = np.sqrt(np.square(drawn).mean(axis=0))
    low, high = strength[:22], strength[22:]  # half of them and a twentieth
    assert low.mean() / high.mean() == pytest.approx(9, rel=0.06)  # rows of norm one: a large one takes from the others
    assert low.std() / low.mean() < 0.05 and high.std() / high.mean() < 0.05
