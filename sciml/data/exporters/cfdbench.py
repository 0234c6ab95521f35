"""Export a data set to the folder layout of CFDBench (see `sciml.data._cfdbench`)."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data import _files, _inputs, schema
from sciml.data._cfdbench import LAYOUTS, Layout
from sciml.data.exporters._folder import appearing, opened, wanted
from sciml.errors import FileFormatError, InputError, suggest


def export_tree(data: Any, folder: str | os.PathLike[str], *, subset: str | Sequence[str] | None = None) -> Path:
    """Write `<folder>/<problem>/<subset>/caseNNNN/{u.npy, v.npy, case.json}`.

    What `sciml.data.importers.cfdbench` imported comes out with the same bytes. Other data sets are numbered within
    their subset, and their case.json also holds "time_step" and "first_time".

    Args:
        data: a data-set file, or an open data set.
        folder: where to put the problem's folder, which must not exist yet.
        subset: export these subsets only.

    Raises:
        InputError: a problem or a case that this layout cannot hold (input fields, uneven times), or a place that
            cannot be written; nothing is left behind then.
    """
    dataset = opened(data)
    name = str(dataset.attrs.get("problem"))
    layout = next((found for found in LAYOUTS if found.problem == name), None)
    if layout is None:
        raise InputError(f"export: problem {name!r} has no place in this layout{suggest(name, _problems())}")
    for field in ("u", "v"):
        if field not in schema.field_names(dataset):
            raise InputError(f"export: the data set has no field {field!r}, which this layout needs")
    target = Path(_files.given(folder, "folder")) / layout.folder
    chosen = wanted(dataset, subset)
    with appearing(target) as part:
        for i, word, number in chosen:
            _write_case(dataset, layout, i, part / word, number)
    return target


def _problems() -> list[str]:
    return [layout.problem for layout in LAYOUTS]


def _write_case(dataset: Any, layout: Layout, i: int, parent: Path, number: int) -> None:
    rows = slice(*(int(n) for n in schema.starts(dataset["row_size"].values)[i : i + 2]))
    source, name, headers = _source(dataset, i), f"case{number:04d}", {}
    if source is not None:
        text, about = source
        name, headers = str(about.get("folder", name)), about
        if not re.fullmatch(r"case\d{1,12}", name):
            raise FileFormatError(f"export: 'source_layout' of case {i} names the folder {name!r:.60}")
    else:
        text = _describe(dataset, layout, i, rows)
    place = parent / name
    place.mkdir(parents=True)
    with (place / "case.json").open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    for field in ("u", "v"):
        values = np.asarray(dataset[field][rows].values)
        with (place / f"{field}.npy").open("wb") as file:
            _write_npy(file, values, headers.get(field), f"case {i}")


def _source(dataset: Any, i: int) -> tuple[str, dict[str, Any]] | None:
    if "source_json" not in dataset.variables or "source_layout" not in dataset.variables:
        return None
    text, about = (str(dataset[k].values[i]) for k in ("source_json", "source_layout"))
    if not text or not about:
        return None
    try:
        found = json.loads(about)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FileFormatError(f"export: 'source_layout' of case {i} is not as expected")
    return text, found


def _describe(dataset: Any, layout: Layout, i: int, rows: slice) -> str:
    """The case.json of a case that was not imported."""
    for name in schema.input_names(dataset):
        if _inputs.of_case(dataset, name, i) is not None:
            raise InputError(
                f"export: case {i} has the input {name!r}, which this layout cannot hold; choose others "
                "by --subset (subset= in Python)"
            )
    content = {key: float(dataset[name].values[i]) for key, (name, _) in layout.keys.items()}
    times = np.asarray(dataset["time"].values[rows])
    steps = np.diff(times)
    if steps.size and not np.allclose(steps, steps[0], rtol=1e-6, atol=0):
        raise InputError(f"export: the times of case {i} are not evenly spaced, which this layout cannot hold")
    content["time_step"] = float((times[-1] - times[0]) / steps.size) if steps.size else layout.time_step
    content["first_time"] = float(times[0])
    return json.dumps(content)


def _write_npy(file: Any, values: np.ndarray, header: Any, where: str) -> None:
    if header is None:
        np.lib.format.write_array(file, values, allow_pickle=False)
        return
    raw = str(header).encode("latin-1", "replace")
    try:
        buffer = io.BytesIO(raw)
        version = np.lib.format.read_magic(buffer)
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(buffer, max_header_size=10_000)
    except (ValueError, SyntaxError):
        raise FileFormatError(f"export: 'source_layout' of {where} holds no array header") from None
    if tuple(shape) != values.shape or dtype.kind != "f" or buffer.tell() != len(raw):
        raise FileFormatError(f"export: 'source_layout' of {where} is of shape {shape}, expected {values.shape}")
    file.write(raw)
    file.write(values.astype(dtype).tobytes(order="F" if fortran else "C"))
