"""`sciml data`: what is written is what was asked for, and a spoilt test is an exit status."""

from __future__ import annotations

import json

import pytest

import sciml
from sciml.data import schema, splits


def ok(outcome):
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.mark.parametrize("command", ["select", "merge", "split", "manifest", "check"])
def test_help(cli, command):
    assert "Usage: sciml data" in cli("data", command, "--help").out


def test_select_merge_and_split(cli, data_file, tmp_path):
    test, rest, both = (tmp_path / f"{n}.h5" for n in ("test", "rest", "both"))
    told = json.loads(ok(cli("data", "select", data_file, "--out", test, "--split", "test", "--json")).out)
    assert told["splits"] == {"test": told["cases"]} and told["cases"] > 0
    ok(cli("data", "select", data_file, "--out", rest, "--split", "train,validation", "--fields", "u,v"))
    said = ok(cli("data", "merge", test, rest, "--out", both, "--names", "held,known"))
    assert "20 cases" in said.err
    check = splits.manifest(data_file).check(both)
    assert not check.missing and not check.added and len(check.moved) == 20  # their subsets have other names
    with sciml.data.open(both) as found:
        assert set(schema.flag_names(found["subset"])) == {"held_bc", "held_prop", "known_bc", "known_prop"}
    ok(cli("data", "split", both, "--out", both, "--overwrite", "--folds", 4, "--by", "lid_velocity,viscosity"))
    ok(cli("data", "split", both, "--out", both, "--overwrite", "--fractions", "0.5,0.25,0.25", "--seed", 3, "--plain"))
    with sciml.data.open(both) as found:
        expected = splits.by_case(["all"] * 20, (0.5, 0.25, 0.25), 3)
        assert schema.flag_names(found["split"]).tolist() == expected.tolist() and "split_fold_3" in found
    few = tmp_path / "few.h5"
    ok(cli("data", "select", data_file, "--out", few, "--cases", "2:12:2", "--frames", "0,-1",
           "--where", "lid_velocity >= 1"))  # fmt: skip
    with sciml.data.open(few) as found, sciml.data.open(data_file) as whole:
        wanted = [i for i in range(2, 12, 2) if whole["lid_velocity"].values[i] >= 1]
        assert found["lid_velocity"].values.tolist() == whole["lid_velocity"].values[wanted].tolist()
        assert found["row_size"].values.tolist() == [2] * len(wanted)


def test_a_manifest_and_its_check(cli, data_file, tmp_path):
    other, record = tmp_path / "other.h5", tmp_path / "m.json"
    said = ok(cli("data", "manifest", data_file, "--out", record))
    digest = said.out.split()[0]
    assert digest == json.loads(record.read_text())["sha256"] == splits.manifest(data_file).digest
    ok(cli("data", "split", data_file, "--out", other, "--seed", 9))
    differs = cli("data", "check", other, "--manifest", record)
    assert differs.code == 1 and "manifest: moved" in differs.out and "0 overlaps across splits" in differs.err
    ok(cli("data", "split", other, "--out", other, "--overwrite", "--manifest", record))
    same = ok(cli("data", "check", other, "--manifest", record))
    assert "the same cases, split alike" in same.out


def test_splits_that_overlap_are_an_exit_status(cli, data_file, tmp_path):
    ok(cli("data", "check", data_file))
    twice = tmp_path / "twice.h5"
    with sciml.data.open(data_file) as whole:
        train = sciml.data.split(sciml.data.select(whole, split="train"), (0, 0, 1))
        sciml.data.merge([whole, train], out=twice).close()
    found = cli("data", "check", twice, "--json")
    told = json.loads(found.out)
    assert found.code == 1 and not told["sound"] and len(told["overlaps"]) == 12
    assert all(o["kind"] == "identical" and o["across"] for o in told["overlaps"])
    shown = cli("data", "check", twice)
    assert shown.code == 1 and "splits overlap: identical: cases 1 (train), 20 (test)" in shown.out, shown.out
    content = bytearray(data_file.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.h5").write_bytes(content)
    cli("data", "check", tmp_path / "damaged.h5").refused("damaged.h5")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("select", "{data}"), ("--out is missing",)),
        (("select", "{data}", "--out", "{data}"), ("exists", "--overwrite")),
        (("select", "{data}", "--out", "new.h5", "--cases", "a:b"), ("--cases", "0:10:2", "'a:b'")),
        (("select", "{data}", "--out", "new.h5", "--cases", "99"), ("cases", "99 is not among the 20")),
        (("select", "{data}", "--out", "new.h5", "--times", "1"), ("--times", "0.5:2", "'1'")),
        (("select", "{data}", "--out", "new.h5", "--where", "spede > 1"), ("where", "'spede'")),
        (("select", "{data}", "--out", "new.h5", "--subset", "pop"), ("subset", "did you mean 'prop'")),
        (("merge", "{data}", "{nodes}", "--out", "new.h5"), ("merge: problems differ", "'smoke'")),
        (("merge", "{data}", "{data}", "--out", "new.h5", "--names", "a"), ("names", "expected 2 different")),
        (("split", "{data}", "--out", "new.h5", "--fractions", "1,2"), ("fractions", "sum to 1")),
        (("split", "{data}", "--out", "new.h5", "--fractions", "x"), ("--fractions", "'x'")),
        (("split", "{data}", "--out", "new.h5", "--folds", "99"), ("folds", "99")),
        (("split", "{data}", "--out", "new.h5", "--by", "spede"), ("by", "'spede'")),
        (("split", "{data}", "--out", "new.h5", "--manifest", "{data}"), ("is not JSON", "manifest")),
        (("check", "none.h5"), ("none.h5", "does not exist")),
        (("check", "{data}", "--split", "split_fold_0"), ("split", "split_fold_0")),
        (("chekc", "{data}"), ("no such command 'chekc'", "did you mean 'check'")),
    ],
)
def test_refusals_leave_nothing_behind(cli, data_file, node_file, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    cli("data", *(w.format(data=data_file, nodes=node_file) for w in words)).refused(*parts)
    assert not list(tmp_path.iterdir())
