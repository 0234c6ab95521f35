"""Problems of matter that is followed by particles: lattices, rooms, bodies, designs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sciml
from sciml.boundary import Series
from sciml.errors import InputError
from sciml.geometry import Box, Difference, Disc, Polygon
from sciml.particle_problem import Body, Friction, ParticleProblem, Slip, Stick, lattice
from sciml.problem import Case
from sciml.problems.designs import Request
from sciml.solvers import MaterialPoint

P = sciml.problems
ALL = {
    "dam_break": P.DamBreak(), "dam_break 3": P.DamBreak(3), "bingham": P.BinghamCollapse(),
    "bingham 3": P.BinghamCollapse(3), "sand": P.GranularCollapse(), "sand 3": P.GranularCollapse(3),
    "elastic": P.ElasticDrop(), "elastic 3": P.ElasticDrop(3, "disc"), "pushed": P.PushedMaterial(),
    "pushed 3": P.PushedMaterial(3, "fluid"),
}  # fmt: skip


@pytest.mark.parametrize("problem", ALL.values(), ids=ALL)
def test_every_problem_describes_itself_and_makes_its_particles(problem):
    case = problem.case(label="one")
    d, box = problem.dimensions, case.geometry
    assert isinstance(problem, ParticleProblem) and box.dimensions == d == len(problem.velocity)
    assert Case.from_parts(case.to_attrs(), {}) == case and Case.from_parts(case.to_attrs(), {}).problem.same(problem)
    assert sciml.registry.problems.get(problem.name) is type(problem)
    names = {f.name for f in problem.fields}
    assert names == {*(f"displacement_{a}" for a in "xyz"[:d]), *problem.velocity, "density"}
    assert set(case.scales.fields) == names
    assert all(v > 0 and math.isfinite(v) for v in case.scales.fields.values())
    assert not names & {p.name for p in problem.parameters} and problem.state_fields == tuple(
        f.name for f in problem.fields if f.name != "density"
    )
    assert all(math.isfinite(v) for v in problem.features(case, 0.0, 0.01).values())
    assert set(problem.walls(case)) == set(box.boundaries)
    found = problem.particles(case, 0.03)
    assert found.position.shape == found.velocity.shape == (len(found), d) and found.support.weights().sum() > 0
    assert np.asarray(box.contains(found.position)).all() and np.ptp(found.volume) == 0
    material = problem.material(case)
    state = material.begin(np, d, len(found), np.float64)
    assert np.abs(material.stress(np, state, np.zeros((d, d, len(found))))).max() == 0
    begins = problem.initial_state(case, found.support)
    assert set(begins) == set(problem.state_fields)
    np.testing.assert_array_equal(begins["velocity_y"], found.velocity[:, 1])
    assert "width (m)" in problem.shown(case) and problem.name in problem._repr_html_() + case._repr_html_()


@pytest.mark.parametrize("problem", [p for p in ALL.values() if p.dimensions == 2], ids=lambda p: p.name)
def test_designs_draw_cases_that_have_room(problem):
    design = type(problem).design()
    asked = Request(("random",), 12, "standard", (32, 32), 5, 3)
    cases = design.cases(asked)
    assert len({c.to_attrs()["case_json"] for c in cases}) == 12
    fewer = Request(("random",), 4, "standard", (32, 32), 5, 3)
    assert design.cases(fewer) == cases[:4]
    radii = [c.obstacle_radius for c in cases]
    assert (max(radii) > 0) == (problem.name != "pushed_material") and min(radii) == 0
    for case in cases:
        assert len(case.problem.particles(case, 0.03)) > 3
        times = design.times(case, asked)
        assert times.shape == (5,) and times[0] == 0
        for body in case.problem.bodies(case):
            ways = body.displacement(np.linspace(0, times[-1], 50))
            low, high = np.array(body.shape.extents).T
            if body.motion:
                assert (low + ways >= -1e-9).all() and (high + ways <= 1 + 1e-9).all() and np.abs(ways).max() > 0


def test_lattices_fill_what_they_are_given():
    """Volumes of boxes are exact, those of other shapes to a percent of a cell's share; centres lie inside."""
    position, volume = lattice("x", Box((0.1, 0.2), (0.4, 0.8)), 0.05)
    assert len(position) == 6 * 12 and volume.sum() == pytest.approx(0.18, rel=1e-12)
    np.testing.assert_allclose(position[0], [0.125, 0.225])
    np.testing.assert_allclose(position[1] - position[0], [0.05, 0.0], atol=1e-15)
    position, volume = lattice("x", Box((0, 0, 0), (0.2, 0.1, 0.3)), 0.033)  # the nearest that fits
    assert len(position) == 6 * 3 * 9 and volume.sum() == pytest.approx(0.006, rel=1e-12)
    hole = Difference(Box((0, 0), (1, 1)), Disc((0.5, 0.5), 0.25))
    for shape, true in (
        (Disc((0.3, 0.4), 0.2), np.pi * 0.04), (Disc((0, 0, 0), 0.5), np.pi / 6),
        (Polygon(((0, 0), (1, 0), (0, 1))), 0.5), (hole, 1 - np.pi / 16),
    ):  # fmt: skip
        size = max(b - a for a, b in shape.extents)
        position, volume = lattice("x", shape, size / 24)
        assert np.asarray(shape.contains(position)).all()
        assert volume.sum() == pytest.approx(true, rel=0.01)
        assert len(position) == pytest.approx(true / (size / 24) ** shape.dimensions, rel=0.06)


