"""Files with named dimensions: the same data from NetCDF-3, NetCDF-4 and Zarr, told by attributes, names or a plan."""

import h5py
import numpy as np
import pytest
import xarray as xr
from _imported import N, T, X, Y, flow, layout_of, read

from sciml import data
from sciml.data import importers
from sciml.data.importers import _guarded, _serving
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError, InputError


def save(dataset, path, kind):
    if kind.startswith("zarr"):
        dataset.to_zarr(path, zarr_format=int(kind[-1]), consolidated=False)
    elif kind == "classic":
        dataset.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")
    else:
        dataset.to_netcdf(path, engine=kind)
    return path


@pytest.mark.parametrize("kind", ["classic", "netcdf4", "h5netcdf", "zarr2", "zarr3"])
def test_the_same_from_all_kinds_of_files(tmp_path, kind):
    made = flow()
    path = save(made, tmp_path / ("a.zarr" if "zarr" in kind else "a.nc"), kind)
    assert layout_of(path) == layout_of(tmp_path) == "netcdf"
    for source in (path, tmp_path):
        solutions, raws, notes = read(source)
        assert len(solutions) == N
        for n, (solution, raw) in enumerate(zip(solutions, raws, strict=True)):
            expected = made.isel(sample=n, y=slice(None, None, -1))
            np.testing.assert_array_equal(solution["u"].values, expected["u"].values)
            np.testing.assert_allclose(solution["temp"].values, expected["temp"].transpose("time", "y", "x").values)
            np.testing.assert_array_equal(raw.inputs["bed"], expected["bed"].values)
            assert solution["u"].dtype == "f4" and solution["temp"].dtype == "f8"
            assert raw.parameters == {"viscosity": made["viscosity"].values[n]}
            np.testing.assert_allclose(solution["y"], expected["y"])
            assert solution["u"].attrs["units"] == "m/s" and solution["time"].values.tolist() == [0, 2, 4, 6]
        assert any("'y' decreases: turned round" in n for n in notes)


def test_through_the_process_of_its_own(tmp_path):
    made = flow()
    found = importers.import_data(save(made, tmp_path / "a.zarr", "zarr3"), tmp_path / "a.h5")
    assert (found.layout, found.cases) == ("netcdf", N)
    solution = data.case(data.open(found.path), 1)[1]
    np.testing.assert_array_equal(solution["u"].values, made["u"].values[1, :, ::-1])
    assert "already; use it as it is" in _serving.recognised(Source(found.path)).needs


def test_attributes_count_more_than_names(tmp_path):
    rng = np.random.default_rng(0)
    made = xr.Dataset(
        {"w": (("a", "b", "c", "d"), rng.random((2, 3, 4, 5)))},
        {
            "a": ("a", np.arange(2) * 6, {"units": "hours since 2001-03-01 12:00", "calendar": "noleap"}),
            "b": ("b", [100.0, 50.0, 10.0], {"positive": "down", "units": "m"}),
            "c": ("c", np.linspace(-10, 10, 4), {"standard_name": "latitude", "units": "degrees_north"}),
            "d": ("d", np.linspace(0, 40, 5), {"axis": "X", "units": "degrees_east"}),
        },
    )
    made.to_netcdf(tmp_path / "a.nc")
    solutions, _, notes = read(tmp_path)
    assert solutions[0]["w"].dims == ("time", "z", "y", "x")
    np.testing.assert_array_equal(solutions[0]["w"].values, made["w"].values[:, ::-1])
    assert solutions[0]["time"].values.tolist() == [0, 6 * 3600]
    assert any("'hours since 2001-03-01 12:00' are turned into seconds" in n and "noleap" in n for n in notes)


