"""MATLAB's files: arrays by name in MATLAB's order of axes, of version 5 and 7.3."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from sciml.data.importers import _matlab5
from sciml.data.importers._matlab import matlab_arrays, matlab_contents
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "one_d"
HEAD = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."


def write_73(path, **given):
    """As MATLAB writes it: a head of 512 bytes, axes in its order, which is columns first, and classes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in given.items():
            put_73(file, name, values)
    with path.open("r+b") as file:
        file.write(HEAD.ljust(116) + bytes(8) + b"\x00\x02IM")


def put_73(file, name, values):
    if isinstance(values, dict):
        group = file.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for n, v in values.items():
            put_73(group, n, v)
        return
    values = np.atleast_2d(values)
    kind = {"f8": "double", "f4": "single", "b1": "logical", "i4": "int32"}.get(values.dtype.str[1:], "double")
    if values.dtype.kind == "c":
        pair = np.empty(values.shape, [("real", "f8"), ("imag", "f8")])
        pair["real"], pair["imag"] = values.real, values.imag
        values = pair
    stored = file.create_dataset(name, data=values.T.astype("u1") if kind == "logical" else values.T)
    stored.attrs["MATLAB_class"] = np.bytes_(kind)


RNG = np.random.default_rng(0)
GIVEN = {
    "u": RNG.random((3, 4, 5)), "row": np.arange(6.0), "single": RNG.random((2, 3)).astype("f4"),
    "yes": np.array([[True, False]]), "z": np.array([[1 + 2j, 3]]), "real": np.array([[1 + 0j, 2]]),
    "s": {"x": np.eye(2), "inner": {"y": np.ones((1, 3))}},
}  # fmt: skip


@pytest.mark.parametrize("version", ["5", "5, compressed", "4", "7.3"])
def test_the_same_arrays_from_all_versions(tmp_path, version):
    path = tmp_path / "a.mat"
    if version == "7.3":
        write_73(path, **GIVEN)
    elif version == "4":
        scipy.io.savemat(path, {k: GIVEN[k] for k in ("row", "z", "real")}, format="4")
    else:
        scipy.io.savemat(path, GIVEN, do_compression="compressed" in version)
    found, left = matlab_contents(Source(path))
    expected = {k: np.atleast_2d(v) for k, v in GIVEN.items() if k != "s"}
    expected |= {"s.x": np.eye(2), "s.inner.y": np.ones((1, 3))}
    if version == "4":
        expected = {k: expected[k] for k in ("row", "z", "real")}
    assert set(found) == set(expected) and not left
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert found["real"].dtype == "f8" and found["z"].dtype.kind == "c"
    assert version == "4" or (found["single"].dtype == "f4" and found["row"].shape == (1, 6))


def test_an_imaginary_part_that_is_rounding(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"u": np.array([[1.0 + 1e-7j, -2.0]])})
    found, left = matlab_contents(Source(tmp_path / "a.mat"))
    assert found["u"].tolist() == [[1, -2]] and left == {"imaginary part of u": "rounding, at most 1e-07"}


def test_what_is_no_array_of_numbers_is_named(tmp_path):
    cell = np.empty(2, object)
    cell[:] = [np.ones(2), "x"]
    content = {"u": np.ones(3), "c": cell, "t": "text", "e": np.zeros((0, 3)), "m": scipy.sparse.eye(3, format="csc")}
    scipy.io.savemat(tmp_path / "a.mat", content)
    found, left = matlab_contents(Source(tmp_path / "a.mat"))
    assert set(found) == {"u"} and left == {"c": "cell", "t": "char", "e": "empty", "m": "sparse"}
    write_73(tmp_path / "b.mat", u=np.ones(3), t=np.ones((1, 3)), c=np.ones((1, 2)), m={"data": np.ones(3)})
    with h5py.File(tmp_path / "b.mat", "r+") as file:
        file["t"].attrs["MATLAB_class"], file["c"].attrs["MATLAB_class"] = np.bytes_("char"), np.bytes_("cell")
        file["m"].attrs["MATLAB_sparse"] = 3
        file.create_group("#refs#")["a"] = np.ones(3)
        file["e"] = np.array([0, 3], "u8")
        file["e"].attrs.update(MATLAB_class=np.bytes_("double"), MATLAB_empty=1)
    found, left = matlab_contents(Source(tmp_path / "b.mat"))
    assert set(found) == {"u"} and left == {"c": "cell", "t": "char", "e": "empty", "m": "sparse"}
    scipy.io.savemat(tmp_path / "c.mat", {"t": "text"})
    with pytest.raises(FileFormatError, match=r"c.mat: holds no array of numbers: t \(char\)"):
        matlab_arrays(Source(tmp_path), "c.mat")


def test_hdf5_that_others_call_mat_keeps_its_order(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["u"] = np.arange(6.0).reshape(2, 3)
    assert matlab_arrays(Source(tmp_path / "a.mat"))["u"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_files_that_are_cut_off(tmp_path, version, share):
    path = tmp_path / "a.mat"
    if version == "7.3":
        write_73(path, u=RNG.random((100, 30)))
    else:
        scipy.io.savemat(path, {"u": RNG.random((100, 30))})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"a.mat: (damaged|cut off|holds no array|not an HDF5 file)"):
        matlab_arrays(Source(path))


def test_bytes_that_are_turned(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"u": np.arange(20.0), "s": {"x": np.eye(2)}})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        spoiled = bytearray(whole)
        for at in rng.integers(100, len(whole), 2):
            spoiled[at] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        try:
            matlab_arrays(Source(path))
        except FileFormatError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)


def test_what_is_compressed_beyond_measure(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"u": np.zeros((1000, 1000))}, do_compression=True)
    assert path.stat().st_size < 20_000 and not matlab_arrays(Source(path))["u"].any()
    monkeypatch.setattr(_matlab5, "MOST_BYTES", 1 << 20)
    with pytest.raises(FileFormatError, match="a compressed element of more than 1048576 bytes"):
        matlab_arrays(Source(path))


def test_a_declared_size_that_is_not_there(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"u": np.ones((7, 11))})
    small, large = (np.array(shape, "<i4").tobytes() for shape in ([7, 11], [1 << 30, 1 << 20]))
    path.write_bytes(path.read_bytes().replace(small, large))
    with pytest.raises(FileFormatError, match=r"variable 'u': shape \(1073741824, 1048576\), but 616 bytes"):
        matlab_arrays(Source(path))


@pytest.mark.skipif(not REAL.is_dir(), reason="the published files are not here")
def test_published_files():
    found, left = matlab_contents(Source(REAL), "kdv.mat")
    assert {k: v.shape for k, v in found.items()} == {"t": (201, 1), "x": (1, 512), "usol": (512, 201)}
    assert found["usol"].dtype == "f8" and "imaginary part of usol" in left
    assert matlab_arrays(Source(REAL), "kuramoto_sivishinky.mat")["uu"].shape == (1024, 251)
