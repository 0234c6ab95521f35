"""Long generation: one small file for each finished case, joined at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciml.data import _files, _write
from sciml.data._open import open as _open
from sciml.data._pack import concat, single
from sciml.data._solution import VOLATILE
from sciml.data.schema import flag_names
from sciml.errors import InputError


class ShardWriter:
    """Keeps finished cases in `<out>.shards/`, so that an interrupted run goes on where it stopped.

    Every shard is written atomically; `merge` joins them in the order of their numbers, so that the result has the same
    bytes whatever the order, the number of processes and the interruptions. Several processes may write at once.

    Args:
        out: the file to make in the end.
        identity: what the run is (settings, seed, list of cases) as JSON values. Shards of another run are refused, so
            that a changed command never mixes its cases with old ones.
        dtype: type to store fields in; None keeps the solutions' own.
        fields: which fields to keep; all by default.

    Raises:
        InputError: the folder cannot be made, or holds shards of another run.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        identity: Any = None,
        dtype: str | None = "float32",
        fields: Any = None,
    ) -> None:
        self.out = Path(_files.given(out, "out"))
        self.folder = Path(f"{self.out}.shards")
        self.dtype, self.fields = dtype, fields
        _files.require_name(_files.absolute(out, "out"), ".shards")
        if not os.path.isdir(self.out.parent):
            raise InputError(f"{self.out}: the folder {str(self.out.parent)!r} does not exist")
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot make this folder: {_files.reason(error)}") from None
        marker = self.folder / "run.json"
        told = json.dumps(identity, sort_keys=True)
        if marker.exists():
            if json.dumps(json.loads(marker.read_text(encoding="utf-8")), sort_keys=True) != told:
                raise InputError(
                    f"{self.folder}: holds cases of a run with other settings; remove it or choose another file"
                )
        else:
            _files.write_json(marker, identity)

    def path(self, i: int) -> Path:
        return self.folder / f"case_{int(i):07d}.h5"

    def done(self, i: int) -> bool:
        """Whether case i is finished."""
        return self.path(i).exists()

    def write(self, i: int, solution: Any, volatile: Mapping[str, Any] | None = None) -> None:
        """Store the solution of case i; `volatile` facts (wall time) end up in the side-car of the merged file."""
        facts = {k: solution.attrs[k] for k in VOLATILE if k in solution.attrs} | dict(volatile or {})
        _files.write_json(_files.side_car(self.path(i)), facts)  # first, so that a shard never lacks its facts
        part = single(solution, self.dtype, self.fields)
        with _files.replacing(self.path(i)) as temporary:
            _write._write_hdf5(part, temporary, None)

    def numbers(self) -> list[int]:
        """The finished cases."""
        return sorted(int(p.stem.split("_")[1]) for p in self.folder.glob("case_*.h5"))

    def merge(
        self,
        splits: Any = None,
        attrs: Mapping[str, Any] | None = None,
        count: int | None = None,
        named_splits: Any = None,
    ) -> Path:
        """Join the shards into the file, then remove them.

        Args:
            splits: as for `sciml.data.pack`, or a function of the list of subsets (one for each case).
            attrs: further root attributes.
            named_splits: further splits by name, as for `sciml.data.pack`, or such a function.
            count: how many cases there must be; None takes those that are there.

        Raises:
            InputError: no shard, or a missing one; the shards are kept then.
        """
        numbers = self.numbers()
        wanted = numbers if count is None else list(range(count))
        missing = sorted(set(wanted) - set(numbers))
        if missing or not wanted:
            raise InputError(f"{self.folder}: case {missing[0] if missing else 0} is not finished")
        parts = [_open(self.path(i)) for i in wanted]
        subsets = [str(flag_names(part["subset"])[0]) for part in parts]
        splits = splits(subsets) if callable(splits) else splits
        named_splits = named_splits(subsets) if callable(named_splits) else named_splits
        facts = [json.loads(_files.side_car(self.path(i)).read_text(encoding="utf-8")) for i in wanted]
        keys = sorted({k for f in facts for k in f})
        joined = concat(parts, splits, attrs, named_splits)
        _write.write(joined, self.out, volatile={k: [f.get(k) for f in facts] for k in keys})
        for part in parts:
            part.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.out
