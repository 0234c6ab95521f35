"""What JAX compiles is kept in a folder of the user's, so that the next process loads it in milliseconds.

Solvers' modules import this one beside JAX, and importing it is all there is to do. The folder is `sciml/jax` where
the system keeps caches ($XDG_CACHE_HOME or ~/.cache; ~/Library/Caches; %LOCALAPPDATA%). The environment variable
SCIML_CACHE names another one for all of sciml's, or says "off". JAX has one cache a process: what a user has set of it
(JAX_COMPILATION_CACHE_DIR, `jax.config`, JAX_ENABLE_COMPILATION_CACHE) is left as it is, and then nothing is set here.

Processes share the folder under JAX's own file lock; what was used least recently goes first where it grows too large.
Where the folder cannot be made or written, all works as without one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax

from sciml.solvers import _threads  # noqa: F401

VARIABLE = "SCIML_CACHE"
MOST = 256 << 20  # bytes on disk; a cavity's report takes about 10 MB
LEAST = 0.05  # seconds of compilation that are worth a file


def place() -> Path | None:
    """The folder of sciml's caches; None where it is switched off, or nobody's home is known."""
    told = os.environ.get(VARIABLE, "").strip()
    if told:
        return None if told.lower() == "off" else Path(told).expanduser()
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "sciml" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "sciml"
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if os.path.isabs(named) else home / ".cache") / "sciml"


def keep() -> Path | None:
    """Have JAX keep what it compiles, unless its user has set that himself; the folder, or None if it does not."""
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    above = place()
    if above is None or importlib.util.find_spec("filelock") is None:  # JAX bounds a cache's size under its lock alone
        return None
    folder = above / "jax" / _processor()
    if not _usable(folder):
        return None
    _set("jax_compilation_cache_max_size", -1, MOST)
    if config.jax_compilation_cache_max_size != -1:  # JAX writes no times of use where a user wants no bound
        _whole(folder)
    _set("jax_persistent_cache_min_compile_time_secs", 1.0, LEAST)
    # A full disk, or a lock that a stopped process holds: JAX goes on and compiles, and nobody has to act on it.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _set(name: str, usual: Any, value: Any) -> None:
    """Give one of JAX's settings a value where it has its usual one, and nobody asked for that."""
    if name.upper() not in os.environ and getattr(jax.config, name) == usual:
        jax.config.update(name, value)


def _processor() -> str:
    """Ten letters for the kind of processor: compiled for one with more instructions, code stops another dead. Homes
    are shared by the machines of a cluster, and JAX does not tell them apart."""
    said = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        known = ("model name", "flags", "Features", "CPU part")
        said += [next((line for line in lines if line.startswith(key)), "") for key in known]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:10]


def _usable(folder: Path) -> bool:
    """Whether the folder is there, or can be made, and can be written: for its owner alone, since what is in it is
    executed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _whole(folder: Path) -> None:
    """Remove what a process that was stopped while writing left: JAX writes an entry, then when it was last used."""
    import filelock

    with contextlib.suppress(OSError, filelock.Timeout), filelock.FileLock(folder / ".lockfile", timeout=0):
        names = set(os.listdir(folder))
        for name in names:
            stem, _, kind = name.rpartition("-")
            if kind == "cache" and f"{stem}-atime" not in names:
                (folder / name).unlink()


FOLDER = keep()
