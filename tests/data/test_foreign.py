"""Files that other tools saved again, odd attributes, odd places: read as they are meant, or refused in one line."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from _make import assert_same_solution, cavities, cavity, problems

from sciml import data
from sciml.errors import FileFormatError, InputError


@pytest.fixture
def original(tmp_path):
    place = tmp_path / "a.h5"
    data.write(data.pack(cavities(3), splits=["train", "train", "test"]), place)
    return place


def holes(path):
    """The data set as xarray reads it, with holes in `u`."""
    found = xr.open_dataset(path, decode_timedelta=False).load()
    found["u"] = found["u"].where(abs(found["u"]) < 1.0)
    return found


@pytest.mark.parametrize(
    "coding",
    [
        {"_FillValue": -999.0},
        {"_FillValue": 9.96921e36, "missing_value": 9.96921e36},
        {"_FillValue": np.nan},
        {"dtype": "i2", "scale_factor": 1e-3, "add_offset": 0.5, "_FillValue": -32768},
        {"_FillValue": -999.0, "zlib": True},
    ],
)
def test_fill_values_scales_and_offsets_are_decoded(tmp_path, original, coding):
    saved = holes(original)
    saved["u"].encoding = coding
    saved.to_netcdf(tmp_path / "b.nc")
    expected = xr.open_dataset(tmp_path / "b.nc", decode_timedelta=False)["u"].values
    found = data.open(tmp_path / "b.nc")
    np.testing.assert_allclose(found["u"].values, expected, rtol=1e-6)
    np.testing.assert_allclose(found["u"][4:7, 1].values, expected[4:7, 1], rtol=1e-6)
    assert np.isnan(expected).any() and "_FillValue" not in found["u"].attrs
    np.testing.assert_array_equal(found["v"].values, data.open(original)["v"].values)
    with pytest.raises(FileFormatError, match=r"variable 'u' is not finite in case \d, frame \d"):
        data.validate(found)


def test_windows_refuse_missing_values(tmp_path, original):
    saved = holes(original)
    saved["u"].encoding = {"_FillValue": -999.0}
    saved.to_netcdf(tmp_path / "b.nc")
    windows = data.Windows(tmp_path / "b.nc")
    with pytest.raises(InputError, match="variable 'u' has missing values in case 0"):
        windows[0]
    whole = data.Windows(original, fields=["v"])[0]["state"]
    np.testing.assert_array_equal(data.Windows(tmp_path / "b.nc", fields=["v"])[0]["state"], whole)


def test_fill_values_that_no_value_has_change_nothing(tmp_path, original):
    found = data.open(original).load()
    for name in ("u", "viscosity"):
        found[name].encoding["_FillValue"] = 1e20
    found["row_size"].encoding["_FillValue"] = -1
    found.to_netcdf(tmp_path / "b.nc")
    assert data.validate(tmp_path / "b.nc")["checksums"] == 3
    np.testing.assert_array_equal(data.Windows(tmp_path / "b.nc")[1]["target"], data.Windows(original)[1]["target"])


def test_values_that_are_not_decoded_are_refused(original):
    solution = data.case(data.open(original), 0)[1]
    solution["u"].attrs["scale_factor"] = 0.01
    with pytest.raises(InputError, match="'u' has the attribute 'scale_factor': decode its values"):
        data.pack([solution])
    packed = data.open(original)
    packed["u"].attrs["_FillValue"] = 0.0
    with pytest.raises(InputError, match="'u' has the attribute '_FillValue', so its values are not decoded"):
        data.write(packed, original)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_what_xarray_copies_opens(tmp_path, original, engine):
    data.open(original).to_netcdf(tmp_path / "copy.nc", engine=engine)
    assert data.validate(tmp_path / "copy.nc")["checksums"] == 3
    data.write(data.pack([cavity(np.random.default_rng(i)) for i in range(2)]), tmp_path / "two.h5")
    data.open(tmp_path / "two.h5").isel(case=[0], frame=slice(0, 4)).to_netcdf(tmp_path / "part.nc", engine=engine)
    assert data.validate(tmp_path / "part.nc")["checksums"] == 1
    for i in range(3):
        a, b = (data.case(data.open(p), i)[1] for p in (tmp_path / "copy.nc", original))
        assert_same_solution(a, b)


def test_xarray_reads_zarr_stores_and_what_it_copies_opens(tmp_path, original):
    data.write(data.open(original), tmp_path / "a.zarr")
    for found in (xr.open_zarr(tmp_path / "a.zarr"), xr.open_dataset(tmp_path / "a.zarr", engine="zarr")):
        assert str(found.load()["case_json"].values[0]) == str(data.open(original)["case_json"].values[0])
        assert str(found["u"].dtype) == "float32"
    assert data.validate(tmp_path / "a.zarr")["checksums"] == 3
    found = xr.open_zarr(tmp_path / "a.zarr", decode_timedelta=False)
    data.write(found, tmp_path / "again.h5")
    assert data.validate(tmp_path / "again.h5")["checksums"] == 3
    for variable in found.variables.values():
        variable.encoding = {}
    found["u"].encoding = {"_FillValue": float(found["u"].values[0, 0, 0])}
    found.to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    assert int(np.isnan(data.open(tmp_path / "copy.zarr")["u"].values).sum()) == 1


def test_zarr_text_of_any_declared_size_is_refused(tmp_path, original):
    data.write(data.open(original), tmp_path / "a.zarr")
    meta = tmp_path / "a.zarr" / "case_json" / "zarr.json"
    text = meta.read_text()
    about = json.loads(text)
    zstd = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + bytes(8)
    (meta.parent / "c" / "0").write_bytes(bomb)
    for codecs, message in (
        ([*about["codecs"], zstd], "'case_json' declares 3 texts of 1099511627776 bytes"),
        ([*about["codecs"], zstd, zstd], "'case_json': text with the codecs"),
    ):
        meta.write_text(json.dumps(about | {"codecs": codecs}))

        with pytest.raises(FileFormatError, match=message):
            data.open(tmp_path / "a.zarr")


@pytest.mark.parametrize("value", [True, ["a", "b"], h5py.Empty("f4"), np.zeros((2, 2)), np.void(b"123"), b"caf\xe9"])
@pytest.mark.parametrize("where", ["", "u"])
def test_one_attribute_of_an_odd_type_is_left_out(original, value, where):
    with h5py.File(original, "r+") as file:
        (file[where] if where else file).attrs["note"] = value
    found = data.open(original)
    assert "note" not in (found[where].attrs if where else found.attrs) and found["u"].units == "m s-1"


def test_units_and_names_of_added_variables_are_kept(tmp_path):
    made = cavity(np.random.default_rng(0), faces=False)
    made["energy"] = made["u"] ** 2 / 2
    made["energy"].attrs = {"units": "m2 s-2", "long_name": "kinetic energy", "standard_name": "ke", "flags": [1, "a"]}
    made["plain"] = made["u"].copy(data=made["u"].values)
    made["plain"].attrs = {}
    made["u"].attrs = {}
    data.write(made, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    kept = {"units": "m2 s-2", "long_name": "kinetic energy", "standard_name": "ke", "flags": '[1, "a"]'}
    assert found["energy"].attrs == kept
    assert found["plain"].attrs == {"units": "1", "long_name": "plain"}
    assert found["u"].attrs["units"] == "m s-1"
    made["u"].attrs = {"units": "km h-1"}
    with pytest.raises(InputError, match="'u' has units 'km h-1', expected 'm s-1'"):
        data.pack([made])


def test_one_time_of_a_solution_is_one_frame(tmp_path):
    made = cavity(np.random.default_rng(0), faces=False, ic=True)
    data.write(made.isel(time=-1), tmp_path / "last.h5")
    found = data.case(data.open(tmp_path / "last.h5"), 0)[1]
    assert_same_solution(found, made.isel(time=[-1]))
    with pytest.raises(InputError, match="coordinate 'time' is missing, although lid_driven_cavity changes in time"):
        data.write(made.isel(time=-1, drop=True), tmp_path / "x.h5")
    with pytest.raises(InputError, match=r"'u' is over .'x',., expected 2 axes of space"):
        data.write(made.isel(y=0), tmp_path / "x.h5")
    with pytest.raises(InputError, match="coordinate 'x' is missing"):
        data.write(made.drop_vars("x"), tmp_path / "x.h5")


@pytest.mark.parametrize(("dtype", "stored"), [("float16", "float32"), ("longdouble", "float64"), (">f4", "float32")])
def test_other_floating_point_types_are_stored_in_one_that_is_read(tmp_path, dtype, stored):
    made = cavity(np.random.default_rng(0), faces=False)
    for name in "uvp":
        made[name] = made[name].astype(dtype)
    made["input_probe"] = ("probe", np.arange(3).astype(dtype))
    data.write(made, tmp_path / "a.h5")
    packed = data.pack([made])
    packed["u"] = packed["u"].astype(dtype)
    data.write(packed, tmp_path / "b.h5")
    for name in ("a.h5", "b.h5"):
        found = data.open(tmp_path / name)
        assert found["u"].dtype == np.dtype(stored) and found["input_probe"].dtype == np.dtype(stored)
        np.testing.assert_allclose(found["u"].values, made["u"].values.astype("f8"), rtol=1e-6)


def test_values_beyond_the_range_of_the_stored_type_are_refused(tmp_path):
    x = (np.arange(8) + 0.5) / 8
    u = (("time", "x"), np.full((1, 8), 1e39))
    made = data.solution(problems.Burgers().case(), [0.0], {"u": u}, {"x": x})
    with pytest.raises(InputError, match=r"pack: 'u': 1e\+39 is beyond the range of float32 \(up to 3.4e\+38\)"):
        data.pack([made])
    data.write(data.pack([made], dtype=None), tmp_path / "a.h5")
    if np.finfo(np.longdouble).max > np.finfo("f8").max:
        made["u"] = made["u"].astype("longdouble") * np.longdouble("1e4000")
        with pytest.raises(InputError, match="beyond the range of float64"):
            data.write(made, tmp_path / "a.h5")


def test_half_of_a_domain_is_refused(tmp_path):
    case = problems.Burgers().case()
    x = (np.arange(64) + 0.5) / 64
    whole = data.solution(case, [0.0], {"u": (("time", "x"), np.ones((1, 64)))}, {"x": x})
    for cut in (slice(0, 32), slice(32, None), slice(0, 63), slice(8, 56)):
        with pytest.raises(InputError, match=r"'x' has .* positions from .*expected cell centres that tile the domain"):
            data.pack([whole.isel(x=cut)])
        with pytest.raises(InputError, match=r"coords: 'x' has .*that tile the domain, 0 to 1"):
            data.solution(case, [0.0], {"u": (("time", "x"), np.ones((1, 64))[:, cut])}, {"x": x[cut]})
    packed = data.pack([whole])
    packed["x_coordinate"] = (("case", "x"), x[None] / 2)
    with pytest.raises(FileFormatError, match=r"'x_coordinate' covers .* for case 0, expected all of 0 to 1"):
        data.write(packed, tmp_path / "half.h5")


def test_positions_that_cover_a_domain_are_taken():
    n = 16
    periodic, closed = problems.Burgers().case(), problems.HeatEquation().case()
    uniform, stretched = np.linspace(0, 1, n + 1), np.tanh(np.linspace(-2, 2, n + 1)) / np.tanh(2) / 2 + 0.5
    middle = lambda faces: (faces[1:] + faces[:-1]) / 2  # noqa: E731

    def take(case, x):
        name = case.problem.fields[0].name
        return data.solution(case, [0.0], {name: (("time", "x"), np.ones((1, len(x))))}, {"x": x})

    for x in (uniform[:-1], uniform[1:], middle(uniform), middle(uniform).astype("f4"), middle(stretched)):
        take(periodic, x)
    for x in (middle(uniform), middle(stretched), uniform, middle(uniform).astype("f4"), middle(uniform) ** 2):
        take(closed, x)
    for x in (uniform[:-1], middle(uniform)[::2], middle(uniform)[1:], middle(stretched)[3:], middle(uniform) + 1):
        with pytest.raises(InputError, match="tile the domain"):
            take(closed, x)
    with pytest.raises(InputError, match="tile the domain"):
        take(periodic, uniform)  # the last point is the first again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads_what_its_parent_read(original):
    script = """