@pytest.mark.parametrize("kind", ["classic", "h5netcdf", "zarr2"])
def test_packed_values_and_missing_ones(tmp_path, kind):
    made = flow(cases=False)
    made["u"].values[:, 1, 2] = np.nan
    made["temp"].values[2:, :, 3] = np.nan
    made = made.drop_vars("temp")
    made["u"].encoding = {"dtype": "i2", "scale_factor": 1e-3, "add_offset": 0.5, "_FillValue": -32768}
    path = save(made, tmp_path / ("a.zarr" if "zarr" in kind else "a.nc"), kind)
    solutions, _, notes = read(path)
    holes = np.isnan(made["u"].values[0, ::-1])
    assert (solutions[0]["mask"].values == ~holes).all()
    np.testing.assert_allclose(solutions[0]["u"].values[:, ~holes], made["u"].values[:, ::-1][:, ~holes], atol=6e-4)
    assert any("places that never have finite values count as outside" in n for n in notes)


@pytest.mark.parametrize("kind", ["classic", "netcdf4", "zarr2", "zarr3"])
def test_fill_values_of_floats(tmp_path, kind):
    made = flow(cases=False)[["u"]]
    made["u"].values[2:] = np.nan
    made["u"].encoding = {"_FillValue": np.float32(-999.9)}
    path = save(made, tmp_path / ("a.zarr" if "zarr" in kind else "a.nc"), kind)
    solutions, _, notes = read(path)
    np.testing.assert_array_equal(solutions[0]["u"].values, made["u"].values[:2, ::-1])
    assert any("frames at the end that hold no finite value: left out" in n for n in notes)


def test_values_that_were_never_written(tmp_path):
    made = flow(cases=False)[["u"]]
    made["u"].values[2:] = 9.969209968386869e36
    made["u"].encoding = {"_FillValue": None}
    made.to_netcdf(tmp_path / "a.nc")
    assert read(tmp_path)[0][0].sizes["time"] == 2


def test_unsigned_bytes_of_the_classic_format(tmp_path):
    made = flow(cases=False)[["u"]]
    values = np.arange(T * Y * X, dtype="u1").reshape(T, Y, X) + 100
    made["u"] = (("time", "y", "x"), values.view("i1"), {"_Unsigned": "true", "missing_value": "none"})
    made.to_netcdf(tmp_path / "a.nc", engine="scipy")
    np.testing.assert_array_equal(read(tmp_path)[0][0]["u"].values, values[:, ::-1])


def test_groups_that_hold_variables_of_one_name(tmp_path):
    made = flow(cases=False)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("x", "y", "time"):
            file[name] = made[name].values
        file["fluid/u"], file["solid/u"] = made["u"].values, 2 * made["u"].values
    raw = read(tmp_path)[1][0]
    assert set(raw.fields) == {"fluid_u", "solid_u"}
    np.testing.assert_array_equal(raw.fields["solid_u"], 2 * made["u"].values[:, ::-1])


