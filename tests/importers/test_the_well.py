"""The Well's schema in full, and files that break it."""

import h5py
import numpy as np
import pytest
from _imported import layout_of, read

from sciml import data
from sciml.data import importers
from sciml.errors import FileFormatError

B, T, X, Y = 3, 4, 6, 5


def put(group, name, values, sampled=True, timed=True, along=None, **more):
    stored = group.create_dataset(name, data=values)
    stored.attrs.update(sample_varying=sampled, time_varying=timed, **more)
    if along is not None:
        stored.attrs["dim_varying"] = along
    return values


def well(path, seed=0, number=0.5, change=None, grid_type="cartesian"):
    """A file of two axes with all kinds of fields; what it holds, by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, made = np.random.default_rng(seed), {}

    def values(*shape):
        return rng.standard_normal(shape).astype("f4")

    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="shear_flow", grid_type=grid_type, n_spatial_dims=2, n_trajectories=B,
            simulation_parameters=["Reynolds", "Schmidt"], Reynolds=1e4, Schmidt=number,
        )  # fmt: skip
        group = file.create_group("dimensions")
        group.attrs["spatial_dims"] = ["x", "y"]
        put(group, "time", np.linspace(0, 3, T), False, True)
        put(group, "x", ((np.arange(X) + 0.5) / X).astype("f4"), False, False)
        put(group, "y", np.linspace(-1, 1, Y).astype("f4"), False, False)
        for name, axis, kind in (("x_periodic", "x", "PERIODIC"), ("y_wall", "y", "WALL")):
            group = file.create_group(f"boundary_conditions/{name}")
            group.attrs.update(associated_dims=[axis], bc_type=kind, sample_varying=False, time_varying=False)
            group["mask"] = np.zeros(X if axis == "x" else Y, bool)
            if kind == "WALL":
                group["values"] = np.zeros(2)
        group = file.create_group("scalars")
        group.attrs["field_names"] = ["Schmidt", "strength", "clock"]
        put(group, "Schmidt", np.float32(number), False, False)
        made["strength"] = put(group, "strength", values(B), True, False)
        put(group, "clock", values(T), False, True)
        group = file.create_group("t0_fields")
        group.attrs["field_names"] = ["tracer", "bottom", "depth"]
        made["tracer"] = put(group, "tracer", values(B, T, X, Y), along=[True, True])
        made["bottom"] = put(group, "bottom", values(Y), False, False, [False, True])
        made["depth"] = put(group, "depth", values(B, X, Y), True, False, [True, True])
        group = file.create_group("t1_fields")
        group.attrs["field_names"] = ["velocity"]
        made["velocity"] = put(group, "velocity", values(B, T, X, Y, 2), along=[True, True])
        group = file.create_group("t2_fields")
        group.attrs["field_names"] = ["stress", "spin"]
        made["stress"] = put(group, "stress", values(B, T, X, Y, 2, 2), along=[True, True], symmetric=True,
                             antisymmetric=False)  # fmt: skip
        made["spin"] = put(group, "spin", values(B, T, X, 2, 2), along=[True, False], symmetric=False,
                           antisymmetric=True)  # fmt: skip
        if change is not None:
            change(file)
    return made


def test_the_schema_in_full(tmp_path):
    made = well(tmp_path / "shear_flow.hdf5")
    solutions, raws, notes = read(tmp_path / "shear_flow.hdf5")
    assert len(solutions) == B
    found, raw = solutions[2], raws[2]
    expected = {"tracer", "velocity_x", "velocity_y", "stress_xx", "stress_xy", "stress_yy", "spin_xy"}
    assert set(raw.fields) == expected and set(raw.inputs) == {"bottom", "depth"}
    np.testing.assert_array_equal(found["tracer"].transpose("time", "x", "y").values, made["tracer"][2])
    np.testing.assert_array_equal(found["velocity_y"].transpose("time", "x", "y").values, made["velocity"][2, ..., 1])
    np.testing.assert_array_equal(found["stress_xy"].transpose("time", "x", "y").values, made["stress"][2, ..., 0, 1])
    spin = found["spin_xy"].transpose("time", "x", "y").values
    np.testing.assert_array_equal(spin, np.broadcast_to(made["spin"][2, ..., None, 0, 1], (T, X, Y)))
    np.testing.assert_array_equal(raw.inputs["depth"], made["depth"][2].T)
    np.testing.assert_array_equal(raw.inputs["bottom"], np.broadcast_to(made["bottom"][:, None], (Y, X)))
    assert raw.parameters == pytest.approx({"Schmidt": 0.5, "Reynolds": 1e4, "strength": float(made["strength"][2])})
    assert raw.support.periodic == (True, False)
    np.testing.assert_allclose(found["time"], np.linspace(0, 3, T))
    np.testing.assert_allclose(found["y"], np.linspace(-1, 1, Y))
    for said in ("boundary y_wall: wall, along y (its values are not kept)", "scalars/clock changes in time"):
        assert any(said in n for n in notes), notes


def test_large_files_are_thinned(tmp_path):
    made = well(tmp_path / "a.hdf5")
    solutions, _, _ = read(tmp_path, {"options": {"every": 3, "cases": 2}})
    assert len(solutions) == 2 and solutions[0]["time"].values.tolist() == [0, 3]
    found = solutions[1]["velocity_x"].transpose("time", "x", "y").values
    np.testing.assert_array_equal(found, made["velocity"][1, ::3, ..., 0])


def test_folders_are_the_split(tmp_path):
    for part, seed in (("train", 0), ("valid", 1), ("test", 2)):
        well(tmp_path / "data" / part / f"shear_Schmidt_{seed}.hdf5", seed, 0.1 * (seed + 1))
    (tmp_path / "stats.yaml").write_text("mean: {}\n")
    _, raws, notes = read(tmp_path)
    assert [r.split for r in raws] == ["test"] * B + ["train"] * B + ["validation"] * B
    assert [round(float(r.parameters["Schmidt"]), 3) for r in raws[::B]] == [0.3, 0.1, 0.2]
    assert any("stats.yaml is not read" in n for n in notes)
    found = importers.import_data(tmp_path, tmp_path.parent / "well.h5", overwrite=True)
    assert found.layout == "the_well" and found.cases == 3 * B
    case, _ = data.case(data.open(found.path), 4)
    assert case.problem.velocity == ("velocity_x", "velocity_y") and case.problem.title == "shear_flow"
    recognised, toml = importers.draft(tmp_path)
    assert recognised.title == "The Well" and 'periodic = ["x"]' in toml


def test_what_varies_by_trajectory(tmp_path):
    def change(file):
        for name, values in (("time", np.arange(T) * np.ones((B, 1)) * [[1.0], [2.0], [3.0]]),
                             ("x", np.arange(X) + np.arange(B)[:, None] * 10.0)):  # fmt: skip
            del file[f"dimensions/{name}"]
            put(file["dimensions"], name, values, True, False)

    well(tmp_path / "a.hdf5", change=change)
    solutions = read(tmp_path)[0]
    assert solutions[2]["time"].values.tolist() == [0, 3, 6, 9]
    np.testing.assert_allclose(solutions[1]["x"], np.arange(X) + 10)


def test_tensors_whose_components_stand_one_after_another(tmp_path):
    kept = {}

    def change(file):
        stress, spin = file["t2_fields/stress"], file["t2_fields/spin"]
        for stored in (stress, spin):
            values, attrs, name = stored[()], dict(stored.attrs), stored.name
            kept[name.split("/")[-1]] = values
            del file[name]
            file[name] = values.reshape(*values.shape[:-2], 4)
            file[name].attrs.update(attrs)

    well(tmp_path / "a.hdf5", change=change)
    found = read(tmp_path)[0][1]
    np.testing.assert_array_equal(found["stress_yy"].transpose("time", "x", "y").values, kept["stress"][1, ..., 1, 1])
    np.testing.assert_array_equal(found["spin_xy"].isel(y=0).values, kept["spin"][1, ..., 0, 1])


def replaced(name, values, **attrs):
    def change(file):
        kept = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(kept | attrs)

    return change


def moved(old, new):
    return lambda file: file.move(old, new)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("t0_fields/tracer", np.zeros((B, T, Y, X))), r"shape \(3, 4, 5, 6\), expected \(3, 4, 6, 5\) by dim.*"
         r"axes of space are swapped"),
        (replaced("t0_fields/tracer", np.zeros((B, T + 1, X, Y))), r"'t0_fields/tracer': has shape \(3, 5, 6, 5\)"),
        (moved("t0_fields/tracer", "t0_fields/other"), "t0_fields names the field 'tracer', which is not there"),
        (moved("dimensions/y", "dimensions/q"), "spatial_dims are .*, expected 1 to 3 variables of 'dimensions'"),
        (moved("dimensions", "sizes"), "'dimensions' is damaged|no known"),
        (replaced("dimensions/y", np.linspace(-1, 1, Y), time_varying=True), "'dimensions/y': changes in time"),
        (replaced("dimensions/y", np.linspace(1, -1, Y)), "'dimensions/y': decreases"),
        (replaced("dimensions/x", np.r_[0:5, np.nan]), "variable 'dimensions/x' is not finite at index 5"),
        (replaced("scalars/strength", np.zeros(B + 1)), r"'scalars/strength': has shape \(4,\), expected \(3,\)"),
        (replaced("t1_fields/velocity", np.zeros((B, T, X, Y, 3))), r"'t1_fields/velocity': has shape"),
    ],
)  # fmt: skip
def test_files_that_break_the_schema(tmp_path, change, message):
    well(tmp_path / "a.hdf5", change=change)
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path / "a.hdf5", layout="the_well")


def test_grids_that_are_not_cartesian(tmp_path):
    well(tmp_path / "a.hdf5", grid_type="spherical")
    assert layout_of(tmp_path) == "the_well"
    with pytest.raises(FileFormatError, match=r"a.hdf5: grid_type is 'spherical'; grids that are cartesian alone"):
        read(tmp_path)


def test_files_that_differ(tmp_path):
    well(tmp_path / "a.hdf5")
    well(tmp_path / "b.hdf5", change=lambda f: f.pop("scalars/strength"))
    with pytest.raises(FileFormatError, match=r"b.hdf5: parameters \['Reynolds', 'Schmidt'\], but a.hdf5 has"):
        read(tmp_path)
    well(tmp_path / "b.hdf5", change=lambda f: f.create_dataset("t0_fields/more", data=np.zeros((B, T, X, Y))))
    with pytest.raises(FileFormatError, match=r"b.hdf5: fields .*'more'.*, but a.hdf5 has"):
        read(tmp_path)


def test_nothing_is_left_out_in_silence(tmp_path):
    def change(file):
        file["mystery"] = np.zeros(3)
        del file["boundary_conditions"]
        file.attrs["Schmidt"] = b"high"
        del file["scalars/Schmidt"]

    well(tmp_path / "a.hdf5", change=change)
    notes = read(tmp_path)[2]
    for said in ("left out: mystery", "nothing is said of the boundary", "'Schmidt' is 'high', no number"):
        assert any(said in n for n in notes), notes
