"""What a file of PDEBench is: layout, equation, shapes, fields, parameters; see `sciml.data.importers.pdebench`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sciml.data.importers._gridded import note
from sciml.data.importers._hdf5 import Tree

COMPRESSIBLE = ("density", "pressure", "Vx", "Vy", "Vz")
#: parameter -> how attributes and file names call it
PARAMETERS = {"beta": "beta", "Nu": "nu", "rho": "rho", "M": "M", "eta": "eta", "zeta": "zeta"}
_NUMBER = r"(\d+(?:\.\d*)?(?:e[-+]?\d+)?)"
_KNOWN_CHANNELS = {"diff-react": ("activator", "inhibitor"), "diff-sorp": ("concentration",), "rdb": ("depth",)}
_SETTING = re.compile(r"\A( *)([\w./-]+):(?: +(.*?))?\s*\Z")


@dataclass
class File:
    """What one file is.

    Args:
        name: relative to the source.
        kind: which of the layouts.
        equation: in words, for the problem's name.
        count: of cases.
        frames: 0 where steady.
        shape: along x, y, z.
        fields: names.
        parameters: of all its cases.
        each: further ones, a case each.
        periodic: where it is known.
        settings: numbers of the configuration of all its cases.
    """

    name: str
    kind: str
    equation: str
    count: int
    frames: int
    shape: tuple[int, ...]
    fields: tuple[str, ...]
    parameters: dict[str, float] = field(default_factory=dict)
    each: list[dict[str, float]] = field(default_factory=list)
    periodic: bool | None = None
    groups: tuple[str, ...] = ()
    settings: dict[str, float] = field(default_factory=dict)


def kind_of(tree: Tree) -> str:
    """Which of the layouts a file has, "" for none."""
    root = tree.root
    if {"tensor", "nu"} <= set(root.variables):
        return "darcy"
    if "tensor" in root.variables and ("x-coordinate" in root or "t-coordinate" in root):
        return "scalar"
    if {"velocity", "particles"} <= set(root.variables):
        return "incompressible"
    if {"density", "pressure", "Vx"} <= set(root.variables):
        return "compressible"
    first = next((g for g in root.groups if g.isdigit()), None)
    if first is not None and "data" in tree.group(first).variables and "grid" in tree.group(first).groups:
        return "groups"
    return ""


def looked_at(tree: Tree, name: str, kind: str, notes: list[str]) -> File:
    """What a file is, by shapes and attributes."""
    if kind == "groups":
        return _looked_at_groups(tree, name, notes)
    parameters = _from_attributes(tree, name, notes)
    known = {*(f"{a}-coordinate" for a in "xyzt"), "t", "nu", "tensor", "velocity", "particles", "force", *COMPRESSIBLE}
    rest = [n for n in [*tree.root.variables, *tree.root.groups] if n not in known]
    if rest:
        notes.append(f"{name}: not understood and left out: {', '.join(rest[:10])}")
    if kind == "incompressible":
        shape = tree["velocity"].shape
        if len(shape) < 4 or shape[-1] != len(shape) - 3:
            tree.fail(f"has shape {shape}, expected (case, time, x, y, component)", "velocity")
        fields = (*(f"velocity_{a}" for a in "xyz"[: shape[-1]]), "particles")
        config = tree.attrs.get("config", "")
        settings = _numbers(config) if isinstance(config, str) else {}
        return File(name, kind, "incompressible_flow", shape[0], shape[1], shape[2:-1], fields, parameters, [], False,
                     settings=settings)  # fmt: skip
    main = tree["density" if kind == "compressible" else "tensor"]
    shape = main.shape
    if not 3 <= len(shape) <= 5:
        tree.fail(f"has shape {shape}, expected (case, time, x) and further axes of space", main.path)
    if kind == "darcy":
        if len(shape) < 4 or shape[1] != 1:
            tree.fail(f"has shape {shape}, expected (case, 1, x, y)", "tensor")
        wanted = (shape[0], *shape[2:])
        if tree["nu"].shape != wanted:
            tree.fail(f"has shape {tree['nu'].shape}, expected {wanted}, as tensor has", "nu")
        return File(name, kind, "darcy", shape[0], 0, shape[2:], ("u",), parameters, [], False)
    if kind == "scalar":
        equation = "advection" if "beta" in parameters else "scalar"
        if "nu" in parameters:
            equation = "reaction_diffusion" if "rho" in parameters else "burgers"
        around = True if equation != "scalar" else None
        return File(name, kind, equation, shape[0], shape[1], shape[2:], ("u",), parameters, [], around)
    fields = tuple(n for n in COMPRESSIBLE if n in tree.root.variables)
    expected = ("density", "pressure", *COMPRESSIBLE[2 : len(shape)])
    if fields != expected:
        tree.fail(f"holds {', '.join(fields)} over {len(shape) - 2} axes of space, expected {', '.join(expected)}")
    for n in fields:
        if tree[n].shape != shape:
            tree.fail(f"has shape {tree[n].shape}, expected {shape}, as density has", n)
    low = name.lower()
    around = True if "periodic" in low else False if "trans" in low else None
    return File(name, kind, "compressible_flow", shape[0], shape[1], shape[2:], fields, parameters, [], around)


def _looked_at_groups(tree: Tree, name: str, notes: list[str]) -> File:
    groups = tuple(g for g in tree.root.groups if g.isdigit())
    rest = [n for n in [*tree.root.variables, *tree.root.groups] if n not in groups]
    if rest:
        notes.append(f"{name}: not understood and left out: {', '.join(rest[:10])}")
    first = tree[f"{groups[0]}/data"].shape
    if not 3 <= len(first) <= 5:
        tree.fail(f"has shape {first}, expected (time, x, [y,] channel)", f"{groups[0]}/data")
    settings = []
    for g in groups:
        if "data" not in tree.group(g).variables:
            tree.fail(f"group {g!r} has no 'data'")
        shape = tree[f"{g}/data"].shape
        if shape[1:] != first[1:]:
            tree.fail(f"has shape {shape}, but {groups[0]}/data has {first}", f"{g}/data")
        config = tree.group(g).attrs.get("config", "")
        settings.append(_numbers(config if isinstance(config, str) else ""))
    shared, each = varying(settings)
    tell_shared(shared, notes)
    low = name.lower().replace("_", "-")
    equation = next((k for k in _KNOWN_CHANNELS if k in low), "")
    fields = _KNOWN_CHANNELS.get(equation, ())
    if len(fields) != first[-1]:
        fields = ("u",) if first[-1] == 1 else tuple(f"u_{k}" for k in range(first[-1]))
        note(notes, f"channels of 'data' have no names: called {', '.join(fields)}")
    words = {"diff-react": "diffusion_reaction", "diff-sorp": "diffusion_sorption", "rdb": "shallow_water"}
    called, shape = words.get(equation, "groups"), first[1:-1]
    return File(name, "groups", called, len(groups), first[0], shape, fields, {}, each, False, groups)


def _from_attributes(tree: Tree, name: str, notes: list[str]) -> dict[str, float]:
    """Parameters of a file: from attributes, else from its name."""
    found: dict[str, float] = {}
    lower = {k.lower(): v for k, v in tree.attrs.items()}
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    for parameter, ours in PARAMETERS.items():
        value: Any = lower.get(parameter.lower())
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        try:
            told = float(value) if value is not None and not isinstance(value, list) else None
        except ValueError:  # text that is no number
            told = None
        if value is not None and told is None:
            note(notes, f"{name}: attribute {parameter!r} is {value!r:.40}, no number: left out")
        match = re.search(rf"(?:\A|_){parameter}{_NUMBER}(?=_|\Z)", stem, re.IGNORECASE)
        named = float(match[1]) if match else None
        if told is None and named is not None:
            note(notes, f"{ours} is taken from file names, as in {stem}")
            told = named
        elif told is not None and named is not None and abs(told - named) > 1e-6 * abs(named):
            note(notes, f"{name}: {ours} is {told:g} in the attributes, which counts, but {named:g} in the file's name")
        if told is not None and np.isfinite(told):
            found[ours] = told
    known = {*(p.lower() for p in PARAMETERS), "config", "latestindex"}
    others = [k for k in tree.attrs if k.lower() not in known]
    if others:
        note(notes, f"{name}: attributes that are not understood: {', '.join(others[:10])}")
    return found


def _numbers(config: str) -> dict[str, float]:
    """Numbers of YAML's simple lines "key: number", by the keys above, "sim.D"."""
    found: dict[str, float] = {}
    above: list[tuple[int, str]] = []
    for line in config.splitlines()[:2000]:
        match = _SETTING.match(line.split(" #")[0])
        if not match:
            continue
        depth, key, value = len(match[1]), match[2], (match[3] or "").strip("'\" ")
        above = [a for a in above if a[0] < depth]
        if not value:
            above.append((depth, key))
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        if np.isfinite(number):
            found[".".join([*(a[1] for a in above), key])] = number
    return found


def varying(settings: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Settings that all cases share, and of the others the last part of their names and values; seeds are neither."""
    common = set(settings[0]).intersection(*settings[1:]) if settings else set()
    keys = [k for k in settings[0] if k in common and "seed" not in k.lower()] if settings else []
    shared = {k: settings[0][k] for k in keys if all(s[k] == settings[0][k] for s in settings)}
    names = {k: re.sub(r"\W", "_", k.rsplit(".", 1)[-1]) for k in keys if k not in shared}
    if not names:
        return shared, []
    return shared, [{n: s[k] for k, n in names.items()} for s in settings]


def tell_shared(shared: Mapping[str, float], notes: list[str]) -> None:
    if shared:
        told = ", ".join(f"{k} = {v:g}" for k, v in list(shared.items())[:12])
        note(notes, f"settings that all cases share are no parameters: {told}")
