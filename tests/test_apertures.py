"""Shares of faces and cells against areas and lengths that are known."""

import numpy as np
import pytest

from sciml import Box, Disc, InputError, Polygon
from sciml.support import Apertures, Grid

BOX = Box((0.0, 0.0), (2.0, 1.0))


def test_a_disc_takes_its_area_to_second_order():
    lost = []
    for n in (16, 32, 64, 128):
        domain = BOX - Disc((0.93, 0.52), 0.31)
        grid = Grid.uniform(domain, (n, 2 * n))
        found = Apertures.of(domain, grid)
        lost.append(abs(2.0 - np.sum(found.volumes * grid.volumes()) - np.pi * 0.31**2))
        # what the faces of a row or column leave open is the width of the fluid there
        open_x = found.faces[0].sum(0) / n
        half = np.sqrt(np.maximum(0.31**2 - (grid.faces[0] - 0.93) ** 2, 0))
        assert np.abs(open_x - (1 - 2 * half)).max() < 3 / n**1.5
    orders = np.log2(np.array(lost[:-1]) / np.array(lost[1:]))
    assert orders.mean() > 1.8 and lost[-1] < 1e-4


def test_a_slanted_wall_is_met_exactly():
    """Fluid is where y > 0.13 + 0.4 x: shares, distances, offsets and slopes are those of the straight line."""
    wall = Polygon(((-1.0, -2.0), (3.0, -2.0), (3.0, 0.13 + 1.2), (-1.0, 0.13 - 0.4)))
    domain = BOX - wall
    grid = Grid.uniform(domain, (10, 20))
    found = Apertures.of(domain, grid)
    x, y = grid.faces
    height = 0.13 + 0.4 * x
    share = np.clip((y[1:, None] - height) / 0.1, 0, 1)
    assert np.abs(found.faces[0] - share).max() < 1e-12
    cut = (share > 0) & (share < 1)
    cosine = 1 / np.hypot(1, 0.4)
    assert np.allclose(found.distances[0][cut], share[cut] * 0.1 / 2 * cosine)
    assert np.allclose(found.offsets[0][cut], (1 - share[cut]) / 2)
    assert np.allclose(found.slopes[0][cut], cosine)
    middle = np.clip((y[1:, None] - (height[1:] + height[:-1]) / 2) / 0.1, 0, 1)
    through = (y[:-1, None] < np.minimum(height[1:], height[:-1])) & (y[1:, None] > np.maximum(height[1:], height[:-1]))
    assert np.abs(found.volumes - middle)[through].max() < 1e-12


def test_a_wall_along_the_faces_closes_them_alone():
    domain = BOX - Box((0.5, -1.0), (1.0, 0.5))
    grid = Grid.uniform(domain, (8, 16))
    found = Apertures.of(domain, grid)
    assert set(np.unique(found.volumes)) <= {0.0, 1.0} and found.volumes.sum() == 128 - 16
    assert found.faces[0][:4, 4:9].max() == 0 and found.faces[0][4:].min() == 1
    assert found.faces[1][:5, 4:8].max() == 0 and found.faces[1][5:].min() == 1


def test_nothing_is_closed_by_the_sides_of_the_box():
    found = Apertures.of(BOX, Grid.uniform(BOX, (4, 8)))
    assert all((part == 1).all() for part in (*found.faces, found.volumes))


def test_in_the_plane_alone():
    ball = Box((0, 0, 0), (1, 1, 1)) - Disc((0.5, 0.5, 0.5), 0.2)
    with pytest.raises(InputError, match="two dimensions, got 3"):
        Apertures.of(ball, Grid.uniform(ball, 4))
