"""Shards: a run that is interrupted and goes on ends with the same bytes as one that is not."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from _make import cavities, cavity

from sciml import data
from sciml.data import splits
from sciml.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def merged(path, order, made, interrupt=False):
    for k in order:
        writer = data.ShardWriter(path, identity={"seed": 1}) if interrupt else None
        writer = writer or data.ShardWriter(path, identity={"seed": 1})
        assert not writer.done(k)
        writer.write(k, made[k], volatile={"wall_time": 0.5 + k})
        assert writer.done(k)
    writer = data.ShardWriter(path, identity={"seed": 1})
    writer.merge(
        splits=lambda subsets: splits.by_case(subsets, (0.5, 0.25, 0.25), 3), attrs={"seed": 1}, count=len(made)
    )
    return path.read_bytes()


def test_order_and_interruptions_leave_no_trace(tmp_path):
    made = cavities(4)
    results = set()
    for n, order in enumerate(itertools.islice(itertools.permutations(range(4)), 0, 24, 7)):
        results.add(merged(tmp_path / f"{n}.h5", order, made, interrupt=bool(n % 2)))
    assert len(results) == 1
    direct = data.pack(made, splits=splits.by_case(["bc", "ic", "bc", "ic"], (0.5, 0.25, 0.25), 3), attrs={"seed": 1})
    data.write(direct, tmp_path / "direct.h5")
    assert results == {(tmp_path / "direct.h5").read_bytes()}
    assert not (tmp_path / "0.h5.shards").exists()
    assert json.loads((tmp_path / "0.h5.json").read_text())["wall_time"] == [0.5, 1.5, 2.5, 3.5]


def test_shards_of_another_run_and_missing_ones_are_refused(tmp_path):
    made = cavities(2)
    writer = data.ShardWriter(tmp_path / "a.h5", identity={"seed": 1})
    writer.write(0, made[0])
    with pytest.raises(InputError, match="run with other settings"):
        data.ShardWriter(tmp_path / "a.h5", identity={"seed": 2})
    with pytest.raises(InputError, match="case 1 is not finished"):
        writer.merge(count=2)
    assert writer.done(0) and not (tmp_path / "a.h5").exists()
    with pytest.raises(InputError, match="does not exist"):
        data.ShardWriter(tmp_path / "missing" / "a.h5")


def test_a_damaged_shard_stops_the_merge(tmp_path):
    writer = data.ShardWriter(tmp_path / "a.h5")
    writer.write(0, cavities(1)[0])
    shard = writer.path(0)
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"case_0000000\.h5"):
        writer.merge()
    assert not (tmp_path / "a.h5").exists()


def test_a_killed_run_loses_at_most_the_case_in_work(tmp_path):
    """kill -9 while shards are being written: what is there is whole, and the rest is made again."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from _make import cavities
from sciml import data
made = cavities(40)
writer = data.ShardWriter({str(tmp_path / "a.h5")!r})
print("go", flush=True)
for k in range(40):
    if not writer.done(k):
        writer.write(k, made[k])
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env)
    assert run.stdout is not None and run.stdout.readline() == b"go\n"
    time.sleep(0.3)
    run.kill()
    run.wait()
    writer = data.ShardWriter(tmp_path / "a.h5")
    there = writer.numbers()
    for k in there:
        data.validate(writer.path(k))
    made = cavities(40)
    for k in range(40):
        if not writer.done(k):
            writer.write(k, made[k])
    writer.merge(count=40)
    data.write(data.pack(made), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_fields_and_type_may_be_chosen(tmp_path):
    import numpy as np

    writer = data.ShardWriter(tmp_path / "a.h5", dtype=None, fields=["u", "v"])
    made = cavity(np.random.default_rng(0))
    writer.write(0, made)
    writer.merge()
    found = data.open(tmp_path / "a.h5")
    assert data.schema.field_names(found) == ["u", "v"]
    np.testing.assert_array_equal(found["u"].values, made["u"].values)
