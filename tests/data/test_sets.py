"""Data sets from data sets: what is chosen, joined and split anew is what it was, value by value."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from _make import assert_same_solution, cavities

import sciml
from sciml import data
from sciml.data import _content, _open, _take, digest, schema
from sciml.data._take import Rows
from sciml.data._where import holds
from sciml.errors import InputError
from sciml.support import Mesh

TIMES = np.linspace(0.0, 1.0, 5)


def plume(count: int = 6, unit: str = "K", cells: int = 8, seed: int = 0, name: str = "plume", **problem):
    """Own data on a grid, of a steady number of frames; T holds numbers of its own for every value."""
    spec = {"name": "rate", "unit": "s-1", "default": 1.0, "minimum": 0.0, "maximum": 2.0 + seed}
    described = sciml.DataProblem(name, [{"name": "T", "unit": unit}, "q"], [spec], **problem)
    grid = sciml.Grid.uniform(sciml.geometry.Box((0.0, 0.0), (1.0, 1.0)), cells)
    rng = np.random.default_rng(seed)
    return [
        data.solution(
            described.case(rate=float(rng.uniform(0.1, 2.0)), label=f"{seed}.{i}"), TIMES,
            {"T": rng.standard_normal((5, cells, cells)), "q": rng.standard_normal((5, cells, cells))}, grid,
        )
        for i in range(count)
    ]  # fmt: skip


def nodes(count: int = 5, seed: int = 0):
    """Own data on meshes of different sizes."""
    rng = np.random.default_rng(seed)
    problem = sciml.DataProblem("mesh", ["c"], ["rate"])
    found = []
    for i in range(count):
        n = 4 + i
        mesh = Mesh(rng.random((n, 2)), {"triangle": np.array([[0, 1, 2], [1, 2, 3]][: 1 + i % 2])})
        values = rng.standard_normal((2 + i, n))
        found.append(data.solution(problem.case(rate=1.0 + i), np.arange(2.0 + i), {"c": values}, mesh))
    return found


def particles(count: int = 4, seed: int = 0):
    """Points that move, and of which one is away for a while."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        fields = {k: (("time", "node"), rng.standard_normal((3, 5 + i))) for k in "uv"}
        coords = {"x": rng.random((3, 5 + i)), "y": rng.random((3, 5 + i))}
        case = sciml.problems.LidDrivenCavity().case(lid_velocity=1.0 + i)
        found.append(data.solution(case, np.arange(3.0), fields, coords, node_count=[5 + i, 4, 5 + i]))
    return found


@pytest.mark.parametrize("make", [cavities, plume, nodes, particles])
@pytest.mark.parametrize("lazy", [False, True])
def test_chosen_cases_are_what_they_were(make, lazy, tmp_path):
    packed = data.pack(make(4), dtype=None)
    if lazy:
        data.write(packed, tmp_path / "all.h5")
        packed = data.open(tmp_path / "all.h5")
    order = [2, 0, 3]
    found = data.select(packed, order, out=tmp_path / "some.h5" if lazy else None)
    schema.check(found)
    for k, i in enumerate(order):
        (case, solution), (mine, its) = data.case(packed, i), data.case(found, k)
        assert_same_solution(its, solution)
        assert mine.parameters == case.parameters and mine.label == case.label
    if lazy:
        assert data.validate(tmp_path / "some.h5")["checksums"] == 3


@pytest.mark.parametrize("make", [cavities, plume, nodes, particles])
def test_chosen_frames_are_what_they_were(make):
    packed = data.pack(make(4), dtype=None)
    name = schema.field_names(packed)[0]
    found = data.select(packed, [3, 1], frames=[0, -1])
    for k, i in enumerate([3, 1]):
        whole, part = data.case(packed, i)[1], data.case(found, k)[1]
        for mine, its in ((0, 0), (1, -1)):
            a, b = part[name].values[mine], whole[name].values[its]
            np.testing.assert_array_equal(a, b)
            assert part["time"].values[mine] == whole["time"].values[its]
    thinned = data.select(packed, frames=slice(None, None, 2))
    counts = packed["row_size"].values
    np.testing.assert_array_equal(thinned["row_size"].values, (counts + 1) // 2)


def test_the_parts_of_a_data_set_together_are_the_data_set(tmp_path):
    """select and merge undo each other, to the last bit of the file."""
    data.write(data.pack(plume(6), splits=data.splits.by_case(["all"] * 6)), tmp_path / "all.h5")
    whole = data.open(tmp_path / "all.h5")
    for k, part in enumerate((slice(0, 2), slice(2, 6))):
        data.select(whole, part, out=tmp_path / f"{k}.h5")
    data.merge([tmp_path / "0.h5", tmp_path / "1.h5"], out=tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "all.h5").read_bytes()
    data.select(tmp_path / "all.h5", out=tmp_path / "all.h5")  # onto itself
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "all.h5").read_bytes()


