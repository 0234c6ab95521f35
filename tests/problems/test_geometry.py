"""Regions against brute force, and the grids that cover them."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sciml import Box, Difference, Disc, Grid
from sciml.errors import InputError
from sciml.geometry import resample_nodal

coordinate = st.floats(-3, 3, allow_nan=False)


def boundary_points(box, n=400):
    """Many points on the boundary of a two-dimensional box."""
    (x0, x1), (y0, y1) = box.extents
    s = np.linspace(0, 1, n)
    x, y = x0 + (x1 - x0) * s, y0 + (y1 - y0) * s
    sides = [
        np.c_[x, np.full(n, y0)], np.c_[x, np.full(n, y1)], np.c_[np.full(n, x0), y], np.c_[np.full(n, x1), y],
    ]  # fmt: skip
    return np.concatenate(sides)


@settings(max_examples=100, deadline=None)
@given(coordinate, coordinate, st.floats(0.1, 2), st.floats(0.1, 2))
def test_distance_to_a_box(x, y, width, height):
    box = Box((-1.0, -0.5), (-1.0 + width, -0.5 + height))
    point = np.array([x, y])
    nearest = np.linalg.norm(boundary_points(box) - point, axis=1).min()
    inside = -1 < x < -1 + width and -0.5 < y < -0.5 + height
    found = float(box.signed_distance(point))
    assert abs(found) == pytest.approx(nearest, abs=max(width, height) / 300)
    assert (found > 0) == inside == bool(box.contains(point))


@settings(max_examples=100, deadline=None)
@given(coordinate, coordinate, st.floats(0.1, 2))
def test_distance_to_a_disc(x, y, radius):
    disc = Disc((0.3, -0.2), radius)
    angle, best = np.linspace(0, 2 * np.pi, 2000), np.inf
    for _ in range(2):  # the ring, and once more where it is nearest: points 3e-6 radius apart
        ring = np.c_[0.3 + radius * np.cos(angle), -0.2 + radius * np.sin(angle)]
        away = np.linalg.norm(ring - np.array([x, y]), axis=1)
        best = min(best, away.min())
        angle = angle[np.argmin(away)] + np.linspace(-2, 2, 4000) * (angle[1] - angle[0])
    found = float(disc.signed_distance(np.array([x, y])))
    assert abs(found) == pytest.approx(best, abs=1e-5 * radius + 1e-9)
    assert (found > 0) == (np.hypot(x - 0.3, y + 0.2) < radius)


@settings(max_examples=100, deadline=None)
@given(coordinate, coordinate)
def test_a_difference_has_the_right_sign_and_is_a_bound(x, y):
    box, disc = Box((-1.0, -1.0), (1.0, 1.0)), Disc((0.5, 0.2), 0.4)
    region = box - disc
    assert isinstance(region, Difference) and tuple(region.boundaries) == (
        "x_min",
        "x_max",
        "y_min",
        "y_max",
        "obstacle",
    )
    point = np.array([x, y])
    found = float(region.signed_distance(point))
    inside = bool(box.contains(point)) and float(disc.signed_distance(point)) < 0
    assert (found > 0) == inside
    if inside:
        assert found == pytest.approx(min(box.signed_distance(point), -disc.signed_distance(point)))


def test_periodic_sides_are_no_boundary():
    box = Box((0.0, 0.0), (2.0, 1.0), (True, False))
    assert tuple(box.boundaries) == ("y_min", "y_max")
    assert float(box.signed_distance(np.array([0.01, 0.4]))) == pytest.approx(0.4)
    assert float(box.signed_distance(np.array([5.0, 1.5]))) == pytest.approx(-0.5)
    assert tuple(Box((0.0,) * 3, (1.0,) * 3).boundaries)[-2:] == ("z_min", "z_max")


def test_mask_counts_the_area():
    region = Box((0.0, 0.0), (2.0, 1.0)) - Disc((0.7, 0.5), 0.3)
    grid = Grid.uniform(region, (200, 400))
    mask = region.mask(grid)
    assert mask.dtype == np.uint8 and mask.shape == (200, 400)
    assert (mask * grid.volumes()).sum() == pytest.approx(2 - np.pi * 0.09, rel=2e-3)
    assert mask[100, 140] == 0 and mask[100, 300] == 1  # x is the last axis


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box((0.0,), (0.0,)), "must exceed"),
        (lambda: Box((0.0,), (1.0, 2.0)), "one entry an axis"),
        (lambda: Box((0.0,), (1.0,), (True, False)), "one entry an axis"),
        (lambda: Disc((0.0, 0.0), 0.0), "radius is 0"),
        (lambda: Grid.uniform(Box((0.0,), (1.0,)), (2, 2)), "expected 1 positive"),
        (lambda: Grid.uniform(Box((0.0,), (1.0,)), 0), "expected 1 positive"),
        (lambda: resample_nodal(np.zeros((3, 9)), (5, 5)), "too small"),
    ],
)
def test_impossible_regions_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_grid_conventions():
    grid = Grid.uniform(Box((0.0, 1.0, 2.0), (1.0, 3.0, 5.0)), (2, 3, 4))
    assert grid.shape == (2, 3, 4) and grid.dimensions == 3
    assert [len(c) for c in grid.centres] == [4, 3, 2]
    points = grid.points()
    assert points.shape == (2, 3, 4, 3)
    np.testing.assert_allclose(points[1, 2, 0], [0.125, 1 + 2 * 2.5 / 3, 2 + 3 * 1.5 / 2])
    assert grid.volumes().sum() == pytest.approx(6.0)
    np.testing.assert_allclose(np.broadcast_to(grid.coordinate(1), grid.shape), points[..., 1])


@settings(max_examples=60, deadline=None)
@example([1.0, 0.05, 1.0], 0.0)  # a thin cell between wide ones
@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=30), st.floats(-5, 5))
def test_faces_come_back_from_cell_centres(widths, start):
    """Also those of uneven cells, whose centres do not lie midway between neighbours' centres."""
    faces = start + np.concatenate([[0.0], np.cumsum(widths)])
    box = Box((float(faces[0]),), (float(faces[-1]),))
    found = Grid.from_centres(Grid((faces,), (False,)).centres, box)
    np.testing.assert_allclose(found.faces[0], faces, rtol=0, atol=1e-9)


def test_centres_that_are_no_midpoints_get_faces_midway():
    found = Grid.from_centres((np.array([0.1, 0.2, 0.9]),), Box((0.0,), (1.0,)))
    np.testing.assert_allclose(found.faces[0], [0.0, 0.15, 0.55, 1.0])
    single = Grid.from_centres((np.array([0.25], dtype=np.float32),), Box((0.0,), (1.0,)))
    np.testing.assert_allclose(single.faces[0], [0.0, 1.0])


def test_nodal_resampling_is_exact_for_cubics_and_keeps_what_agrees():
    def f(n, m):
        y, x = np.linspace(0, 1, n)[:, None], np.linspace(0, 1, m)[None, :]
        return x**3 - 2 * x * y**2 + y

    np.testing.assert_allclose(resample_nodal(f(9, 7), (17, 5)), f(17, 5), rtol=0, atol=1e-12)
    values = np.random.default_rng(0).random((5, 6))
    assert resample_nodal(values, (5, 6)) is values or np.array_equal(resample_nodal(values, (5, 6)), values)
