"""Data sets as things to work with: choose from one, join several, split anew. What is lazy stays so, and files are
written piece by piece, so that data larger than memory pass."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.data import _files, _where, schema, splits
from sciml.data._content import opened, split_of, subset_of
from sciml.data._manifest import Manifest
from sciml.data._open import open as _open
from sciml.data._pack import concat
from sciml.data._take import MADE_FROM, subsets, take
from sciml.data._write import write
from sciml.errors import InputError, is_whole, suggest

Data = str | os.PathLike[str] | xr.Dataset


def select(
    data: Data,
    cases: int | slice | Sequence[int] | None = None,
    *,
    subset: str | Sequence[str] | None = None,
    split: str | Sequence[str] | None = None,
    where: str | None = None,
    fields: Sequence[str] | None = None,
    frames: int | slice | Sequence[int] | None = None,
    times: tuple[float | None, float | None] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """A part of a data set: the cases for which all that is given holds, with some of their frames and fields.

    Args:
        data: a file, or a packed data set.
        cases: numbers of cases, each once, in the order wanted (negative ones count from the end); a slice.
        subset: names of subsets.
        split: names of splits, "train" or "fold_1/train".
        where: a condition on parameters, such as "viscosity > 0.01 and 1 <= lid_velocity < 2"; `frames` and `case` are
            numbers, too.
        fields: names of the fields to keep, in the order of the data set.
        frames: numbers of frames within every case (negative ones count from its end); those that a case lacks are
            refused. A slice takes what is there.
        times: first and last time, both included, in the unit of the data; None for an open end.
        out: a file to write; it may be the one that is read.
        progress: whether to show a bar while it is written.

    Returns:
        The packed data set, lazy where `data` is; with `out`, the file, opened.

    Raises:
        InputError: names or numbers that there are not, or a choice that leaves no case or no frame.
    """
    with _sources([data]) as (dataset,):
        chosen = _cases(dataset, cases)
        keep = np.ones(dataset.sizes["case"], bool)
        for what, names in (("subset", subset), ("split", split)):
            keep &= _named(dataset, what, names)
        if where is not None:
            keep &= _where.holds(where, numbers(dataset))
        chosen = chosen[keep[chosen]]
        if not len(chosen):
            raise InputError("select: no case is left; expected a choice that some case meets")
        found = take(dataset, chosen, _frames(dataset, chosen, frames, times))
        return _made(found if fields is None else _fields(found, fields), out, progress)


def merge(
    datas: Sequence[Data],
    *,
    names: Sequence[str] | None = None,
    fractions: Sequence[float] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Join data sets of one problem, case after case.

    Splits are kept; all cases of a data set without one count as "train" where others have one. Subsets are kept, too.

    Args:
        datas: files or packed data sets.
        names: of the sources, by which their subsets are then called: "lab", or "lab_bc" for the subset bc of lab.
        fractions: shares of train, validation and test, to split all cases anew with `seed`; named splits (folds) are
            dropped then.
        out: a file to write.
        progress: whether to show a bar while it is written.

    Returns:
        The packed data set, lazy where the sources are; with `out`, the file, opened.

    Raises:
        InputError: data sets that differ in problem, fields, parameters, units, or shape of the grid.
    """
    if isinstance(datas, str | os.PathLike | xr.Dataset) or not len(datas):
        raise InputError("datas: expected several files or data sets")
    if names is not None and (isinstance(names, str) or len(set(names)) < len(names) or len(names) != len(datas)):
        raise InputError(f"names: expected {len(datas)} different names, one for each source, got {names!r}")
    for name in names or ():
        if not schema.NAME.match(name):
            raise InputError(f"names: {name!r:.60} cannot be the name of a subset: expected letters, digits and _")
    with _sources(datas) as parts:
        where = [str(p.encoding.get("source", f"data set {k}")) for k, p in enumerate(parts)]
        parts = _alike(parts, where)
        if names is not None:
            parts = [_named_by_source(p, n) for p, n in zip(parts, names, strict=True)]
        parts = _split_alike(parts, where) if fractions is None else [_unsplit(p) for p in parts]
        joined = concat([_without(p, MADE_FROM) for p in parts])
        if fractions is not None:
            joined = _with_splits(joined, {"split": splits.by_case(subset_of(joined), fractions, seed)})
        return _made(joined, out, progress)