def test_files_are_cases(tmp_path):
    for k in range(3):
        made = flow(k, cases=False)
        made.attrs["viscosity"] = 0.1 * (k + 1)
        made["gravity"] = 9.81
        made.to_netcdf(tmp_path / f"run_{k}.nc")
    solutions, raws, notes = read(tmp_path)
    assert [r.parameters["viscosity"] for r in raws] == pytest.approx([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(solutions[2]["u"].values, flow(2, False)["u"].values[:, ::-1])
    assert any("attributes of files that differ are parameters: viscosity" in n for n in notes)
    assert any("no parameters: gravity = 9.81" in n for n in notes)
    told = {"parameters": {"angle": {"values": {"run_0": 1.0, "run_1.nc": 2.0, "run_2": 3.0}, "unit": "rad"}}}
    assert [r.parameters["angle"] for r in read(tmp_path, told)[1]] == [1, 2, 3]
    with pytest.raises(InputError, match=r"parameters.angle: no value for 'run_2'"):
        read(tmp_path, {"parameters": {"angle": {"values": {"run_0": 1.0, "run_1": 2.0}}}})


@pytest.mark.parametrize("units", ["s", "hours since 2000-01-01"])
def test_files_whose_times_go_on_are_one_case(tmp_path, units):
    whole = flow(cases=False)
    whole["time"] = ("time", np.array([0.0, 1.0, 3.0, 4.0]), {"units": units})
    for name, part in (("b.nc", slice(0, 2)), ("a.nc", slice(2, 4))):
        whole.isel(time=part).to_netcdf(tmp_path / name)
    solutions, _, notes = read(tmp_path)
    assert len(solutions) == 1
    np.testing.assert_array_equal(solutions[0]["u"].values, whole["u"].values[:, ::-1])
    by = 1 if units == "s" else 3600
    assert solutions[0]["time"].values.tolist() == [0, by, 3 * by, 4 * by]
    assert any("times go on from file to file: 2 files are one case" in n for n in notes)
    assert len(read(tmp_path, {"options": {"join": False}})[0]) == 2


def test_what_a_plan_chooses(tmp_path):
    made = flow()
    made["density"] = ("sample", np.arange(3.0))
    made.to_netcdf(tmp_path / "a.nc")
    _, raws, notes = read(tmp_path, {"fields": {"speed": {"from": "u"}}})
    assert list(raws[0].fields) == ["speed"] and set(raws[0].parameters) == {"viscosity", "density"}
    assert list(raws[0].inputs) == ["bed"] and any("'temp': not chosen" in n for n in notes)
    told = {"parameters": {"nu": {"from": "viscosity", "scale": 10.0}}, "inputs": {"floor": {"from": "bed"}}}
    _, raws, notes = read(tmp_path, told)
    assert [r.parameters for r in raws] == [pytest.approx({"nu": v}) for v in (1.0, 2.0, 3.0)]
    assert list(raws[0].inputs) == ["floor"] and any("'density': not chosen" in n for n in notes)
    for plan, message in (
        ({"parameters": {"nu": {"from": "viscosty"}}}, "parameters.nu: .* has no variable 'viscosty'; did you mean"),
        ({"fields": {"v": {}}}, "fields: .* has no variable 'v'"),
        ({"fields": {"v": {"from": "viscosity"}}}, "no variable is understood as a field|fields"),
        ({"inputs": {"k": {"from": "u"}}}, "inputs.k: .* is over .*, expected the axes of fields"),
        ({"options": {"dimensions": {"samples": "case"}}}, "options.dimensions: .* has no dimension 'samples'"),
        ({"options": {"dimensions": {"sample": "cases"}}}, "options.dimensions.sample: expected one of case, time"),
        ({"coordinates": {"x": {"from": "xx"}}}, "coordinates.x: .* has no variable 'xx'"),
        ({"periodic": ["z"]}, "periodic: expected axes of x, y, got 'z'"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path, plan)


def test_one_run_is_cut_into_pieces(tmp_path):
    made = flow(cases=False)
    made.to_netcdf(tmp_path / "a.nc")
    assert any("one case, and none to test on: options.pieces" in n for n in read(tmp_path)[2])
    solutions, raws, _ = read(tmp_path, {"options": {"pieces": 2}})
    assert [r.label for r in raws] == ["a, part 0", "a, part 1"]
    np.testing.assert_array_equal(solutions[1]["u"].values, made["u"].values[2:, ::-1])
    assert solutions[1]["time"].values.tolist() == [4, 6]
    with pytest.raises(InputError, match=r"options.pieces: 9, but a has 4 frames"):
        read(tmp_path, {"options": {"pieces": 9}})


def test_dates_of_several_files(tmp_path):
    """Each file counts from its own day on."""
    whole = flow(cases=False)
    for k in range(2):
        part = whole.isel(time=slice(2 * k, 2 * k + 2)).copy()
        part["time"] = ("time", np.array([0, 12]), {"units": f"hours since 2000-02-{28 + k} 00:00:00"})
        part.to_netcdf(tmp_path / f"{k}.nc")
    found = read(tmp_path)[0]
    assert len(found) == 1 and found[0]["time"].values.tolist() == [0, 43200, 86400, 129600]


def test_files_of_one_field_each(tmp_path):
    made = flow()
    for name in ("u", "temp"):
        made[[name]].to_netcdf(tmp_path / f"{name}.nc")
    solutions, _, notes = read(tmp_path)
    np.testing.assert_array_equal(solutions[1]["u"].values, made["u"].values[1, :, ::-1])
    np.testing.assert_array_equal(solutions[1]["temp"].values[2], made["temp"].values[::-1, :, 2, 1])
    assert any("files hold different variables over the same dimensions" in n for n in notes)


def test_folders_of_a_split(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / part).mkdir()
        flow().to_netcdf(tmp_path / part / "a.nc")
    assert [r.split for r in read(tmp_path)[1]] == ["test"] * N + ["train"] * N + ["validation"] * N


def test_steady_cases_in_one_dimension(tmp_path):
    made = xr.Dataset(
        {"u": (("Re", "x"), np.arange(12.0).reshape(3, 4))}, {"Re": [10.0, 20.0, 40.0], "x": [0.0, 1.0, 2.0, 4.0]}
    )
    made.to_netcdf(tmp_path / "a.nc")
    solutions, raws, _ = read(tmp_path, {"options": {"dimensions": {"Re": "case"}}, "problem": "pipe"})
    assert [r.parameters["Re"] for r in raws] == [10, 20, 40] and solutions[0].attrs["problem"] == "pipe"
    np.testing.assert_array_equal(solutions[2]["u"].values, [8, 9, 10, 11])
    np.testing.assert_allclose(solutions[0]["x"], [0, 1, 2, 4])


def test_components_and_layers_of_length_one(tmp_path):
    rng = np.random.default_rng(0)
    made = xr.Dataset({"velocity": (("time", "lev", "y", "x", "component"), rng.random((T, 1, Y, X, 2)))})
    made.to_netcdf(tmp_path / "a.nc")
    solutions, raws, notes = read(tmp_path)
    np.testing.assert_array_equal(solutions[0]["velocity_y"].values, made["velocity"].values[:, 0, ..., 1])
    assert any("there are no positions along x: cells are taken as 1 wide" in n for n in notes)
    assert any("there are no times: frames are numbered" in n for n in notes)
    told = {"time": {"first": 1.0, "step": 0.5}, "coordinates": {"x": {"low": 0.0, "high": 3.0}}, "periodic": ["x"],
            "fields": {"v": {"from": "velocity", "component": 1, "scale": 2.0, "unit": "km/h"}}}  # fmt: skip
    solutions, raws, _ = read(tmp_path, told)
    assert list(raws[0].fields) == ["v"] and raws[0].support.periodic == (True, False)
    np.testing.assert_array_equal(solutions[0]["v"].values, 2 * made["velocity"].values[:, 0, ..., 1])
    assert solutions[0]["time"].values.tolist() == [1, 1.5, 2, 2.5] and solutions[0]["v"].attrs["units"] == "km/h"


def test_grids_of_two_dimensional_positions_are_meshes(tmp_path):
    j, i = np.meshgrid(np.arange(Y), np.arange(X), indexing="ij")
    made = flow(cases=False).drop_vars(["x", "y"])
    made = made.assign_coords(lon=(("y", "x"), i + 0.3 * j, {"units": "degrees_east"}),
                              lat=(("y", "x"), j * 1.0, {"units": "degrees_north"}))  # fmt: skip
    made.to_netcdf(tmp_path / "a.nc")
    solutions, raws, notes = read(tmp_path)
    assert raws[0].support.weights().sum() == pytest.approx((X - 1) * (Y - 1))
    np.testing.assert_array_equal(solutions[0]["u"].values, made["u"].values.reshape(T, -1))
    assert any("longitudes and latitudes are taken as plain coordinates" in n for n in notes)
    np.testing.assert_array_equal(raws[0].inputs["bed"], made["bed"].values.ravel())


@pytest.mark.parametrize("start", [0, 1])
def test_meshes_of_ugrid(tmp_path, start):
    nodes = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1.0]])
    faces = np.array([[0, 1, 4, 3], [1, 2, 5, -1], [1, 5, 4, -1]])
    made = xr.Dataset(
        {
            "mesh": ((), 0, {"cf_role": "mesh_topology", "topology_dimension": 2, "node_coordinates": "nx ny",
                             "face_node_connectivity": "tri"}),
            "tri": (("face", "three"), np.where(faces < 0, -999, faces + start).astype("i4"),
                    {"cf_role": "face_node_connectivity", "start_index": start, "_FillValue": np.int32(-999)}),
            "nx": ("n_nodes", nodes[:, 0], {"units": "m"}), "ny": ("n_nodes", nodes[:, 1], {"units": "m"}),
            "h": (("time", "n_nodes"), np.arange(12.0).reshape(2, 6), {"mesh": "mesh", "location": "node"}),
            "q": (("time", "face"), np.zeros((2, 3)), {"mesh": "mesh", "location": "face"}),
        },
        {"time": ("time", [0.0, 1.0], {"units": "s"})},
    )  # fmt: skip
    made.to_netcdf(tmp_path / "a.nc")
    solutions, raws, notes = read(tmp_path)
    assert raws[0].support.weights().sum() == pytest.approx(2.0)
    assert {k: len(c) for k, c in raws[0].support.cells.items()} == {"triangle": 2, "quadrilateral": 1}
    np.testing.assert_array_equal(solutions[0]["h"].values, made["h"].values)
    assert any("left out 'q'" in n for n in notes)