import os, sys, time
from sciml import data
data.open(sys.argv[1])["u"].values
pid = os.fork()
if pid == 0:
    data.open(sys.argv[1])["u"].values
    os._exit(0)
for _ in range(300):
    if os.waitpid(pid, os.WNOHANG)[0]:
        print("read")
        break
    time.sleep(0.1)
else:
    os.kill(pid, 9)
"""
    command = [sys.executable, "-c", script, str(original)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.stdout == "read\n", run.stderr


@pytest.mark.skipif(sys.platform == "darwin", reason="names are Unicode there")
def test_names_that_are_not_utf8(tmp_path, original):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.h5")
    data.write(data.open(original), place)
    assert data.validate(place)["cases"] == 3
    assert data.Windows(place)[0]["state"].shape[0] == 1


def test_the_current_folder_may_be_gone(tmp_path, original):
    script = """
import os, sys, tempfile
sys.path.insert(0, "")
from sciml import data
place = tempfile.mkdtemp(); os.chdir(place); os.rmdir(place)
print(data.open(sys.argv[1]).sizes["case"])
data.write(data.open(sys.argv[1]), sys.argv[1] + ".copy.h5")
print(len(list(data.Loader(data.Windows(sys.argv[1]), 2).epoch(0))) > 0)
try:
    data.open("a.h5")
