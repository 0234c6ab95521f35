"""What is written in LagrangeBench's layout is read again: positions, kinds, splits, and what readers expect of it."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from sciml import data, problems
from sciml.cli._app import app
from sciml.data import importers
from sciml.data.exporters import lagrangebench
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Points

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "particles"
STEP = 0.125  # a sum of few powers of two, so that motions come out exactly
BOX = ((0.0, 1.0), (0.0, 2.0))
FIELDS = ["displacement_x", "displacement_y", "velocity_x", "velocity_y"]


def falling(seed=0, frames=6, count=9, step=STEP, extents=BOX, around=(True, False), more=None, label=""):
    """Particles that go round the box in x at constant speeds and fall in y: y = y₀ − ½ g t², g = 2."""
    rng = np.random.default_rng(seed)
    first, speed = rng.integers(0, 64, (count, 2)) / 64, rng.integers(-64, 64, count) / 32
    time = step * np.arange(frames)[:, None]
    moved = np.stack([speed * time, np.broadcast_to(-(time**2), (frames, count))], axis=-1)
    velocity = np.stack([np.broadcast_to(speed, moved.shape[:2]), np.broadcast_to(-2 * time, moved.shape[:2])], axis=-1)
    position = first + np.array([0, 1]) + moved
    position[..., 0] %= 1.0
    problem = problems.DataProblem("loose", FIELDS, [], 2, periodic=around, velocity=FIELDS[2:])
    fields = dict(zip(FIELDS, np.moveaxis(np.concatenate([moved, velocity], -1), -1, 0), strict=True))
    coords = {"x": position[..., 0], "y": position[..., 1]}
    return data.solution(
        Case(problem, extents=extents, label=label), time[:, 0], {n: (("time", "node"), v) for n, v in fields.items()},
        coords, **more or {},
    )  # fmt: skip


def test_particles_come_out_as_they_are_and_are_read_again(tmp_path):
    kinds = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3])
    made = [falling(k, more={"node_attributes": {"type": kinds}}) for k in range(3)]
    packed = data.pack(made, splits=["train", "test", "train"])
    target = lagrangebench.export_tree(packed, tmp_path / "out")
    assert sorted(p.name for p in target.iterdir()) == ["metadata.json", "test.h5", "train.h5"]
    with h5py.File(target / "train.h5") as file:
        assert list(file) == ["00000", "00001"]
        for group, solution in zip(file.values(), (made[0], made[2]), strict=True):
            assert group["position"].dtype == np.float32
            for i, axis in enumerate("xy"):
                np.testing.assert_array_equal(group["position"][..., i], solution[axis].values)
            np.testing.assert_array_equal(group["particle_type"], kinds)
    about = json.loads((target / "metadata.json").read_text())
    assert (about["dim"], about["dt"], about["write_every"], about["num_particles_max"]) == (2, STEP, 1, 9)
    assert about["bounds"] == [[0, 1], [0, 2]] and about["periodic_boundary_conditions"] == [True, False]
    assert (about["num_trajs_train"], about["sequence_length_train"], about["num_trajs_test"]) == (2, 6, 1)
    # particles of type 0 alone: falls of Δt² (2k + 1) from step to step, and constant speeds
    speeds = np.concatenate([s["velocity_x"].values[0, kinds == 0] for s in made[::2]]) * STEP  # no test case
    falls = -(STEP**2) * (2 * np.arange(5) + 1)
    np.testing.assert_allclose(about["vel_mean"], [speeds.mean(), falls.mean()], rtol=1e-6)
    np.testing.assert_allclose(about["vel_std"], [speeds.std(), falls.std()], rtol=1e-6)
    np.testing.assert_allclose(about["acc_mean"], [0, -2 * STEP**2], atol=1e-8)
    np.testing.assert_allclose(about["acc_std"], [0, 0], atol=1e-7)
    imported = importers.import_data(target, tmp_path / "again.h5")
    again = data.open(imported.path)
    assert data.schema.flag_names(again["split"]).tolist() == ["test", "train", "train"]
    _, solution = data.case(again, 1)
    np.testing.assert_array_equal(solution["node_type"], kinds)
    np.testing.assert_allclose(solution["time"], STEP * np.arange(1, 6))
    whole = made[0].isel(time=slice(1, None))
    for name in ("x", "y", "velocity_x"):
        np.testing.assert_allclose(solution[name].values, whole[name].values, atol=1e-6)
    moved = whole["displacement_y"].values - whole["displacement_y"].values[0]
    np.testing.assert_allclose(solution["displacement_y"].values, moved, atol=1e-6)


def test_positions_round_the_box_are_brought_into_it(tmp_path):
    solution = falling()
    whole = solution.assign_coords(x=solution["displacement_x"] + solution["x"][0])
    assert float(whole["x"].max()) > 1 and float(whole["x"].min()) < 0
    target = lagrangebench.export_tree(data.pack([whole]), tmp_path)
    with h5py.File(target / "train.h5") as file:
        written = file["00000/position"][..., 0]
    assert written.min() >= 0 and written.max() <= 1
    np.testing.assert_array_equal(written % 1, solution["x"].values)  # 0 and 1 are one place


def test_what_was_imported_comes_out_with_the_same_positions(tmp_path):
    target = lagrangebench.export_tree(data.pack([falling(1), falling(2)]), tmp_path / "a")
    importers.import_data(target, tmp_path / "a.h5")
    again = lagrangebench.export_tree(tmp_path / "a.h5", tmp_path / "b")
    with h5py.File(target / "train.h5") as one, h5py.File(again / "train.h5") as other:
        for group in ("00000", "00001"):
            np.testing.assert_array_equal(one[f"{group}/position"], other[f"{group}/position"])
    # each third frame: velocities are not of the step between frames, and nothing is put before the first
    importers.import_data(target, tmp_path / "c.h5", plan={"options": {"every": 2}})
    thinned = lagrangebench.export_tree(tmp_path / "c.h5", tmp_path / "c")
    with h5py.File(target / "train.h5") as one, h5py.File(thinned / "train.h5") as other:
        np.testing.assert_array_equal(one["00000/position"][1::2], other["00000/position"])


@pytest.mark.skipif(not REAL.is_dir(), reason="the published set is not here")
def test_the_published_set_comes_out_as_it_was(tmp_path):
    importers.import_data(REAL, tmp_path / "a.h5")
    done = CliRunner().invoke(app, ["export", "lagrangebench", str(tmp_path / "a.h5"), str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    target = tmp_path / "out" / "particles"
    for name in ("train.h5", "valid.h5", "test.h5"):
        with h5py.File(REAL / name) as one, h5py.File(target / name) as other:
            assert list(one) == list(other)
            for group in one:
                np.testing.assert_array_equal(one[f"{group}/position"], other[f"{group}/position"])
                np.testing.assert_array_equal(one[f"{group}/particle_type"], other[f"{group}/particle_type"])
    theirs, ours = (json.loads((place / "metadata.json").read_text()) for place in (REAL, target))
    for name in ("dim", "dx", "bounds", "periodic_boundary_conditions", "num_particles_max", "num_trajs_train",
                 "sequence_length_train", "sequence_length_test"):  # fmt: skip
        assert ours[name] == theirs[name], name
    assert ours["dt"] == pytest.approx(theirs["dt"], rel=1e-12)
    for name in ("vel_std", "acc_std"):  # theirs were summed in single precision
        np.testing.assert_allclose(ours[name], theirs[name], rtol=5e-5)


def steady_points():
    problem = problems.DataProblem("loose", ["c"], [], 2)
    return data.solution(problem.case(), [0.0, 1.0], {"c": np.zeros((2, 4))}, Points(np.eye(4)[:, :2] + 0.1))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: [falling(frames=1)], "has one frame, expected two at least"),
        (lambda: [falling(), falling(step=0.25)], "case 1: steps of 0.25, expected 0.125"),
        (lambda: [falling(), falling(extents=((0.0, 2.0), (0.0, 2.0)))], "case 1: another periodic box"),
        (lambda: [falling().isel(time=[0, 1, 3])], "frames are 0.125 to 0.25 apart, expected even steps"),
        (lambda: [steady_points()], "expected points that move in two or three dimensions"),
    ],
)
def test_what_the_layout_cannot_hold(tmp_path, made, message):
    with pytest.raises(InputError, match=message):
        lagrangebench.export_tree(data.pack(made()), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_cases_that_are_not_used_are_in_no_file(tmp_path):
    target = lagrangebench.export_tree(data.pack([falling(1), falling(2)], splits=["unused", "test"]), tmp_path / "out")
    assert sorted(p.name for p in target.iterdir()) == ["metadata.json", "test.h5"]
    with pytest.raises(InputError, match="expected cases with frames that are used, got none"):
        lagrangebench.export_tree(data.pack([falling()], splits=["unused"]), tmp_path / "none")


def test_boxes_with_walls_are_joined_to_one(tmp_path):
    boxes = [((0.0, 1.0), (0.0, 2.0)), ((-1.0, 1.0), (0.0, 3.0))]
    packed = data.pack([falling(extents=b, around=(False, False)) for b in boxes])
    about = json.loads((lagrangebench.export_tree(packed, tmp_path) / "metadata.json").read_text())
    assert about["bounds"] == [[-1, 1], [0, 3]]
