"""Domains that once were solved wrong without a word: bodies along grid lines, walls named as sides, odd polygons."""

import numpy as np
import pytest

from sciml import Dirichlet, InputError, Outflow
from sciml.geometry import Box, Disc, Polygon
from sciml.problems import LidDrivenCavity, Poisson
from sciml.solvers import FiniteVolume, IncompressibleFlow
from sciml.support import Apertures, Grid

SQUARE = Box((0.0, 0.0), (1.0, 1.0))


def linear(points, time=0.0):
    return 1 + 2 * points[..., 0] - 3 * points[..., 1]


class Within(Poisson):
    domain: object = SQUARE
    given: object = None

    def geometry(self, case):
        return self.domain

    def boundary_conditions(self, case):
        return self.given or {name: {"p": Dirichlet(0.0)} for name in self.domain.boundaries}


def solved(domain, cells, source=1.0, given=None):
    problem = Within()
    problem.domain, problem.given = domain, given
    solver = FiniteVolume(cells)
    grid = solver.grid(problem.case())
    found = solver.solve(problem.case(source=np.full(grid.shape, source)))
    inside = np.asarray(domain.contains(grid.points()))
    return found.p.values, grid, inside


@pytest.mark.parametrize("low", [0.2, 0.25, 0.3])
@pytest.mark.parametrize("high", [0.6, 0.7, 0.75])
@pytest.mark.parametrize("moved", [0.0, 1e-9, -1e-9])
def test_bodies_along_lines_of_the_grid(low, high, moved):
    domain = SQUARE - Box((low + moved, low), (high, high + moved))
    values = {name: {"p": Dirichlet(linear)} for name in domain.boundaries}
    for cells in (10, 20):
        found, grid, inside = solved(domain, cells, 0.0, values)
        assert np.abs(found - linear(grid.points()))[inside].max() < 1e-7


def test_no_face_is_open_to_a_solid_cell():
    random = np.random.default_rng(0)
    for _ in range(50):
        low, size = random.uniform(0.1, 0.4, 2), random.uniform(0.1, 0.4, 2)
        low, size = (np.round(a, 2) if random.uniform() < 0.5 else a for a in (low, size))
        grid = Grid.uniform(SQUARE, int(random.integers(8, 33)))
        found = Apertures.of(SQUARE - Box(tuple(low), tuple(low + size)), grid)
        solid, (x, y) = found.volumes == 0, found.faces
        assert not (x[:, 1:][solid].any() or x[:, :-1][solid].any() or y[1:][solid].any() or y[:-1][solid].any())


def test_walls_within_that_are_called_as_sides_are():
    ways = [
        Box((0.0, 0.0), (1.0, 0.5)) | Box((0.0, 0.0), (0.5, 1.0)),
        Polygon(((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0))),
        SQUARE - Box((0.5, 0.5), (1.5, 1.5)),
    ]
    most = []
    for domain in ways:
        found, _, inside = solved(domain, 40)
        most.append(found[inside].max())
    # of the polygon the outer sides are pieces of wall, too, with differences of their own: second order, 0.15 % here
    assert most[0] == pytest.approx(most[1], rel=3e-3) and most[0] == pytest.approx(most[2], rel=1e-9)
    given = {name: {"p": Dirichlet(linear)} for name in ways[0].boundaries}
    found, grid, inside = solved(ways[0], 20, 0.0, given)
    assert np.abs(found - linear(grid.points()))[inside].max() < 1e-10


def test_a_corner_has_one_height_for_both_edges():
    quad = Polygon(((0.05, 0.1), (0.9, 0.02), (1.0, 0.8), (0.12, 0.93)))
    assert not quad.contains(np.array([0.06, 0.02])) and quad.signed_distance(np.array([-5.0, 0.02])) < -5
    random = np.random.default_rng(1)
    for _ in range(200):
        angles = np.sort(random.uniform(0, 2 * np.pi, 5))
        corners = np.stack([np.cos(angles), np.sin(angles)], 1) * random.uniform(0.5, 1.0, (5, 1))
        try:
            shape = Polygon(tuple(map(tuple, corners)))
        except InputError:  # crosses itself
            continue
        left = np.stack([np.full(5, -9.0), corners[:, 1]], 1)
        assert not shape.contains(left).any()
    for cells in (16, 32):
        found, _, inside = solved(quad, cells)
        assert found[inside].max() == pytest.approx(0.0518, rel=5e-3)


