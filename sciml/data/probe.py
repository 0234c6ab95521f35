"""What is in an HDF5 file, found out by a separate process.

The HDF5 library is written in C and has a history of memory errors on damaged or hostile files. So no file is ever
parsed by it in the user's process: a helper process with limits on memory and time opens the file, refuses what
`sciml.data._inspect` refuses, and answers with plain numbers and text: names, types, shapes, attributes and the places
of the values. The user's process then checks these against the schema and reads values by offset (`sciml.data._store`).
If the helper crashes or hangs, the file is refused and the next file gets a fresh helper. The helper starts once, takes
a fraction of a second, and ends with the process that started it.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import sys
import threading
import time
from typing import Any

import numpy as np

from sciml.data._files import absolute
from sciml.data._process import Helper
from sciml.data._store import FileId, Stored
from sciml.errors import FileFormatError, InputError

MEMORY = 4 << 30  # bytes of address space that the helper may use
SECONDS = 20.0  # patience for one file ...
SECONDS_PER_GIGABYTE = 10.0  # ... and what its size adds

crashes = 0  # how often HDF5 crashed or hung in a helper of this process: the fuzz benchmark counts them

_lock = threading.Lock()
_helper: Helper | None = None


def _asked(helper: Helper, path: str, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
    """One question and its answer: a JSON text and the binary tables that go with it."""
    helper.send(path)
    deadline = time.monotonic() + seconds
    (length,) = struct.unpack("<Q", helper.receive(8, deadline))
    answer = json.loads(helper.receive(length, deadline))
    return answer, [helper.receive(n, deadline) for n in answer.get("tables", ())]


def start() -> None:
    """Start the helper now, so that it is ready when the first file is opened."""
    with _lock:
        _ready()


def _ready() -> Helper:
    global _helper
    if _helper is None or not _helper.usable:
        _helper = Helper("sciml.data.probe", MEMORY)
    return _helper


def stop() -> None:
    """End the helper; the next file starts another."""
    global _helper
    with _lock:
        if _helper is not None and _helper.owner == os.getpid():
            _helper.close()
        _helper = None


def _after_fork() -> None:
    """In a forked child: the helper is the parent's, and whoever held the lock is not here."""
    global _helper, _lock
    _helper, _lock = None, threading.Lock()


atexit.register(stop)
if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_after_fork)


def inspect(path: str | os.PathLike[str]) -> tuple[FileId, dict[str, Any], dict[str, dict[str, Any]]]:
    """Describe an HDF5 file without parsing it in this process.

    Returns:
        the file's identity; the root attributes; for each variable a dict with "stored" (a `Stored`, or None for a
        netCDF dimension without values), "dims" and "attrs".

    Raises:
        InputError: no such file, or it cannot be opened.
        FileFormatError: the file is damaged, or holds what is refused.
    """
    name = absolute(path, "data")
    identity = _identity(name)
    with _lock:
        answer, tables = _ask(name, SECONDS + SECONDS_PER_GIGABYTE * identity.size / 1e9)
    if "error" in answer:
        raise FileFormatError(answer["error"])
    if _identity(name) != identity or answer["size"] != identity.size:
        raise InputError(f"{name}: the file changed while it was opened")
    variables = {}
    for about in answer["variables"]:
        stored = None if about.get("pure") else _stored(identity, about, tables)
        attrs = {k: _value(v) for k, v in about["attrs"].items()}
        dims = tuple(about["dims"])
        variables[about["name"]] = {"stored": stored, "dims": dims, "attrs": attrs, "shape": about["shape"]}
    return identity, {k: _value(v) for k, v in answer["attrs"].items()}, variables


def _ask(name: str, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
    """Ask the helper about a file. One that dies is asked for once more in a fresh process: something else may have
    ended the first."""
    global _helper, crashes
    for attempt in range(2):
        helper = _ready()
        answer: dict[str, Any] = {}
        try:
            answer, tables = _asked(helper, name, seconds)
            return answer, tables
        except (OSError, EOFError, TimeoutError, ValueError, struct.error) as error:
            hung = isinstance(error, TimeoutError)
            if attempt or hung:
                crashes += 1
                what = f"gave no answer in {seconds:.0f} s" if hung else "crashed"
                text = f"{name}: the file is damaged: HDF5 {what} (in a separate process)"
                raise FileFormatError(text) from None
        finally:
            if answer.get("path") != name:  # crashed, or interrupted: its next answer could be to this question
                helper.close()
                _helper = None
    raise AssertionError


def _identity(path: str) -> FileId:
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise InputError(f"{path}: cannot open: {error.strerror}") from None
    try:
        if not os.path.isfile(path):
            raise InputError(f"{path}: not a file")
        with os.fdopen(os.dup(fd), "rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":
                raise FileFormatError(f"{path}: not an HDF5 file (its first 8 bytes are not the HDF5 signature)")
        return FileId.of(path, fd)
    finally:
        os.close(fd)


def _stored(identity: FileId, about: dict[str, Any], tables: list[bytes]) -> Stored:
    offsets, sizes = about["offsets"], about["sizes"]
    if isinstance(offsets, int):
        offsets = np.frombuffer(tables[offsets], "<i8")
    if isinstance(sizes, int):
        sizes = np.frombuffer(tables[sizes], "<i8")
    chunk = None if about["chunk"] is None else tuple(about["chunk"])
    offsets = tuple(offsets) if isinstance(offsets, list) else offsets
    return Stored(
        identity, about["name"], np.dtype(about["dtype"]), tuple(about["shape"]), chunk, offsets, sizes,
        tuple(about["filters"]),
    )  # fmt: skip


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        array = np.array(value["values"], np.dtype(value["dtype"]))
        return array[0] if value["scalar"] or array.size == 1 else array
    return value


def serve(memory: int) -> None:
    """The helper's loop: a path a line on stdin, an answer on stdout, until stdin ends."""
    try:
        import resource
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass
    from sciml.data._inspect import Inspector

    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        path = json.loads(line)
        tables: list[bytes] = []
        answer: dict[str, Any]
        try:
            inspector = Inspector(path)
            answer = inspector.describe() | {"size": inspector.size}
            for about in answer["variables"]:
                for key in ("offsets", "sizes"):
                    about[key] = _table(about[key], tables, key == "offsets" and about["sizes"] is None)
        except FileFormatError as error:
            answer, tables = {"error": str(error)}, []
        except MemoryError:
            answer, tables = {"error": f"{path}: opening needs more than {memory} bytes of memory"}, []
        except Exception as error:  # whatever HDF5 reports about a damaged file: the first line of it goes to the user
            text = (str(error).splitlines() or [""])[0]
            answer, tables = {"error": f"{path}: the file is damaged: {text[:300]}"}, []
        answer["path"] = path
        answer["tables"] = [len(t) for t in tables]
        message = json.dumps(answer).encode()
        out.write(struct.pack("<Q", len(message)) + message + b"".join(tables))
        out.flush()


def _table(values: Any, tables: list[bytes], equidistant: bool) -> Any:
    """A table of integers as (first, step) where it is one progression, else as the number of a binary table."""
    if not isinstance(values, np.ndarray):
        return values
    steps = np.unique(np.diff(values)) if equidistant else np.zeros(2)
    if steps.size <= 1:
        return [int(values[0]), int(steps[0]) if steps.size else 0]
    tables.append(values.astype("<i8").tobytes())
    return len(tables) - 1