def test_nodes_with_and_without_cells_and_nodes_that_move(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random(7), rng.random(7)
    made = xr.Dataset({"p": (("case", "time", "node"), rng.random((2, 3, 7)))}, {"x": ("node", x), "y": ("node", y)})
    made.to_netcdf(tmp_path / "a.nc")
    solutions, raws, _ = read(tmp_path)
    np.testing.assert_array_equal(raws[1].support.position, np.stack([x, y], -1))
    np.testing.assert_array_equal(solutions[1]["p"].values, made["p"].values[1])
    moving = made.drop_vars(["x", "y"]).isel(case=0)
    moving["x"], moving["y"] = (("time", "node"), rng.random((3, 7))), (("time", "node"), rng.random((3, 7)))
    moving.to_netcdf(tmp_path / "a.nc")
    found = read(tmp_path)[0][0]
    np.testing.assert_array_equal(found["x"].values, moving["x"].values)


def test_a_draft_reads_back_what_it_was_made_from(tmp_path):
    flow().to_netcdf(tmp_path / "a.nc")
    _guarded.stop()  # a process that has read nothing yet
    found, toml = importers.draft(tmp_path / "a.nc")
    assert found.layout == "netcdf" and "[fields.temp]" in toml and "sample 3, time 4, y 5, x 6" in toml
    from sciml.data.importers import Plan

    (tmp_path / "plan.toml").write_text(toml)
    plan = Plan.read(tmp_path / "plan.toml")
    one, two = read(tmp_path / "a.nc")[0], read(tmp_path / "a.nc", plan.to_json())[0]
    for a, b in zip(one, two, strict=True):
        assert set(a.data_vars) == set(b.data_vars)
        np.testing.assert_array_equal(a["temp"].values, b["temp"].values)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["u"] = np.zeros((2, 3, 4, 5))
    toml = importers.draft(tmp_path / "b.h5")[1]
    assert 'order = ["case", "time", "y", "x"]' in toml and "2 x 3 x 4 x 5" in toml


def test_what_is_not_understood_is_named(tmp_path):
    made = flow(cases=False)
    made["spectrum"] = (("time", "wavenumber_bin"), np.zeros((T, 4)))
    made["energy"] = ("time", np.zeros(T))
    made["comment"] = "hello"
    made["profile"] = ("y", np.zeros(Y))
    made["time"].attrs["bounds"] = "time_bnds"
    made["time_bnds"] = (("time", "nv"), np.zeros((T, 2)))
    made["face_u"] = (("time", "y", "x_face"), np.zeros((T, Y, X + 1)))
    made.to_netcdf(tmp_path / "a.nc")
    (tmp_path / "notes.txt").write_text("x")
    notes = read(tmp_path)[2]
    for said in (
        "'spectrum': dimension 'wavenumber_bin' is not understood", "'energy': over time alone", "'comment': ",
        "'profile': on other places", "'time_bnds': bounds of cells", "'face_u'", "1 other files: notes.txt",
    ):  # fmt: skip
        assert any(said in n for n in notes), (said, notes)


# -- what is wrong ----------------------------------------------------------------------------------------------------


def changed(**given):
    made = flow(cases=False)
    for name, value in given.items():
        made[name] = value
    return made


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (changed(time=("time", [0.0, 1.0, np.nan, 3.0])), "variable 'time' is not finite at index 2"),
        (changed(x=("x", [0.0, 1, 2, np.nan, 4, 5])), "variable 'x' is not finite at index 3"),
        (changed(x=("x", [0.0, 1, 2, 1, 4, 5])), "variable 'x' does not increase at index 3"),
        (changed(time=("time", np.arange(T), {"units": "fortnights since 2000-01-01"})), "unit 'fortnights since 2000"),
        (xr.Dataset({"a": ("time", np.zeros(3))}), "no variable is understood as a field over space; it holds a"),
        (xr.Dataset({"a": (("time", "node"), np.zeros((3, 4)))}), "no variable says where these are"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(tmp_path, dataset, message):
    dataset.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(FileFormatError, match=message) as error:
        read(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a.nc"))


def test_files_that_differ(tmp_path):
    flow(cases=False).to_netcdf(tmp_path / "a.nc")
    flow(cases=False).isel(x=slice(0, 3)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(FileFormatError, match=r"b.nc: the grid {'y': 5, 'x': 3}, but a.nc has {'y': 5, 'x': 6}"):
        read(tmp_path)
    flow(cases=False).drop_vars("temp").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(FileFormatError, match=r"b.nc: fields \('u',\), but a.nc has \('temp', 'u'\)"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["classic", "h5netcdf"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.4, 0.9])
def test_files_that_are_cut_off(tmp_path, kind, share):
    made = flow()
    path = save(made, tmp_path / "a.nc", kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        FileFormatError, match=r"a.nc: .*(cut off|damaged|empty file|neither NetCDF)|a.nc: .*values end"
    ):
        read(tmp_path, layout="netcdf")


def test_the_ending_does_not_matter(tmp_path):
    made = flow()
    save(made, tmp_path / "a.h5", "classic")
    np.testing.assert_array_equal(read(tmp_path)[0][0]["u"].values, made["u"].values[0, :, ::-1])
    (tmp_path / "a.h5").rename(tmp_path / "a.dat")
    assert len(read(tmp_path / "a.dat")[0]) == N
    (tmp_path / "a.dat").unlink()
    (tmp_path / "b.nc").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(FileFormatError, match=r"b.nc: neither NetCDF nor HDF5: it is zip"):
        read(tmp_path, layout="netcdf")


@pytest.mark.parametrize("version", [2, 3])
def test_stores_that_are_damaged(tmp_path, version):
    path = save(flow(), tmp_path / "a.zarr", f"zarr{version}")
    meta = path / "u" / (".zarray" if version == 2 else "zarr.json")
    text = meta.read_text()
    meta.write_text(text.replace("[\n    3", "[\n    3000000000").replace("[3", "[3000000000"))
    with pytest.raises(FileFormatError, match=r"a.zarr: variable 'u'"):
        read(path)
    meta.write_text("{")
    with pytest.raises(FileFormatError, match=r"variable 'u' is damaged|not JSON"):
        read(path)
    meta.write_text(text)
    chunk = next(p for p in (path / "u").rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr")))
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(FileFormatError, match="variable 'u': damaged"):
        read(path)
    chunk.unlink()
    chunk.symlink_to("/etc/passwd")
    with pytest.raises(FileFormatError, match="is a link; links in a store are refused"):
        read(path)


def test_bytes_of_the_classic_format_that_are_turned(tmp_path):
    """Whatever single bytes of the head are damaged: values, or one line."""
    path = save(flow(), tmp_path / "a.nc", "classic")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        spoiled = bytearray(whole)
        for at in rng.integers(3, 900, 2):
            spoiled[at] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        try:
            read(path, layout="netcdf")
        except InputError as error:
            assert "\n" not in str(error)


# -- as well-known programs write --------------------------------------------------------------------------------------


def test_wrf(tmp_path):
    j, i = np.meshgrid(np.arange(Y), np.arange(X), indexing="ij")
    shape, dims = (T, Y, X), ("Time", "south_north", "west_east")
    made = xr.Dataset(
        {
            "Times": (("Time", "DateStrLen"), np.full((T, 19), b"0", "S1")),
            "T2": (dims, np.random.rand(*shape), {"units": "K", "coordinates": "XLONG XLAT"}),
            "PSFC": (dims, np.random.rand(*shape), {"units": "Pa"}),
            "U": (("Time", "south_north", "west_east_stag"), np.random.rand(T, Y, X + 1)),
            "HGT": (dims, np.broadcast_to(1.0 * i, shape), {"units": "m"}),
            "XLONG": (dims, np.broadcast_to(1.0 * i, shape), {"units": "degree_east"}),
            "XLAT": (dims, np.broadcast_to(1.0 * j + 0.1 * i, shape), {"units": "degree_north"}),
            "XTIME": ("Time", np.arange(T) * 30.0, {"units": "minutes since 2005-08-28 00:00:00"}),
        }
    )  # fmt: skip
    made.to_netcdf(tmp_path / "wrfout.nc", engine="netcdf4")
    solutions, raws, notes = read(tmp_path)
    assert set(raws[0].fields) == {"T2", "PSFC", "HGT"} and solutions[0]["time"].values[1] == 1800
    assert raws[0].support.weights().sum() == pytest.approx((X - 1) * (Y - 1))
    assert any("the grid at the first time is read as a mesh" in n for n in notes)
    assert any("left out 'U'" in n for n in notes) and any("left out 'Times'" in n for n in notes)


def test_dedalus(tmp_path):
    """Groups "scales" and "tasks", scales attached to axes, several of them to that of time, none to components."""
    u = np.random.rand(T, 2, X, Y)
    with h5py.File(tmp_path / "snapshots.h5", "w") as file:
        for name, values in (("sim_time", np.arange(T) * 0.1), ("iteration", np.arange(T) * 10),
                             ("x_hash_ab12", np.arange(X) / X), ("y_hash_cd34", np.arange(Y) / Y)):  # fmt: skip
            file[f"scales/{name}"] = values
            file[f"scales/{name}"].make_scale(name)
        file["tasks/u"], file["tasks/b"] = u, u[:, 0]
        for name, axes in (("u", (0, 2, 3)), ("b", (0, 1, 2))):
            stored = file[f"tasks/{name}"]
            stored.dims[axes[0]].attach_scale(file["scales/sim_time"])
            stored.dims[axes[0]].attach_scale(file["scales/iteration"])
            stored.dims[axes[1]].attach_scale(file["scales/x_hash_ab12"])
            stored.dims[axes[2]].attach_scale(file["scales/y_hash_cd34"])
    solutions, raws, notes = read(tmp_path)
    np.testing.assert_array_equal(solutions[0]["b"].values, u[:, 0].transpose(0, 2, 1))
    assert any("left out 'tasks/u': dimension '1.4_of_2' is not understood" in n for n in notes)
    assert solutions[0]["time"].values.tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    solutions, raws, _ = read(tmp_path, {"options": {"dimensions": {"1.4_of_2": "component"}}, "periodic": ["x", "y"]})
    np.testing.assert_array_equal(solutions[0]["u_y"].values, u[:, 1].transpose(0, 2, 1))
    assert raws[0].support.extents[0] == pytest.approx((-0.5 / X, 1 - 0.5 / X)) and raws[0].support.periodic[1]


def test_reanalyses(tmp_path):
    """Packed integers around the globe, from north to south, beside texts and numbers of one value."""
    made = xr.Dataset(
        {"t2m": (("valid_time", "latitude", "longitude"), 280 + np.random.rand(3, 4, 8), {"units": "K"})},
        {
            "valid_time": ("valid_time", np.array([0, 6, 12]), {"units": "hours since 1900-01-01 00:00:00.0"}),
            "latitude": ("latitude", [67.5, 22.5, -22.5, -67.5], {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(8) * 45.0, {"units": "degrees_east"}),
            "number": 0,
            "expver": ("valid_time", ["0001"] * 3),
        },
    )
    made["t2m"].encoding = {"dtype": "i2", "scale_factor": 1e-4, "add_offset": 280.5, "_FillValue": -32767}
    made.to_netcdf(tmp_path / "era5.nc", engine="netcdf4")
    solutions, _, notes = read(tmp_path)
    np.testing.assert_allclose(solutions[0]["t2m"].values, made["t2m"].values[:, ::-1], atol=6e-5)
    assert any("'longitude' goes once around" in n for n in notes)
    assert not any("goes once around" in n for n in read(tmp_path, {"periodic": ["x"]})[2])


def test_names_of_problems_of_this_package_are_left_to_it(tmp_path):
    flow().to_netcdf(tmp_path / "burgers.nc")
    assert read(tmp_path)[0][0].attrs["problem"] == "burgers_data"


def test_stretched_grids_far_from_the_origin_stay_stretched(tmp_path):
    x = 5e6 + np.cumsum(np.linspace(1.0, 1.2, 6))
    xr.Dataset({"u": (("time", "x"), np.zeros((2, 6)))}, {"x": x}).to_netcdf(tmp_path / "a.nc")
    np.testing.assert_allclose(np.diff(read(tmp_path)[0][0]["x"]), np.diff(x), rtol=1e-6)
    with pytest.raises(InputError, match=r"steady: .* has fields at 2 times"):
        read(tmp_path, {"steady": True})


def test_units_that_clash_from_file_to_file_are_refused(tmp_path):
    """Fields, positions and times; what is written differently is no clash, and times of known units are turned."""

    def file(name, seed, **units):
        made = flow(seed, cases=False).drop_vars("bed")
        if units.get("time") == "ms":
            made = made.assign_coords(time=made["time"] * 1000.0)
        for key, unit in units.items():
            made[key].attrs["units"] = unit
        made.to_netcdf(tmp_path / name)

    file("a.nc", 0)
    file("b.nc", 1, time="ms", u="m s-1", x="meter")
    solutions, _, notes = read(tmp_path)
    assert [s["time"].values.tolist() for s in solutions] == [[0.0, 2.0, 4.0, 6.0]] * 2
    assert any("in 'ms' are turned into seconds" in n for n in notes)
    for units, said in (
        ({"temp": "degC"}, "c.nc: temp is in 'degC', but in 'K' in a.nc; bring"),
        ({"x": "mm", "y": "mm"}, "c.nc: the position is in 'mm', but in 'm' in a.nc; bring"),
        ({"time": ""}, "c.nc: the time is in 'no unit', but in 's' in a.nc; bring"),
    ):
        file("c.nc", 2, **units)
        with pytest.raises(FileFormatError, match=said):
            read(tmp_path)


def test_axes_in_different_units_are_named(tmp_path):
    made = flow(cases=False)
    made["y"].attrs["units"] = "mm"
    made.to_netcdf(tmp_path / "a.nc")
    assert "positions are in different units (m, mm): taken as numbers without one" in read(tmp_path)[2]
    made["y"].attrs["units"] = "metre"
    made.to_netcdf(tmp_path / "a.nc")
    assert not any("different units" in n for n in read(tmp_path)[2])
