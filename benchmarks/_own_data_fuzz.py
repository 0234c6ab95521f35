"""Damaged and hostile files of all layouts that are read.

Small genuine sources of every layout are damaged: cut off, bits flipped, parts swapped, spliced and left out, counts
made huge, files removed, emptied or exchanged, links to a file outside set in their place. Each mutant, made from
(seed, number) alone, is recognised and imported in a process that is watched. What counts against the importers: the
process dies or does not come back, its helper does, an error of another kind than `InputError` or of several lines, a
file outside being opened (a watch on its folder), or its content in what was read.

A layout joins by a maker in `SAMPLES`.
"""

from __future__ import annotations

import collections
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _fuzz
from benchmarks import _own_data_samples as more
from benchmarks._fuzz import Pool, Watch, mutate_bytes
from benchmarks._ledger import Ledger

CANARY = 271828.1828459045  # what the file outside holds
SECONDS = 10.0  # patience with a helper
_COUNTS = (b"99999999999", b"-1", b"0", b"1e999", b"nan", b"18446744073709551616", b"2147483648", b"1", b"''", b"1.5")

Maker = Callable[[Path, np.random.Generator], Path]


# ---- genuine sources ------------------------------------------------------------------------------------------------


def _arrays_npz(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "flow.npz"
    np.savez(path, x=np.linspace(0, 1, 6), y=np.linspace(0, 1, 5), t=np.arange(3.0), u=rng.normal(size=(2, 3, 5, 6)),
             params=rng.random((2, 2)))  # fmt: skip
    return path


def _arrays_packed(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "mesh.npz"
    cells = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4]])
    np.savez_compressed(path, points=rng.random((5, 2)), triangles=cells, T=rng.normal(size=(3, 5)),
                        params=rng.random((3, 1)))  # fmt: skip
    return path


def _arrays_folder(folder: Path, rng: np.random.Generator) -> Path:
    root = folder / "runs"
    for k in range(2):
        place = root / f"Re={100 * (k + 1)}"
        place.mkdir(parents=True)
        np.save(place / "u.npy", np.asfortranarray(rng.normal(size=(3, 5)).astype(">f4")))
        np.save(place / "t.npy", np.arange(3.0))
        (place / "params.json").write_text(json.dumps({"nu": 0.1 * k + 0.1}))
    np.save(root / "x.npy", np.linspace(0, 1, 5))
    (root / "table.csv").write_text("case;c\nRe=100;1,5\nRe=200;2,5\n")
    return root


def _arrays_mat(folder: Path, rng: np.random.Generator) -> Path:
    import scipy.io

    path = folder / "wave.mat"
    scipy.io.savemat(path, {"x": np.linspace(0, 1, 6), "t": np.arange(4.0), "usol": rng.normal(size=(6, 4)) + 1j})
    return path


def _table(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "points.csv"
    rows = [f"{x:g};{y:g};{rng.normal():.4f}".replace(".", ",") for y in range(4) for x in range(5)]
    path.write_text("x [m];y [m];u [m/s]\n" + "\n".join(rows) + "\n")
    return path


def _table_cases(folder: Path, rng: np.random.Generator) -> Path:
    root = folder / "tables"
    root.mkdir()
    for k in range(3):
        rows = [f"{t} {x:g} {rng.normal():.5f}" for t in range(2) for x in range(4)]
        (root / f"nu_0.{k + 1}.dat").write_text("# t x u\n" + "\n".join(rows) + "\n")
    return root


def _meshgraphnets(folder: Path, rng: np.random.Generator) -> Path:
    root = folder / "mgn"
    root.mkdir()
    for k in range(2):
        np.savez(root / f"trajectory_{k}.npz", mesh_pos=rng.random((5, 2)).astype("f4"),
                 cells=np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4]], "i4"), node_type=np.array([[0], [4], [0], [6], [0]]),
                 velocity=rng.normal(size=(3, 5, 2)).astype("f4"), pressure=rng.normal(size=(3, 5, 1)))  # fmt: skip
    (root / "meta.json").write_text('{"dt": 0.01}')
    return root