except data.probe.InputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script, str(original)], capture_output=True, text=True, timeout=120)
    expected = "a.h5: the current folder does not exist any more; give an absolute path"
    assert run.stdout == f"3\nTrue\n{expected}\n", run.stderr


def test_writing_goes_through_links_and_keeps_permissions(tmp_path, original):
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.h5", tmp_path / "link.h5"
    shutil.copy(original, real)
    real.chmod(0o640)
    link.symlink_to("elsewhere/real.h5")
    data.write(cavity(np.random.default_rng(0)), link)
    assert link.is_symlink() and data.open(real).sizes["frame"] == 4
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert Path(f"{real}.json").exists() and not Path(f"{link}.json").exists()
    loose = tmp_path / "loose.h5"
    loose.symlink_to("elsewhere/new.h5")
    data.write(data.open(original), loose)
    assert data.open(tmp_path / "elsewhere" / "new.h5").sizes["case"] == 3
    assert not list(tmp_path.rglob("*.part"))


def test_long_names_are_written_or_refused_in_one_line(tmp_path, original):
    found = data.open(original)
    data.write(found, tmp_path / ("b" * 247 + ".h5"))
    for size, where in ((248, "h5"), (300, "h5"), (252, "zarr")):
        with pytest.raises(InputError, match=r"a name of .* bytes, expected at most") as caught:
            data.write(found, tmp_path / ("c" * size + "." + where))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot open: File name too long"):
        data.open(tmp_path / ("d" * 300))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(("c", "."))]


