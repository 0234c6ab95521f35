"""A process of its own in which foreign files are read.

Readers of foreign formats are large and partly written in C, and files come from anywhere. So they run in a helper
process with limits on memory, which may write in one folder, and there alone, and may open no file but those of the
source and of Python itself, start no program and reach no network: an audit hook refuses it. What it finds it writes
as data sets of this package, which the user's process reads as warily as any other. If the helper crashes or gives no
sign of life, the source is refused, and the next one gets a fresh helper.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sciml.data._process import Helper
from sciml.errors import FileFormatError, InputError

MEMORY = 12 << 30  # bytes of address space that the helper may use
SECONDS = 60.0  # patience without a sign of life ...
SECONDS_PER_GIGABYTE = 30.0  # ... and what the size of the source adds
START = 120.0  # of a fresh helper, which imports what it needs

crashes = 0  # how often a helper of this process crashed or hung: the fuzz benchmark counts them
refusals = 0  # how often it wanted what it must not have

_lock = threading.Lock()
_helper: Helper | None = None


def stop() -> None:
    """End the helper; the next source starts another."""
    global _helper
    if _helper is not None and _helper.owner == os.getpid():
        _helper.close()
    _helper = None


def _after_fork() -> None:
    global _helper, _lock
    _helper, _lock = None, threading.Lock()


atexit.register(stop)
if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_after_fork)


def ask(request: dict[str, Any], tell: Callable[[int, int], None] | None = None, seconds: float = SECONDS) -> Any:
    """What the helper answers.

    Args:
        request: "do" and "source", and what these need.
        tell: called with (cases read, of how many).
        seconds: patience without a sign of life, for a source without size.

    Raises:
        InputError, FileFormatError: what the helper says of the source; or that it crashed over it.
    """
    global _helper, crashes, refusals
    source = request["source"]
    seconds += SECONDS_PER_GIGABYTE * _size(source) / 1e9
    with _lock:
        if _helper is None or not _helper.usable:
            _helper = Helper("sciml.data.importers._guarded", MEMORY)
        helper, answered = _helper, False
        try:
            helper.send(request)
            while True:
                patience = seconds if helper.ready else max(seconds, START)
                said = helper.line(time.monotonic() + patience)
                if said["event"] in ("starting", "ready"):
                    helper.ready = said["event"] == "ready"
                    continue
                if said["event"] == "case":
                    if tell is not None:
                        tell(said["done"], said["of"])
                    continue
                answered = True
                break
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            crashes += 1
            what = f"gave no sign of life for {seconds:.0f} s" if isinstance(error, TimeoutError) else "crashed"
            raise FileFormatError(f"{source}: cannot be read: the reader {what} (in a separate process)") from None
        finally:
            if not answered:  # crashed, or interrupted: its next answer would be to this question
                stop()
    if said["event"] == "error":
        refusals += said["kind"] == "refused"
        raise (InputError if said["kind"] == "input" else FileFormatError)(said["text"])
    return said["answer"]


def _size(source: str) -> int:
    try:
        if os.path.isfile(source):
            return os.path.getsize(source)
        total = 0
        for folder, _, files in os.walk(source):
            total += sum(os.path.getsize(os.path.join(folder, f)) for f in files[:10_000] if not f.startswith("."))
            if total > 1e12:
                break
        return total
    except OSError:
        return 0


# -- within the helper --------------------------------------------------------------------------------------------


class Refused(Exception):
    """What no reader may do."""


#: what Python and its libraries read of a system: no folder that may hold anybody's files
_SYSTEM = (
    "/usr/lib", "/usr/local/lib", "/lib", "/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/urandom",
    "/dev/random", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self/status", "/proc/self/maps",
    "/proc/self/stat", "/proc/self/cgroup", "/sys/devices", "/sys/fs/cgroup",
)  # fmt: skip


def _real(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple({os.path.realpath(p) for p in paths if os.path.realpath(p) != "/"})


def _is_code(path: Any) -> bool:
    """Whether a file in a place that Python imports from, such as the current folder, is a module's or about one."""
    name = os.fsdecode(path)
    return name.endswith((".py", ".pyc", ".so", ".pyd", ".pth")) or ".dist-info" in name or ".egg-info" in name


