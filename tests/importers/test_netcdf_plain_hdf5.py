"""HDF5 whose dimensions have no names: told by lengths, groups or a plan."""

import h5py
import numpy as np
import pytest
from _imported import N, T, flow, layout_of, read

from sciml.data import importers
from sciml.errors import FileFormatError, InputError


def test_hdf5_without_names_of_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    u, k = rng.random((N, T, 6, 6)), rng.random((N, 6, 6))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["u"], file["k"], file["nu"] = u, k, np.arange(N) * 0.5
        file["text"] = "hello"
    with pytest.raises(
        FileFormatError, match=r"no variable is understood as a field over space; .* tell what \[axes\]"
    ):
        read(tmp_path)
    told = {
        "fields": {"u": {"axes": ["case", "time", "x", "y"]}}, "inputs": {"k": {"axes": ["case", "x", "y"]}},
        "parameters": {"nu": {"axes": ["case"]}},
    }  # fmt: skip
    solutions, raws, notes = read(tmp_path, told)
    np.testing.assert_array_equal(solutions[2]["u"].values, u[2].transpose(0, 2, 1))
    np.testing.assert_array_equal(raws[2].inputs["k"], k[2].T)
    assert [r.parameters["nu"] for r in raws] == [0, 0.5, 1]
    assert any("left out 'text'" in n for n in notes)
    found = importers.recognise(tmp_path)
    assert found.certainty == 1 and "tell what [axes] order" in found.needs
    with pytest.raises(InputError, match="do not fit"):
        read(tmp_path, {"fields": {"u": {"axes": ["case", "time", "x"]}}})


def test_hdf5_whose_lengths_tell_the_dimensions(tmp_path):
    made = flow(cases=False)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("u", "x", "y", "time"):
            file[name] = made[name].values
    np.testing.assert_array_equal(read(tmp_path)[0][0]["u"].values, made["u"].values[:, ::-1])


def test_numbered_groups_that_hold_the_same_are_cases(tmp_path):
    """sim_0, sim_1, ...: what lies beside them is of all, attributes and single numbers are parameters."""
    made = flow(cases=False)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = made["x"].values, made["y"].values
        for k in (0, 1, 2, 10):
            group = file.create_group(f"sim_{k}")
            group["u"], group["time"], group["mass"] = (k + 1) * made["u"].values, made["time"].values, 2.0 * k
            group.attrs["rate"] = 0.5 * k
    assert layout_of(tmp_path / "a.h5") == "netcdf" and not importers.recognise(tmp_path).needs
    solutions, raws, notes = read(tmp_path)
    assert [r.label for r in raws] == ["sim_0", "sim_1", "sim_2", "sim_10"]
    assert [r.parameters for r in raws] == [{"rate": 0.5 * k, "mass": 2.0 * k} for k in (0, 1, 2, 10)]
    assert "4 groups of a.h5 are a case each: sim_0 to sim_10" in notes
    for k, s in zip((0, 1, 2, 10), solutions, strict=True):
        np.testing.assert_array_equal(s["u"].values, (k + 1) * made["u"].values[:, ::-1])


def test_a_leading_dimension_of_numbers_is_what_cases_differ_in(tmp_path):
    """By dimensions of its own, or where lengths tell these; it is said, and a trailing one is not taken so."""
    made = flow().drop_vars(["viscosity", "bed", "temp"]).rename(sample="rate").assign_coords(rate=[0.5, 0.2, 0.9])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("u", "x", "y", "time", "rate"):
            file[name] = made[name].values
    made.to_netcdf(tmp_path / "a.nc")
    for path in (tmp_path / "a.h5", tmp_path / "a.nc"):
        solutions, raws, notes = read(path)
        assert [r.parameters for r in raws] == [{"rate": 0.5}, {"rate": 0.2}, {"rate": 0.9}]
        np.testing.assert_array_equal(solutions[1]["u"].values, made["u"].values[1, :, ::-1])
        assert any("dimension 'rate' comes first" in n for n in notes)
    made.transpose("time", "y", "x", "rate").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(FileFormatError, match="no variable is understood as a field"):
        read(tmp_path / "b.nc")