def test_choices_by_subset_split_condition_fields_and_times():
    splits = {"train": [0, 1, 2, 3], "validation": [4], "test": [5]}
    packed = data.pack(cavities(6), splits=splits, named_splits={"alt": {"train": [5], "test": [0, 1]}})
    speed = packed["lid_velocity"].values

    def chosen(**how):
        return data.select(packed, **how)["lid_velocity"].values.tolist()

    assert chosen(subset="ic") == speed[1::2].tolist()
    assert chosen(split=["validation", "test"]) == speed[4:].tolist()
    assert chosen(split="alt/test") == speed[:2].tolist()
    assert chosen(where="lid_velocity > 2 and not 3 <= lid_velocity < 5", subset="bc") == [5.0]
    assert chosen(cases=slice(None, None, -1), where="case < 2") == speed[[1, 0]].tolist()
    wide = data.pack(plume(3))
    early = data.select(wide, times=(0.25, None), frames=slice(0, 4))
    np.testing.assert_array_equal(early["time"].values, np.tile([0.25, 0.5, 0.75], 3))
    narrow = data.select(wide, fields=["q"])
    problem = data.case(narrow, 0)[0].problem
    assert schema.field_names(narrow) == ["q"] and [f.name for f in problem.fields] == ["q"]
    np.testing.assert_array_equal(narrow["q"].values, wide["q"].values)
    faceless = data.select(packed, fields=["u", "v", "p"])
    assert "u_face" not in faceless.variables and "x_face" not in faceless.sizes
    schema.check(faceless)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"cases": [0, 6]}, "6 is not among the 6 cases"),
        ({"cases": [1, 1]}, "twice"),
        ({"cases": [0.5]}, "whole numbers"),
        ({"subset": "bd"}, "did you mean 'bc'"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"split": "fold_1/test"}, "no split 'fold_1'"),
        ({"where": "lid > 1"}, "no number is called 'lid'"),
        ({"where": "lid_velocity > 100"}, "no case is left"),
        ({"fields": ["w"]}, "no field 'w'"),
        ({"fields": ["u"]}, "is a state of"),
        ({"frames": [5]}, "frames of case 0"),
        ({"frames": slice(4, None)}, "nothing is left of case 0"),
        ({"times": (2, 1)}, "not to be after"),
        ({"times": 2}, "the first and the last"),
    ],
)
def test_choices_that_cannot_be_met(how, words):
    with pytest.raises(InputError, match=words):
        data.select(data.pack(cavities(6)), **how)


@pytest.mark.parametrize("text", ["__import__('os')", "a.b > 1", "a > 'x'", "a[0] > 1", "(a := 1) > 0", "a", "a > 1 +",
                                  "not a", "(a > 1) > 0", "-(a > 1)", "a and b", "lambda: 1", "a @ a > 1"])  # fmt: skip
def test_conditions_are_no_programs(text):
    with pytest.raises(InputError, match="where: "):
        holds(text, {"a": np.arange(3.0), "b": np.arange(3.0)})


def test_conditions_mean_what_they_say():
    a, b = np.random.default_rng(0).uniform(0.1, 3, (2, 200))
    numbers = {"a": a, "b": b}
    for text, expected in (
        ("a > 1", a > 1), ("1 < a <= b < 2.5", (1 < a) & (a <= b) & (b < 2.5)), ("a * b / 2 > -b", a * b / 2 > -b),
        ("not (a > 1 or b > 1) and a != b", ~((a > 1) | (b > 1))), ("a ** 2 + b ** 2 < 4", a**2 + b**2 < 4),
        ("1 < 2", np.ones(200, bool)),
    ):  # fmt: skip
        np.testing.assert_array_equal(holds(text, numbers), expected)


def test_runs_of_rows_read_as_the_array_that_they_make():
    rng = np.random.default_rng(1)
    source = rng.standard_normal((50, 3))
    start = np.array([40, 3, 4, 20, 10])
    stop = np.array([45, 4, 9, 21, 18])
    whole = np.concatenate([source[a:b] for a, b in zip(start, stop, strict=True)])
    rows = Rows(source, start, stop)
    assert rows.shape == whole.shape
    for a, b in itertools.combinations(range(len(whole) + 1), 2):
        np.testing.assert_array_equal(rows[a:b], whole[a:b])
    np.testing.assert_array_equal(rows[::3, 1], whole[::3, 1])
    np.testing.assert_array_equal(rows[7], whole[7])
    np.testing.assert_array_equal(rows[np.array([5, 2])], whole[[5, 2]])


def test_merged_subsets_and_splits():
    one = data.pack(cavities(4), splits={"train": [0, 1], "test": [2, 3]}, named_splits={"alt": {"test": [0]}})
    two = data.pack(cavities(2, seed=1))
    with pytest.warns(UserWarning, match="'alt' is dropped"):
        joined = data.merge([one, two])
    assert schema.flag_names(joined["split"]).tolist() == ["train"] * 2 + ["test"] * 2 + ["train"] * 2
    with pytest.warns(UserWarning, match="alt"):
        joined = data.merge([one, two], names=["lab", "field"])
    words = schema.flag_names(joined["subset"]).tolist()
    assert words == ["lab_bc", "lab_ic", "lab_bc", "lab_ic", "field_bc", "field_ic"]
    assert [data.case(joined, i)[0].subset for i in range(6)] == words
    anew = data.merge([one, two], fractions=(0.5, 0, 0.5), seed=2)
    expected = data.splits.by_case(schema.flag_names(anew["subset"]), (0.5, 0, 0.5), 2)
    assert schema.flag_names(anew["split"]).tolist() == expected.tolist() and "split_alt" not in anew.variables