def split(
    data: Data,
    fractions: Sequence[float] | None = None,
    *,
    by: str | Sequence[str] | None = None,
    folds: int | None = None,
    manifest: Manifest | str | os.PathLike[str] | None = None,
    seed: int = 0,
    stratify: bool = True,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Split a data set anew, by case.

    Args:
        data: a file, or a packed data set.
        fractions: shares of train, validation and test, see `sciml.data.splits.by_case`; (0.8, 0.1, 0.1) if nothing
            else is given.
        by: parameters, or "subset": cases that agree in all of these stay together, and shares are of such groups.
        folds: instead, so many folds of a cross-validation, as named splits "fold_0", ...; the split stays.
        manifest: instead, the splits that a manifest (or its file) names, for the same cases wherever they come from.
            Cases that it does not name are "unused", with a warning.
        seed: of the shuffle.
        stratify: whether every subset is split in equal shares.
        out: a file to write; it may be the one that is read.
        progress: whether to show a bar while it is written.

    Returns:
        The packed data set, lazy where `data` is; with `out`, the file, opened.

    Raises:
        InputError: arguments that do not go together or do not fit the data; cases of the manifest that are missing.
    """
    if sum(given is not None for given in (fractions, folds, manifest)) > 1:
        raise InputError("split: expected one of fractions, folds and manifest, got several")
    with _sources([data]) as (dataset,):
        if manifest is not None:
            if by is not None:
                raise InputError("by: a manifest says for every case where it belongs, so nothing groups them")
            known = manifest if isinstance(manifest, Manifest) else Manifest.load(manifest)
            return _made(_with_splits(dataset, known.assign(dataset)), out, progress)
        part_of = subset_of(dataset) if stratify else ["all"] * dataset.sizes["case"]
        group = np.arange(len(part_of))
        if by is not None:
            group, part_of = _groups(dataset, [by] if isinstance(by, str) else list(by), part_of)
        if folds is not None:
            made = {f"split_{name}": each[group] for name, each in splits.folds(part_of, folds, seed).items()}
            stale = [str(v) for v in dataset.variables if str(v).startswith("split_fold_")]
            return _made(_with_splits(dataset.drop_vars(stale), made), out, progress)
        shares = (0.8, 0.1, 0.1) if fractions is None else fractions
        return _made(_with_splits(dataset, {"split": splits.by_case(part_of, shares, seed)[group]}), out, progress)


def numbers(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """What conditions on cases are about: parameters, the number of frames, the number of the case."""
    found = {n: np.asarray(dataset[n].values) for n in schema.parameter_names(dataset)}
    count = np.asarray(dataset["row_size"].values)
    return {"frames": count, "case": np.arange(len(count))} | found


@contextlib.contextmanager
def _sources(datas: Sequence[Data]) -> Iterator[list[xr.Dataset]]:
    """The data sets; files that were opened here are closed where something goes wrong."""
    found: list[xr.Dataset] = []
    try:
        for data in datas:
            found.append(opened(data))
        yield found
    except BaseException:
        for data, dataset in zip(datas, found, strict=False):
            if dataset is not data:
                dataset.close()
        raise


def _made(dataset: xr.Dataset, out: str | os.PathLike[str] | None, progress: bool) -> xr.Dataset:
    if out is None:
        return dataset
    write(dataset, out, progress=progress)
    return _open(_files.absolute(out, "out"))


def _cases(dataset: xr.Dataset, cases: Any) -> np.ndarray:
    count = dataset.sizes["case"]
    if cases is None or isinstance(cases, slice):
        return np.arange(count)[slice(None) if cases is None else cases]
    found = _whole("cases", [cases] if is_whole(cases) else cases, count, "cases")
    if len(set(found.tolist())) < len(found):
        raise InputError("cases: a case is asked for twice; expected each once")
    return found


def _whole(what: str, given: Any, count: int, kind: str) -> np.ndarray:
    """Numbers from 0 on, of which negative ones were counted from the end."""
    values = np.asarray(list(given) if not isinstance(given, np.ndarray) else given)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise InputError(f"{what}: expected whole numbers, got {given!r:.80}")
    values = values.astype(np.int64)
    wrong = values[(values < -count) | (values >= count)]
    if wrong.size:
        raise InputError(f"{what}: {wrong[0]} is not among the {count} {kind}, expected {-count} to {count - 1}")
    return np.where(values < 0, values + count, values)


def _named(dataset: xr.Dataset, what: str, names: Any) -> np.ndarray:
    """Which cases are of these subsets or splits."""
    count = dataset.sizes["case"]
    if names is None:
        return np.ones(count, bool)
    keep = np.zeros(count, bool)
    for name in [names] if isinstance(names, str) else names:
        which, _, part = str(name).rpartition("/") if what == "split" else ("", "", str(name))
        variable = f"split_{which}" if which else what
        if which and variable not in dataset.variables:
            known = [str(v).removeprefix("split_") for v in dataset.variables if str(v).startswith("split_")]
            raise InputError(f"split: the data set has no split {which!r}{suggest(which, known)}")
        if what == "subset":
            mine, known = subset_of(dataset), sorted(set(subset_of(dataset)))
        else:
            mine, known = split_of(dataset, variable), list(schema.SPLITS)
        if part not in known:
            raise InputError(f"{what}: no {what} is called {part!r}{suggest(part, known)}")
        keep |= np.asarray(mine) == part
    return keep


def _frames(dataset: xr.Dataset, chosen: np.ndarray, frames: Any, times: Any) -> list[np.ndarray] | None:
    """Frames to keep of each case; None for all."""
    if frames is None and times is None:
        return None
    count = np.asarray(dataset["row_size"].values, dtype=np.int64)
    low, high = _ends(times)
    if times is not None and "time" not in dataset.variables:
        raise InputError("times: the data are steady, so they have none")
    begin = schema.starts(count)
    found = []
    for i, n in zip(chosen.tolist(), count[chosen].tolist(), strict=True):
        if frames is None or isinstance(frames, slice):
            mine = np.sort(np.arange(n)[slice(None) if frames is None else frames])
        else:
            mine = np.unique(_whole(f"frames of case {i}", [frames] if is_whole(frames) else frames, n, "frames"))
        if times is not None:
            clock = np.asarray(dataset["time"].values[begin[i] : begin[i + 1]], dtype=np.float64)
            slack = 1e-6 * float(np.abs(clock).max(initial=0.0))  # ends are typed in fewer digits than times have
            mine = mine[(clock[mine] >= low - slack) & (clock[mine] <= high + slack)]
        if not len(mine) and n:
            raise InputError(
                f"frames, times: nothing is left of case {i}; expected a choice that keeps a frame of each"
            )
        found.append(mine)
    return found


def _ends(times: Any) -> tuple[float, float]:
    try:
        low, high = (None, None) if times is None else times
        low, high = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    except (TypeError, ValueError):
        raise InputError(f"times: expected the first and the last one, got {times!r:.80}") from None
    if not low <= high:
        raise InputError(f"times: expected the first one not to be after the last, got {times!r:.80}")
    return low, high


def _fields(dataset: xr.Dataset, fields: Sequence[str]) -> xr.Dataset:
    known = schema.field_names(dataset)
    wanted = [fields] if isinstance(fields, str) else list(fields)
    for name in wanted:
        if name not in known:
            raise InputError(f"fields: the data set has no field {name!r}{suggest(name, known)}")
    kept = [n for n in known if n in wanted]
    if not kept:
        raise InputError(f"fields: expected some of {', '.join(known)}, got none")
    problem = schema.known_problem(str(dataset.attrs["problem"]))
    for spec in () if problem is None or "imported" in dataset.attrs else problem.fields:
        if spec.role == "state" and spec.name in known and spec.name not in kept:
            name = dataset.attrs["problem"]
            raise InputError(f"fields: {spec.name!r} is a state of {name}, which its data sets always hold")
    attrs = dict(dataset.attrs) | {"fields": " ".join(kept)}
    if "problem_json" in attrs:
        told = json.loads(str(attrs["problem_json"]))
        told["fields"] = [f for f in told["fields"] if f["name"] in kept]
        told["velocity"] = told.get("velocity", []) if set(told.get("velocity", [])) <= set(kept) else []
        told.pop("observed", None)
        attrs["problem_json"] = json.dumps(told, sort_keys=True)
    gone = dataset.drop_vars([n for n in known if n not in kept])
    for dim in {str(d) for n in known for d in dataset[n].dims[1:]} - {str(d) for n in kept for d in dataset[n].dims}:
        gone = gone.drop_vars(f"{dim}_coordinate", errors="ignore")
    return gone.assign_attrs(attrs)


def _without(dataset: xr.Dataset, attrs: Sequence[str]) -> xr.Dataset:
    if not any(k in dataset.attrs for k in attrs):
        return dataset
    made = dataset.copy(deep=False)
    made.attrs = {k: v for k, v in dataset.attrs.items() if k not in attrs}
    return made


def _with_splits(dataset: xr.Dataset, given: dict[str, Any]) -> xr.Dataset:
    made = _without(dataset, MADE_FROM).drop_vars("sha256", errors="ignore")
    new = {}
    for name, each in given.items():
        chosen = splits.names(each, dataset.sizes["case"])
        if chosen is not None:
            new[name] = (("case",), splits.codes(chosen), schema.flag_attrs(schema.SPLITS, f"{name}, by case"))
    return made.assign(new)


def _groups(dataset: xr.Dataset, by: Sequence[str], part_of: list[str]) -> tuple[np.ndarray, list[str]]:
    """(group of each case, subset of each group)."""
    known = [*schema.parameter_names(dataset), "subset"]
    columns = []
    for name in by:
        if name not in known:
            raise InputError(f"by: no parameter is called {name!r}{suggest(name, known)}")
        values = np.asarray(subset_of(dataset)) if name == "subset" else np.asarray(dataset[name].values)
        columns.append(np.unique(values, return_inverse=True)[1])
    _, first, group = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise InputError(f"by: all cases agree in {', '.join(by)}; expected what tells some of them apart")
    group = group.reshape(-1)
    mixed = [len({part_of[i] for i in np.flatnonzero(group == g).tolist()}) > 1 for g in range(len(first))]
    apart = "subset" not in by and not any(mixed)
    return group, [part_of[i] if apart else "all" for i in first.tolist()]


def _alike(parts: list[xr.Dataset], where: list[str]) -> list[xr.Dataset]:
    """The data sets with one description of their problem.

    Raises:
        InputError: they are of different problems, fields, parameters, units or kinds of grid.
    """
    for k, part in enumerate(parts[1:], 1):
        for what, of in _COMPARED.items():
            mine, its = of(parts[0]), of(part)
            if mine != its:
                raise InputError(f"merge: {what} differ{_difference(mine, its)} in {where[0]} and {where[k]}")
    order = parts[0].attrs["parameters"]
    parts = [p if p.attrs["parameters"] == order else p.assign_attrs(parameters=order) for p in parts]
    told = [p.attrs.get("problem_json") for p in parts]
    if any(t != told[0] for t in told):
        if None in told:
            raise InputError(f"merge: {where[told.index(None)]} does not describe its problem as the others do")
        one = _one_problem([json.loads(str(t)) for t in told])
        parts = [p.assign_attrs(problem_json=one) for p in parts]
    return parts


def _difference(mine: Any, its: Any) -> str:
    if isinstance(mine, dict):
        name = next(n for n in sorted({*mine, *its}) if mine.get(n) != its.get(n))
        return f" for {name!r}: {mine.get(name, 'none')!r} and {its.get(name, 'none')!r}"
    return f": {mine!r} and {its!r}"


def _units(part: xr.Dataset) -> dict[str, str]:
    named = [*schema.field_names(part), *schema.parameter_names(part), "time", "x_min", "x"]
    found = {n: str(part[n].attrs.get("units", "1")) or "1" for n in named if n in part.variables}
    return {"positions" if n in ("x_min", "x") else n: unit for n, unit in found.items()}


def _grids(part: xr.Dataset) -> dict[str, Any]:
    found = {n: dict(zip(map(str, part[n].dims[1:]), part[n].shape[1:], strict=True)) for n in schema.field_names(part)}
    return found | {"values": "on nodes" if "node_row_size" in part.variables else "on a grid"}


#: what data sets must agree in, from the coarsest difference on
_COMPARED: dict[str, Callable[[xr.Dataset], Any]] = {
    "problems": lambda part: str(part.attrs.get("problem")),
    "fields": lambda part: " ".join(sorted(schema.field_names(part))),
    "parameters": lambda part: " ".join(sorted(schema.parameter_names(part))),
    "kinds of data": lambda part: "in time" if "time" in part.variables else "steady",
    "units": _units,
    "grids": _grids,
}


def _one_problem(told: list[dict[str, Any]]) -> str:
    """The description that holds for all: ranges that take in all ranges, nothing observed."""
    one = dict(told[0])
    one.pop("observed", None)
    parameters = []
    for spec in one.get("parameters", []):
        alike = [next(p for p in t["parameters"] if p["name"] == spec["name"]) for t in told]
        made = dict(spec)
        for end, widest in (("minimum", min), ("maximum", max)):
            made.pop(end, None)
            if all(end in p for p in alike):
                made[end] = widest(p[end] for p in alike)
        parameters.append(made)
    known = {s["name"]: s for t in reversed(told) for s in t.get("inputs", [])}
    one |= {"parameters": parameters, "inputs": list(known.values())}
    for key in ("dimensions", "steady", "periodic", "length_unit", "time_unit"):
        if any(t.get(key) != one.get(key) for t in told):
            other = next(t.get(key) for t in told if t.get(key) != one.get(key))
            raise InputError(f"merge: {key.replace('_', ' ')} differs: {one.get(key)!r} and {other!r}")
    return json.dumps(one, sort_keys=True)


def _named_by_source(part: xr.Dataset, name: str) -> xr.Dataset:
    words = [name if s == "all" else f"{name}_{s}" for s in subset_of(part)]
    note = part["subset"].attrs if "subset" in part.variables else {}
    new: dict[str, Any] = {"subset": subsets(np.asarray(words), note)}
    if "case_json" in part.variables:
        texts = [json.loads(str(t)) | {"subset": w} for t, w in zip(part["case_json"].values, words, strict=True)]
        told = np.array([json.dumps(t, sort_keys=True) for t in texts])
        new["case_json"] = xr.Variable(("case",), told, part["case_json"].attrs, {"dtype": "S1"})
    return part.assign(new)


def _unsplit(part: xr.Dataset) -> xr.Dataset:
    return part.drop_vars([str(v) for v in part.variables if str(v) == "split" or str(v).startswith("split_")])


def _split_alike(parts: list[xr.Dataset], where: list[str]) -> list[xr.Dataset]:
    """All with a split where one has it; named splits only where all have them."""
    if any("split" in p.variables for p in parts):
        parts = [
            p if "split" in p.variables else _with_splits(p, {"split": ["train"] * p.sizes["case"]}) for p in parts
        ]
    named = {str(v) for p in parts for v in p.variables if str(v).startswith("split_")}
    for name in sorted(named):
        lacking = [w for p, w in zip(parts, where, strict=True) if name not in p.variables]
        if lacking:
            warnings.warn(
                f"merge: split {name.removeprefix('split_')!r} is dropped, as {lacking[0]} has none", stacklevel=3
            )
            parts = [p.drop_vars(name, errors="ignore") for p in parts]
    return parts
