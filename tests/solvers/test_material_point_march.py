"""The material-point method: marches that are cut, shared and differentiated, and what holds matter."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from benchmarks._particles_matter import Matter, solid
from sciml.boundary import Series
from sciml.errors import InputError, SolverError
from sciml.geometry import Box, Disc
from sciml.materials import NewtonianFluid
from sciml.particle_problem import Body, Friction, Slip
from sciml.solver import Start
from sciml.solvers import MaterialPoint, material_point
from sciml.support import support_of

pytestmark = pytest.mark.compiled_quickly

BOX = Box((0.0, 0.0), (1.0, 1.0))
SOLVER = MaterialPoint(resolution=12, dtype="float64")
TIMES = np.array([0.1, 0.2])
WATER = NewtonianFluid(1000.0, 1e4, 1.0)


def column(width: float = 0.4):
    return Matter(Box((0.0, 0.0), (width, 0.5)), BOX, WATER, gravity=(0.0, -9.81)).case()


@pytest.fixture(scope="module")
def whole():
    return SOLVER.solve(column(), TIMES)


def apart(one: xr.Dataset, other: xr.Dataset) -> float:
    names = ("x", "y", "velocity_x", "velocity_y")
    return max(float(np.abs(one[n].values - other[n].values).max()) for n in names)


def test_going_on_is_never_having_stopped(whole):
    half = SOLVER.solve(column(), TIMES[:1])
    assert apart(SOLVER.resume(column(), half, TIMES[1:]), whole.isel(time=[1])) < 1e-12
    # of what a file keeps, deformation is guessed
    kept = half.drop_vars([n for n in half.variables if str(n).startswith("restart_")])
    guessed = SOLVER.resume(column(), kept, TIMES[1:])
    assert 1e-12 < apart(guessed, whole.isel(time=[1])) < 0.1
    names = [f.name for f in column().problem.fields]
    frames = np.stack([kept[n].values for n in names], 1)
    start = Start(column(), support_of(column(), kept), frames, float(TIMES[0]), fields=tuple(names))
    (found,) = next(SOLVER.rollout([start], TIMES[None, 1:]))
    np.testing.assert_allclose(found[0], guessed["displacement_x"][0], atol=1e-12)


def test_a_frame_that_was_changed_counts_as_it_is(whole):
    """Not what it keeps for an exact restart; and order does not matter."""
    half = whole.isel(time=[1])
    own = SOLVER.resume(column(), half, [0.3])
    faster = SOLVER.resume(column(), half.assign(velocity_x=half["velocity_x"] + 0.1), [0.3])
    assert float((faster["velocity_x"] - own["velocity_x"]).mean()) > 0.03
    order = np.random.default_rng(0).permutation(half.sizes["node"])
    assert apart(SOLVER.resume(column(), half.isel(node=order), [0.3]), own.isel(node=order)) < 1e-10


def test_frames_that_are_not_of_the_matter_are_refused(whole):
    half = whole.isel(time=[1])
    bare = half.drop_vars("restart_time")
    for frame, what in (
        (half.isel(node=slice(0, None, 2)), "particles have volumes of 0.1 m2 together, expected those of .*, 0.2 m2"),
        (bare.isel(node=slice(0, None, 2)), "particles have volumes of 0.1 m2"),
        (half.assign(restart_velocity=half["restart_velocity"] * np.nan), "restart_velocity: expected finite"),
        (half.assign(restart_volume=-half["restart_volume"]), "restart_volume: expected values > 0, got -"),
        (bare.assign(density=-half["density"]), "frame: density: expected finite values > 0, got -"),
        (bare.assign(density=half["density"] * np.nan), "frame: density"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=what):
            SOLVER.resume(column(), frame, [0.3])


def test_a_frame_of_another_material_is_no_exact_restart(whole):
    """Nor does it bring the state of that along; a march that stops says so."""
    half = whole.isel(time=[1])
    assert half.attrs["restart_material"] == "NewtonianFluid"
    other = SOLVER.resume(column(), half.assign_attrs(restart_material="BinghamFluid"), [0.3])
    bare = half.drop_vars([n for n in half.variables if str(n).startswith("restart_")])
    np.testing.assert_array_equal(other["density"].values, SOLVER.resume(column(), bare, [0.3])["density"].values)
    short = MaterialPoint(resolution=12, dtype="float64", max_substeps=3)
    with pytest.raises(SolverError, match="max_substeps = 3"):
        short.resume(column(), half, [0.3])


def test_an_edge_longer_than_the_box_is_refused():
    with pytest.raises(InputError, match=r"resolution is 16.0, the edge of a cell, where the box is 1 long"):
        MaterialPoint(resolution=16.0).solve(column(), TIMES)


def test_steps_too_short_for_the_precision_are_said(monkeypatch):
    found = SOLVER.run([column()], [TIMES])[0]
    monkeypatch.setattr(material_point, "ROUNDED", 1e-16)
    with pytest.warns(UserWarning, match=r"steps in float64: rounding adds up"):
        SOLVER.label(column(), TIMES, found)


def test_cases_side_by_side_are_cases_alone(whole):
    """Mapped over gravity."""
    parameters, inputs = SOLVER.arrays(column())
    downwards = np.array([[0.0, -9.81], [0.0, -5.0]])
    with jax.enable_x64(True):
        mapped = jax.vmap(
            lambda g: SOLVER.simulate({**parameters, "gravity": g}, inputs, TIMES, SOLVER.scene(column()))
        )
        found = jax.jit(mapped)(downwards)
        np.testing.assert_allclose(found["position"][0, ..., 0], whole["x"], atol=1e-10)
        np.testing.assert_allclose(found["velocity"][0, ..., 1], whole["velocity_y"], atol=1e-9)
    assert np.abs(found["position"][1] - found["position"][0]).max() > 0.01


def test_what_a_case_costs_grows_with_it():
    few, more = SOLVER.seconds([column(), column(0.8)], [TIMES, 2 * TIMES])
    assert 0 < 2 * few < more < 10


def test_points_of_the_matter_are_followed(whole):
    """Where particles are at the start they are later, too."""
    reference = np.stack([whole[a].values[0] - whole[f"displacement_{a}"].values[0] for a in "xy"], -1)
    middle = np.abs(reference - [0.2, 0.2]).max(1) < 0.1
    found = SOLVER.solve(column(), TIMES, points=reference[middle])
    assert np.abs(found["x"].values - whole["x"].values[:, middle]).max() < 0.01
    with pytest.raises(InputError, match="points"):
        SOLVER.solve(column(), TIMES, points=[[0.9, 0.9]])


def test_a_spinning_disc_keeps_its_angular_momentum():
    spin = Matter(Disc((0.5, 0.5), 0.25), BOX, solid(1e4), lambda p: (p - 0.5) @ [[0.0, 1.0], [-1.0, 0.0]])
    found = SOLVER.solve(spin.case(), [0.5, 2.0])
    x, v = (np.stack([found[n][-1].values for n in names], -1) for names in (("x", "y"), ("velocity_x", "velocity_y")))
    gradient, share = found["restart_gradient"].values, 1 / len(x)
    of_places = (x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]).sum() * share
    of_gradients = (gradient[:, 1, 0] - gradient[:, 0, 1]).sum() * share * (1 / 12) ** 2 / 4
    first = SOLVER.grid(spin.case()).points() - 0.5
    assert of_places + of_gradients == pytest.approx((first**2).sum() * share + (1 / 12) ** 2 / 2, rel=1e-12)
    assert np.hypot(*(x - 0.5).T).max() < 0.35  # it stays one piece, and has turned by 2 radians
    corner = int(first[:, 0].argmax())
    angle = np.arctan2(*(x[corner] - 0.5)[::-1]) - np.arctan2(*first[corner][::-1])
    assert angle == pytest.approx(2.0, abs=0.05)


def test_a_slope_holds_a_block_as_friction_says():
    """Gravity is turned instead of the floor, by arctan 1/2."""
    block, gravity = Box((0.2, 0.0), (0.6, 0.25)), 10.0 / np.sqrt(1.25) * np.array([0.5, -1.0])
    moved = []
    for friction in (0.7, 0.2):
        floor = {"y_min": Friction(friction)}
        found = SOLVER.solve(Matter(block, BOX, solid(1e6), gravity=tuple(gravity), walls=floor).case(), TIMES)
        moved.append(found["displacement_x"].values[1].mean())
    assert abs(moved[0]) < 5e-3
    assert moved[1] == pytest.approx((gravity[0] + 0.2 * gravity[1]) * 0.2**2 / 2, rel=0.1)


def test_water_at_rest_has_the_pressure_of_what_lies_above():
    modulus, depth = 1e5, 0.4
    water = Matter(Box((0.0, 0.0), (0.25, depth)), Box((0.0, 0.0), (0.25, 0.75)), NewtonianFluid(1e3, modulus, 100.0),
                   gravity=(0.0, -9.81))  # fmt: skip
    found = MaterialPoint(resolution=15).solve(water.case(), [3.0, 4.0])
    ratio = 1000.0 / found["density"].values[-1].astype(np.float64)
    pressure, y = modulus / 7 * (ratio**-7 - 1), found["y"].values[-1]
    slope, bottom = np.polyfit(y, pressure, 1)
    assert slope == pytest.approx(-9810.0, rel=0.05)
    assert bottom == pytest.approx(9810.0 * depth, rel=0.05)
    assert np.abs(pressure - (bottom + slope * y)).max() < 0.1 * bottom


def pushed(place: float = 0.0):
    plate = Body(Box((0.05 + place, 0.0), (0.2 + place, 0.6)), Slip(), (Series([0, 0.1, 0.3], [0, 1.0, 1.0]),) * 2)
    return Matter(Disc((0.45, 0.3), 0.15), BOX, solid(1e4), bodies=(plate,)).case()


def test_gradients_are_those_of_differences():
    """Of what a plate does to a disc with respect to its place, how it moves, and of what and how fast the disc is."""
    parameters, inputs = SOLVER.arrays(pushed())
    scene, times = SOLVER.scene(pushed()), np.array([0.3])

    def missed(change):
        plate = inputs["bodies"][0]
        moved = plate._replace(place=plate.place + change[:2], velocity=plate.velocity.at[1:3, 0].add(change[2:4]))
        given = {**inputs, "bodies": (moved,), "velocity": inputs["velocity"] + change[4:6]}
        matter = {**parameters, "shear_modulus": parameters["shear_modulus"] * (1 + change[6])}
        found = SOLVER.simulate(matter, given, times, scene)
        return jnp.mean((found["position"][-1] - jnp.array([0.9, 0.4])) ** 2)

    with jax.enable_x64(True):
        inputs["bodies"] = jax.tree.map(jnp.asarray, inputs["bodies"])
        both = jax.jit(jax.value_and_grad(missed))
        gradient = np.asarray(both(np.zeros(7))[1])
        step = 1e-4 * np.eye(7)
        slopes = np.array([(float(both(e)[0]) - float(both(-e)[0])) / 2e-4 for e in step])
    assert np.abs(slopes).min() > 1e-5
    cosine = gradient @ slopes / np.linalg.norm(gradient) / np.linalg.norm(slopes)
    assert cosine > 0.999
    np.testing.assert_allclose(gradient, slopes, rtol=0.05)


def test_a_plate_pushes_what_is_in_its_way():
    found = SOLVER.solve(pushed(), [0.2, 0.3])
    plate = pushed().problem.bodies(pushed())[0]
    for k, time in enumerate([0.2, 0.3]):
        distance = plate.distance(np.stack([found["x"][k], found["y"][k]], -1), time)
        assert -0.5 < distance.min() * 12 < 1.0
    assert found["velocity_x"].values[-1].mean() > 0.3


def standing(points):
    return np.stack([1e-3 * np.sin(np.pi * points[:, 0]), 0 * points[:, 0]], -1)


def test_vibrations_converge():
    """A wave that stands in a block which is squeezed between four walls; small, so that the answer is known."""
    errors = []
    material, squeeze = solid(1e5), 0.98
    speed = float(material.speed(np, material.deformed(np, squeeze * np.eye(2)[..., None]))[0])
    period = 2 / speed
    for cells in (16, 32):
        strip = Box((0.0, 0.0), (1.0, 4 / cells))
        case = Matter(
            strip, strip, material, lambda p: np.stack([1e-3 * np.sin(np.pi * p[:, 0]), 0 * p[:, 0]], -1)
        ).case()
        solver = MaterialPoint(resolution=cells, dtype="float64")
        first = solver.grid(case).points()
        velocity = case.problem.first_velocity(case, first)
        coords = {a: first[None, :, k] for k, a in enumerate("xy")}
        fields = {f"displacement_{a}": first[:, k] * (1 - 1 / squeeze) for k, a in enumerate("xy")}
        fields |= {f"velocity_{a}": velocity[:, k] for k, a in enumerate("xy")}
        frame = xr.Dataset({n: (("time", "node"), v[None]) for n, v in fields.items()},
                           {"time": [0.0], **{a: (("time", "node"), v) for a, v in coords.items()}})  # fmt: skip
        found = solver.resume(case, frame, [period * 0.9, period])
        expected = velocity[:, 0]
        errors.append(np.sqrt(np.mean((found["velocity_x"].values[-1] - expected) ** 2) / np.mean(expected**2)))
    assert errors[1] < 0.02
    assert np.log2(errors[0] / errors[1]) > 1.5, errors
