"""What the process that reads foreign files does when it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sciml.data.importers._checked import Checked
from sciml.data.importers._layout import Cases, Layout, Recognised, Whole
from sciml.data.importers._mapping import Plan, toml
from sciml.data.importers._source import Source
from sciml.data.importers._table import LAYOUTS, get
from sciml.errors import FileFormatError, InputError

GROUP_BYTES, GROUP_CASES = 128 << 20, 256  # of one file that is joined with others in the end

Step = Callable[[int, int], None]


def prepare() -> None:
    """Import what does things at its import that a reader may not do, such as asking another program what machine this
    is."""
    import dask.array  # noqa: F401
    import h5py  # noqa: F401
    import xarray  # noqa: F401

    from sciml.data import probe

    probe.start()  # data sets of this package are opened through it, and no program is started later


def answer(request: dict[str, Any], step: Step) -> Any:
    """JSON values."""
    source = Source(request["source"])
    if request["do"] == "recognise":
        found = recognised(source)
        return None if found is None else asdict(found)
    plan = Plan.from_json(request.get("plan") or {})
    layout, found = chosen(source, request.get("layout") or plan.layout)
    if request["do"] == "draft":
        made, remarks = layout.draft(source)
        return {"recognised": asdict(found), "toml": toml({"layout": layout.name} | made.to_json(), remarks)}
    for name in plan.options:
        if name not in layout.options:
            from sciml.errors import suggest

            raise InputError(f"options: {layout.name} takes no {name!r}{suggest(name, layout.options)}")
    if found.needs and not request.get("plan"):
        raise InputError(f"{source.root}: {found.title}: {found.needs}")
    folder = Path(request["folder"])
    if isinstance(layout, Whole):
        notes = [*layout.write(source, plan, folder / "whole.h5", int(request["seed"])), *source.left]
        return {"layout": layout.name, "title": found.title, "whole": True, "notes": notes}
    assert isinstance(layout, Cases)
    return {"layout": layout.name, "title": found.title, "whole": False} | _written(layout, source, plan, folder, step)


def recognised(source: Source) -> Recognised | None:
    """The likeliest layout of a source."""
    best: Recognised | None = None
    for name in LAYOUTS:
        found = get(name).recognise(source)
        if found is not None and (best is None or found.certainty > best.certainty):
            best = found
    return best


def chosen(source: Source, name: str) -> tuple[Layout, Recognised]:
    """The layout by its name, or the one that is recognised.

    Raises:
        InputError: none.
    """
    if name:
        layout = get(name)
        return layout, layout.recognise(source) or Recognised(name, layout.title, certainty=0)
    found = recognised(source)
    if found is None:
        raise FileFormatError(f"{source.root}: {_unknown(source)}")
    return get(found.layout), found


def _unknown(source: Source) -> str:
    """What can be said of a source that no layout takes."""
    if not source.names and source.left:
        return source.left[0]
    if not source.names:
        return "the folder is empty, or holds hidden files alone"
    archives = [n for n in source.names if source.signature(n) in UNPACK]
    if archives:
        kind = source.signature(archives[0])
        name = source.path("" if not source.is_folder else archives[0])
        return f"{archives[0]} is a {kind} archive; unpack it ({UNPACK[kind].format(name)}) and give the folder"
    if source.size(source.names[0] if source.is_folder else "") == 0 and len(source.names) == 1:
        return "the file is empty"
    for n in source.names[:500]:
        if way := WAYS.get(source.signature(n)):
            return f"{n} is {way.format(n.rpartition('/')[2].rpartition('.')[0])}"
    kinds: dict[str, int] = {}
    for n in source.names[:500]:
        kind = source.signature(n) or (f"*.{n.rsplit('.', 1)[-1]}" if "." in n.rsplit("/", 1)[-1] else "no ending")
        kinds[kind] = kinds.get(kind, 0) + 1
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda k: -k[1])[:5])
    return (
        f"no known layout: it holds {told}; known are {', '.join(LAYOUTS)} (force one by its name, or convert the "
        "fields to .npy arrays and describe these: sciml import --explain)"
    )


WAYS = {
    "Office": "a document of an office program (Excel?); save its sheets as CSV",
    "OpenDocument": "a document of an office program; save its sheets as CSV",
    "PyTorch": "PyTorch's, a pickle, which is not read; np.save('{}.npy', tensor.numpy()) for each tensor",
    "pickle": "a pickle, which is not read; np.save('{}.npy', array) for each array",
    "Parquet": "Parquet, which is not read; pandas.read_parquet(file).to_csv('{}.csv', index=False)",
    "Arrow": "Arrow, which is not read; pandas.read_feather(file).to_csv('{}.csv', index=False)",
    "SQLite": "a database (SQLite), which is not read; export its table as CSV",
    "GRIB": "GRIB, which is not read; cdo -f nc4 copy file {}.nc, or xarray with cfgrib",
    "FITS": "FITS, which is not read; np.save('{}.npy', astropy.io.fits.getdata(file))",
    "Gmsh": "a mesh of Gmsh, which is not read; meshio convert file {}.vtu",
}  # fmt: skip
UNPACK = {
    "zip": "unzip {}", "tar": "tar xf {}", "gzip": "tar xzf {} or gunzip", "bzip2": "tar xjf {} or bunzip2",
    "xz": "tar xJf {} or unxz", "7-zip": "7z x {}",
}  # fmt: skip


def _written(layout: Cases, source: Source, plan: Plan, folder: Path, step: Step) -> dict[str, Any]:
    """Cases in files of groups, and what their file as a whole needs to know."""
    from sciml.data import splits as splits_
    from sciml.data._pack import pack
    from sciml.data._write import write

    reading = layout.read(source, plan)
    checked = Checked(reading.problem)
    group: list[Any] = []
    splits: list[str] = []
    subsets: list[str] = []
    sums: dict[str, int] = {}
    repeats: list[tuple[int, int]] = []
    size = number = 0

    def flush() -> None:
        nonlocal group, size, number
        if group:
            write(pack(group, dtype=None), folder / f"group_{number:06d}.h5")
            group, size, number = [], 0, number + 1

    for k, raw in enumerate(reading.cases):
        solution = checked.solution(raw, k)
        splits.append(raw.split)
        subsets.append(raw.subset or "all")
        sum_ = _sum(solution)
        if sum_ in sums:
            repeats.append((sums[sum_], k))
        sums.setdefault(sum_, k)
        group.append(solution)
        size += solution.nbytes
        if size >= GROUP_BYTES or len(group) >= GROUP_CASES:
            flush()
        step(k + 1, reading.count)
    flush()
    if not splits:
        raise FileFormatError(f"{source.root}: {layout.title}: holds no case")
    notes = [*source.left, *reading.notes, *checked.notes()]
    if repeats:
        notes.append(splits_.repeated(repeats))
    return {
        "groups": number, "splits": splits, "subsets": subsets, "repeats": repeats, "notes": notes,
        "attrs": {"imported": layout.name} | dict(reading.attrs),
    }  # fmt: skip


def _sum(solution: Any) -> str:
    """A checksum of the values of a case; labels and attributes do not count, parameters do."""
    found = hashlib.sha256(str(sorted(_parameters(solution).items())).encode())
    for name in sorted(map(str, solution.variables)):
        values = np.ascontiguousarray(solution[name].values)
        if values.dtype.kind in "fiub":
            found.update(f"{name}|{values.dtype}|{values.shape}".encode() + values.tobytes())
    return found.hexdigest()


def _parameters(solution: Any) -> dict[str, Any]:
    import json

    return json.loads(solution.attrs.get("case_json", "{}")).get("parameters", {})
