"""Plain arrays out of pickles, of which nothing is ever executed.

A pickle is a program. Here it may call nothing but stand-ins for the few functions by which NumPy writes an array of
real numbers; whatever else it names ends the reading, before it is called.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from sciml.errors import FileFormatError, InputError

MOST = 64 * 2**30  # bytes of a file
_DTYPES = {"f2": 2, "f4": 4, "f8": 8, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8, "b1": 1}


class _Refused(Exception):
    pass


class _Marker:
    """Stands for `numpy.ndarray` as an argument."""


class _Dtype:
    def __init__(self, code: Any = None, *_: Any):
        self.code = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or state[1] not in ("<", ">", "|", "=", b"<", b">", b"|", b"=")
        ):
            raise _Refused("a type of values that is not a number")
        if any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        self.order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]

    def numpy(self) -> np.dtype[Any]:
        if not isinstance(self.code, str) or self.code.lstrip("<>|=") not in _DTYPES:
            raise _Refused(f"values of type {self.code!r:.40}")
        code, order = self.code.lstrip("<>|="), self.code[:1] if self.code[:1] in "<>|=" else self.order
        return np.dtype(code).newbyteorder("=" if order == "|" else order)


class _Array:
    """An array as it is described; its values are looked at once all is read."""

    def __init__(self) -> None:
        self.content: tuple[Any, Any, bool, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array in a form that is not NumPy's")
        self.content = (state[1], state[2], bool(state[3]), state[4])

    def numpy(self) -> np.ndarray:
        if self.content is None:
            raise _Refused("an array without values")
        shape, dtype, fortran, data = self.content
        data = data.encode("latin1") if isinstance(data, str) else data  # as Python 2 wrote it
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray | memoryview | pickle.PickleBuffer):
            raise _Refused("an array of objects")
        if (
            not isinstance(shape, tuple)
            or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape)
            or len(shape) > 8
        ):
            raise _Refused(f"an array of shape {shape!r:.60}")
        kind, raw = dtype.numpy(), memoryview(data if isinstance(data, bytes) else bytes(data))
        if raw.nbytes != math.prod(shape) * kind.itemsize:
            raise _Refused(f"{raw.nbytes} bytes for an array of shape {shape} and type {kind}")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Marker:
        raise _Refused("an array of a class of its own")
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    made = _Array()
    made.content = (shape, dtype, order == "F", data)
    return made


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused("bytes in a form that is not NumPy's")
    return text.encode("latin1")


def _empty(*given: Any) -> bytes:
    if given:
        raise _Refused("bytes in a form that is not NumPy's")
    return b""


_ALLOWED = {
    ("__builtin__", "bytes"): _empty,
    ("builtins", "bytes"): _empty,
    ("numpy", "ndarray"): _Marker,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[_core + ".multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED[_core + ".numeric", "_frombuffer"] = _frombuffer


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = _ALLOWED.get((module_name, global_name))
        if found is None:
            raise _Refused(f"{module_name}.{global_name}".encode("unicode_escape").decode()[:80])
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a reference to something outside of the file")


def array(path: Path) -> np.ndarray:
    """The one array of real numbers that a pickle holds.

    Raises:
        InputError: the file cannot be opened.
        FileFormatError: it is no pickle, damaged, or holds anything but an array of real numbers; says how to convert.
    """
    advice = (
        f'expected a pickle of one plain array; where the file is to be trusted: python -c "import numpy, pickle; '
        f"numpy.save('{path.stem}.npy', numpy.asarray(pickle.load(open('{path.name}', 'rb')), float))\""
    )
    try:
        if path.stat().st_size > MOST:
            raise FileFormatError(f"{path}: {path.stat().st_size} bytes, expected at most {MOST}")
        with path.open("rb") as file:
            found = _Reader(file, encoding="latin1").load()
        if not isinstance(found, _Array):
            raise _Refused(f"a {type(found).__name__}")
        return found.numpy()
    except _Refused as error:
        raise FileFormatError(f"{path}: holds {error}, of which nothing is executed; {advice}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot open: {error.strerror}") from None
    except FileFormatError:
        raise
    except Exception as error:  # whatever a damaged program of this kind may run into
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FileFormatError(f"{path}: not a pickle that can be read: {said}") from None