def test_merged_own_data_have_one_problem():
    joined = data.merge([data.pack(plume(2)), data.pack(plume(3, seed=1))])
    problem = data.case(joined, 4)[0].problem
    assert problem.options == data.case(joined, 0)[0].problem.options
    assert problem.parameters[0].maximum == 3.0  # of both
    for i, solution in enumerate(plume(2) + plume(3, seed=1)):
        np.testing.assert_array_equal(data.case(joined, i)[1]["T"].values, solution["T"].values.astype("f4"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: plume(unit="degC"), "units differ for 'T': 'K' and 'degC' in data set 0 and data set 1"),
        (lambda: plume(cells=6), "grids differ for 'T'"),
        (lambda: plume(name="smoke"), "problems differ: 'plume' and 'smoke'"),
        (lambda: [s.drop_vars("q") for s in plume()], "fields differ: 'T q' and 'T'"),
        (lambda: plume(periodic=(True, False)), "periodic differs"),
        (lambda: plume(length_unit="mm"), "units differ for 'positions': 'm' and 'mm'"),
        (cavities, "problems differ"),
    ],
)
def test_data_sets_that_do_not_go_together(other, words):
    with pytest.raises(InputError, match=words):
        data.merge([data.pack(plume()), data.pack(other())])


def test_split_anew_by_shares_groups_and_folds():
    packed = data.pack(cavities(12))
    subset = schema.flag_names(packed["subset"])
    made = data.split(packed, (0.5, 0.25, 0.25), seed=3)
    expected = data.splits.by_case(subset, (0.5, 0.25, 0.25), 3)
    assert schema.flag_names(made["split"]).tolist() == expected.tolist()
    together = packed.assign(viscosity=("case", np.repeat([0.1, 0.2, 0.3, 0.4], 3), packed["viscosity"].attrs))
    split = schema.flag_names(data.split(together, (0.5, 0, 0.5), by="viscosity")["split"]).reshape(4, 3)
    assert (split == split[:, :1]).all() and sorted(split[:, 0]) == ["test", "test", "train", "train"]
    folded = data.split(together, folds=4, by="viscosity")
    tests = np.array([schema.flag_names(folded[f"split_fold_{k}"]) == "test" for k in range(4)])
    assert (tests.sum(0) == 1).all() and (tests.sum(1) == 3).all() and "split" not in folded.variables
    assert "split_fold_3" not in data.split(folded, folds=3).variables
    with pytest.raises(InputError, match="all cases agree"):
        data.split(packed, by="density")
    with pytest.raises(InputError, match="one of fractions, folds and manifest"):
        data.split(packed, (0.8, 0.1, 0.1), folds=3)


def test_files_larger_than_what_is_held_pass(tmp_path: Path, monkeypatch):
    """Selecting, joining and splitting hold blocks (made small here) and not the file: 40 MB in 100 cases."""
    for module in (digest, _content, _open, _take):
        for name in {"BLOCK", "CHUNK_BYTES", "READ_BYTES"} & set(vars(module)):
            monkeypatch.setattr(module, name, 1 << 20)
    problem = sciml.DataProblem("big", ["T"], ["rate"])
    grid = sciml.Grid.uniform(sciml.geometry.Box((0.0, 0.0), (1.0, 1.0)), 100)
    frames = np.zeros((10, 100, 100), np.float32)
    each = (data.solution(problem.case(rate=1.0 + i), np.arange(10.0), {"T": frames + i}, grid) for i in range(100))
    data.write(data.pack(each), tmp_path / "big.h5")
    assert (tmp_path / "big.h5").stat().st_size > 4e7
    few = data.select(tmp_path / "big.h5", [1, 3], out=tmp_path / "few.h5")  # modules that it loads are not counted
    data.merge([few, data.split(few)])
    tracemalloc.start()
    some = data.select(tmp_path / "big.h5", range(99, -1, -2), frames=slice(None, None, 2), out=tmp_path / "some.h5")
    data.split(some, out=tmp_path / "split.h5")
    data.merge([tmp_path / "split.h5", tmp_path / "some.h5"], out=tmp_path / "both.h5").close()
    data.splits.overlaps(tmp_path / "both.h5")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8e6, f"{most / 1e6:.0f} MB held for 40 MB of data"
    with data.open(tmp_path / "both.h5") as found:
        values = found["T"][:, 0, 0].values
    np.testing.assert_array_equal(values, np.tile(np.repeat(np.arange(99.0, -1, -2), 5), 2))
