"""Foreign HDF5 files as trees: what is read, and what is refused before it is touched."""

import h5py
import numpy as np
import pytest

from sciml.data.importers._hdf5 import Tree, open_tree
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def test_groups_variables_and_attributes(path):
    with h5py.File(path, "w") as file:
        file["a/b/u"] = np.arange(6, dtype=">f4").reshape(2, 3)
        file["flag"], file["half"] = np.array([True, False]), np.ones(3, "f2")
        file["text"] = np.array([b"one", b"two"])
        file["words"] = ["Öl", "gas"]
        file["z"] = np.array([1 + 2j])
        file["same"] = h5py.SoftLink("/a/b/u")
        file["a/near"] = h5py.SoftLink("b/u")
        file["loop"] = file["a"]
        file["a/b/up"] = file["a"]
        file.attrs.update(n=3, x=0.5, t="text", s=b"bytes", v=[1, 2], w=["a", "b"], yes=True, latin=b"caf\xe9")
        file.attrs["none"] = h5py.Empty("f4")
    with Tree(path) as tree:
        assert tree.root.groups == ("a", "loop") and "same" in tree.root.variables
        found = tree["a/b/u"][1]
        assert found.tolist() == [3, 4, 5] and found.dtype.isnative
        assert tree["same"][0, 1] == 1 and tree["a/near"].shape == (2, 3)
        assert tree["flag"][()].tolist() == [True, False] and tree["half"][()].dtype == "f2"
        assert tree["text"][()].tolist() == ["one", "two"] and tree["words"][0] == "Öl"
        assert tree["z"][0] == 1 + 2j and not tree["z"].is_number
        kept = {"n": 3, "x": 0.5, "t": "text", "s": "bytes", "v": [1, 2], "w": ["a", "b"], "yes": True, "latin": "café"}
        assert dict(tree.attrs) == kept
        assert sorted(g.path for g in tree.walk()) == ["", "a", "a/b"]  # each once, though they hold one another
        assert tree.has("a/b/u") and not tree.has("a/c/u") and not tree.has("flag/u")
        with pytest.raises(FileFormatError, match=r"a.h5: variable 'a/c' is missing; there are near"):
            tree["a/c"]


@pytest.mark.parametrize("how", [{"compression": "lzf"}, {"compression": "gzip", "shuffle": True}, {"fletcher32": True},
                                 {"scaleoffset": 3}, {"chunks": (2, 3)}, {"maxshape": (None, 5)}])  # fmt: skip
def test_filters_of_hdf5_and_h5py(path, how):
    values = np.round(np.random.default_rng(0).random((7, 5)), 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("u", data=values, **how)
    with Tree(path) as tree:
        np.testing.assert_allclose(tree["u"][3:], values[3:], atol=5e-4)


def write(path, change):
    with h5py.File(path, "w") as file:
        change(file)


def outside(file):
    with h5py.File(f"{file.filename}.other", "w") as other:
        other["u"] = np.ones(4)
    return f"{file.filename}.other"


def external_link(file):
    file["u"] = h5py.ExternalLink(outside(file), "/u")


def external_in_group(file):
    file["g/u"] = h5py.ExternalLink("/etc/passwd", "/u")
    file["u"] = h5py.SoftLink("/g/u")


def external_storage(file):
    file.create_dataset("u", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(outside(file), "u", (4,))
    file.create_virtual_dataset("u", layout)


def huge(file):
    file.create_dataset("u", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip")[:1024, :1024] = 1


def huge_plain(file):
    file.create_dataset("u", (1 << 20, 1 << 20), "f4", chunks=(64, 64))[:64, :64] = 1


def half_written(file):
    file.create_dataset("u", (64, 64), "f4", chunks=(8, 64), compression="gzip")[:32] = np.random.rand(32, 64)


def never_written(file):
    file.create_dataset("u", (64, 64), "f4")


def foreign_filter(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"u", h5py.h5t.IEEE_F32LE, space, plist).write(
        h5py.h5s.ALL, h5py.h5s.ALL, np.ones(4, "f4")
    )


def compound(file):
    file["u"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def references(file):
    file["v"] = np.zeros(3)
    file.create_dataset("u", data=np.array([file["v"].ref], dtype=h5py.ref_dtype))


def circle(file):
    file["u"], file["w"] = h5py.SoftLink("/w"), h5py.SoftLink("/u")


def long_double(file):
    file["u"] = np.zeros(3, np.longdouble)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "'u' is an external link: values in other files are refused"),
        (external_in_group, "'g/u' is an external link"),
        (external_storage, "variable 'u': external storage .values in another file. is refused"),
        (virtual, "variable 'u': a virtual data set .values in other files. is refused"),
        (huge, r"variable 'u': declares 4398046511104 bytes \(shape \(1048576, 1048576\)\), but \d+ are stored"),
        (huge_plain, "variable 'u': declares 4398046511104 bytes"),
        (half_written, "variable 'u': only 4 of 8 chunks .* are stored: it was not written to the end"),
        (never_written, r"variable 'u': has no stored values, although its shape is \(64, 64\)"),
        (foreign_filter, "variable 'u': filter Zstandard is not read, expected gzip.*h5repack -f GZIP=4"),
        (compound, "variable 'u': type compound is not read"),
        (references, "variable 'u': values of variable length, or references"),
        (circle, "is a soft link to .* that leads in circles or out of the file"),
        (
            lambda f: f.update({"u": h5py.SoftLink("/nowhere")}),
            "'u' is a soft link to '/nowhere', which is not in the file",
        ),
        (lambda f: f.update({"u": h5py.SoftLink("../../x")}), "'u' is a soft link to '../../x' that leads"),
        (long_double, "variable 'u': type"),
    ],
)
def test_what_is_refused(path, change, message):
    write(path, lambda f: change(f) if not isinstance(f, dict) else None)
    with pytest.raises(FileFormatError, match=f"a.h5: .*{message}|a.h5: {message}"), Tree(path) as tree:
        tree["u"][()]


def test_groups_in_groups_without_end(path):
    write(path, lambda f: f.create_group("/".join("g" * 40)))
    with pytest.raises(FileFormatError, match=r"groups in groups, more than 16 deep"), Tree(path) as tree:
        list(tree.walk())


def test_many_attributes(path):
    def change(file):
        file.create_group("g", track_order=False)
        for k in range(2001):
            file["g"].attrs[f"a{k}"] = k

    write(path, change)
    with pytest.raises(FileFormatError, match=r"'g' has 2001 attributes, expected at most 2000"), Tree(path) as tree:
        tree.group("g")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_files_that_are_cut_off(path, share):
    write(path, lambda f: f.update({"u": np.random.rand(200, 50)}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match=r"a.h5: (cut off|damaged|not an HDF5 file)"):
        open_tree(Source(path))


def test_what_is_no_hdf5_file(path):
    for content, message in (
        (b"", "it is empty"),
        (b"CDF\x01abc", "it is NetCDF-3"),
        (b"hello", "it begins otherwise"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=f"a.h5: not an HDF5 file: {message}"):
            open_tree(Source(path))


def test_bytes_that_are_turned(path):
    """Whatever single bytes are damaged: values, or one line."""
    write(path, lambda f: f.update({"g/u": np.arange(64.0)}))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        spoiled = bytearray(whole)
        for at in rng.integers(0, 2048, 3):
            spoiled[at % len(whole)] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled)
        try:
            with open_tree(Source(path)) as tree:
                for group in tree.walk():
                    for name in group.variables:
                        tree[f"{group.path}/{name}"][()]
        except FileFormatError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