def test_parts_of_a_boundary_that_bound_nothing_are_none():
    step = Box((0.0, 0.0), (10.0, 2.0)) - Box((0.0, 0.0), (2.0, 1.0))
    sides = step.boundaries
    assert sides["x_min"].size == pytest.approx(1.0, rel=0.05) and sides["x_min"].side is None
    assert sides["obstacle"].size == pytest.approx(3.0, rel=0.05)
    assert sides["x_min"].places(64)[:, 1].min() > 1
    stacked = Box((0.0, 0.0), (1.0, 0.5)) | Box((0.0, 0.5), (0.5, 1.0))
    assert stacked.boundaries["y_min"].size == pytest.approx(1.0, rel=0.01)
    assert stacked.boundaries["x_min"].size == pytest.approx(1.0, rel=0.01)
    overlapping = Box((0.0, 0.0), (1.0, 0.5)) | Box((0.0, 0.0), (0.5, 1.0))
    assert overlapping.boundaries["x_min"].size == pytest.approx(1.0, rel=0.05)  # not twice where both have it


def test_a_backward_facing_step():
    rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}

    class Step(LidDrivenCavity):
        def geometry(self, case):
            return Box((0.0, 0.0), (8.0, 2.0)) - Box((0.0, 0.0), (2.0, 1.0))

        def boundary_conditions(self, case):
            def profile(points, time=0.0):
                y = points[:, 1] - 1
                return np.where(y > 0, 4 * y * (1 - y), 0)

            return {
                "x_min": {"u": Dirichlet(profile), "v": Dirichlet(0.0)}, "x_max": {"u": Outflow(), "v": Outflow()},
                "y_min": rest, "y_max": rest, "obstacle": rest,
            }  # fmt: skip

        def initial_state(self, case, grid):
            return {"u": np.zeros(grid.shape), "v": np.zeros(grid.shape)}

    found = IncompressibleFlow((16, 64), dtype="float64").solve(Step().case(viscosity=0.05), times=[20.0])
    faces = found["u_face"].values[-1]
    assert faces.sum(axis=0) == pytest.approx(faces[:, 0].sum(), rel=1e-10)
    beside = found.u.values[-1, 0, 16:]
    assert beside[0] < 0 < beside[-1]  # an eddy behind the step, and an end to it


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SQUARE.without(Disc((3.0, 3.0), 0.2), "hole").boundaries, "hole: .* lies outside"),
        (lambda: Polygon(((0, 0), (1, 1), (2, 2))), "lie on a line"),
        (lambda: Polygon(((0, 0), (1, 0), (0.5, 0.5), (1, 1), (0, 1), (0.5, 0.5))), "the same point"),
        (lambda: Disc((0.0, float("nan")), 1.0), "finite"),
        (lambda: Disc((0.0, 0.0), "a"), "expected numbers"),
        (lambda: Box((0,), ("a",)), "expected numbers"),
        (lambda: (SQUARE - Box((-1, -1), (2, 1 - 1e-9))).sample(3, np.random.default_rng(0)), "is there anything"),
    ],
)
def test_regions_that_are_none_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "hole: expected a condition on p"),
        ({"hol": {"p": Dirichlet(0.0)}}, "hol: no boundary is called that; did you mean 'hole'"),
        ({"hole": {"p": Dirichlet(np.ones(7))}}, "expected a function of points, or Samples"),
        ({"hole": {"p": Dirichlet(lambda x, t: np.full(len(x), np.nan))}}, "not finite"),
    ],
)
def test_conditions_on_bodies_are_asked_for(conditions, message):
    sides = {name: {"p": Dirichlet(0.0)} for name in SQUARE.boundaries}
    with pytest.raises(InputError, match=message):
        solved(SQUARE.without(Disc((0.5, 0.5), 0.2), "hole"), 16, 1.0, sides | conditions)


def test_sharp_tips_are_cut_off_and_plates_are_refused():
    airfoil = SQUARE - Polygon(((0.2, 0.5), (0.35, 0.57), (0.8, 0.45), (0.35, 0.47)))
    most = []
    for cells in (32, 64, 96):
        found, _, inside = solved(airfoil, cells)
        most.append(found[inside].max())
    assert most[1:] == pytest.approx(most[-1:] * 2, rel=0.03)
    with pytest.raises(InputError, match="more than 3 cells of its tip"):
        solved(SQUARE - Box((0.2, 0.505), (0.8, 0.515)), 16)
