"""Cases that occur twice, and trajectories that go on where another one is: what makes a test easier than it looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.data import schema
from sciml.data._content import Content, content
from sciml.errors import InputError, is_number

IDENTICAL, ROUNDED, SAME_CASE, GOES_ON = "identical", "equal within rounding", "same case", "goes on"


@dataclass(frozen=True)
class Overlap:
    """Cases that are not what different cases should be.

    Args:
        kind: "identical" (values and parameters), "equal within rounding" (the fields), "same case" (equal parameters,
            inputs and beginning, other values), "goes on" (the second begins at a frame of the first).
        cases: their numbers.
        splits: the split of each.
        detail: what else there is to say.
    """

    kind: str
    cases: tuple[int, ...]
    splits: tuple[str, ...]
    detail: str = ""

    @property
    def across(self) -> bool:
        """Whether it joins different splits ("unused" is none)."""
        return len(set(self.splits) - {"unused"}) > 1

    def __str__(self) -> str:
        each = [f"{i} ({s})" for i, s in zip(self.cases, self.splits, strict=True)]
        shown = ", ".join(each[:6]) + (f" and {len(each) - 6} more" if len(each) > 6 else "")
        return f"{self.kind}: cases {shown}" + (f": {self.detail}" if self.detail else "")


def overlaps(data: Any, tolerance: float = 1e-5, split: str = "split", progress: bool = False) -> list[Overlap]:
    """Find cases that occur twice within or across splits.

    Looked for are, each pair in the first kind that fits: cases with equal values and parameters; cases of equal shape
    whose fields differ by at most `tolerance` times their largest value in the case; cases with the same parameters and
    inputs (to float32) and, in time, the same first frame (within `tolerance`); and trajectories that begin at a frame
    of another one (within `tolerance` at its last one), a frame of one value everywhere left out. Parameters, inputs
    and geometry that all cases share do not make cases the same.

    Args:
        data: a file, a packed data set, or what `sciml.data.splits.content` made of it.
        tolerance: what rounding may leave, relative.
        split: the variable that holds the splits, for instance "split_fold_0".
        progress: whether to show a bar.

    Returns:
        Those across splits first.

    Raises:
        InputError: no data set, or a tolerance that is none.
    """
    if not is_number(tolerance) or not 0 <= tolerance < 1:
        raise InputError(f"tolerance: expected a number from 0 to 1, got {tolerance!r}")
    found = content(data, progress)
    if split != "split" and split not in found.dataset.variables:
        raise InputError(f"split: the data set has no variable {split!r}")
    look = _Look(found, tolerance)
    names = found.split if split == "split" else schema.flag_names(found.dataset[split]).tolist()
    made: list[Overlap] = []
    twins: set[tuple[int, int]] = set()

    def enter(kind: str, groups: Iterable[list[int]]) -> None:
        for group in groups:
            made.append(Overlap(kind, tuple(group), tuple(names[i] for i in group)))
            twins.update((a, b) for a in group for b in group)

    enter(IDENTICAL, _groups(range(found.count), found.sha256))
    firsts = list({found.sha256[i]: i for i in reversed(range(found.count))}.values())
    enter(ROUNDED, look.equal(sorted(firsts)))
    enter(SAME_CASE, (g for g in look.same_case() if not all((g[0], b) in twins for b in g)))
    for before, after, detail in look.goes_on():
        if (before, after) not in twins:
            made.append(Overlap(GOES_ON, (before, after), (names[before], names[after]), detail))
    return sorted(made, key=lambda o: (not o.across, o.cases))


def _groups(members: Iterable[int], keys: Any) -> list[list[int]]:
    """Members of equal keys, where there are several."""
    found: dict[Any, list[int]] = defaultdict(list)
    for i in members:
        found[keys[i]].append(i)
    return [g for g in found.values() if len(g) > 1]


class _Look:
    """The comparisons of one data set."""

    def __init__(self, content: Content, tolerance: float):
        self.content, self.tolerance = content, tolerance
        self.count = np.diff(content.starts)
        dataset = content.dataset
        nodal = "node_row_size" in dataset.variables
        self.size = schema.node_counts(dataset) if nodal else np.zeros(len(content.finite), np.int64)
        self.steady = "time" not in dataset.variables
        #: largest value of each field in each case
        size = np.maximum(np.abs(content.low), np.abs(content.high))
        each = [size[content.rows(i)].max(axis=0, initial=0.0) for i in range(content.count)]
        self.largest = np.array(each).reshape(content.count, len(content.names))

    def near(self, k: int, m: int, scale: np.ndarray) -> bool:
        """Whether frames k and m agree, each field within `tolerance` of its scale."""
        c = self.content
        if self.size[k] != self.size[m]:
            return False
        if np.array_equal(c.frames[k], c.frames[m]):
            return True
        slack = self.tolerance * scale
        if not all(np.all(np.abs(t[k] - t[m]) <= slack) for t in (c.mean, c.rms, c.low, c.high)):
            return False
        if not (c.finite[k] and c.finite[m]):
            return False
        pairs = ((c.frame(n, k), c.frame(n, m)) for n in c.names)
        return all(np.abs(a - b).max(initial=0.0) <= s for (a, b), s in zip(pairs, slack, strict=True))

    def equal(self, members: list[int]) -> list[list[int]]:
        """Cases of equal shape whose frames all agree."""
        c = self.content
        several = [i for i in members if self.count[i]]
        keys = {i: (int(self.count[i]), int(self.size[c.starts[i]])) for i in several}
        found = []
        for alike in _groups(several, keys):
            last = c.starts[np.array(alike) + 1] - 1
            for group in self._clusters(alike, c.rms[last], self.all_near):
                found.append(group)
        return found

    def all_near(self, i: int, j: int) -> bool:
        scale = np.maximum(self.largest[i], self.largest[j])
        a, b = self.content.starts[i], self.content.starts[j]
        return all(self.near(int(a) + k, int(b) + k, scale) for k in range(int(self.count[i])))

    def _clusters(self, members: list[int], numbers: np.ndarray, agree: Any) -> list[list[int]]:
        """Groups of members that agree with the first of their group; `numbers` (member, field) of those that agree
        differ by little."""
        scale = np.array([self.largest[i] for i in members])
        column = int(np.argmax(np.ptp(numbers, axis=0) / np.maximum(scale.max(axis=0), 1e-300)))
        order = np.argsort(numbers[:, column], kind="stable")
        values, most = numbers[order, column], scale[:, column].max()
        group: dict[int, list[int]] = {}
        taken: set[int] = set()
        for p, a in enumerate(order.tolist()):
            if a in taken:
                continue
            group[a] = [members[a]]
            for q in range(p + 1, len(order)):
                b = int(order[q])
                if values[q] - values[p] > self.tolerance * most:
                    break
                if b not in taken and agree(members[a], members[b]):
                    group[a].append(members[b])
                    taken.add(b)
        return [sorted(g) for g in group.values() if len(g) > 1]

    def same_case(self) -> list[list[int]]:
        """Cases that are described alike and begin alike, where descriptions tell cases apart."""
        c = self.content
        if len(set(c.described)) < 2:
            return []
        found: list[list[int]] = []
        for alike in _groups((i for i in range(c.count) if self.count[i]), c.described):
            if self.steady:
                found.append(alike)
            else:
                first = c.starts[np.array(alike)]
                found += self._clusters(alike, c.rms[first], self.begin_alike)
        return found

    def begin_alike(self, i: int, j: int) -> bool:
        scale = np.maximum(self.largest[i], self.largest[j])
        return self.near(int(self.content.starts[i]), int(self.content.starts[j]), scale)

    def goes_on(self) -> list[tuple[int, int, str]]:
        """(first, second, what is shared): the second begins at a later frame of the first."""
        c = self.content
        if self.steady:
            return []
        flat = np.all(c.low == c.high, axis=1)  # at rest, or without anything in it: says nothing
        case_of = np.repeat(np.arange(c.count), self.count)
        begins: dict[bytes, list[int]] = defaultdict(list)
        for j in range(c.count):
            if self.count[j] and not flat[c.starts[j]]:
                begins[c.frames[c.starts[j]].tobytes()].append(j)
        pairs: dict[tuple[int, int], int] = {}
        for k in range(len(flat)):
            i = int(case_of[k])
            if k > c.starts[i]:
                for j in begins.get(c.frames[k].tobytes(), ()):
                    if j != i:
                        pairs.setdefault((i, j), k - int(c.starts[i]))
        for i, j in self._nearly(flat):
            pairs.setdefault((i, j), int(self.count[i]) - 1)
        return [(i, j, f"case {j} begins at frame {k} of case {i}") for (i, j), k in sorted(pairs.items())]

    def _nearly(self, flat: np.ndarray) -> list[tuple[int, int]]:
        """Pairs of which the last frame of one is the first of the other within rounding."""
        c = self.content
        ends = [(i, int(c.starts[i + 1]) - 1) for i in range(c.count) if self.count[i] > 1]
        starts = [(j, int(c.starts[j])) for j in range(c.count) if self.count[j] and not flat[c.starts[j]]]
        if not ends or not starts:
            return []
        column = int(np.argmax(np.ptp(c.rms, axis=0) / np.maximum(self.largest.max(axis=0), 1e-300)))
        starts.sort(key=lambda pair: c.rms[pair[1], column])
        known = np.array([c.rms[k, column] for _, k in starts])
        slack = self.tolerance * self.largest[:, column].max()
        found = []
        for i, k in ends:
            low, high = np.searchsorted(known, [c.rms[k, column] - slack, c.rms[k, column] + slack])
            for j, m in starts[low : int(high)]:
                if i != j and self.near(k, m, np.maximum(self.largest[i], self.largest[j])):
                    found.append((i, j))
        return found
