"""Solvers that work in NumPy, SciPy or torch, and their place within traced code."""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.errors import InputError
from sciml.solvers.linear._concrete import Concrete
from sciml.solvers.linear._solver import Info, LinearSolver, Prepared
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem

#: (b, x0 or None) over live unknowns -> (x, info)
Answer = Callable[[np.ndarray, "np.ndarray | None"], tuple[np.ndarray, Info]]

KEPT = 4  # set-ups within traced code, by the system's numbers


class HostedSolver(LinearSolver):
    """Abstract: a solver on the host. Within traced code it is called back; derivatives are those of the solution, each
    one more solve. What it raises there makes the answer NaN, not converged; flow solvers then say what it said."""

    @abstractmethod
    def set_up(self, concrete: Concrete) -> tuple[Answer, int | None]:
        """What solves over live unknowns, and the bytes that it keeps."""

    def supports(self, system: LinearSystem) -> bool:
        return system.symmetric

    def prepare(self, system: LinearSystem) -> Prepared:
        if not self.supports(system):
            raise InputError(f"{self.name}: {self.refusal(system)}")
        began = time.perf_counter()
        system.check()
        concrete = Concrete(system)
        solve, kept = self.set_up(concrete)

        def answer(rhs: Any, guess: Any) -> tuple[np.ndarray, Info]:
            b = concrete.gather("rhs", rhs)
            x, info = solve(b, None if guess is None else concrete.gather("guess", guess))
            return concrete.scatter(x), info

        return Prepared(system, answer, time.perf_counter() - began, kept)

    def refusal(self, system: LinearSystem) -> str:
        """Why a system is not supported, in one line."""
        if not system.symmetric:
            return "expected a symmetric matrix; for others use GMRES() or SparseDirect()"
        return "does not solve this system, see `supports`"

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        rhs = jnp.asarray(rhs)
        leaves, kind = jax.tree.flatten(lax.stop_gradient(system))
        leaves = [jnp.asarray(a, rhs.dtype) for a in leaves]
        known = None if guess is None else bits(jnp.asarray(lax.stop_gradient(guess), rhs.dtype))
        given = [bits(a) for a in leaves], known
        number, flag = rhs.dtype, jax.ShapeDtypeStruct((), np.dtype(np.int32))
        result = (*(jax.eval_shape(bits, jax.ShapeDtypeStruct(s, number)) for s in (rhs.shape, ())), flag, flag, flag)

        def host(given: Any, b: Any) -> tuple[np.ndarray, ...]:
            parts, x0 = given
            b = numbers(b, number)
            # a march that went wrong is told so by what is not finite: an error would be one of XLA's
            found = np.full(b.shape, np.nan), np.nan, 0, False, -1
            if np.isfinite(b).all():
                try:
                    plain = jax.tree.unflatten(kind, [numbers(a, number) for a in parts])
                    x, info = _prepared(self, plain)(b, None if x0 is None else numbers(x0, number))
                    found = x, info.residual, info.iterations, info.converged, info.switched
                except Exception as error:
                    FAILURES.add(self.name, error)
            counts = (np.asarray(v, np.int32) for v in found[2:])
            return *(_host_bits(np.asarray(v, number)) for v in found[:2]), *counts

        def called(_: Any, b: jax.Array) -> tuple[jax.Array, Info]:
            x, rest, *counts = jax.pure_callback(host, result, given, bits(b), vmap_method="sequential")
            count, done, switched = counts[0].astype(int), counts[1] > 0, counts[2].astype(int)
            return _back(x, number), Info(count, _back(rest, number), done, None, switched)

        found, info = lax.custom_linear_solve(system.apply, system.centred(rhs), called, symmetric=True, has_aux=True)
        return found, info


class Failures:
    """What solvers raised within traced code, which cannot be raised there: the last few, with a count of all."""

    def __init__(self) -> None:
        self.count = 0
        self._last: deque[tuple[int, str]] = deque(maxlen=16)

    def add(self, name: str, error: Exception) -> None:
        told = " ".join(str(error).split()) or type(error).__name__
        self.count += 1
        self._last.append((self.count, f"{name}: {told.removeprefix(f'{name}: ')}"))

    def since(self, count: int) -> str | None:
        """The first of those that are known after so many; None where there is none."""
        return next((told for number, told in list(self._last) if number > count), None)


FAILURES = Failures()


def bits(values: jax.Array) -> jax.Array:
    """Numbers of 64 bits as two of 32: JAX rounds others where the thread of a callback does not have float64 on."""
    return lax.bitcast_convert_type(values, jnp.uint32)


def _back(bits: jax.Array, number: np.dtype) -> jax.Array:
    return lax.bitcast_convert_type(bits, number)


def _host_bits(values: np.ndarray) -> np.ndarray:
    words = np.asarray(values, order="C")[..., None].view(np.uint32)
    return words if values.dtype.itemsize > 4 else words[..., 0]


def numbers(bits: Any, number: np.dtype) -> np.ndarray:
    """In double precision, on the host."""
    words = np.asarray(bits, order="C")
    found = words.view(number)[..., 0] if np.dtype(number).itemsize > 4 else words.view(number)
    return found.astype(np.float64)


_PREPARED: OrderedDict[Any, Prepared] = OrderedDict()
_LOCK = Lock()


def _prepared(solver: HostedSolver, system: GridSystem) -> Prepared:
    """The set-up of a system of these numbers, kept while it is asked for again."""
    digest = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(system):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    key = (solver, system.shape, system.ends, system.coefficients is None, digest.digest())
    with _LOCK:
        if key in _PREPARED:
            _PREPARED.move_to_end(key)
            return _PREPARED[key]
    made = solver.prepare(system)
    with _LOCK:
        _PREPARED[key] = made
        while len(_PREPARED) > KEPT:
            _PREPARED.popitem(last=False)
    return made
