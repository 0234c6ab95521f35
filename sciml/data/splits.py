"""Splits of a data set: by case, never by frame, so that no frame of a held-out case is ever trained on.

by_case, folds, published       which case goes where
together                        cases of equal content, in one part of a split
manifest, Manifest              which cases there are and where they go, to hold another data set against
overlaps, oddities              cases that occur twice, and what else looks wrong
content                         the one look at all values that these share
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from sciml.data._content import Content as Content
from sciml.data._content import content as content
from sciml.data._manifest import Comparison as Comparison
from sciml.data._manifest import Manifest as Manifest
from sciml.data._manifest import manifest as manifest
from sciml.data._odd import oddities as oddities
from sciml.data._overlaps import Overlap as Overlap
from sciml.data._overlaps import overlaps as overlaps
from sciml.data.schema import SPLITS
from sciml.errors import InputError, is_whole, suggest


def by_case(subsets: Sequence[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> np.ndarray:
    """Assign every case to "train", "validation" or "test", in equal shares within every subset.

    Within a subset of n cases, held-out cases number round(n · fraction), at least one each where n ≥ 3 and the
    fraction is above zero. Which cases these are depends on (seed, name of the subset, n) alone: adding another subset
    to a data set leaves the others' split as it was.

    Args:
        subsets: name of the subset of each case, (C,).
        fractions: shares of train, validation and test; they sum to 1.
        seed: any integer >= 0.

    Returns:
        (C,) array of names.

    Raises:
        InputError: fractions that are negative or do not sum to 1; a negative seed.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or np.any(shares < 0) or not np.isclose(shares.sum(), 1.0):
        raise InputError(f"fractions: expected three shares that sum to 1, got {tuple(fractions)}")
    if not is_whole(seed) or seed < 0:
        raise InputError(f"seed: expected an integer >= 0, got {seed!r}")
    names = np.asarray([str(s) for s in subsets])
    result = np.full(names.shape, SPLITS[0], dtype="<U10")
    for name in sorted(set(names.tolist())):
        members = np.flatnonzero(names == name)
        bits = np.random.Philox(np.random.SeedSequence([int(seed), *name.encode()]))
        order = members[np.argsort(bits.random_raw(members.size), kind="stable")]
        held = [min(_share(members.size, s), members.size) for s in shares[1:]]
        result[order[: held[0]]] = SPLITS[1]
        result[order[held[0] : held[0] + held[1]]] = SPLITS[2]
    return result


