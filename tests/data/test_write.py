"""Files: readable by other tools, equal for equal content, whole or absent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _make import cavities, cavity

from sciml import data
from sciml.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def packed():
    return data.pack(cavities(), splits=["train", "train", "validation", "test"])


@pytest.mark.parametrize("compression", [None, 4])
def test_other_tools_read_the_same_values(tmp_path, packed, compression):
    import netCDF4
    import xarray as xr

    path = tmp_path / "a.h5"
    data.write(packed, path, compression=compression)
    with xr.open_dataset(path, engine="h5netcdf") as other:
        for name in packed.variables:
            np.testing.assert_array_equal(other[name].values, packed[name].values, err_msg=str(name))
            assert other[name].dims == packed[name].dims
        assert other.attrs["problem"] == "lid_driven_cavity"
    with netCDF4.Dataset(path) as other:
        np.testing.assert_array_equal(other["u"][...], packed["u"].values)
        assert other["u"].dimensions == ("frame", "y", "x")
        assert other["u"].units == "m s-1"
        assert str(other["case_json"][0]) == packed["case_json"].values[0]


def test_one_frame_is_one_chunk(tmp_path, packed):
    import h5py

    data.write(packed, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["u"].chunks == (1, 6, 6)
        assert file["u"].dtype == np.dtype("<f4")


def test_equal_content_gives_equal_bytes_and_volatile_facts_go_beside(tmp_path, packed):
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for k, path in enumerate(paths):
        packed.attrs["wall_time"] = float(k)
        data.write(packed, path, volatile={"host": k})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    facts = json.loads((tmp_path / "b.h5.json").read_text())
    assert facts["wall_time"] == 1.0 and facts["host"] == 1 and "written" in facts


def test_a_solution_may_be_written_at_once(tmp_path):
    made = cavity(np.random.default_rng(0))
    data.write(made, tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert found["u"].dtype == np.float64  # its own type is kept
    np.testing.assert_array_equal(found["u"].values, made["u"].values)


def test_large_frames_are_split_and_read_back(tmp_path, monkeypatch):
    from sciml.data import _write

    monkeypatch.setattr(_write, "FRAME_BYTES", 256)
    made = data.pack([cavity(np.random.default_rng(0), n=12)])
    data.write(made, tmp_path / "a.h5")
    import h5py

    with h5py.File(tmp_path / "a.h5") as file:
        assert file["u"].chunks == (1, 3, 12)
        np.testing.assert_array_equal(file["u"][...], made["u"].values)
    np.testing.assert_array_equal(data.open(tmp_path / "a.h5")["u"].values, made["u"].values)
    windows = data.Windows(tmp_path / "a.h5", split=None)
    np.testing.assert_array_equal(windows[1]["state"][0, 0], made["u"].values[1])


def test_dask_chunks_are_about_64_mebibytes(tmp_path, monkeypatch):
    from sciml.data import _open

    monkeypatch.setattr(_open, "CHUNK_BYTES", 1000)
    data.write(data.pack(cavities()), tmp_path / "a.h5")
    found = data.open(tmp_path / "a.h5")
    assert _open.CHUNK_BYTES == 1000
    assert max(found["u"].data.chunks[0]) == 1000 // (6 * 7 * 4)  # of the widest field
    assert found["u"].data.chunks[0] == found["u_face"].data.chunks[0]


class Failing:
    """An array that cannot be read to its end."""

    shape, dtype, ndim = (8, 6, 6), np.dtype("f4"), 3

    def __init__(self, error):
        self.error = error

    def __getitem__(self, key):
        if key[0].start:
            raise self.error
        return np.zeros((key[0].stop, 6, 6), "f4")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_and_keeps_the_old_file(tmp_path, error, monkeypatch):
    import dask.array

    made = data.pack([cavity(np.random.default_rng(0), 8)], fields=["u", "v"])
    data.write(made, tmp_path / "a.h5")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    lazy = dask.array.from_array(Failing(error), chunks=(4, 6, 6), asarray=False, meta=np.empty((0, 0, 0), "f4"))
    monkeypatch.setattr("sciml.data.digest.BLOCK", 4 * 6 * 6 * 4)
    made["u"] = (made["u"].dims, lazy, made["u"].attrs)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        data.write(made, tmp_path / "a.h5")
    if isinstance(error, OSError):
        assert "a.h5: cannot write: No space left on device" in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("limit", [2_000, 30_000, 120_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, limit):
    """The file-size limit of a process stands for the disk: header, small and large variables do not fit."""
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from _make import cavity
from sciml import data
from sciml.errors import InputError
made = data.pack([cavity(np.random.default_rng(0), 8, n=32)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    data.write(made, {str(tmp_path / "a.h5")!r})
except InputError as error:
    print("refused:", error)
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("refused:") and run.stdout.count("\n") == 1
    assert "a.h5: cannot write: File too large" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path, packed):
    (tmp_path / "file").write_text("x")
    for place, message in [
        (tmp_path / "missing" / "a.h5", "does not exist"),
        (tmp_path / "file" / "a.h5", "does not exist"),
        (tmp_path, "is a folder"),
        (Path("/proc/a.h5"), "cannot write"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            data.write(packed, place)
        assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_content_that_breaks_the_schema_is_not_written(tmp_path, packed):
    broken = packed.copy()
    broken["row_size"] = (("case",), np.array([3, 4, 5, 7]))
    with pytest.raises(InputError, match="'row_size' sums to 19, expected the 18 frames"):
        data.write(broken, tmp_path / "a.h5")
    broken = packed.copy()
    broken.attrs["nested"] = {"a": 1}
    with pytest.raises(InputError, match="'nested' is a dict"):
        data.write(broken, tmp_path / "a.h5")
    with pytest.raises(InputError, match="compression: expected a level"):
        data.write(packed, tmp_path / "a.h5", compression=11)
    assert list(tmp_path.iterdir()) == []


def test_zarr_store(tmp_path, packed):
    data.write(packed, tmp_path / "a.zarr")
    found = data.open(tmp_path / "a.zarr")
    assert data.validate(found)["checksums"] == 4
    for name in packed.variables:
        np.testing.assert_array_equal(found[name].values, packed[name].values, err_msg=str(name))
    assert len(list((tmp_path / "a.zarr" / "u" / "c").rglob("0"))) > 0
    with pytest.raises(InputError, match="exists already"):
        data.write(packed, tmp_path / "a.zarr")
    os.symlink("/etc/hostname", tmp_path / "a.zarr" / "u" / "link")
    with pytest.raises(InputError, match="is a link"):
        data.open(tmp_path / "a.zarr")
