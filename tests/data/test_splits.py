"""Splits by case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
