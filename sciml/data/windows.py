"""Windows of consecutive frames, read at random from a data-set file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.data import schema
from sciml.data._decoded import Decoded
from sciml.data._files import absolute
from sciml.data._store import Stored, handle
from sciml.errors import InputError, is_whole, suggest

F32 = np.dtype("<f4")


class InMemory:
    """An array in memory with the reading interface of `Stored`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def rows(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]

    def row_layout(self) -> None:
        return None


class Windows:
    """Windows of `history` + `horizon` frames, `step` frames apart, whose first frames are `stride` frames apart:

        window w of a case: frames s, s + step, ..., s + (history + horizon − 1) · step,    s = w · stride,

    for every w such that the last frame is within the case. Windows are numbered case after case. Nothing but the index
    is kept in memory; values are read by offset when asked for. Instances are small, picklable, and read from any
    process without h5py, xarray or torch.

    Args:
        path: a data-set file, or what `sciml.data.open` or `sciml.data.pack` returned.
        split: "train", "validation", "test", or None for all cases; of a named split such as a fold of a
            cross-validation "fold_0/train".
        fields: which fields, in which order; by default all that share the grid of the first.
        history: frames in `state`; default 1, or 0 for steady sets.
        horizon: frames in `target`.
        stride, step: see above.
        subset: only cases of this subset (a name or several).
        inputs: names of static input fields to give beside the state, for instance ("permeability",).
        cases: numbers of the cases, in place of `split` and `subset`.
        early: whether windows may reach back beyond the beginning of a case, whose first frame then stands in: s runs
            from −(history − 1) · step.

    Raises:
        InputError: an unknown name, a number out of range, or no window at all.
    """

    def __init__(
        self,
        path: Any,
        split: str | None = "train",
        fields: Sequence[str] | None = None,
        history: int | None = None,
        horizon: int = 1,
        stride: int = 1,
        step: int = 1,
        subset: str | Sequence[str] | None = None,
        inputs: Sequence[str] = (),
        cases: Sequence[int] | np.ndarray | None = None,
        early: bool = False,
    ) -> None:
        dataset, stored = _source(path)
        self.path = str(dataset.encoding.get("source", "data set"))
        self.steady = "time" not in dataset.variables
        history = (0 if self.steady else 1) if history is None else history
        for name, value, least in (
            ("history", history, 0), ("horizon", horizon, 1), ("stride", stride, 1), ("step", step, 1)
        ):  # fmt: skip
            if not is_whole(value) or value < least:
                raise InputError(f"{name}: expected an integer >= {least}, got {value!r}")
        self.history, self.horizon, self.stride, self.step = int(history), int(horizon), int(stride), int(step)
        self.fields = _fields(dataset, fields)
        self.inputs = tuple(inputs)
        self._fields = [stored[n] for n in self.fields]
        self._inputs = [_input(dataset, stored, n, self._fields[0].shape[1:]) for n in self.inputs]
        self.space: tuple[int, ...] = tuple(int(n) for n in self._fields[0].shape[1:])
        self.space_dims: tuple[str, ...] = tuple(str(d) for d in dataset[self.fields[0]].dims[1:])
        self._times = None if self.steady else np.asarray(dataset["time"].values, dtype=np.float64)
        self._mask = stored["mask"] if "mask" in dataset.variables else None
        if self._mask is not None and self._mask.shape[1:] != self.space:
            self._mask = None
        rows = np.asarray(dataset["row_size"].values, dtype=np.int64)
        self.cases = _select(dataset, split, subset) if cases is None else np.asarray(cases, dtype=np.int64)
        self._starts = schema.starts(rows)[self.cases]
        self.frames = self.history + self.horizon
        self._lead = max(self.history - 1, 0) * self.step if early else 0
        span = (self.frames - 1) * self.step + 1 - self._lead
        self.counts = np.maximum((rows[self.cases] - span) // self.stride + 1, 0)
        self._firsts = schema.starts(self.counts)
        if len(self) == 0:
            longest = int(rows[self.cases].max(initial=0))
            raise InputError(f"windows: {span} frames are needed, but the longest case of this split has {longest}")
        layouts = [_plain_rows(f) for f in self._fields]
        self._bases = None if any(b is None for b in layouts) else layouts

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __repr__(self) -> str:
        return (
            f"Windows({len(self)} from {len(self.cases)} cases of {self.path!r}, fields={self.fields}, "
            f"history={self.history}, horizon={self.horizon}, stride={self.stride}, step={self.step})"
        )

    def first_of_cases(self) -> np.ndarray:
        """The number of the first window of every case that has any."""
        return np.unique(self._firsts[self._firsts < len(self)])

    def locate(self, indices: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(case, first frame within the case, first frame within the file) of windows."""
        indices = np.asarray(indices, dtype=np.int64)
        at = np.searchsorted(self._firsts, indices, side="right") - 1
        frame = (indices - self._firsts[at]) * self.stride - self._lead
        return self.cases[at], frame, self._starts[at] + frame

    def _rows(self, indices: np.ndarray) -> np.ndarray:
        """(B, history + horizon) the frames within the file that make up windows."""
        _, frame, first = self.locate(indices)
        steps = frame[:, None] + np.arange(self.frames) * self.step
        return (first - frame)[:, None] + np.maximum(steps, 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Window number `index`: dict with "state" (history, C, *space) and "target" (horizon, C, *space) in float32,
        "case" and "frame" (of its first frame, within the case), "times" (history + horizon,) in float64, and where
        there are any "mask" (*space) uint8 and "inputs" (I, *space) float32. Steady sets have times of 0."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index}, expected below {len(self)}")
        found = {k: v[0] for k, v in self.batch([index % len(self)]).items()}
        return found | {"case": int(found["case"]), "frame": int(found["frame"])}

    def batch(self, indices: Any) -> dict[str, np.ndarray]:
        """Several windows at once: as `__getitem__`, with a leading batch axis."""
        indices = np.asarray(indices, dtype=np.int64)
        values, given = self.buffers(indices.size)
        self.fill(indices, values, given)
        return self.label(indices, values, given)

    def buffers(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Arrays for the frames and the inputs of `count` windows."""
        values = np.empty((count, self.frames, len(self.fields), *self.space), F32)
        return values, np.empty((count, len(self.inputs), *self.space), F32)

    def fill(self, indices: np.ndarray, values: np.ndarray, given: np.ndarray) -> None:
        """Read windows into arrays made by `buffers`."""
        case, rows = self.locate(indices)[0], self._rows(indices).tolist()
        if self._bases is not None:
            self._fill_by_offset(rows, values)
        else:
            for b, frames in enumerate(rows):
                for c, source in enumerate(self._fields):
                    if _neighbours(frames):
                        values[b, :, c] = source.rows(frames[0], frames[0] + self.frames)
                    else:
                        for k, row in enumerate(frames):
                            values[b, k, c] = source.rows(row, row + 1)[0]
            self._require_values(indices, values)
        for c, source in enumerate(self._inputs):
            for b, i in enumerate(case.tolist()):
                given[b, c] = source.rows(i, i + 1)[0]

    def _fill_by_offset(self, rows: list[list[int]], values: np.ndarray) -> None:
        """One system call for each window and field: frames of a window are neighbours in the file, and the call
        scatters them to their places in the batch."""
        assert self._bases is not None
        view = values.reshape(-1).view(np.uint8).data
        size = self._fields[0].row_bytes()
        channels, frames, preadv = len(self._fields), self.frames, os.preadv
        skip = channels * size
        for c, (source, base) in enumerate(zip(self._fields, self._bases, strict=True)):
            held = handle(source.file)
            for b, wanted in enumerate(rows):
                at = (b * frames * channels + c) * size
                slots = [view[o : o + size] for o in range(at, at + frames * skip, skip)]
                if _neighbours(wanted):
                    if preadv(held.fd, slots, base + wanted[0] * size) == frames * size:
                        continue
                for k, row in enumerate(wanted):  # frames that are no neighbours, or a call that was cut short
                    slots[k][:] = source.rows(row, row + 1).reshape(-1).view(np.uint8).data

    def _require_values(self, indices: np.ndarray, values: np.ndarray) -> None:
        """Refuse windows with missing values, which only files have that other tools saved again."""
        for c, (name, source) in enumerate(zip(self.fields, self._fields, strict=True)):
            if isinstance(source, Decoded) and not np.isfinite(values[:, :, c]).all():
                case = self.locate(indices)[0][np.argwhere(~np.isfinite(values[:, :, c]))[0][0]]
                raise InputError(f"{self.path}: variable {name!r} has missing values in case {case}")

    def label(self, indices: np.ndarray, values: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
        """The dict of a batch from its arrays."""
        case, frame, _ = self.locate(indices)
        steps = self._rows(indices)
        times = np.zeros(steps.shape) if self._times is None else self._times[steps]
        found = {
            "state": values[:, : self.history],
            "target": values[:, self.history :],
            "case": case,
            "frame": frame,
            "times": times,
        }
        if self._mask is not None:
            found["mask"] = np.stack([self._mask.rows(int(i), int(i) + 1)[0] for i in case])
        if self.inputs:
            found["inputs"] = given
        return found


def _source(path: Any) -> tuple[Any, dict[str, Any]]:
    """A data set, and for each of its variables something with rows(start, stop)."""
    from sciml.data import _open

    if isinstance(path, str | os.PathLike):
        name = absolute(path, "windows")
        if os.path.isdir(name):
            raise InputError(f"{name}: windows are read from HDF5 files; got a folder")
        return _open.open_stored(name)
    if not hasattr(path, "variables") or not schema.is_packed(path):
        raise InputError(f"windows: expected a file or a packed data set, got {type(path).__name__}")
    lazy = [n for n in schema.field_names(path) if n in path.variables and path[n].chunks is not None]
    source = path.encoding.get("source")
    if not lazy:
        schema.check(path)
        return path, {str(n): InMemory(v.values) for n, v in path.variables.items()}
    if source is None or not os.path.isfile(source):
        raise InputError("windows: this data set is lazy and comes from no HDF5 file; write it first")
    dataset, stored = _open.open_stored(source)
    named = [n for n in map(str, (*path.variables, *dataset.variables)) if n.startswith("split_")]
    for name in ("row_size", "time", "split", "subset", *named):
        if (name in path.variables) != (name in dataset.variables) or (
            name in path.variables and not np.array_equal(path[name].values, dataset[name].values)
        ):
            raise InputError(f"windows: {name!r} of this data set differs from that in {source!r}; write it first")
    return dataset, stored


def _fields(dataset: Any, fields: Sequence[str] | None) -> tuple[str, ...]:
    known = schema.field_names(dataset)
    if "node_row_size" in dataset.variables:
        raise InputError("windows: this data set holds nodes, and windows are for grids")
    if fields is None:
        dims = dataset[known[0]].dims
        fields = [n for n in known if dataset[n].dims == dims and not n.endswith(schema.DERIVED)]
    fields = tuple([fields] if isinstance(fields, str) else fields)
    for name in fields:
        if name not in known:
            raise InputError(f"fields: the data set has no field {name!r}{suggest(name, known)}")
        if dataset[name].dims != dataset[fields[0]].dims:
            raise InputError(f"fields: {name!r} is over {dataset[name].dims}, but {fields[0]!r} is not")
    if not fields:
        raise InputError("fields: expected at least one name")
    return fields


def _input(dataset: Any, stored: dict[str, Any], name: str, space: tuple[int, ...]) -> Any:
    known = schema.input_names(dataset)
    if name not in known:
        raise InputError(f"inputs: the data set has no input {name!r}{suggest(name, known)}")
    if schema.is_flat(dataset, name):
        raise InputError(f"inputs: {name!r} has not the same shape in all cases, expected that of the fields")
    source = stored[f"input_{name}"]
    if tuple(source.shape[1:]) != tuple(space):
        raise InputError(f"inputs: {name!r} has shape {source.shape[1:]}, expected that of the fields, {tuple(space)}")
    return source


def _select(dataset: Any, split: str | None, subset: str | Sequence[str] | None) -> np.ndarray:
    chosen = np.ones(dataset.sizes["case"], bool)
    named, _, part = (split or "").rpartition("/")
    for kind, wanted in ((f"split_{named}", part) if named else ("split", split), ("subset", subset)):
        if wanted is None:
            continue
        if kind not in dataset.variables:
            raise InputError(f"{kind}: the data set has no {kind}; expected None, got {wanted!r}")
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        known = str(dataset[kind].attrs["flag_meanings"]).split()
        for name in wanted:
            if name not in known:
                raise InputError(f"{kind}: {name!r} is not in the data set{suggest(name, known)}")
        chosen &= np.isin(schema.flag_names(dataset[kind]), wanted)
    return np.flatnonzero(chosen)


def _neighbours(rows: list[int]) -> bool:
    return rows == list(range(rows[0], rows[0] + len(rows)))


def _plain_rows(source: Any) -> int | None:
    """File offset of row 0 where rows are float32 one after another, else None."""
    if not isinstance(source, Stored) or source.dtype != F32 or source.shape[0] == 0:
        return None
    layout = source.row_layout()
    return layout[0] if layout is not None and (layout[1] == source.row_bytes() or source.shape[0] == 1) else None
