"""A slice of the fuzz benchmark (benchmarks/data.py, part "fuzz", runs 10,000 files and more)."""

import struct
from pathlib import Path

import numpy as np

from benchmarks import _fuzz
from sciml import data


def test_damaged_and_hostile_files_are_refused_or_read_right():
    counts, results = _fuzz.fuzz(400, seed=1)
    wrong = [r for r in results if r["outcome"] not in ("refused", "accepted") or r.get("leak")]
    assert not wrong, wrong[:3]
    assert counts["files"] == 400 and counts["refused"] > 300
    assert len({r["kind"] for r in results}) > 15


def test_checksums_of_mutated_headers_are_right(tmp_path):
    """Without it the header mutations would all be refused by HDF5 at once, and test nothing."""
    path = _fuzz.seed_files(tmp_path)[0]
    raw = path.read_bytes()
    blocks = _fuzz.headers(raw)
    assert len(blocks) > 20
    for start, end in blocks:
        assert struct.unpack("<I", raw[end : end + 4])[0] == _fuzz.lookup3(raw[start:end])


def test_the_pool_counts_crashes_hangs_and_leaks(tmp_path, monkeypatch):
    """The control: readers that crash, hang, read elsewhere or fail oddly are told apart."""
    _fuzz.prepare(tmp_path)
    script = """
import json, os, sys, time
for line in sys.stdin:
    n = int(line)
    if n == 0: os.kill(os.getpid(), 11)
    if n == 1: time.sleep(60)
    print(json.dumps({"number": n, "kind": "x", "outcome": "refused", "leak": n == 2}), flush=True)
"""
    monkeypatch.setattr(_fuzz, "PATIENCE", 0.5)
    pool = _fuzz.Pool(tmp_path, 0, 2)
    pool.command = [pool.command[0], "-c", script]
    counts = _fuzz.summarise(pool.run([0, 1, 2, 3, 4]))
    assert (counts["files"], counts["crashes"], counts["hangs"], counts["leaks"]) == (5, 1, 1, 1)


def test_seed_files_hold_the_same_data(tmp_path):
    plain, packed, old = (data.open(p) for p in _fuzz.seed_files(tmp_path))
    for name in plain.variables:
        np.testing.assert_array_equal(plain[name].values, packed[name].values)
        np.testing.assert_array_equal(plain[name].values, old[name].values)
    versions = [Path(d.encoding["source"]).read_bytes()[8] for d in (plain, packed, old)]
    assert versions == [3, 3, 0]  # of the superblock: the old form has no checksums of metadata