def together(
    split: Sequence[str] | np.ndarray, content: Sequence[Hashable]
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A split in which cases of equal content are in one part, that of the first of them.

    Args:
        split: name of the part of each case, (C,).
        content: what cases hold, a digest for instance, (C,).

    Returns:
        (C,) names, and (first case, case that repeats it) of all repeats.
    """
    names, first = np.asarray([str(s) for s in split], dtype="<U10"), dict[Hashable, int]()
    repeats = [(first[key], k) for k, key in enumerate(content) if first.setdefault(key, k) != k]
    for a, b in repeats:
        names[b] = names[a]
    return names, repeats


def repeated(repeats: Sequence[tuple[int, int]]) -> str:
    """What is to be said of cases that repeat others."""
    shown = ", ".join(f"{b} is {a}" for a, b in repeats[:5]) + (" ..." if len(repeats) > 5 else "")
    what = "case repeats another" if len(repeats) == 1 else "cases repeat others"
    return f"{len(repeats)} {what} ({shown}); repeats are kept in one part of a split"


def folds(subsets: Sequence[str], k: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The k splits of a k-fold cross-validation, for `sciml.data.pack(..., named_splits=...)`.

    The cases of every subset are dealt out to k parts whose sizes differ by one at most. In fold j, part j is the test
    and part j + 1 (after the last one the first) the validation, so that every case is tested exactly once. For k = 2
    there is no validation.

    Args:
        subsets: name of the subset of each case, (C,).
        k: number of folds, 2 to C.
        seed: any integer >= 0.

    Returns:
        {"fold_0": (C,) array of names, ...}; a file stores them as `split_fold_0` and so on.

    Raises:
        InputError: more folds than cases, or a negative seed.
    """
    names = np.asarray([str(s) for s in subsets])
    if not is_whole(k) or not 2 <= k <= names.size:
        raise InputError(f"k: expected 2 to {names.size} folds, as there are {names.size} cases, got {k!r}")
    if not is_whole(seed) or seed < 0:
        raise InputError(f"seed: expected an integer >= 0, got {seed!r}")
    part = np.zeros(names.shape, np.int64)
    dealt = 0  # go on where the last subset ended, so that the parts of small subsets even out
    for name in sorted(set(names.tolist())):
        members = np.flatnonzero(names == name)
        bits = np.random.Philox(np.random.SeedSequence([int(seed), *name.encode()]))
        order = members[np.argsort(bits.random_raw(members.size), kind="stable")]
        part[order] = (dealt + np.arange(members.size)) % k
        dealt += members.size
    found = {}
    for j in range(int(k)):
        split = np.full(names.shape, SPLITS[0], dtype="<U10")
        if k > 2:
            split[part == (j + 1) % k] = SPLITS[1]
        split[part == j] = SPLITS[2]
        found[f"fold_{j}"] = split
    return found


def published(subsets: Sequence[str], whole: Callable[[float], int] = round) -> np.ndarray:
    """The split of CFDBench's published code with its seed 0.

    Cases in the order prop, bc, geo are shuffled as one list, of which 80 % train, 10 % validate and the rest is the
    test. It is not stratified, and another choice of subsets has another test.

    Args:
        subsets: "prop", "bc" or "geo" for each case, (C,), numbered within its subset in this order.
        whole: from a share to a number of cases; the published loaders use `round`, but that of frame after frame in
            the tube uses `int`.

    Returns:
        (C,) array of names.

    Raises:
        InputError: another subset.

    Source: Y. Luo, Y. Chen, Z. Zhang, CFDBench, arXiv 2310.05963 (2023).
    """
    names = np.asarray([str(s) for s in subsets])
    order: list[int] = []
    for name in ("prop", "bc", "geo"):
        order += np.flatnonzero(names == name).tolist()
    if len(order) < names.size:
        others = sorted(set(names.tolist()) - {"prop", "bc", "geo"})
        raise InputError(f"subsets: the published split knows prop, bc and geo, got {', '.join(others)}")
    random.Random(0).shuffle(order)
    train, validation = int(whole(0.8 * names.size)), int(whole(0.1 * names.size))
    result = np.full(names.shape, SPLITS[2], dtype="<U10")
    result[order[:train]] = SPLITS[0]
    result[order[train : train + validation]] = SPLITS[1]
    return result


def _share(n: int, fraction: float) -> int:
    count = int(n * fraction + 0.5)
    return max(count, 1) if fraction > 0 and n >= 3 else count


def names(splits: Any, cases: int) -> np.ndarray | None:
    """A split of `cases` cases as an array of names.

    Args:
        splits: None; a name for each case; or a mapping from names to lists of case numbers (cases that no list
            holds are "unused").

    Raises:
        InputError: an unknown name, a case number out of range or in two lists, a wrong length.
    """
    if splits is None:
        return None
    if isinstance(splits, Mapping):
        result = np.full(cases, "unused", dtype="<U10")
        for name, members in splits.items():
            for i in members:
                if not 0 <= int(i) < cases:
                    raise InputError(f"splits: {name!r} holds case {i}, expected 0 to {cases - 1}")
                if result[int(i)] != "unused":
                    raise InputError(f"splits: case {i} is in both {result[int(i)]!r} and {name!r}")
                result[int(i)] = name
    else:
        result = np.asarray([str(s) for s in splits])
    if result.shape != (cases,):
        raise InputError(f"splits: expected one name for each of {cases} cases, got {result.size}")
    for name in set(result.tolist()):
        if name not in SPLITS:
            raise InputError(f"splits: {name!r} is not a split{suggest(name, SPLITS)}")
    return result


def codes(split: np.ndarray) -> np.ndarray:
    """Names as the uint8 codes that a file stores: train 0, validation 1, test 2, unused 3."""
    return np.asarray([SPLITS.index(s) for s in split], dtype=np.uint8)