def test_jitter_moves_particles_a_little_and_is_the_same_each_time():
    problem = P.GranularCollapse()
    case = problem.case()
    regular, one, again = (problem.particles(case, 0.02, **k) for k in ({}, {"jitter": 0.5}, {"jitter": 0.5}))
    other = problem.particles(case, 0.02, jitter=0.5, seed=1)
    np.testing.assert_array_equal(one.position, again.position)
    moved = np.abs(one.position - regular.position)
    assert 0.004 < moved.max() <= 0.005 + 1e-12 and np.abs(other.position - one.position).max() > 0.004
    assert np.asarray(problem.matter(case).contains(one.position)).all()
    np.testing.assert_array_equal(one.volume, regular.volume)


def test_what_has_no_room_is_refused():
    problem = P.DamBreak()
    for values, what in (
        ({"left": 0.8}, "the matter spans x = 0.8 to 1.1, expected within the box, 0 to 1"),
        ({"height": 1.5}, "the matter spans y"),
        ({"obstacle_radius": 0.1, "obstacle_x": 0.35}, "body 0 overlaps the matter"),
    ):
        with pytest.raises(InputError, match=what):
            problem.particles(problem.case(**values), 0.02)
    with pytest.raises(InputError, match="bodies 0 and 1 overlap"):
        pushed = P.PushedMaterial()
        pushed.particles(pushed.case(obstacle_radius=0.1, obstacle_x=0.15), 0.02)
    case = problem.case()
    with pytest.raises(InputError, match=r"a spacing of 0.25 puts 1 particle\(s\) across the matter along x"):
        problem.particles(case, 0.25)
    for spacing in (0.0, -1.0, math.nan, "fine"):
        with pytest.raises(InputError, match="spacing is"):
            problem.particles(case, spacing)
    with pytest.raises(InputError, match="jitter is 1"):
        problem.particles(case, 0.02, jitter=1.0)
    with pytest.raises(InputError, match="width is 0"):
        problem.case(width=0.0)
    sliver = Difference(Box((0, 0), (1, 1)), Box((-1, -1), (2, 0.999999)))
    with pytest.raises(InputError, match="no matter"):
        lattice("x", sliver, 0.1)
    with pytest.raises(InputError, match="begins at points"):
        problem.initial_state(case, sciml.Grid.uniform(case.geometry, 8))
    for make, what in (
        (lambda: P.DamBreak(4), "dimensions is 4"), (lambda: P.ElasticDrop(shape="blok"), "shape is 'blok'.*block"),
        (lambda: P.PushedMaterial(material="sond"), "material is 'sond'.*sand"),
        (lambda: Friction(-1.0), "coefficient is -1"),
        (lambda: Body(Disc((0, 0), 1.0), Slip(), (Series([0], [0]),)), "expected 2 Series"),
        (lambda: Body(Disc((0, 0), 1.0), "slip"), "condition is 'slip'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=what):
            make()


@pytest.mark.parametrize(
    ("method", "given", "what"),
    [
        ("geometry", Disc((0.5, 0.5), 0.5), "geometry gives .* a Box of 2"),
        ("geometry", Box((0, 0, 0), (1, 1, 1)), "geometry gives .* a Box of 2"),
        ("material", None, "material gives None"), ("matter", Disc((0.4, 0.4, 0.4), 0.2), "matter gives .* of 2"),
        ("walls", {"x_min": Slip()}, "walls gives .* x_min, x_max, y_min, y_max"),
        ("walls", dict.fromkeys(("x_min", "x_max", "y_min", "y_max"), "slip"), "walls: x_min is 'slip'"),
        ("bodies", (Disc((0.8, 0.8), 0.1),), "bodies gives .* a tuple of Body"), ("bodies", None, "bodies gives None"),
        ("bodies", (Body(Disc((0.8, 0.8, 0.5), 0.1)),), "body 0 has 3 dimensions, expected 2"),
        ("gravity", np.zeros(3), "gravity gives .* 2 finite"), ("gravity", np.full(2, np.nan), "gravity gives"),
    ],
)  # fmt: skip
def test_answers_that_are_not_what_a_problem_promises_are_refused(method, given, what, monkeypatch):
    monkeypatch.setattr(P.DamBreak, method, lambda self, case: given)
    problem = P.DamBreak()
    case = problem.case()
    if method != "material":
        with pytest.raises(InputError, match=what):
            problem.particles(case, 0.05)
    with pytest.raises(InputError, match=what):
        MaterialPoint(resolution=8).solve(case, [0.1])


def test_a_lattice_that_no_memory_holds_is_refused():
    with pytest.raises(InputError, match=r"makes 1.2e\+11 cells, expected at most 1e\+09"):
        P.DamBreak().particles(P.DamBreak().case(), 1e-6)
    with pytest.raises(InputError, match="shape is None"):
        Body(None)


def test_bodies_are_where_their_velocity_takes_them():
    series = Series([0.5, 1.0, 2.0], [1.0, 3.0, -1.0])
    body = Body(Disc((0.0, 1.0), 0.5), Stick(), (series, Series([0.0], [0.25])))
    times = np.array([0.0, 0.3, 0.75, 1.5, 3.0])
    fine = [np.linspace(0, t, 200001) for t in times]
    true = [np.trapezoid(series(f), f) for f in fine]
    np.testing.assert_allclose(body.displacement(times)[:, 0], true, atol=1e-8)
    np.testing.assert_allclose(body.displacement(times)[:, 1], 0.25 * times)
    np.testing.assert_allclose(body.velocity(times)[:, 0], series(times))
    centre = np.array([0.0, 1.0]) + body.displacement(1.5)
    np.testing.assert_allclose(body.distance(centre + np.array([[0.7, 0.0], [0.0, 0.0]]), 1.5), [0.2, -0.5])
    still = Body(Disc((0.0, 1.0), 0.5))
    assert not still.displacement(times).any() and not still.velocity(3.0).any() and not still.condition.separates
    assert Slip().friction == 0 and Friction(0.3).friction == 0.3 and Stick().friction == math.inf


def test_a_plate_keeps_its_ways_through_a_file():
    problem = P.PushedMaterial()
    case = problem.case(plate_velocity_x=Series([0.0, 1.0], [0.0, 2.0]))
    again = Case.from_parts(case.to_attrs(), {k: v for k, (_, v) in case.input_variables().items()})
    assert again == case
    (plate,) = problem.bodies(again)
    np.testing.assert_allclose(plate.displacement(1.0), [1.0, 0.0])
    assert problem.fall(case) == pytest.approx(2.0) and problem.fall(problem.case()) < 2.0