class _Fence:
    """An audit hook that lets a reader open files of the source and of Python, and write in one folder."""

    def __init__(self) -> None:
        self.source, self.folder, self.closed = "", "", False
        self.own = _real([sys.prefix, sys.base_prefix, sys.exec_prefix, *_SYSTEM])
        self.code = tuple(p for p in _real([p for p in sys.path if p]) if not p.startswith(self.own))

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.closed:
            return
        if event == "open":
            self._open(*arguments[:3])
        elif event in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"):
            if not all(self._within(a, self.folder) for a in arguments if isinstance(a, str | bytes | os.PathLike)):
                raise Refused(f"{event} {arguments[0]!r:.100}")
        elif event in (
            "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
            "socket.connect", "socket.bind", "socket.getaddrinfo",
        ):  # fmt: skip
            raise Refused(event)

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        writes = bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool(
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )  # fmt: skip
        if writes:
            if not (self._within(path, self.folder) or os.fsdecode(path) == os.devnull):
                raise Refused(f"writing {os.path.realpath(os.fsdecode(path))!r:.200}")
        elif not any(self._within(path, p) for p in (self.source, self.folder, *self.own)) and not (
            _is_code(path) and any(self._within(path, p) for p in self.code)
        ):
            raise Refused(f"reading {os.path.realpath(os.fsdecode(path))!r:.200}")

    @staticmethod
    def _within(path: Any, folder: str) -> bool:
        if not folder:
            return False
        real = os.path.realpath(os.fsdecode(path))
        return real == folder or real.startswith(folder + os.sep)


def serve(memory: int) -> None:
    """The helper's loop: a request a line on stdin, events a line on stdout, until stdin ends."""
    sys.dont_write_bytecode = True
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what readers print must not come between
    try:
        import resource
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass
    import platform

    from sciml.data.importers import _serving

    _ = platform.uname().processor  # asks another program, once; libraries want to know it when they are imported
    fence = _Fence()
    sys.addaudithook(fence)

    def say(event: str, **content: Any) -> None:
        out.write(json.dumps({"event": event} | content) + "\n")
        out.flush()

    prepared = False
    for line in sys.stdin:
        request = json.loads(line)
        source = request["source"]
        fence.source = os.path.realpath(source)
        fence.folder = os.path.realpath(request["folder"]) if "folder" in request else ""
        if request["do"] == "read" and not prepared:
            say("starting")
            _serving.prepare()
            prepared = True
        say("ready")
        fence.closed = True
        try:
            answer = _serving.answer(request, lambda done, of: say("case", done=done, of=of))
            said: dict[str, Any] = {"event": "answer", "answer": answer}
        except FileFormatError as error:
            said = {"event": "error", "kind": "file", "text": str(error)}
        except InputError as error:
            said = {"event": "error", "kind": "input", "text": str(error)}
        except MemoryError:
            text = f"{source}: reading needs more than {memory >> 30} GiB of memory; split it into several files"
            said = {"event": "error", "kind": "file", "text": text}
        except Refused as error:
            text = f"{source}: refused: it leads to {error}, which is not part of it"
            said = {"event": "error", "kind": "refused", "text": text}
        except RecursionError:
            said = {"event": "error", "kind": "file", "text": f"{source}: damaged: nested too deeply"}
        except Exception as error:  # whatever a library says about a damaged file: its first line
            if isinstance(error.__cause__ or error.__context__, Refused):
                text = f"{source}: refused: it leads to {error.__cause__ or error.__context__}, which is not part of it"
                said = {"event": "error", "kind": "refused", "text": text}
            else:
                first = (str(error).splitlines() or [""])[0][:300]
                text = f"{source}: cannot be read ({type(error).__name__}: {first})"
                said = {"event": "error", "kind": "file", "text": text}
        finally:
            fence.closed = False
        said |= {"text": _shown(said["text"])} if "text" in said else {}
        out.write(json.dumps(said) + "\n")
        out.flush()


def _shown(text: str) -> str:
    """One line that can be printed, whatever names a file holds."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)[:2000]


def folder_of(out: Path) -> Path:
    """Where the helper writes what belongs to a file to be made."""
    return Path(f"{out}.importing")