def test_home_is_expanded_wherever_a_path_enters(tmp_path, original, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.open("~/a.h5").sizes["case"] == 3 and data.validate("~/a.h5")["cases"] == 3
    data.write(data.open("~/a.h5"), "~/b.h5")
    data.write(data.open("~/a.h5"), "~/b.zarr")
    assert data.open("~/b.zarr").sizes["case"] == 3 and len(data.Windows("~/b.h5")) > 0
    writer = data.ShardWriter("~/c.h5")
    writer.write(0, cavity(np.random.default_rng(0)))
    assert writer.merge() == tmp_path / "c.h5"
    data.exporters.cfdbench.export_tree("~/b.h5", "~/tree", subset="bc")
    assert data.importers.cfdbench.import_tree("~/tree", "~/d.h5") == tmp_path / "d.h5"
    assert data.open(tmp_path / "d.h5").sizes["case"] == 2


@pytest.mark.parametrize("path", ["", "a\0b", 7, b"a.h5", None])
def test_what_is_no_path_is_refused(original, path):
    for use in (data.open, lambda p: data.write(data.open(original), p), lambda p: data.ShardWriter(p)):
        with pytest.raises(InputError, match=r"expected a path|is not the name of a file|data"):
            use(path)


def test_temporary_folders_are_not_needed(tmp_path, original, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert data.open(original)["u"].values.shape[0] == 12
