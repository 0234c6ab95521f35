"""The splits of the CFDBench table, and what pins them down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sciml import data
from sciml.data import schema, splits

SHARES = (0.6, 0.1, 0.3)  # of a tenth of the design: enough cases to test on
FOLDS = 5


def split(path: Path, published: bool) -> Path:
    """The same data set with the stratified split and folds, or with the published split."""
    out = path.with_suffix(".published.h5" if published else ".split.h5")
    if out.exists():
        return out
    dataset = data.open(path).load()
    subsets = schema.flag_names(dataset["subset"]).tolist()
    found = {"split": splits.published(subsets) if published else splits.by_case(subsets, SHARES, 0)}
    found |= {f"split_{name}": part for name, part in splits.folds(subsets, FOLDS, 0).items()}
    attrs = dataset["split"].attrs
    dataset = dataset.assign({name: (("case",), splits.codes(part), attrs) for name, part in found.items()})
    data.write(dataset, out)
    return out


def manifest(path: Path) -> list[dict[str, Any]]:
    """Of each case its label, subset, part of the split, and the hash of its content."""
    dataset = data.open(path)
    named = {n: schema.flag_names(dataset[n]) for n in ("subset", "split")}
    digests = np.asarray(dataset["sha256"].values)
    labels = [data.case(dataset, i)[0].label for i in range(dataset.sizes["case"])]
    return [
        {"case": labels[i], **{k: str(v[i]) for k, v in named.items()}, "sha256": _hex(digests[i])}
        for i in range(len(labels))
    ]


def _hex(value: Any) -> str:
    return (
        value.decode()
        if isinstance(value, bytes)
        else bytes(value).hex()
        if isinstance(value, np.ndarray)
        else str(value)
    )
