"""Splits by case."""

import numpy as np
import pytest
from _make import cavities
from hypothesis import given
from hypothesis import strategies as st

from sciml import data
from sciml.data import splits
from sciml.errors import InputError

SUBSETS = st.lists(st.sampled_from(["bc", "geo", "prop", "ic"]), max_size=120)


@given(SUBSETS, st.integers(0, 2**31), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (1, 0, 0), (0.9, 0, 0.1)]))
def test_every_subset_gets_its_share(subsets, seed, fractions):
    found = splits.by_case(subsets, fractions, seed)
    assert found.shape == (len(subsets),)
    for name in set(subsets):
        inside = found[np.array(subsets) == name]
        n = len(inside)
        for word, fraction in zip(("validation", "test"), fractions[1:], strict=True):
            count = int((inside == word).sum())
            assert count == (0 if fraction == 0 else max(int(n * fraction + 0.5), 1 if n >= 3 else 0))
    np.testing.assert_array_equal(found, splits.by_case(subsets, fractions, seed))


@given(SUBSETS, SUBSETS, st.integers(0, 100))
def test_another_subset_changes_nothing(first, second, seed):
    second = [s + "_more" for s in second]
    alone = splits.by_case(first, seed=seed)
    together = splits.by_case([*second, *first], seed=seed)
    np.testing.assert_array_equal(together[len(second) :], alone)


def test_the_split_is_fixed_for_good():
    """A changed split would make runs incomparable: this pins the published order."""
    found = splits.by_case(["a"] * 10, (0.6, 0.2, 0.2), seed=0)
    assert [k for k, s in enumerate(found) if s != "train"] == [2, 6, 7, 8]


def test_seeds_differ():
    assert len({tuple(splits.by_case(["a"] * 30, seed=s)) for s in range(10)}) == 10


@pytest.mark.parametrize(
    ("fractions", "seed", "message"),
    [((0.5, 0.5), 0, "three shares"), ((0.9, 0.2, -0.1), 0, "three shares"), ((0.5, 0.1, 0.1), 0, "sum to 1"),
     ((0.8, 0.1, 0.1), -1, "seed"), ((0.8, 0.1, 0.1), 0.5, "seed")],
)  # fmt: skip
def test_bad_arguments_are_named(fractions, seed, message):
    with pytest.raises(InputError, match=message):
        splits.by_case(["a"], fractions, seed)


def test_folds_test_every_case_once_and_spread_every_subset():
    subsets = ["bc"] * 11 + ["ic"] * 7 + ["geo"]
    found = splits.folds(subsets, 5, seed=3)
    assert list(found) == [f"fold_{j}" for j in range(5)]
    table = np.stack(list(found.values()))
    for word in ("test", "validation"):
        assert ((table == word).sum(axis=0) == 1).all()
    for subset in ("bc", "ic"):
        sizes = (table[:, np.array(subsets) == subset] == "test").sum(axis=1)
        assert sizes.max() - sizes.min() <= 1
    assert (table == "test").sum(axis=1).tolist() in ([4, 4, 4, 4, 3], [4, 4, 4, 3, 4])
    np.testing.assert_array_equal(table, np.stack(list(splits.folds(subsets, 5, seed=3).values())))
    assert set(splits.folds(subsets, 2)["fold_0"]) == {"train", "test"}
    for k, seed in ((1, 0), (20, 0), (2.5, 0), (3, -1)):
        with pytest.raises(InputError, match=r"k: expected 2 to 19 folds|seed"):
            splits.folds(subsets, k, seed)


def test_named_splits_are_stored_kept_and_read(tmp_path):
    made = cavities(4, faces=False)
    folds = splits.folds(["a"] * 4, 2)
    packed = data.pack(made, splits=["train"] * 4, named_splits=folds | {"new_walls": {"test": [1]}})
    data.write(packed, tmp_path / "a.h5")
    opened = data.open(tmp_path / "a.h5")
    for source in (packed, opened, data.concat([opened])):
        for name, split in folds.items():
            assert data.schema.flag_names(source[f"split_{name}"]).tolist() == split.tolist()
        assert data.schema.flag_names(source["split_new_walls"]).tolist() == ["unused", "test", "unused", "unused"]
    windows = data.Windows(tmp_path / "a.h5", "fold_0/test")
    assert windows.cases.tolist() == np.flatnonzero(folds["fold_0"] == "test").tolist()
    for split, message in (("fold_7/test", "no split_fold_7"), ("fold_0/tset", "did you mean 'test'")):
        with pytest.raises(InputError, match=message):
            data.Windows(tmp_path / "a.h5", split)
    with pytest.raises(InputError, match="named_splits: 'a/b' is not a name"):
        data.pack(made, named_splits={"a/b": ["train"] * 4})
    writer = data.ShardWriter(tmp_path / "b.h5")
    for i, solution in enumerate(made):
        writer.write(i, solution)
    writer.merge(named_splits=lambda subsets: splits.folds(subsets, 2))
    assert "split_fold_1" in data.open(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("sizes", "whole", "counts"),
    [
        ((84, 50, 25), round, (127, 16, 16)),
        ((100, 50, 25), round, (140, 18, 17)),
        ((100, 50, 25), int, (140, 17, 18)),
        ((100, 70, 50), round, (176, 22, 22)),
        ((115, 50, 20), round, (148, 18, 19)),
    ],
)
def test_the_published_split_has_the_published_sizes(sizes, whole, counts):
    names = ["prop"] * sizes[0] + ["bc"] * sizes[1] + ["geo"] * sizes[2]
    found = splits.published(names, whole)
    assert tuple(int((found == n).sum()) for n in ("train", "validation", "test")) == counts


def test_the_published_split_follows_pythons_own_shuffle_of_prop_bc_geo():
    """By hand: the list of cases in the published order, shuffled with seed 0, whatever the order of the data set."""
    import random

    ours = ["bc"] * 4 + ["geo"] * 3 + ["prop"] * 5
    listed = [(s, k) for s in ("prop", "bc", "geo") for k in range({"prop": 5, "bc": 4, "geo": 3}[s])]
    random.seed(0)
    random.shuffle(listed)
    expected = {case: "train" if k < 10 else "validation" if k < 11 else "test" for k, case in enumerate(listed)}
    count = {"bc": 0, "geo": 0, "prop": 0}
    for name, got in zip(ours, splits.published(ours), strict=True):
        assert got == expected[name, count[name]]
        count[name] += 1
    with pytest.raises(InputError, match="subsets: the published split knows prop, bc and geo, got ic"):
        splits.published([*ours, "ic"])
