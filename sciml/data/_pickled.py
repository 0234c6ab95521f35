"""Plain arrays out of pickles, of which nothing is ever executed.

A pickle is a program for a machine with a stack. Here its instructions are listed, not run: a machine of our own knows
those by which NumPy writes an array of real numbers, and calls nothing but stand-ins for NumPy's own functions.
Whatever else a file names or asks for ends the reading. Nothing is larger than the file is.
"""

from __future__ import annotations

import math
import mmap
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

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
        order: Any
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
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
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


class _Mark:
    """Where a tuple begins."""


class _Machine:
    """What instructions make; `run` gives what is left at the end."""

    CONSTANTS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE",
                 "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING",
                 "STRING")  # fmt: skip
    VALUES: ClassVar = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
    SHORT: ClassVar = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, instructions: Iterator[Any]) -> Any:
        for code, argument, _ in instructions:
            name = code.name
            if name in self.CONSTANTS:
                self.stack.append(argument)
            elif name in self.VALUES:
                self.stack.append(self.VALUES[name])
            elif name in self.SHORT:
                self.stack.append(tuple(self._last(self.SHORT[name])))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif name not in ("PROTO", "FRAME", "STOP"):
                self._do(name, argument)
        (found,) = self.stack
        return found

    def _do(self, name: str, argument: Any) -> None:
        if name == "MARK":
            self.stack.append(_Mark)
        elif name == "TUPLE":
            place = len(self.stack) - 1 - self.stack[::-1].index(_Mark)
            made = tuple(self.stack[place + 1 :])
            self.stack[place:] = [made]
        elif name == "GLOBAL":
            self.stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            self.stack.append(_named(*self._last(2)))
        elif name == "REDUCE":
            called, arguments = self._last(2)
            if called not in _ALLOWED.values() or not isinstance(arguments, tuple):
                raise _Refused("an instruction that is not NumPy's")
            self.stack.append(called(*arguments))
        elif name == "BUILD":
            (state,) = self._last(1)
            if not isinstance(self.stack[-1], _Array | _Dtype):
                raise _Refused("an object that is no array")
            self.stack[-1].__setstate__(state)
        else:
            raise _Refused("an object that is no array" if "PERS" not in name else "a reference to another file")

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("nothing left to take")
        found = self.stack[-count:]
        del self.stack[-count:]
        return found


def _named(module: Any, name: Any) -> Any:
    found = _ALLOWED.get((module, name))
    if found is None:
        raise _Refused(f"{module}.{name}".encode("unicode_escape").decode()[:80])
    return found


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
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _Machine().run(pickletools.genops(content))  # pyright: ignore[reportArgumentType]
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
