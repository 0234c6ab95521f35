"""Names for classes: what a file or a command line may call by name.

A name in a file is looked up here and nowhere else: a file can never cause a module to be imported. What is not part of
the package is imported by whoever uses it, named in the environment variable SCIML_PLUGINS (`sciml --import`), or, on
the command line, offered by an installed package as an entry point of the group "sciml".
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from sciml.errors import InputError, suggest

T = TypeVar("T", bound=type)


class Registry:
    """A table from names to classes of one kind.

    Args:
        kind: what the classes are ("operator"), used in messages.
        home: the sub-package whose import registers the built-in classes; it is imported at the first look-up.
        modules: built-in names whose module is only imported when that name is asked for.
    """

    def __init__(self, kind: str, home: str, modules: dict[str, str] | None = None):
        self.kind = kind
        self._home = home
        self._modules = modules or {}
        self._classes: dict[str, type] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Class decorator: enter a class under `name` (and further `aliases`)."""

        def enter(cls: T) -> T:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise InputError(f"{self.kind} {name!r} is registered already, by {known.__qualname__}")
            self._classes[name] = cls
            self._aliases.update(dict.fromkeys(aliases, name))
            return cls

        return enter

    def get(self, name: str) -> type:
        """The class called `name`.

        Raises:
            InputError: no such name; the message gives the nearest one.
        """
        if name in self._modules and name not in self._classes:
            importlib.import_module(self._modules[name])
        self._load()
        cls = self._classes.get(self._aliases.get(name, name))
        if cls is None:
            raise InputError(f"{self.kind}: no {self.kind} is called {name!r}{self._near(name)}")
        return cls

    def names(self) -> tuple[str, ...]:
        """All names, sorted, without aliases."""
        self._load()
        return tuple(sorted({*self._classes, *self._modules}))

    def name_of(self, cls: type) -> str:
        """The name under which `cls` is registered."""
        self._load()
        for name, known in self._classes.items():
            if known is cls:
                return name
        raise InputError(f"{self.kind}: {cls.__qualname__} is not registered")

    def _near(self, name: str) -> str:
        """The nearest name or alias; else all names."""
        tail = suggest(name, [*self.names(), *self._aliases])
        return tail if "did you mean" in tail else suggest(name, self.names())

    def _load(self) -> None:
        importlib.import_module(self._home)
        plugins()
        if _OFFERED["wanted"]:
            entry_points()


def plugins() -> None:
    """Import the modules and files that the environment variable SCIML_PLUGINS names (`sciml --import`), separated as
    in PATH, each once: they register classes of their own.

    Raises:
        InputError: one that cannot be imported.
    """
    for name in filter(None, os.environ.get("SCIML_PLUGINS", "").split(os.pathsep)):
        if name in _PLUGINS:
            continue
        _PLUGINS.add(name)  # at once: what is imported may look names up itself
        try:
            if not name.endswith(".py"):
                importlib.import_module(name)
                continue
            path = os.path.abspath(os.path.expanduser(name))
            key = os.path.basename(path).removesuffix(".py")
            spec = importlib.util.spec_from_file_location(key, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(key, module)
            spec.loader.exec_module(module)
        except Exception as error:
            _PLUGINS.discard(name)
            raise InputError(f"--import: {name} cannot be imported ({type(error).__name__}: {error})") from None


def entry_points() -> tuple[str, ...]:
    """Load what installed packages offer under the entry-point group "sciml", once: modules that register classes of
    their own. One that cannot be loaded is named in a warning, and the others are loaded all the same.

    Nothing but this call loads them, and nothing but the command line makes it unasked.

    Returns:
        The names of those that are loaded, sorted.
    """
    if not _OFFERED["loaded"]:
        _OFFERED["loaded"] = True  # at once: what is imported may look names up itself
        from importlib import metadata

        for point in sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
            try:
                point.load()
                _NAMES.add(point.name)
            except Exception as error:
                source = f" of {point.dist.name}" if point.dist is not None else ""
                text = f"entry point {point.name!r}{source} cannot be loaded ({type(error).__name__}: {error})"
                warnings.warn(" ".join(text.split()), stacklevel=2)
    return tuple(sorted(_NAMES))


def want_entry_points() -> None:
    """Have the first look-up of a name load the entry points."""
    _OFFERED["wanted"] = True


GROUP = "sciml"
_PLUGINS: set[str] = set()
_NAMES: set[str] = set()
_OFFERED = {"wanted": False, "loaded": False}

problems = Registry("problem", "sciml.problems")
operators = Registry("operator", "sciml.operators")
solvers = Registry(
    "solver",
    "sciml.solvers",
    {
        "incompressible_flow": "sciml.solvers.incompressible",
        "two_phase_flow": "sciml.solvers.two_phase",
        "openfoam": "sciml.solvers.openfoam",
        "material_point": "sciml.solvers.material_point",
        "pseudo_spectral": "sciml.solvers.pseudospectral",
        "channel_flow": "sciml.solvers.channel",
        "shock_capturing": "sciml.solvers.shock_capturing",
        "finite_volume": "sciml.solvers.finite_volume",
        "finite_elements": "sciml.solvers.finite_elements",
        "adaptive_finite_elements": "sciml.meshing.adaptive",
        "steady_linear": "sciml.solvers.linear.steady",
        "lagrangian_flow_network": "sciml.solvers.pinn.flow_network",
        "lagrangian_pinn": "sciml.solvers.pinn.lagrangian",
        "pinn": "sciml.solvers.pinn.solver",
        "surrogate": "sciml.solvers.surrogate",
        "corrected_flow": "sciml.solvers.corrected",
        "foundation_model": "sciml.solvers.foundation",
        "particle_surrogate": "sciml.solvers.particle_surrogate",
        "sensor_surrogate": "sciml.solvers.sensor_surrogate",
        "ensemble": "sciml.solvers.ensemble",
        "spectral_refiner": "sciml.solvers.refiner",
        "conformal": "sciml.solvers.conformal",
        "nearest_case": "sciml.solvers.regression",
        "linear_regression": "sciml.solvers.regression",
        "pod_regression": "sciml.solvers.regression",
        "dynamic_modes": "sciml.solvers.dynamic_modes",
        "neural_ode": "sciml.solvers.neural_ode",
        "persistence": "sciml.solvers.baselines",
        "mean_field": "sciml.solvers.baselines",
        "parameter_interpolation": "sciml.solvers.interpolation",
    },
)
#: what solves linear systems after training; `sciml.load` knows them too
linear_solvers = Registry(
    "linear solver",
    "sciml.solvers.linear",
    {
        "convergent_graph": "sciml.solvers.linear.convergent_graph",
        "deep_conjugate_direction": "sciml.solvers.linear.deep_conjugate_direction",
        "learned_multigrid": "sciml.solvers.linear.learned_multigrid",
    },
)
#: what moves meshes after training; `sciml.load` knows them too
movers = Registry(
    "mesh mover",
    "sciml.meshing",
    {"dmm": "sciml.meshing.dmm", "local": "sciml.meshing.local", "um2n": "sciml.meshing.um2n"},
)
