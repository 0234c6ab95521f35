"""Damaged and hostile files of all layouts: a small part of what the benchmark does."""

import numpy as np
import pytest

from benchmarks import _own_data_fuzz as fuzz
from sciml.data import importers


def test_mutants_neither_crash_nor_hang_nor_leak():
    counts, results = fuzz.fuzz(60, seed=3, workers=1)
    wrong = [r for r in results if r["outcome"] not in ("refused", "read") or r.get("leak") or r.get("contained")]
    assert not wrong and counts["files"] == 60 and counts["refused"] > 20 and counts["read"] > 5


def test_samples_are_what_they_say(tmp_path):
    """Each is recognised as its layout and needs nothing; the same number makes the same mutant."""
    fuzz.prepare(tmp_path)
    made = {p.name: p for p in (tmp_path / "samples").iterdir()}
    assert set(made) == set(fuzz.SAMPLES)
    for name, (layout, _) in fuzz.SAMPLES.items():
        (source,) = list(made[name].iterdir())
        found = importers.recognise(source)
        assert found is not None and (found.layout, found.needs) == (layout, ""), name
    canary = fuzz.canaries(tmp_path / "elsewhere")
    kinds = [fuzz.make(11, 0, tmp_path, tmp_path / str(k), canary)[:2] for k in range(2)]
    assert kinds[0] == kinds[1]


def test_a_leak_is_noticed(tmp_path):
    """What an importer would have to do to be counted."""
    canary = fuzz.canaries(tmp_path / "elsewhere")
    watch = fuzz.Watch(canary.parent)
    np.savez(tmp_path / "a.npz", u=np.full((6, 5), fuzz.CANARY), x=np.arange(5.0), t=np.arange(6.0))
    assert fuzz.attempt(tmp_path / "a.npz", tmp_path / "o.h5", watch)["leak"]
    np.load(canary)
    np.savez(tmp_path / "a.npz", u=np.full((6, 5), 1.0), x=np.arange(5.0), t=np.arange(6.0))
    assert fuzz.attempt(tmp_path / "a.npz", tmp_path / "o.h5", watch)["leak"]
    found = fuzz.attempt(tmp_path / "a.npz", tmp_path / "o.h5", watch)
    assert (found["outcome"], found["leak"]) == ("read", False)


@pytest.mark.parametrize("layout", ["arrays", "table", "meshgraphnets"])
def test_layouts_have_samples(layout):
    assert layout in {made for made, _ in fuzz.SAMPLES.values()}


def test_a_heap_without_end_is_refused_before_hdf5_runs_into_it(tmp_path):
    """An object of no size in a global heap: HDF5 itself never comes back from it."""
    import h5py

    from sciml.data.importers._hdf5 import open_tree
    from sciml.data.importers._source import Source
    from sciml.errors import FileFormatError

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(4.0)
        file["x"].make_scale("x")
        file["u"] = np.arange(4.0)
        file["u"].dims[0].attach_scale(file["x"])
    with open_tree(Source(tmp_path / "a.h5")) as tree:
        assert tree["u"].dims == ("x",)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    at = content.find(b"GCOL")
    content[at + 16 : at + 32] = bytes(16)
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(FileFormatError, match="has no end"), open_tree(Source(tmp_path / "a.h5")):
        pass