def _cfdbench(folder: Path, rng: np.random.Generator) -> Path:
    root = folder / "cavity"
    for k in range(2):
        place = root / "bc" / f"case{k:04d}"
        place.mkdir(parents=True)
        for name in "uv":
            np.save(place / f"{name}.npy", rng.normal(size=(2, 4, 4)).astype("f4"))
        case = {"vel_top": 1.0 + k, "density": 1.0, "viscosity": 0.1, "height": 1.0, "width": 1.0}
        (place / "case.json").write_text(json.dumps(case))
    return root


def _deepcfd(folder: Path, rng: np.random.Generator) -> Path:
    import pickle

    root = folder / "deep"
    root.mkdir()
    given = np.ones((3, 3, 6, 5), np.float32)
    given[:, 1] = 1
    (root / "dataX.pkl").write_bytes(pickle.dumps(given, protocol=4))
    (root / "dataY.pkl").write_bytes(pickle.dumps(rng.normal(size=(3, 3, 6, 5)).astype("f4"), protocol=4))
    return root


def _comsol(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "heat.txt"
    rows = [f"{x} {y} {rng.normal():.4f} {rng.normal():.4f}" for y in range(3) for x in range(4)]
    path.write_text(
        "% Model: heat.mph\n% Version: COMSOL 6.0\n% Dimension: 2\n% Nodes: 12\n% Expressions: 2\n"
        "% x y T (K) @ t=0 T (K) @ t=1\n" + "\n".join(rows) + "\n"
    )
    return path


def _pdebench(folder: Path, rng: np.random.Generator) -> Path:
    import h5py

    path = folder / "1D_Burgers_Sols_Nu0.01.hdf5"
    with h5py.File(path, "w") as file:
        file["tensor"] = rng.normal(size=(3, 4, 8)).astype("f4")
        file["t-coordinate"] = np.arange(5.0, dtype="f4")
        file["x-coordinate"] = ((np.arange(8) + 0.5) / 8).astype("f4")
    return path


def _netcdf(folder: Path, rng: np.random.Generator) -> Path:
    import xarray as xr

    path = folder / "field.nc"
    xr.Dataset(
        {"u": (("time", "y", "x"), rng.normal(size=(3, 4, 5)))},
        {"time": np.arange(3.0), "y": np.arange(4.0), "x": np.arange(5.0)},
    ).to_netcdf(path, engine="h5netcdf")
    return path


def _netcdf3(folder: Path, rng: np.random.Generator) -> Path:
    import scipy.io

    path = folder / "old.nc"
    with scipy.io.netcdf_file(path, "w") as file:
        for name, count in (("time", 3), ("y", 4), ("x", 5)):
            file.createDimension(name, count)
            file.createVariable(name, "d", (name,))[:] = np.arange(float(count))
        file.createVariable("u", "d", ("time", "y", "x"))[:] = rng.normal(size=(3, 4, 5))
    return path


#: name -> (layout, what makes a small genuine source in a folder)
SAMPLES: dict[str, tuple[str, Maker]] = {
    "arrays_npz": ("arrays", _arrays_npz),
    "arrays_packed": ("arrays", _arrays_packed),
    "arrays_folder": ("arrays", _arrays_folder),
    "arrays_mat": ("arrays", _arrays_mat),
    "table": ("table", _table),
    "table_cases": ("table", _table_cases),
    "meshgraphnets": ("meshgraphnets", _meshgraphnets),
    "cfdbench": ("cfdbench", _cfdbench),
    "deepcfd": ("deepcfd", _deepcfd),
    "comsol": ("comsol", _comsol),
    "pdebench": ("pdebench", _pdebench),
    "netcdf": ("netcdf", _netcdf),
    "netcdf3": ("netcdf", _netcdf3),
    "vtk_series": ("vtk", more.vtk_series),
    "vtk_mesh": ("vtk", more.vtk_mesh),
    "openfoam": ("openfoam", more.openfoam),
    "ensight": ("ensight", more.ensight),
    "piv": ("piv", more.piv),
    "davis": ("piv", more.davis),
    "the_well": ("the_well", more.the_well),
    "lagrangebench": ("lagrangebench", more.lagrangebench),
}


def samples(folder: Path) -> dict[str, Path]:
    """Make all, each in a folder of its own; name -> the file or folder to import."""
    made = {}
    for k, (name, (_, maker)) in enumerate(SAMPLES.items()):
        place = folder / name
        place.mkdir(parents=True)
        made[name] = maker(place, np.random.default_rng(k))
    return made


# ---- mutants --------------------------------------------------------------------------------------------------------


def _bytes(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    data = path.read_bytes()
    if len(data) < 600:  # swaps need room
        data = data.ljust(600, b"\n" if b"\0" not in data else b"\0")
    kind, made = mutate_bytes(data, rng)
    path.write_bytes(made)
    return kind


def _splice(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    """The beginning of this file, and the end of another."""
    mine, its = path.read_bytes(), others[int(rng.integers(len(others)))].read_bytes()
    path.write_bytes(mine[: int(rng.integers(len(mine) + 1))] + its[int(rng.integers(len(its) + 1)) :])
    return "splice"


def _counts(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    """A number that is written as text, in a table or in the header of an array, becomes a telling one."""
    data = path.read_bytes()
    if not data:
        return "empty"
    places = list(re.finditer(rb"-?\d+\.?\d*", data[:4096]))
    if not places:
        return _bytes(path, rng, others, canary)
    at = places[int(rng.integers(len(places)))]
    new = _COUNTS[int(rng.integers(len(_COUNTS)))]
    if b"NUMPY" in data[:400] and rng.random() < 0.5:  # as long as before, so that the header stays whole
        new = new[: len(at[0])].ljust(len(at[0]), b"9")
    path.write_bytes(data[: at.start()] + new + data[at.end() :])
    return "count"


def _member(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    """What a well-formed .npz or .npy says: objects, records, sizes out of proportion, names that lead elsewhere."""
    if path.suffix not in (".npz", ".npy"):
        return _counts(path, rng, others, canary)
    with io.BytesIO() as raw:
        bad = [
            np.array([{"a": 1}, None], dtype=object), np.zeros(3, dtype=[("a", "f4"), ("b", "i8")]),
            np.array(["a", "b"]), np.zeros((0, 4)), np.full((3, 5), np.nan), np.zeros(3, "M8[s]"),
            np.zeros((2, 2), "f2"), np.zeros((2, 3, 5, 6), "c16"), np.zeros(1 << 18), np.array(1.0),
        ]  # fmt: skip
        np.save(raw, bad[int(rng.integers(len(bad)))], allow_pickle=True)
        content = raw.getvalue()
    if rng.random() < 0.3:
        shape = int(rng.choice([10**6, 10**9, 10**13]))
        content = content[:10] + re.sub(rb"\((\d+),", b"(%d," % shape, content[10:], count=1)
    if path.suffix == ".npy":
        path.write_bytes(content)
        return "member"
    try:
        with zipfile.ZipFile(path) as old:
            members = {n: old.read(n) for n in old.namelist()}
    except Exception:  # it was damaged before
        return _bytes(path, rng, others, canary)
    names = sorted(members)
    name = names[int(rng.integers(len(names)))]
    if rng.random() < 0.2:
        members[str(rng.choice(["../../elsewhere/canary.npy", "/etc/passwd", "a.txt", "u.npy/"]))] = content
    else:
        members[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for n, part in members.items():
            new.writestr(n, part)
    return "member"


def _link(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    """A link to a file outside in the place of a file of a folder, or beside it."""
    if path.parent.name == "source":  # who points at a link means what is behind it
        return _member(path, rng, others, canary)
    target = canary.with_suffix(path.suffix if canary.with_suffix(path.suffix).exists() else ".npy")
    if rng.random() < 0.5:
        path = path.with_name(f"more_{path.name}")
    path.unlink(missing_ok=True)
    how = rng.random()
    path.symlink_to(target if how < 0.6 else os.path.relpath(target, path.parent) if how < 0.8 else target.parent)
    return "link"


def _files(path: Path, rng: np.random.Generator, others: list[Path], canary: Path) -> str:
    """A file is removed, emptied, doubled, renamed or takes the place of another."""
    kinds = ("remove", "empty", "double", "rename", "exchange", "folder")
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind == "remove":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "double":
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    elif kind == "rename":
        path.rename(path.with_name(str(rng.choice(["x.npy", "a\nb.csv", "ü.npz", "data.mat", "u", "train.csv"]))))
    elif kind == "exchange":
        shutil.copy(others[int(rng.integers(len(others)))], path)
    else:
        path.unlink()
        path.mkdir()
    return kind


DEEDS = (_bytes, _bytes, _bytes, _bytes, _splice, _counts, _counts, _member, _link, _files)


def make(number: int, seed: int, folder: Path, place: Path, canary: Path) -> tuple[str, str, Path]:
    """Make mutant `number` in an empty folder; its sample, its kind, and what is to be imported."""
    rng = np.random.default_rng([seed, number])
    names = sorted(SAMPLES)
    name = names[int(rng.integers(len(names)))]
    home = folder / "samples" / name
    shutil.copytree(home, place)
    (root,) = list(place.iterdir())
    files = sorted(p for p in (root.rglob("*") if root.is_dir() else [root]) if p.is_file())
    others = sorted(p for p in (folder / "samples").rglob("*") if p.is_file())
    kinds = []
    for _ in range(1 + int(rng.random() < 0.2)):
        alive = [p for p in files if p.is_file() and not p.is_symlink()]
        if alive:
            deed = DEEDS[int(rng.integers(len(DEEDS)))]
            kinds.append(deed(alive[int(rng.integers(len(alive)))], rng, others, canary))
    if not root.exists() and not root.is_symlink():
        left = list(place.iterdir())
        root = left[0] if left else root
    return name, kinds[0] if kinds else "?", root


# ---- trying ---------------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Make the samples in a folder."""
    samples(folder / "samples")


def canaries(place: Path) -> Path:
    """Files of several formats that nobody may open; one of them."""
    place.mkdir(parents=True)
    values = np.full((3, 5), CANARY)
    np.save(place / "canary.npy", values)
    np.savez(place / "canary.npz", x=np.linspace(0, 1, 6), u=values)
    for ending in (".csv", ".dat", ".txt", ".json", ".pkl", ".mat", ".h5"):
        (place / f"canary{ending}").write_text("x u\n" + f"1 {CANARY}\n2 {CANARY}\n")
    return place / "canary.npy"


def attempt(source: Path, out: Path, watch: Watch) -> dict[str, Any]:
    """What recognising and importing came to."""
    from sciml.data import importers
    from sciml.data.importers import _guarded
    from sciml.errors import InputError

    crashes, refusals, begin = _guarded.crashes, _guarded.refusals, time.perf_counter()
    found: dict[str, Any] = {"note": "", "leak": False}
    try:
        importers.recognise(source, SECONDS)
        importers.import_data(source, out, overwrite=True, seconds=SECONDS)
        found["outcome"] = "read"
        found["leak"] = _holds_canary(out)
    except InputError as error:
        found["outcome"], found["note"] = "refused", str(error)[:300]
        if "\n" in str(error).strip() or not str(error).isprintable():
            found["outcome"] = "refused, message not one line"
        if "no sign of life" in str(error):
            found["outcome"] = "hang"
    except Exception as error:
        found["outcome"], found["note"] = "wrong error", f"{type(error).__name__}: {str(error)[:300]}"
    found["seconds"] = round(time.perf_counter() - begin, 4)
    found["contained"] = _guarded.crashes - crashes
    found["refusals"] = _guarded.refusals - refusals
    found["leak"] = bool(found["leak"]) or watch.seen()
    return found


def _holds_canary(out: Path) -> bool:
    import h5py

    with h5py.File(out) as file:
        for item in file.values():
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.size:
                values = np.asarray(item[()], np.float64)
                if np.any(np.abs(values - CANARY) < 0.1):
                    return True
    return False


def serve() -> None:
    """A process that is watched: numbers on stdin, one line of JSON each on stdout."""
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    own = folder / f"worker_{os.getpid()}"
    canary = canaries(own / "elsewhere")
    watch = Watch(canary.parent)
    place, out = own / "source", own / "out.h5"
    for line in sys.stdin:
        number = int(line)
        name, kind, root = make(number, seed, folder, place, canary)
        watch.seen()
        found = {"number": number, "sample": name, "kind": kind} | attempt(root, out, watch)
        shutil.rmtree(place)
        out.unlink(missing_ok=True)
        print(json.dumps(found), flush=True)


class Workers(Pool):
    """Such processes; one that dies or does not come back is counted and replaced."""

    def __init__(self, folder: Path, seed: int, workers: int) -> None:
        super().__init__(folder, seed, workers)
        self.command = [sys.executable, "-m", "benchmarks._own_data_fuzz", str(folder), str(seed)]


def summarise(results: list[dict[str, Any]]) -> dict[str, int]:
    outcome = collections.Counter(r["outcome"] for r in results)
    return {
        "files": len(results),
        "refused": outcome["refused"],
        "read": outcome["read"],
        "crashes": outcome["crash"] + sum(r.get("contained", 0) for r in results) - outcome["hang"],
        "hangs": outcome["hang"],
        "wrong_errors": outcome["wrong error"] + outcome["refused, message not one line"],
        "leaks": sum(bool(r.get("leak")) for r in results),
        "refusals_by_the_fence": sum(r.get("refusals", 0) for r in results),
    }


def fuzz(
    count: int, seed: int = 0, workers: int = 2, log: Callable[[dict[str, Any]], None] | None = None
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Make and try so many mutants."""
    patience, _fuzz.PATIENCE = _fuzz.PATIENCE, 4 * SECONDS
    try:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk has to be waited for
        with tempfile.TemporaryDirectory(dir=memory) as name:
            prepare(Path(name))
            results = Workers(Path(name), seed, workers).run(list(range(count)), log)
    finally:
        _fuzz.PATIENCE = patience
    return summarise(results), results


def measure(ledger: Ledger, work: Any) -> None:
    """Rows by kind of damage and by layout, and the checks."""
    from sciml.data.importers import LAYOUTS

    count = 300 if work.quick else int(work.given.files)
    done = 0

    def log(result: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if done % 1000 == 0:
            print(f"{done} files", flush=True)

    began = time.perf_counter()
    counts, results = fuzz(count, 0, len(os.sched_getaffinity(0)), log)
    seconds = time.perf_counter() - began
    without = [name for name in LAYOUTS if name not in {layout for layout, _ in SAMPLES.values()}]
    ledger.row(
        section="fuzzing of foreign files", seconds=round(seconds), files_a_second=round(count / seconds, 1),
        layouts_without_a_sample=" ".join(without), **counts,
    )  # fmt: skip
    for key in ("sample", "kind"):
        groups: Mapping[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for r in results:
            groups[str(r.get(key, "?"))].append(r)
        for name, these in sorted(groups.items()):
            ledger.row(section=f"fuzzing by {key}", **{key: name}, **summarise(these))
    for r in results:
        if r["outcome"] not in ("refused", "read") or r.get("leak") or r.get("contained"):
            print(r)
    wrong = sum(counts[k] for k in ("crashes", "hangs", "wrong_errors", "leaks"))
    ledger.seeds(0)
    ledger.check("fuzzed_foreign_files", counts["files"], reason="--files was smaller")
    ledger.check("foreign_crashes_hangs_or_leaks", wrong, reason="see the rows, and the lines printed")


if __name__ == "__main__":
    serve()
