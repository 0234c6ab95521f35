"""What looks wrong in a data set although its file is sound, a line each."""

from __future__ import annotations

from typing import Any

import numpy as np

from sciml.data import schema
from sciml.data._content import content
from sciml.data.schema import SPLITS


def oddities(data: Any, progress: bool = False) -> list[str]:
    """What is odd about the cases of a data set and their splits.

    Args:
        data: a file, a packed data set, or what `sciml.data.splits.content` made of it.
        progress: whether to show a bar.
    """
    found = content(data, progress)
    dataset, lines = found.dataset, []
    split, subset = np.array(found.split), np.array(found.subset)
    if "split" not in dataset.variables:
        lines.append("no splits: all cases count as train (sciml data split makes some)")
    else:
        empty = [name for name in SPLITS[:3] if not np.any(split == name)]
        lines += [f"no case is in split {name!r}" for name in empty]
        trained = set(subset[split == "train"].tolist())
        for name in sorted(set(subset[np.isin(split, SPLITS[1:3])].tolist()) - trained):
            lines.append(f"subset {name!r} is held out, but not trained on")
    if "status" in dataset.variables:
        failed = np.flatnonzero(np.asarray(dataset["status"].values) != 0)
        if failed.size:
            lines.append(f"{_cases(failed)}: the solver failed; left out of training and evaluation")
    rows = np.asarray(dataset["row_size"].values)
    if (rows == 0).any():
        lines.append(f"{_cases(np.flatnonzero(rows == 0))}: without a frame")
    case_of = np.repeat(np.arange(found.count), rows)
    if not found.finite.all():
        lines.append(f"{_cases(np.unique(case_of[~found.finite]))}: values that are not finite")
    size = np.maximum(np.abs(found.low), np.abs(found.high))
    for k, name in enumerate(found.names):
        largest = size[:, k].max(initial=0.0)
        if largest == 0:
            lines.append(f"field {name!r} is zero everywhere")
            continue
        if found.low[:, k].min() == found.high[:, k].max():
            lines.append(f"field {name!r} is {found.low[0, k]:g} everywhere")
            continue
        each = np.array([size[found.rows(i), k].max(initial=0.0) for i in range(found.count)])
        usual = np.median(each[each > 0])
        far = np.flatnonzero(each > 1e3 * usual)
        if far.size:
            lines.append(f"{_cases(far)}: {name!r} reaches {each.max():.3g}, where {usual:.3g} is usual")
    fixed = [n for n in schema.parameter_names(dataset) if np.ptp(np.asarray(dataset[n].values)) == 0]
    if fixed and found.count > 1:
        lines.append(f"the same in all cases: {', '.join(fixed)}")
    return lines + _in_time(found, case_of, rows)


def _in_time(found: Any, case_of: np.ndarray, rows: np.ndarray) -> list[str]:
    if "time" not in found.dataset.variables:
        return []
    lines = []
    if (rows == 1).any():
        lines.append(f"{_cases(np.flatnonzero(rows == 1))}: a single frame, so no step to learn")
    within = case_of[1:] == case_of[:-1]
    same = within & (found.frames[1:] == found.frames[:-1]).all(axis=1)
    repeats = np.bincount(case_of[1:][same], minlength=len(rows))
    frozen = (repeats > 0) & (repeats == rows - 1)
    if frozen.any():
        lines.append(f"{_cases(np.flatnonzero(frozen))}: all frames are equal")
    if ((repeats > 0) & ~frozen).any():
        lines.append(f"{_cases(np.flatnonzero((repeats > 0) & ~frozen))}: a frame equals the one before it")
    steps = np.diff(np.asarray(found.dataset["time"].values, dtype=np.float64))
    uneven = []
    for i in np.flatnonzero(rows > 2).tolist():
        mine = steps[int(found.starts[i]) : int(found.starts[i + 1]) - 1]
        if np.abs(mine - mine.mean()).max() > 1e-3 * mine.mean():
            uneven.append(i)
    if uneven:
        lines.append(f"{_cases(np.array(uneven))}: unequal time steps, which only stepping Query takes")
    return lines


def _cases(numbers: np.ndarray) -> str:
    shown = ", ".join(map(str, numbers[:6].tolist())) + (f" and {len(numbers) - 6} more" if len(numbers) > 6 else "")
    return f"case{'s' if len(numbers) > 1 else ''} {shown}"
