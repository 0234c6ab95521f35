"""Damaged and hostile data-set files, and a pool of processes that tries to read them.

Every mutant is made from (seed, number) alone. A reader process opens it, validates it, reads all its values and some
windows. What counts against the reader: the process dies or does not come back, an error of any kind but `InputError`,
another file being opened (a watch on a folder with a secret file that hostile mutants point to), and mutants that pass
validation with other values than the original.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SECRET = b"another file's bytes! " * 64
MEMORY = 3 << 30
PATIENCE = 20.0  # seconds for one mutant
_NUMBERS = [0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
_SIGNATURES = tuple(s.encode() for s in "OHDR OCHK BTHD BTLF FRHP FHDB FAHD FADB TREE HEAP SNOD GCOL".split())


# ---- seed files -----------------------------------------------------------------------------------------------------


def seed_files(folder: Path) -> list[Path]:
    """Small data sets in three forms: as sciml writes them, compressed, and in the older HDF5 layout without
    checksums that other tools write."""
    import sciml
    from sciml import data

    rng = np.random.default_rng(0)
    problem = sciml.problems.LidDrivenCavity()
    n = 8
    centres, faces = (np.arange(n) + 0.5) / n, np.linspace(0, 1, n + 1)
    solutions = []
    for i in range(3):
        motion = sciml.boundary.Series([0.0, 1.0 + i], [0.0, 1.0]) if i else None
        case = problem.case(lid_velocity=1.0 + i, subset=("bc", "ic")[i % 2], lid_motion=motion)
        fields: dict[str, Any] = {k: (("time", "y", "x"), rng.standard_normal((3 + i, n, n))) for k in "uvp"}
        fields["u_face"] = (("time", "y", "x_face"), rng.standard_normal((3 + i, n, n + 1)))
        times = 0.1 * np.arange(3 + i)
        solutions.append(data.solution(case, times, fields, {"x": centres, "y": centres, "x_face": faces}))
    packed = data.pack(solutions, splits=["train", "validation", "test"])
    paths = [folder / f"seed_{k}.h5" for k in ("plain", "packed", "old")]
    data.write(packed, paths[0])
    data.write(packed, paths[1], compression=4)
    _old_form(paths[0], paths[2])
    for path in paths:
        data.validate(path)
    return paths


def _old_form(source: Path, target: Path) -> None:
    import h5py

    old: Any
    new: Any
    with h5py.File(source) as old, h5py.File(target, "w", libver="earliest") as new:
        for key, value in old.attrs.items():
            new.attrs[key] = value
        for name, dset in old.items():
            kind = {"chunks": dset.chunks, "compression": "gzip", "shuffle": True} if dset.ndim > 2 else {}
            new.create_dataset(name, data=dset[...], **kind)
            if dset.is_scale:
                new[name].make_scale(dset.attrs["NAME"].decode())
        for name, dset in old.items():
            for key, value in dset.attrs.items():
                if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"):
                    new[name].attrs[key] = value
            for k in range(dset.ndim):
                for scale in dset.dims[k].values():
                    new[name].dims[k].attach_scale(new[scale.name])


# ---- mutations of bytes ---------------------------------------------------------------------------------------------


def lookup3(data: bytes) -> int:
    """Bob Jenkins' lookup3 hash (2006, public domain), with which HDF5 guards its metadata."""
    mask = 0xFFFFFFFF

    def rot(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    a = b = c = (0xDEADBEEF + len(data)) & mask
    at, left = 0, len(data)
    while left > 12:
        x, y, z = struct.unpack_from("<III", data, at)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        for k1, k2, k3 in ((4, 6, 8), (16, 19, 4)):
            a = ((a - c) & mask) ^ rot(c, k1)
            c = (c + b) & mask
            b = ((b - a) & mask) ^ rot(a, k2)
            a = (a + c) & mask
            c = ((c - b) & mask) ^ rot(b, k3)
            b = (b + a) & mask
        at, left = at + 12, left - 12
    if left == 0:
        return c
    x, y, z = struct.unpack("<III", data[at:].ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - rot(b, 14)) & mask
    a = ((a ^ c) - rot(c, 11)) & mask
    b = ((b ^ a) - rot(a, 25)) & mask
    c = ((c ^ b) - rot(b, 16)) & mask
    a = ((a ^ c) - rot(c, 4)) & mask
    b = ((b ^ a) - rot(a, 14)) & mask
    return ((c ^ b) - rot(b, 24)) & mask


def headers(data: bytes) -> list[tuple[int, int]]:
    """(start, end without checksum) of the version 2 object headers, and of the superblock."""
    found = [(0, 44)] if data[8:9] in (b"\x02", b"\x03") else []
    at = data.find(b"OHDR\x02")
    while at >= 0:
        flags = data[at + 5]
        head = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(data[head : head + width], "little")
        end = head + width + size
        if end + 4 <= len(data):
            found.append((at, end))
        at = data.find(b"OHDR\x02", at + 4)
    return found


def mutate_bytes(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """One of: truncation, bit flips, byte and number edits, block swaps, insertions, deletions, and number edits within
    object headers whose checksums are made to agree again."""
    out = bytearray(data)
    kinds = ("truncate", "flip", "bytes", "number", "swap", "insert", "delete", "header", "header", "near")
    kind = kinds[int(rng.integers(len(kinds)))]
    size = len(out)
    if kind == "truncate":
        del out[int(rng.integers(size)) :]
    elif kind == "flip":
        for _ in range(int(rng.integers(1, 9))):
            out[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        at, n = int(rng.integers(size)), int(rng.integers(1, 65))
        out[at : at + n] = bytes([int(rng.choice([0, 0xFF, 0x7F, 0x80]))]) * len(out[at : at + n])
    elif kind == "number":
        _edit(out, int(rng.integers(size - 8)), rng)
    elif kind == "swap":
        n = int(rng.choice([8, 16, 64, 256, 512]))
        a, b = (int(k) for k in rng.integers(0, size - n, 2))
        out[a : a + n], out[b : b + n] = out[b : b + n], out[a : a + n]
    elif kind == "insert":
        at = int(rng.integers(size))
        out[at:at] = rng.bytes(int(rng.integers(1, 257)))
    elif kind == "delete":
        at = int(rng.integers(size))
        del out[at : at + int(rng.integers(1, 257))]
    elif kind == "near":  # close to a signature, where structures lie
        places = [i for s in _SIGNATURES for i in _find_all(data, s)]
        at = int(rng.choice(places)) + int(rng.integers(-8, 64)) if places else 0
        for _ in range(int(rng.integers(1, 4))):
            _edit(out, min(max(at + int(rng.integers(0, 16)), 0), size - 8), rng)
    else:
        blocks = headers(data)
        if not blocks:
            return mutate_bytes(data, rng)
        start, end = blocks[int(rng.integers(len(blocks)))]
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(start + 4, end))
            if rng.random() < 0.5:
                out[at] = int(rng.integers(256))
            else:
                _edit(out, min(at, end - 8), rng)
        out[end : end + 4] = struct.pack("<I", lookup3(bytes(out[start:end])))
    return kind, bytes(out)


def _find_all(data: bytes, what: bytes) -> list[int]:
    found, at = [], data.find(what)
    while at >= 0:
        found.append(at)
        at = data.find(what, at + 1)
    return found


def _edit(out: bytearray, at: int, rng: np.random.Generator) -> None:
    """Replace a number of 1, 2, 4 or 8 bytes by a telling one."""
    width = int(rng.choice([1, 2, 4, 8]))
    old = int.from_bytes(out[at : at + width], "little")
    choices = [*_NUMBERS, old + 1, old - 1, old * 2, len(out), len(out) - 1, len(out) * 1000]
    value = choices[int(rng.integers(len(choices)))] % 256**width
    out[at : at + width] = value.to_bytes(width, "little")


# ---- mutations through h5py -----------------------------------------------------------------------------------------


def mutate_content(path: Path, secret: Path, rng: np.random.Generator) -> str:
    """Change what a well-formed file says: links and storage that lead to another file, sizes out of all proportion,
    types and filters that are not allowed, missing and swapped variables, attributes and values against the schema."""
    import h5py

    deeds = sorted(_DEEDS)
    kind = deeds[int(rng.integers(len(deeds)))]
    file: Any
    with h5py.File(path, "r+") as file:
        names = [str(n) for n in file if "DIMENSION_LIST" in file[n].attrs]
        _DEEDS[kind](file, str(rng.choice(names)), names, secret, rng)
    return kind


def _replace(file: Any, name: str, **how: Any) -> Any:
    old = file[name]
    scales = [[s.name for s in old.dims[k].values()] for k in range(old.ndim)]
    shape, dtype = how.pop("shape", old.shape), how.pop("dtype", old.dtype)
    attrs = {k: v for k, v in old.attrs.items() if k != "DIMENSION_LIST"}
    del file[name]
    new = file.create_dataset(name, shape=shape, dtype=dtype, **how)
    for k, v in attrs.items():
        new.attrs[k] = v
    for k, group in enumerate(scales):
        for scale in group:
            new.dims[k].attach_scale(file[scale])
    return new


def _external_storage(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    _replace(file, name, external=[(str(secret), 0, len(SECRET))])


def _virtual(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    import h5py

    shape, dtype = file[name].shape, file[name].dtype
    layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
    layout[...] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "x", shape=shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def _external_link(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    import h5py

    if rng.random() < 0.5:
        del file[name]
    else:
        name = "extra"
    file[name] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "x")


def _soft_link(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    import h5py

    del file[name]
    file[name] = h5py.SoftLink(str(rng.choice(["/u", f"/{name}", "/", "/case", "/nowhere"])))


def _alias(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    del file[name]
    file[name] = file[str(rng.choice([n for n in names if n != name]))]


def _huge(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    shape = (int(rng.choice([10**6, 10**9, 10**12])), *file[name].shape[1:])
    _replace(file, name, shape=shape, chunks=(1, *shape[1:]))


def _huge_scales(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    old = file["frame"]
    file.create_dataset("frame2", shape=(10**12,), dtype=">f4", chunks=(1024,)).make_scale(old.attrs["NAME"])
    for n in names:
        if file[n].dims[0].keys() and "/frame" in [s.name for s in file[n].dims[0].values()]:
            file[n].dims[0].detach_scale(old)
            file[n].dims[0].attach_scale(file["frame2"])


def _bomb(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    shape = (4096, *(64 for _ in file[name].shape[1:]))
    new = _replace(file, name, shape=shape, chunks=shape, compression="gzip", compression_opts=9, dtype="f4")
    if len(shape) < 3:
        new[...] = 0


def _type(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    import h5py

    kinds = [
        h5py.string_dtype(), h5py.vlen_dtype("f4"), h5py.ref_dtype, h5py.regionref_dtype, np.dtype("f2"),
        np.dtype("V8"),
        np.dtype([("a", "f4"), ("b", "i8")]), h5py.enum_dtype({"A": 1}, "u1"), np.dtype("?"), np.dtype("c8"),
        np.dtype("i1"), np.dtype("u8"), np.dtype(">f8"), np.dtype("S5"), np.dtype(("f4", (3,))), np.dtype("f8"),
    ]  # fmt: skip
    _replace(file, name, dtype=kinds[int(rng.integers(len(kinds)))])


def _filter(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    how = [{"compression": "lzf"}, {"fletcher32": True}, {"scaleoffset": 2}, {"compression": 32015}, {"shuffle": True}]
    choice = how[int(rng.integers(len(how)))]
    values = file[name][...]
    new = _replace(file, name, chunks=values.shape, **({**choice, "allow_unknown_filter": True}))
    new[...] = values


def _remove(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    del file[name]


def _swap(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    other = str(rng.choice([n for n in names if n != name]))
    file.move(name, "temporary")
    file.move(other, name)
    file.move("temporary", other)


def _group(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    del file[name]
    file.create_group(name)


def _value(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    dset = file[name]
    kind = dset.dtype.kind
    at = tuple(int(rng.integers(n)) for n in dset.shape)
    choices = [np.nan, np.inf, -1.0, 1e30] if kind == "f" else [0, 1, 255, 127, -1] if kind == "i" else [0, 1, 255]
    dset[at] = b"\xff" if kind == "S" else np.array(choices[int(rng.integers(len(choices)))]).astype(dset.dtype)


def _attribute(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    holder = file if rng.random() < 0.5 else file[name]
    keys = [k for k in holder.attrs if k not in ("DIMENSION_LIST", "REFERENCE_LIST")] or ["units"]
    values = [
        "", "999.0", "0.1", "1.7", "u v w", "../../etc/passwd", "\N{SNOWMAN}", "x" * 60000, np.nan, 7, np.arange(3),
        np.zeros((2, 2)), np.array(["a", "b"], dtype="S1"), np.void(b"123"), "{}", '{"parameters": [' + "[" * 3000,
    ]  # fmt: skip
    key = str(rng.choice(keys))
    if rng.random() < 0.2:
        del holder.attrs[key]
    else:
        holder.attrs[key] = values[int(rng.integers(len(values)))]


def _scales(file: Any, name: str, names: list[str], secret: Path, rng: Any) -> None:
    if rng.random() < 0.5:
        del file[name].attrs["DIMENSION_LIST"]
    else:
        file[name].dims[0].attach_scale(file["digest"])


_DEEDS = {
    f.__name__.strip("_"): f
    for f in (
        _external_storage, _virtual, _external_link, _soft_link, _alias, _huge, _huge_scales, _bomb, _type, _filter,
        _remove, _swap, _group, _value, _attribute, _scales,
    )
}  # fmt: skip


# ---- reading --------------------------------------------------------------------------------------------------------


class Watch:
    """Notices whether any process opens a file in a folder (inotify)."""

    def __init__(self, folder: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0 or self.libc.inotify_add_watch(self.fd, os.fsencode(folder), 0x1 | 0x20) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def seen(self) -> bool:
        try:
            return bool(os.read(self.fd, 1 << 16))
        except BlockingIOError:
            return False


def read_everything(path: Path) -> dict[str, np.ndarray]:
    """What a user may do with a file: open, validate, read all values, read windows."""
    from sciml import data

    dataset = data.open(path)
    data.validate(dataset)
    values = {str(n): np.asarray(v.values) for n, v in dataset.variables.items()}
    for i in range(dataset.sizes["case"]):
        data.case(dataset, i)
    windows = data.Windows(path, split=None)
    windows.batch(np.arange(min(len(windows), 4)))
    dataset.close()
    return values


def make(number: int, seed: int, seeds: list[bytes], place: Path, secret: Path) -> str:
    """Write mutant `number` to `place`; returns its kind."""
    rng = np.random.default_rng([seed, number])
    base = int(rng.integers(len(seeds)))
    if rng.random() < 0.3:
        place.write_bytes(seeds[base])
        try:
            return mutate_content(place, secret, rng)
        except (OSError, ValueError, TypeError, RuntimeError, KeyError, IndexError):
            place.write_bytes(seeds[base])  # this deed does not fit this variable; fall back to bytes
    kind, data = mutate_bytes(seeds[base], rng)
    place.write_bytes(data)
    return kind


def serve() -> None:
    """A reader process: numbers on stdin, one line of JSON each on stdout."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    from sciml.data import probe
    from sciml.errors import InputError

    probe.SECONDS = PATIENCE / 2
    seeds = [p.read_bytes() for p in sorted(folder.glob("seed_*.h5"))]
    original = read_everything(folder / "seed_plain.h5")
    secret = folder / "elsewhere" / "secret.bin"
    watch = Watch(secret.parent)
    place = folder / f"mutant_{os.getpid()}.h5"
    for line in sys.stdin:
        number = int(line)
        kind = make(number, seed, seeds, place, secret)
        watch.seen()
        crashes, begin = probe.crashes, time.perf_counter()
        found: dict[str, Any] = {"number": number, "kind": kind, "note": ""}
        try:
            values = read_everything(place)
            same = values.keys() == original.keys() and all(_equal(values[k], original[k]) for k in original)
            found["outcome"] = "accepted" if same else "accepted, other values"
        except InputError as error:
            found["outcome"], found["note"] = "refused", str(error)[:200]
            if "\n" in str(error) or not str(error).isprintable():
                found["outcome"] = "refused, message not one line"
        except Exception as error:
            found["outcome"], found["note"] = "wrong error", f"{type(error).__name__}: {str(error)[:200]}"
        found["seconds"] = round(time.perf_counter() - begin, 4)
        found["contained"] = probe.crashes - crashes
        found["leak"] = watch.seen()
        print(json.dumps(found), flush=True)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


class Pool:
    """Reader processes that are watched: one that dies or does not come back is counted and replaced."""

    def __init__(self, folder: Path, seed: int, workers: int) -> None:
        self.command = [sys.executable, "-m", "benchmarks._fuzz", str(folder), str(seed)]
        self.workers = workers
        root = Path(__file__).resolve().parent.parent
        paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}

    def run(self, numbers: list[int], log: Any = None) -> list[dict[str, Any]]:
        """Try mutants by number; `log(result)` is called for each."""
        queue, results = collections.deque(numbers), []
        running: dict[int, tuple[Any, int, float]] = {}

        def give(process: Any) -> None:
            if not queue:
                process.stdin.close()
                process.wait()
                return
            number = queue.popleft()
            running[process.stdout.fileno()] = (process, number, time.monotonic() + PATIENCE * (1 if results else 3))
            process.stdin.write(f"{number}\n".encode())
            process.stdin.flush()

        def done(result: dict[str, Any]) -> None:
            results.append(result)
            if log is not None:
                log(result)

        for _ in range(min(self.workers, len(queue))):
            give(self._start())
        while running:
            ready, _, _ = select.select(list(running), [], [], 0.5)
            for fd in ready:
                process, number, _ = running.pop(fd)
                line = process.stdout.readline()
                if line:
                    done(json.loads(line))
                    give(process)
                else:
                    status = process.wait()
                    done({"number": number, "kind": "?", "outcome": "crash", "note": f"exit status {status}"})
                    give(self._start())
            for fd, (process, number, deadline) in list(running.items()):
                if time.monotonic() > deadline:
                    del running[fd]
                    process.kill()
                    process.wait()
                    done({"number": number, "kind": "?", "outcome": "hang", "note": f"no answer in {PATIENCE} s"})
                    give(self._start())
        return results

    def _start(self) -> Any:
        return subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env)


def prepare(folder: Path) -> None:
    """Seed files, and the folder with the secret that hostile mutants point to."""
    import h5py

    seed_files(folder)
    secret = folder / "elsewhere" / "secret.bin"
    secret.parent.mkdir(exist_ok=True)
    secret.write_bytes(SECRET)
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["x"] = np.frombuffer(SECRET, np.float32)


def summarise(results: list[dict[str, Any]]) -> dict[str, int]:
    """Counts: what went wrong, and what HDF5 itself did wrong in its own process."""
    outcome = collections.Counter(r["outcome"] for r in results)
    return {
        "files": len(results),
        "refused": outcome["refused"],
        "accepted_unchanged": outcome["accepted"],
        "crashes": outcome["crash"],
        "hangs": outcome["hang"],
        "wrong_errors": outcome["wrong error"] + outcome["refused, message not one line"],
        "accepted_with_other_values": outcome["accepted, other values"],
        "leaks": sum(bool(r.get("leak")) for r in results),
        "hdf5_crashes_or_hangs_contained": sum(r.get("contained", 0) for r in results),
    }


def fuzz(count: int, seed: int = 0, workers: int = 2, first: int = 0) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Make and try mutants first ... first + count − 1."""
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        results = Pool(Path(name), seed, workers).run(list(range(first, first + count)))
    return summarise(results), results


if __name__ == "__main__":
    serve()
