"""The digest of a case is of its content alone, and what occurs twice is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from _make import cavities

import sciml
from sciml import data
from sciml.data import splits
from sciml.errors import FileFormatError, InputError
from sciml.support import Mesh

GRID = sciml.Grid.uniform(sciml.geometry.Box((0.0, 0.0), (1.0, 1.0)), 6)
TIMES = np.linspace(0.0, 1.0, 5)


def own(values: np.ndarray, rate: float = 1.0, times=None, label: str = "", **more):
    problem = sciml.DataProblem("plume", ["T"], ["rate"], **more)
    times = np.linspace(0.0, 1.0, len(values)) if times is None and not problem.steady else times
    return data.solution(problem.case(rate=rate, label=label), times, {"T": values}, GRID)


def noise(seed: int, frames: int = 5):
    return np.random.default_rng(seed).standard_normal((frames, 6, 6))


def packed(*solutions, dtype="float32", split=None):
    return data.pack(solutions, splits=split, dtype=dtype)


def kinds(dataset, **how):
    return [(o.kind, o.cases, o.across) for o in splits.overlaps(dataset, **how)]


@pytest.mark.parametrize("faces", [False, True])
def test_a_digest_is_of_values_and_parameters_alone(tmp_path, faces):
    """Neither order, neighbours, type, compression, container nor labels have a say."""
    made = cavities(6, faces=faces, dtype="f4")
    base = data.pack(made, splits=splits.by_case(["all"] * 6))
    mine = splits.content(base).sha256
    assert len(set(mine)) == 6
    data.write(base, tmp_path / "plain.h5")
    data.write(base, tmp_path / "small.h5", compression=4)
    data.write(base, tmp_path / "store.zarr")
    for name in ("plain.h5", "small.h5", "store.zarr"):
        assert splits.content(tmp_path / name).sha256 == mine
    assert splits.content(data.pack(made, dtype="float64")).sha256 == mine  # the same numbers
    assert splits.content(data.pack(made[::-1])).sha256 == mine[::-1]
    alone = [splits.content(data.pack([m])).sha256[0] for m in made]
    assert alone == mine
    other = data.merge([data.pack(made[1::2]), data.pack(cavities(2, seed=5, faces=faces))], names=["a", "b"])
    assert splits.content(other).sha256[:3] == mine[1::2]
    assert splits.manifest(data.select(base, [5, 4, 3, 2, 1, 0])).digest == splits.manifest(base).digest


def test_nodes_have_one_digest_whether_fixed_or_written_out(tmp_path):
    rng = np.random.default_rng(0)
    cavity = sciml.problems.LidDrivenCavity()
    still = []
    for _ in range(2):
        fields = {k: (("time", "node"), rng.standard_normal((3, 7))) for k in "uv"}
        coords = {"x": rng.random(7), "y": rng.random(7)}
        still.append(data.solution(cavity.case(lid_velocity=rng.uniform(1, 2)), np.arange(3.0), fields, coords))
    fields = {k: (("time", "node"), rng.standard_normal((2, 5))) for k in "uv"}
    coords = {"x": rng.random((2, 5)), "y": rng.random((2, 5))}
    moving = data.solution(cavity.case(), np.arange(2.0), fields, coords, node_count=[5, 3])
    joined = data.merge([data.pack(still), data.pack([moving])])
    assert joined["x"].dims == ("obs",)
    assert splits.content(joined).sha256[:2] == splits.content(data.pack(still)).sha256


def test_every_number_counts():
    """Any value, time, parameter, input or place that changes changes the digest of its case, and of no other."""
    base = packed(*(own(noise(i), 1.0 + i) for i in range(3)), dtype="float64")
    known = splits.content(base)
    for name in ("T", "time", "rate"):
        changed = base.copy(deep=True)
        flat = changed[name].values.reshape(-1)
        flat[-1] = np.nextafter(flat[-1], np.inf)
        found = splits.content(changed)
        assert [a == b for a, b in zip(known.sha256, found.sha256, strict=True)] == [True, True, False], name
        assert found.described == known.described  # 1 ulp of a double is none of a float32
    wider = packed(own(noise(0), 1.5), dtype="float64")
    assert splits.content(wider).described[0] != known.described[0]
    mesh = Mesh(np.random.default_rng(0).random((4, 2)), {"triangle": np.array([[0, 1, 2], [1, 2, 3]])})
    problem = sciml.DataProblem("m", ["c"])
    values = {"c": noise(0)[:, 0, :4]}
    other = Mesh(mesh.points(), {"triangle": np.array([[0, 1, 2], [0, 2, 3]])})
    a, b = (splits.content(data.pack([data.solution(problem.case(), TIMES, values, m)])).sha256 for m in (mesh, other))
    assert a != b
    signed = noise(0)
    signed[0, 0, 0] = 0.0
    negative = signed.copy()
    negative[0, 0, 0] = -0.0
    assert splits.content(packed(own(signed))).sha256 == splits.content(packed(own(negative))).sha256


def test_a_manifest_tells_missing_changed_added_and_moved(tmp_path):
    solutions = [own(noise(i), 1.0 + i, label=f"run {i}") for i in range(6)]
    where = ["train"] * 4 + ["validation", "test"]
    base = packed(*solutions, split=where)
    manifest = splits.manifest(base)
    manifest.save(tmp_path / "m.json")
    assert splits.Manifest.load(tmp_path / "m.json") == manifest
    assert manifest.counts() == {"train": 4, "validation": 1, "test": 1}
    assert manifest.check(data.select(base, [3, 1, 0, 2, 5, 4])).same
    changed = own(noise(2) + 1e-3, 3.0, label="run 2")
    new = own(noise(9), 9.0, label="run 9")
    other = packed(*solutions[:2], changed, *solutions[3:5], new, split=["train", "test", *where[2:]])
    found = manifest.check(other)
    assert not found.same
    assert [e.label for e in found.missing] == ["run 5"] and [e.label for e in found.added] == ["run 9"]
    assert [(a.label, b.label) for a, b in found.changed] == [("run 2", "run 2")]
    assert [(a.label, a.split, b.split) for a, b in found.moved] == [("run 1", "train", "test")]
    assert "moved: run 1" in str(found) and "split train -> test" in str(found)
    assert splits.manifest(other).digest != manifest.digest
    with pytest.raises(InputError, match="is of problem 'plume'"):
        manifest.check(data.pack(cavities(2)))


def test_a_manifest_splits_other_files_alike(tmp_path):
    base = data.split(packed(*(own(noise(i), 1.0 + i) for i in range(10))), (0.6, 0.2, 0.2), seed=7)
    base = data.split(base, folds=3)
    manifest = splits.manifest(base)
    shuffled = packed(*(own(noise(i), 1.0 + i) for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)), dtype="float32")
    assert not manifest.check(shuffled).same
    manifest.save(tmp_path / "m.json")
    again = data.split(shuffled, manifest=tmp_path / "m.json")
    assert manifest.check(again).same and "split_fold_2" in again.variables
    with pytest.raises(InputError, match="do not hold a case"):
        data.split(data.select(shuffled, range(9)), manifest=manifest)
    more = data.merge([shuffled, packed(own(noise(20), 20.0))])
    with pytest.warns(UserWarning, match="1 cases of the data are not named"):
        assert splits.content(data.split(more, manifest=manifest)).split[-1] == "unused"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda told: told["cases"][0].update(split="test"), "does not agree"),
        (lambda told: told["cases"].pop(), "does not agree"),
        (lambda told: told.update(version=2), "version"),
        (lambda told: told.update(format="x"), "no manifest"),
        (lambda told: told["cases"][0].update(sha256="abc"), "no SHA-256"),
        (lambda told: told["cases"][0].update(split="tset"), "not a split"),
        (lambda told: told["cases"][0].pop("described"), "described"),
        (lambda told: told.update(cases=3), "cannot be read"),
    ],
)
def test_a_spoilt_manifest_is_refused(tmp_path, spoil, words):
    told = splits.manifest(packed(own(noise(0)), own(noise(1), 2.0))).to_json()
    spoil(told)
    (tmp_path / "m.json").write_text(json.dumps(told))
    with pytest.raises(FileFormatError, match=words):
        splits.Manifest.load(tmp_path / "m.json")
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(FileFormatError, match="not JSON"):
        splits.Manifest.load(tmp_path / "m.json")


def test_clean_data_overlap_nowhere():
    assert kinds(packed(*(own(noise(i), 1.0 + i) for i in range(5)), split=["train"] * 4 + ["test"])) == []
    assert kinds(packed(*(own(noise(i)) for i in range(5)))) == []  # parameters that all share say nothing
    same_start = [np.concatenate([noise(0, 1), noise(10 + i, 4)]) for i in range(4)]
    assert kinds(packed(*(own(v, 1.0 + i) for i, v in enumerate(same_start)))) == []  # one beginning, other laws
    rest = [np.concatenate([noise(i, 4), np.zeros((1, 6, 6))]) for i in range(4)]
    assert kinds(packed(*(own(v, 1.0 + i) for i, v in enumerate(rest)))) == []  # all come to rest


def test_what_occurs_twice_is_found_within_and_across_splits():
    values = [noise(i) for i in range(4)]
    cases = [own(v, 1.0 + i) for i, v in enumerate(values)]
    twin = own(values[0], 1.0, label="twin")
    rounded = own(np.round(values[1], 7) * (1 + 1e-7), 5.0)
    finer = own(np.concatenate([values[2][:1], noise(9, 8)]), 3.0)
    split = ["train", "train", "train", "train", "test", "validation", "train"]
    found = kinds(packed(*cases, twin, rounded, finer, split=split))
    assert found == [("identical", (0, 4), True), ("equal within rounding", (1, 5), True), ("same case", (2, 6), False)]
    assert kinds(packed(*cases, twin, split=["train"] * 4 + ["unused"])) == [("identical", (0, 4), False)]
    apart = kinds(packed(*cases, rounded, split=["train"] * 5), tolerance=1e-9)
    assert apart == []
    group = splits.overlaps(packed(cases[0], twin, twin, cases[1], split=["unused", "train", "test", "train"]))
    assert group[0].cases == (0, 1, 2) and group[0].across and "0 (unused), 1 (train), 2 (test)" in str(group[0])


def test_trajectories_that_go_on_are_found():
    whole = noise(0, 9)
    first, second, middle = own(whole[:5], 1.0), own(whole[4:], 1.0), own(whole[2:4], 1.0)
    split = ["train", "test", "validation", "train"]
    found = splits.overlaps(packed(first, second, middle, own(noise(3), 2.0), split=split))
    assert [(o.kind, o.cases, o.across) for o in found] == [("goes on", (0, 1), True), ("goes on", (0, 2), True)]
    assert "case 1 begins at frame 4 of case 0" in str(found[0]) and "at frame 2" in str(found[1])
    nearly = own(whole[4:] * (1 + 3e-7), 1.0)
    assert kinds(packed(first, nearly, split=["train", "test"])) == [("goes on", (0, 1), True)]
    assert kinds(packed(first, nearly, split=["train", "test"]), tolerance=1e-8) == []


def test_steady_cases_of_equal_inputs_are_the_same_case():
    values = [noise(i, 1)[0] for i in range(3)]
    steady = [own(v, 1.0 + i, steady=True) for i, v in enumerate(values)]
    other = own(values[0] + 0.1, 1.0, steady=True)  # another mesh, another solver
    assert kinds(packed(*steady, other, split=["train", "train", "train", "test"])) == [("same case", (0, 3), True)]


def test_folds_are_looked_through_as_well():
    made = data.split(packed(*(own(noise(i % 3), 1.0 + i % 3) for i in range(4))), folds=4)
    tests = [data.schema.flag_names(made[f"split_fold_{k}"]).tolist() for k in range(4)]
    for k, names in enumerate(tests):
        (found,) = splits.overlaps(made, split=f"split_fold_{k}")
        assert found.cases == (0, 3) and found.across == (names[0] != names[3])


def test_what_is_odd_is_named():
    values = [noise(i) for i in range(5)]
    values[1][3] = values[1][2]
    values[2][:] = values[2][:1]
    values[3] *= 1e5
    dataset = packed(*(own(v, 2.0) for v in values), own(noise(7, 1), 2.0, times=[0.0]),
                     own(noise(8, 3), 2.0, times=[0.0, 0.1, 1.0]), split=["train"] * 6 + ["test"])  # fmt: skip
    lines = splits.oddities(dataset)
    for words in ("no case is in split 'validation'", "case 1: a frame equals the one before it",
                  "case 2: all frames are equal", "case 3: 'T' reaches", "the same in all cases: rate",
                  "case 5: a single frame", "case 6: unequal time steps"):  # fmt: skip
        assert any(line.startswith(words) for line in lines), (words, lines)
    assert len(lines) == 7
    unsplit = packed(own(np.zeros((5, 6, 6)), 1.0), own(np.zeros((5, 6, 6)), 2.0))
    assert any("no splits" in line for line in splits.oddities(unsplit))
    assert any("zero everywhere" in line for line in splits.oddities(unsplit))
