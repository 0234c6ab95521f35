"""Clouds against clouds: sums and centres are kept, and distances are those of motions that are known."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from sciml.errors import InputError
from sciml.metrics import carried, misplaced, occupancy
from sciml.metrics.clouds import directions

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("around", [False, True])
def test_occupancy_keeps_the_sum_and_the_centre(d, around):
    cells = (8, 6, 5)[:d]
    points = RNG.uniform(0.3, 0.7, (200, d)) * np.array([2.0, 3.0, 1.0])[:d]
    weights, box = RNG.random(200), ((0.0, 2.0), (0.0, 3.0), (0.0, 1.0))[:d]
    found = occupancy(points, weights, box, cells, (around,) * d)
    assert found.shape == cells[::-1] and found.sum() == pytest.approx(weights.sum(), rel=1e-12)
    for a in range(d):
        centres = (np.arange(cells[a]) + 0.5) * box[a][1] / cells[a]
        along = found.sum(axis=tuple(k for k in range(d) if k != d - 1 - a))
        assert along @ centres == pytest.approx(weights @ points[:, a], rel=1e-12)


def test_a_particle_at_the_centre_of_a_cell_is_in_it_alone_and_goes_round_the_box():
    found = occupancy(np.array([[0.625, 0.25]]), np.array([3.0]), ((0.0, 1.0), (0.0, 1.0)), (4, 2))
    np.testing.assert_array_equal(found, [[0, 0, 3, 0], [0, 0, 0, 0]])
    beside = np.array([[0.0, 0.25], [1.25, 0.25]])  # on the seam, and beyond it
    found = occupancy(beside, np.ones(2), ((0.0, 1.0), (0.0, 1.0)), (4, 2), (True, False))
    np.testing.assert_allclose(found, [[1, 0.5, 0, 0.5], [0, 0, 0, 0]], atol=1e-15)
    found = occupancy(beside, np.ones(2), ((0.0, 1.0), (0.0, 1.0)), (4, 2))  # a wall keeps what is beyond
    np.testing.assert_array_equal(found, [[1, 0, 0, 1], [0, 0, 0, 0]])


def test_a_lattice_fills_cells_evenly_and_a_shift_by_a_cell_misplaces_a_column():
    """A block of 4 × 2 cells with 4 × 4 particles each, moved by one cell along x: one column of four is elsewhere."""
    x, y = np.meshgrid((np.arange(16) + 0.5) / 4 + 2, (np.arange(8) + 0.5) / 4 + 2)
    block = np.stack([x.ravel(), y.ravel()], axis=1)

    def count(shift):
        return occupancy(block + np.array([shift, 0]), np.full(len(block), 1 / 16), ((0, 13), (0, 6)), (13, 6))

    here = count(0.0)
    np.testing.assert_allclose(here[3, 3:5], 0.875)  # rows beside the edge of the block give up an eighth
    assert misplaced(here, here) == 0
    assert misplaced(count(1.0), here) == pytest.approx(0.25, abs=1e-12)
    assert misplaced(count(6.0), here) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_cloud_that_moves_as_a_whole_is_carried_that_far_and_order_does_not_count(d):
    cloud = RNG.normal(size=(50, d))
    for _ in range(3):
        shift = RNG.normal(size=d)
        size = np.linalg.norm(shift)
        assert carried(cloud + shift, RNG.permutation(cloud)) == pytest.approx(size, rel=(1e-12, 4e-3, 1.6e-2)[d - 1])
    assert carried(RNG.permutation(cloud), cloud) == pytest.approx(0, abs=1e-14)


def test_directions_in_the_plane_and_in_space_see_lengths_alike():
    for d, mean in ((2, 2 / np.pi), (3, 0.5)):
        e = directions(d)
        np.testing.assert_allclose(np.linalg.norm(e, axis=1), 1)
        some = RNG.normal(size=(500, d))
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        assert np.abs(np.abs(some @ e.T).mean(1) / mean - 1).max() < (4e-3 if d == 2 else 1.6e-2)


def test_unequal_weights_and_numbers_as_scipy_has_them():
    one, other = RNG.normal(size=(30, 2)), RNG.normal(size=(45, 2)) + 1
    w, v = RNG.random(30), RNG.random(45)
    theirs = [wasserstein_distance(one @ e, other @ e, w, v) for e in directions(2)]
    assert carried(one, other, w, v) == pytest.approx(np.mean(theirs) * np.pi / 2, rel=1e-12)


def test_what_does_not_fit():
    with pytest.raises(InputError, match=r"points: expected \(N, 2\) with N weights, got \(3, 3\) and \(3,\)"):
        occupancy(np.zeros((3, 3)), np.ones(3), ((0, 1), (0, 1)), (2, 2))
    with pytest.raises(InputError, match="other: expected points in 2 dimensions, got 3"):
        carried(np.zeros((3, 2)), np.zeros((3, 3)))
