"""LagrangeBench's layout: velocities against a motion that is known, and what is wrong with files."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from _imported import layout_of, read

from sciml import data
from sciml.data import importers
from sciml.errors import FileFormatError

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "particles"
ABOUT = {
    "dim": 2, "dx": 0.1, "dt": 0.01, "write_every": 5, "periodic_boundary_conditions": [True, False],
    "bounds": [[0.0, 1.0], [0.0, 2.0]], "viscosity": 0.01, "case": "TGV",
}  # fmt: skip


def particles(folder, parts=("train", "valid", "test"), frames=8, count=7, about=None, change=None):
    """Particles that move at constant velocities, x around the box."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    made = {}
    for part in parts:
        with h5py.File(folder / f"{part}.h5", "w") as file:
            for k in range(2):
                start, speed = rng.random((count, 2)) * [1, 1] + [0, 0.5], rng.standard_normal((count, 2)) * [2.0, 0.2]
                time = 0.05 * np.arange(frames)[:, None, None]
                position = start + speed * time
                position[..., 0] %= 1.0
                group = file.create_group(f"{k:05d}")
                group.create_dataset("position", data=position.astype("f4"), compression="gzip")
                group["particle_type"] = np.arange(count, dtype="i4") % 3
                made[part, k] = speed
            if change is not None:
                change(file)
    (folder / "metadata.json").write_text(json.dumps(ABOUT if about is None else about))
    return made


def test_velocities_follow_from_positions_around_the_box(tmp_path):
    made = particles(tmp_path / "a")
    (tmp_path / "a" / "force.py").write_text("raise SystemExit('never run')")
    solutions, raws, notes = read(tmp_path / "a")
    assert [r.split for r in raws] == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2
    for solution, raw in zip(solutions, raws, strict=True):
        part, k = raw.label.split(": ")
        for i, axis in enumerate("xy"):
            found = solution[f"velocity_{axis}"].values
            np.testing.assert_allclose(found, np.broadcast_to(made[part, int(k)][:, i], found.shape), atol=2e-5)
            # x goes on where the position starts again at the other side
            moved = made[part, int(k)][:, i] * (solution["time"].values - 0.05)[:, None]
            np.testing.assert_allclose(solution[f"displacement_{axis}"].values, moved, atol=2e-6)
        np.testing.assert_allclose(solution["time"], 0.05 * np.arange(1, 8))
        assert solution["x"].dims == ("time", "node") and solution["node_type"].values.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert raw.extents[0] == (0.0, 1.0)
    assert any("force.py is a program and is not run" in n for n in notes)
    assert any("over a step of 0.05, the shorter way round" in n for n in notes)
    assert any("viscosity = 0.01" in n for n in notes)


def test_thinned_frames_keep_the_velocities_of_single_steps(tmp_path):
    made = particles(tmp_path / "a", ("train",))
    solutions, _, notes = read(tmp_path / "a", {"options": {"every": 3}})
    np.testing.assert_allclose(solutions[1]["time"], 0.05 * np.array([1, 4, 7]))
    np.testing.assert_allclose(solutions[1]["velocity_x"].values[2], made["train", 1][:, 0], atol=2e-5)
    moved = made["train", 1][:, 0] * np.array([[0.0], [0.15], [0.3]])
    np.testing.assert_allclose(solutions[1]["displacement_x"].values, moved, atol=2e-6)
    assert any("there is no valid.h5, test.h5" in n for n in notes)


@pytest.mark.skipif(not REAL.is_dir(), reason="the published set is not here")
def test_a_published_set(tmp_path):
    found = importers.import_data(REAL, tmp_path / "a.h5")
    assert (found.layout, found.cases) == ("lagrangebench", 3)
    dataset = data.open(found.path)
    about = json.loads((REAL / "metadata.json").read_text())
    for i, axis in enumerate("xyz"):  # the authors' spread of steps, of the motion before it was cut into three
        spread = float(dataset[f"velocity_{axis}"].values.std()) * about["dt"]
        assert spread == pytest.approx(about["vel_std"][i], rel=0.1)
    assert dataset["row_size"].values.tolist() == [404, 1213, 404]
    _, solution = data.case(dataset, 1)
    length = np.diff(np.array(about["bounds"])[:3])[:, 0]
    for axis, extent in zip("xyz", length, strict=True):
        first = solution[axis].values - solution[f"displacement_{axis}"].values - solution[axis].values[0]
        assert np.abs(first - extent * np.round(first / extent)).max() < 1e-5
    assert np.abs(solution["displacement_x"].values).max() > length[0] / 2  # round the box, which positions hide


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"dt": None}, "metadata.json: dt is None, expected a number; or tell time.step"),
        ({"dim": 4}, "metadata.json: dim is 4, expected 2 or 3"),
        ({"bounds": [[0, 1]]}, "metadata.json: bounds is"),
        ({"bounds": [[0, 1], [2, 2]]}, "metadata.json: bounds is"),
        ({"periodic_boundary_conditions": [1, 0]}, "periodic_boundary_conditions is"),
        ({"write_every": "often"}, "write_every is 'often'"),
        ({"dt": -1.0}, "the time between frames is -5, expected > 0"),
    ],
)
def test_metadata_that_do_not_fit(tmp_path, about, message):
    particles(tmp_path / "a", ("train",), about=ABOUT | about)
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a")


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("00001/position", np.zeros((8, 7, 3))), r"'00001/position': has shape \(8, 7, 3\), expected .*, 2\)"),
        (replaced("00001/position", np.zeros((1, 7, 2))), "'00001/position': has 1 frames, expected two at least"),
        (replaced("00001/position", np.full((8, 7, 2), np.nan)),
         r"'00001/position': is not finite at index \(0, 0, 0\)"),
        (replaced("00001/particle_type", np.zeros(6, "i4")),
         r"'00001/particle_type': has shape \(6,\), expected \(7,\)"),
        (lambda file: file.pop("00001/position"), "train.h5: group '00001' has no 'position'"),
        (replaced("00001", 3.0), "00001"),
    ],
)  # fmt: skip
def test_trajectories_that_do_not_fit(tmp_path, change, message):
    particles(tmp_path / "a", ("train",), change=change)
    if message == "00001":  # a variable among the groups is no trajectory, and is named
        assert any("left out: 00001" in n for n in read(tmp_path / "a")[2])
        return
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a")


def test_damaged_files(tmp_path):
    particles(tmp_path / "a", ("train",))
    whole = (tmp_path / "a" / "train.h5").read_bytes()
    (tmp_path / "a" / "train.h5").write_bytes(whole[: len(whole) // 2])
    assert layout_of(tmp_path / "a") == "lagrangebench"
    with pytest.raises(FileFormatError, match=r"train.h5: cut off"):
        read(tmp_path / "a")
    (tmp_path / "a" / "train.h5").write_bytes(whole)
    (tmp_path / "a" / "metadata.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"metadata.json: not JSON"):
        read(tmp_path / "a")
