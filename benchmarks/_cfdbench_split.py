"""The splits of the CFDBench table, and what pins them down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sciml import data
from sciml.data import schema, splits

SHARES = (0.6, 0.2, 0.2)  # of ten cases of a subset: enough to choose by and to test on
FOLDS = 5


def cut(path: Path, out: Path, frames: int, every: int) -> None:
    """The same cases with at most so many frames, `every` of the file's apart."""
    dataset = data.open(path)
    found = [data.case(dataset, i)[1] for i in range(dataset.sizes["case"])]
    data.write(data.pack([s.isel(time=slice(0, frames * every, every)) for s in found]), out)


def split(path: Path, published: bool, whole: Callable[[float], int] = round) -> Path:
    """The same data set with the stratified split and folds, or with the published split. Cases without an answer are
    in no part: they are left out before the others are dealt.

    Args:
        whole: of the published split, from a share to a number of cases.
    """
    kind = "published" if published else "-".join(f"{100 * s:.0f}" for s in SHARES)
    out = path.with_suffix(f".{kind}.h5")
    if out.exists():
        return out
    dataset = data.open(path).load()
    solved = _solved(dataset)
    subsets = schema.flag_names(dataset["subset"])[solved].tolist()
    dealt = {"split": splits.published(subsets, whole) if published else splits.by_case(subsets, SHARES, 0)}
    dealt |= {f"split_{name}": part for name, part in splits.folds(subsets, FOLDS, 0).items()}
    found = {name: np.full(len(solved), "train", dtype="<U10") for name in dealt}
    for name, part in dealt.items():
        found[name][solved] = part
    attrs = schema.flag_attrs(schema.SPLITS, "part of the split")
    dataset = dataset.assign({name: (("case",), splits.codes(part), attrs) for name, part in found.items()})
    data.write(dataset, out)
    return out


def manifest(path: Path) -> list[dict[str, Any]]:
    """Of each case its number in the file, label, subset, part of the split ("failed": none), fold, and the hash of its
    content."""
    dataset = data.open(path)
    named = {n: schema.flag_names(dataset[n]) for n in ("subset", "split")}
    named["split"] = np.where(_solved(dataset), named["split"], "failed")
    if "split_fold_0" in dataset:
        folds = [schema.flag_names(dataset[f"split_fold_{k}"]) == "test" for k in range(FOLDS)]
        named["fold"] = np.where(_solved(dataset), np.argmax(folds, axis=0), -1)
    digests = np.asarray(dataset["sha256"].values)
    labels = [data.case(dataset, i)[0].label for i in range(dataset.sizes["case"])]
    return [
        {"number": i, "case": labels[i], **{k: str(v[i]) for k, v in named.items()}, "sha256": _hex(digests[i])}
        for i in range(len(labels))
    ]


def _solved(dataset: Any) -> np.ndarray:
    found = np.asarray(dataset["row_size"].values) > 0
    return found & (np.asarray(dataset["status"].values) == 0) if "status" in dataset else found


def _hex(value: Any) -> str:
    return (
        value.decode()
        if isinstance(value, bytes)
        else bytes(value).hex()
        if isinstance(value, np.ndarray)
        else str(value)
    )
