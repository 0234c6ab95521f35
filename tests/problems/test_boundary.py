"""Conditions as objects, and the parts of boundaries that they are given on."""

import numpy as np
import pytest

from sciml import (
    Box,
    Dirichlet,
    Disc,
    Flux,
    InputError,
    InSpace,
    Intersection,
    InTime,
    Neumann,
    Outflow,
    Polygon,
    Robin,
    Samples,
    Series,
    Union,
)

RNG = np.random.default_rng(0)
SQUARE = Box((0.0, 0.0), (2.0, 1.0))
STAR = Polygon(((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (1.0, 0.7), (0.0, 2.0)))


@pytest.mark.parametrize("clockwise", [False, True])
def test_distance_to_a_polygon(clockwise):
    polygon = Polygon(STAR.vertices[::-1]) if clockwise else STAR
    points = RNG.uniform(-0.5, 2.5, (400, 2))
    edge = polygon.boundaries["surface"].sample(200_000, RNG)
    nearest = np.array([np.linalg.norm(edge - p, axis=1).min() for p in points])
    found = polygon.signed_distance(points)
    assert np.abs(np.abs(found) - nearest).max() < 1e-2 * nearest.max()  # the samples are 5e-5 apart, on average
    notch = (points[:, 1] > 0.7) & (np.abs(points[:, 0] - 1) < (points[:, 1] - 0.7) / 1.3)
    inside = (points > 0).all(1) & (points[:, 0] < 2) & (points[:, 1] < 2) & ~notch
    assert np.array_equal(found > 0, inside)
    assert polygon.edges.size == pytest.approx(2 + 2 + 2 + 2 * np.hypot(1, 1.3))


REGIONS = {
    "box": SQUARE,
    "ball": Disc((0.2, 0.1, 0.0), 0.5),
    "polygon": STAR,
    "hole": SQUARE.without(Disc((0.7, 0.5), 0.3), "cylinder"),
    "cut": SQUARE - Disc((0.0, 0.5), 0.3),
    "union": SQUARE | Box((1.5, 0.5), (3.0, 2.0)),
    "intersection": SQUARE & Disc((1.0, 0.5), 0.8),
    "two holes": SQUARE.without(Disc((0.5, 0.5), 0.2), "first").without(STAR & Disc((1.5, 0.5), 0.3), "second"),
}
NAMES = {
    "hole": {"x_min", "x_max", "y_min", "y_max", "cylinder"},
    "union": {"x_min", "x_max", "y_min", "y_max"},
    "intersection": {"y_min", "y_max", "surface"},
    "two holes": {"x_min", "x_max", "y_min", "y_max", "first", "second"},
}
SIZES = {
    ("hole", "cylinder"): 2 * np.pi * 0.3, ("cut", "x_min"): 0.4, ("cut", "obstacle"): np.pi * 0.3,
    ("union", "x_max"): 0.5 + 1.5, ("box", "y_min"): 2.0, ("ball", "surface"): np.pi,
}  # fmt: skip


@pytest.mark.parametrize("name", REGIONS)
def test_parts_of_a_boundary_lie_on_it_and_face_outwards(name):
    region = REGIONS[name]
    parts = region.boundaries
    assert parts.keys() == NAMES.get(name, parts.keys())
    size = max(b - a for a, b in region.extents)
    for key, part in parts.items():
        assert part.name == key or name in ("ball", "polygon")
        points = part.sample(500, RNG)
        assert points.shape == (500, region.dimensions)
        assert np.abs(region.signed_distance(points)).max() < 1e-12 * size and part.contains(points).all()
        normal = part.normal(points)
        assert np.allclose(np.linalg.norm(normal, axis=1), 1)
        # corners have two normals: almost all points have one
        assert (region.signed_distance(points - 1e-6 * normal) > 0).mean() > 0.98
        assert (region.signed_distance(points + 1e-6 * normal) < 0).mean() > 0.98
        if (name, key) in SIZES:
            assert part.size == pytest.approx(
                SIZES[name, key], rel=0.05 if part.side is None and name != "ball" else 1e-12
            )
    if name == "hole":
        assert parts["x_max"].side == (0, 1) and parts["cylinder"].side is None
    if name == "cut":
        assert parts["x_min"].side is None and parts["x_max"].side == (0, 1)
    inner = region.sample(300, RNG)
    assert inner.shape == (300, region.dimensions) and region.contains(inner).all()


def test_what_is_no_region_is_refused():
    for make, said in (
        (lambda: Polygon(((0, 0), (1, 1))), "three corners"),
        (lambda: Polygon(((0, 0), (1, 1), (1, 0), (0, 1))), "cross each other"),
        (lambda: Polygon(((0, 0), (0, 0), (1, 0), (0, 1))), "same point"),
        (lambda: SQUARE - Disc((0.0, 0.0, 0.0), 1.0), "dimensions"),
        (lambda: SQUARE.without(Disc((1.0, 0.5), 0.1), "x_min"), "another name"),
        (lambda: Intersection(SQUARE, Disc((9.0, 9.0), 1.0)), "nothing in common"),
        (lambda: Union(SQUARE, Box((0.0,), (1.0,))), "dimensions"),
    ):
        with pytest.raises(InputError, match=said):
            make()


def test_values_in_time_and_in_space():
    points = SQUARE.boundaries["x_min"].places(4)
    assert points.tolist() == [[0, 0.125], [0, 0.375], [0, 0.625], [0, 0.875]]
    profile = Dirichlet(lambda at, t: (1 + t) * at[:, 1])
    assert profile.in_space and np.allclose(profile.over([0.0, 1.0], points), np.outer([1, 2], points[:, 1]))
    with pytest.raises(InputError, match="expected points"):
        profile.at(0.0)
    given = Dirichlet(Samples([[0.0, 0.0], [0.0, 1.0]], [1.0, 3.0]))
    assert np.allclose(given.at(0.0, points), 1 + 2 * points[:, 1])  # linear in between
    pulsing = Dirichlet(InSpace(lambda at: at[:, 1] ** 2, Series([0, 1], [0, 2])))
    assert pulsing.in_space and np.allclose(pulsing.over([0.5, 1.0], points), np.outer([1, 2], points[:, 1] ** 2))
    for value in (InTime(lambda t: 2 * t), Series([0, 1], [0, 2])):
        assert not Neumann(value).in_space and Neumann(value).over([0.5, 1.0]).tolist() == [1.0, 2.0]
    assert Robin(3.0, a=2.0, b=0.5).law == (2.0, 0.5) and Flux(1.0).law is None
    assert Dirichlet(1.0).given and not Robin(1.0).given and not Outflow().given
    for make, said in ((lambda: Robin(1.0, b=0), "b other than 0"), (lambda: Outflow(1.0), "has no value"),
                       (lambda: Samples([[0.0]], [1.0, 2.0]), "expected points")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            make()
