"""Values read by offset are those that the HDF5 library reads."""

import zlib

import h5py
import numpy as np
import pytest

from sciml.data import probe
from sciml.data._store import fletcher32

KINDS = {
    "contiguous": {},
    "chunked": {"chunks": (1, 5, 4)},
    "deep": {"chunks": (3, 5, 4)},
    "split": {"chunks": (2, 2, 3)},
    "gzip": {"chunks": (2, 3, 4), "compression": "gzip"},
    "shuffle": {"chunks": (2, 3, 4), "compression": "gzip", "shuffle": True},
    "shuffle alone": {"chunks": (2, 3, 4), "shuffle": True},
    "checksum": {"chunks": (2, 3, 4), "fletcher32": True},
    "all": {"chunks": (3, 3, 3), "compression": 9, "shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("libver", ["earliest", "latest", "v110"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "i1", "<u2", ">i8"])
@pytest.mark.parametrize("kind", KINDS)
def test_slices_agree_with_h5py(tmp_path, kind, dtype, libver):
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((7, 5, 4)) * 50).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for name, n in zip("tyx", values.shape, strict=True):
            file[name] = np.arange(n)
            file[name].make_scale(name)
        file.create_dataset("a", data=values, **KINDS[kind])
        for k, name in enumerate("tyx"):
            file["a"].dims[k].attach_scale(file[name])
    _, _, found = probe.inspect(tmp_path / "a.h5")
    stored = found["a"]["stored"]
    assert found["a"]["dims"] == ("t", "y", "x")
    whole = np.s_[:]
    for key in (
        whole, np.s_[2:5], np.s_[3], np.s_[-1], np.s_[1:6:2], np.s_[::-1], np.s_[4:2], np.s_[2:5, 1:3], np.s_[..., 2],
        np.s_[1, 2, 3], np.s_[:, :, ::2], np.array([0, 5, 2]), np.array([True, False] * 3 + [True]), np.array([], int),
    ):  # fmt: skip
        expected = values[key]
        np.testing.assert_array_equal(stored[key], expected)
        assert stored[key].dtype == expected.dtype.newbyteorder("=")
    with pytest.raises(IndexError):
        stored[7]


def test_a_wrong_checksum_is_noticed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = np.arange(8)
        file["t"].make_scale("t")
        file.create_dataset("a", data=np.arange(8.0), chunks=(8,), fletcher32=True)
        file["a"].dims[0].attach_scale(file["t"])
        offset = file["a"].id.get_chunk_info(0).byte_offset
    raw = bytearray((tmp_path / "a.h5").read_bytes())
    raw[offset + 3] ^= 1
    (tmp_path / "a.h5").write_bytes(raw)
    _, _, found = probe.inspect(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"a\.h5: variable 'a': a checksum does not agree"):
        found["a"]["stored"][...]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 720, 100_001, 400_000])
def test_fletcher32_by_its_definition(size):
    data = np.random.default_rng(size).bytes(size)
    low = high = 0
    for k in range(0, size, 2):
        low = (low + int.from_bytes(data[k : k + 2].ljust(2, b"\0"), "big")) % 65535
        high = (high + low) % 65535
    found = fletcher32(data)
    assert (found & 0xFFFF) % 65535 == low and (found >> 16) % 65535 == high


def test_a_chunk_that_inflates_beyond_its_shape_is_cut_off(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = np.arange(64)
        file["t"].make_scale("t")
        file.create_dataset("a", shape=(64,), dtype="f8", chunks=(64,), compression="gzip")
        file["a"].dims[0].attach_scale(file["t"])
        file["a"].id.write_direct_chunk((0,), zlib.compress(bytes(100_000_000)))
    _, _, found = probe.inspect(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="chunk 0 holds 516 bytes, expected 512"):
        found["a"]["stored"][...]
