"""Array shapes are checked in every test: functions of the package that state shapes hold themselves to them.

The import hook that comes with jaxtyping would come before the package's own refusals, which are tested too, and finds
no names that are imported for type checkers alone; hence this one.
"""

from __future__ import annotations

import ast
import functools
import gc
import inspect
import itertools
import os
import re
import sys
import tempfile
import threading
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

# Workers and the processes that tests start share what they compile; a test of today does not run what yesterday did.
if "SCIML_CACHE" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="sciml-compiled-", ignore_cleanup_errors=True)
    os.environ |= {"SCIML_CACHE": COMPILED.name, "JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}  # counting files takes long
PACKAGE = "sciml"
SHAPED = re.compile(r"\b(Shaped|Float|Complex|Inexact|Int64|Integer|UInt8|Bool)\[")
ONE = threading.RLock()  # Python 3.11 loses count of its recursion where two threads parse at once
typed = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))


@functools.cache
def complete(module: ModuleType) -> None:
    """Give a module what it imports for type checkers alone."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))


def checked(function: FunctionType, module: ModuleType) -> Any:
    """`function`, which raises `TypeCheckError` where shapes are not as annotated, unless it refuses them itself."""

    @functools.cache
    def strict() -> Any:
        with ONE:
            complete(module)
            get_type_hints(function)  # jaxtyping takes a name that it does not find for Any, in silence
            return typed(function)

    loaded = sys.modules  # no name of this module: torch's compiler looks these up in whichever conftest came last

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch" in loaded and loaded["torch"].compiler.is_compiling():  # sizes are no numbers then
            return function(*args, **kwargs)
        try:
            return strict()(*args, **kwargs)
        except TypeCheckError as violation:
            try:
                function(*args, **kwargs)
            except Exception as error:
                if isinstance(error, sys.modules[f"{PACKAGE}.errors"].InputError):
                    raise
            raise violation

    return call


def says_shapes(function: Any, aliases: set[str]) -> bool:
    words = " ".join(map(str, getattr(function, "__annotations__", {}).values()))
    return bool(SHAPED.search(words)) or not aliases.isdisjoint(re.findall(r"\w+", words))


class Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        aliases = {name for name, value in vars(module).items() if name[0] != "_" and "jaxtyping." in repr(value)}
        own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
        for owner in (module, *own):
            for name, value in list(vars(owner).items()):
                kind = next((k for k in (classmethod, staticmethod, property) if isinstance(value, k)), None)
                function = value.fget if kind is property else value.__func__ if kind else value
                if getattr(function, "__module__", "") == module.__name__ and isinstance(function, FunctionType):
                    if says_shapes(function, aliases):
                        setattr(owner, name, kind(checked(function, module)) if kind else checked(function, module))


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


assert PACKAGE not in sys.modules, "shapes are checked in what is imported from here on"
sys.meta_path.insert(0, Finder)


# Compiling is most of what tests of flows take, on grids of a few cells, and most of that is optimising, which changes
# how fast a program runs and the last digits of what it says.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
options: dict[str, Any] = {}  # of XLA, beyond its usual ones


@functools.cache
def heed() -> None:
    """Have JAX compile with `options`: of its own it has some for one program, and some for a whole process."""
    from jax._src import compiler

    usual = compiler.get_compile_options

    def chosen(*args: Any, env_options_overrides: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        return usual(*args, env_options_overrides=options | (env_options_overrides or {}), **kwargs)

    compiler.get_compile_options = chosen


@pytest.hookimpl(tryfirst=True)  # before fixtures
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked so have their programs compiled quickly, and no test runs what was compiled for others."""
    marked = item.get_closest_marker("compiled_quickly")
    wanted = QUICK if marked and marked.args != (False,) and "XLA_FLAGS" not in os.environ else {}
    if wanted:
        heed()
    if wanted != options:
        options.clear()
        options.update(wanted)
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()


MAPS = Path("/proc/self/maps")
MOST = 30_000  # pieces of memory; Linux gives a process 65 530, and a compiler that gets no more ends it
EVERY = 10  # tests
DONE = itertools.count(1)


def pytest_runtest_teardown() -> None:
    """Programs that JAX has compiled are let go before they take too many pieces of memory."""
    if next(DONE) % EVERY == 0 and "jax" in sys.modules and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST:
        sys.modules["jax"].clear_caches()
        gc.collect()
