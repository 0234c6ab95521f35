"""A trained PINN as a directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sciml.errors import FileFormatError
from sciml.problem import Case
from sciml.solvers import _saved
from sciml.solvers.pinn._conditions import Ansatz, Given, Lift
from sciml.solvers.pinn._functions import restored, stored
from sciml.solvers.pinn._inputs import given_inputs
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn._unknowns import input_network
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import replace_bytes

if TYPE_CHECKING:
    from sciml.solvers.pinn.solver import PINN

NAME = "pinn"


def save(pinn: PINN, directory: str | Path) -> None:
    """Write weights.safetensors, config.json and metrics.jsonl."""
    case = pinn.case
    assert case is not None
    weights: dict[str, np.ndarray] = {}
    windows = []
    for k, window in enumerate(pinn.windows):
        fields, head = window.fields, f"window_{k}"
        weights |= leaves_of(f"{head}/network", fields.network)
        for name in pinn.unknown:
            if name in window.inputs:
                weights |= leaves_of(f"{head}/input_{name}", window.inputs[name])
        lifts = []
        for i, lift in enumerate(fields.lifts):
            rows = []
            for j, given in enumerate(lift.given):
                settings: dict[str, Any] = {"axis": given.axis, "end": given.end, "function": None}
                if given.function is not None:
                    settings["function"], arrays = stored(given.function)
                    weights |= {f"{head}/lift_{i}_{j}/{n}": v for n, v in arrays.items()}
                rows.append(settings)
            lifts.append(rows)
        weights |= {f"{head}/low": fields.low, f"{head}/span": fields.span, f"{head}/scales": fields.scales}
        windows.append({"span": list(window.span), "parameters": window.parameters, "lifts": lifts})
    weights |= case_arrays(case)
    content = {
        "architecture": pinn.architecture.to_json(), "unknown": list(pinn.unknown), "exact": pinn.exact,
        "resolution": pinn.resolution, "case": case.to_attrs(), "training": pinn.record, "windows": windows,
    }  # fmt: skip
    folder = _saved.made(directory)
    _saved.write_parts(folder, NAME, content, {"weights": weights})
    replace_bytes(folder / "metrics.jsonl", lines_of(pinn.history))


def case_arrays(case: Case) -> dict[str, np.ndarray]:
    """The inputs of a case."""
    return {f"case/{name}": np.asarray(array) for name, (_, array) in case.input_variables().items()}


def lines_of(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Records of training, a line each."""
    return "".join(json.dumps(_finite(r)) + "\n" for r in history).encode()


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if not (isinstance(v, float) and v != v)}


def leaves_of(head: str, tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by number."""
    return {f"{head}/{k}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(eqx.filter(tree, _numbers)))}


def _numbers(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | np.generic)


def filled(head: str, tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """A tree with the arrays that `_leaves` took."""
    numbers, rest = eqx.partition(tree, _numbers)
    leaves, structure = jax.tree.flatten(numbers)
    found = []
    for k, leaf in enumerate(leaves):
        value = arrays[f"{head}/{k}"]
        if value.shape != np.shape(leaf):
            raise FileFormatError(f"{head}/{k}: has shape {value.shape}, expected {np.shape(leaf)}")
        found.append(jnp.asarray(value) if eqx.is_array(leaf) else value)
    return eqx.combine(jax.tree.unflatten(structure, found), rest)


@contextlib.contextmanager
def reading(directory: str | Path) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """(config, arrays) as `save` wrote them; see `_saved.reading`."""
    with _saved.reading(directory, NAME, ["weights"]) as (config, parts):
        yield config, parts["weights"]


def case_of(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Case:
    """The case that was solved."""
    return Case.from_parts(
        config["case"], {n.removeprefix("case/"): v for n, v in arrays.items() if n.startswith("case/")}
    )


def windows_of(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], architecture: Any, case: Case) -> list[Any]:
    """(span, fields, parameters, inputs) of all windows."""
    steady, d = case.problem.steady, case.problem.dimensions
    names = [f.name for f in case.problem.fields]
    around = (*case.geometry.periodic, *(() if steady else (False,)))
    key = jax.random.key(0)
    terms = Terms(case, start=False)
    unknown = set(config["unknown"])
    needed = {n for term in terms.each() for n in term.inputs}
    given = given_inputs(case, needed - unknown)
    found = []
    for k, window in enumerate(config["windows"]):
        head = f"window_{k}"
        network = architecture.build(d + (not steady), len(names), key, periodic=around)
        lifts = []
        for i, rows in enumerate(window["lifts"]):
            several = []
            for j, row in enumerate(rows):
                function = None
                if row["function"] is not None:
                    path = f"{head}/lift_{i}_{j}/"
                    values = {n.removeprefix(path): v for n, v in arrays.items() if n.startswith(path)}
                    function = restored(row["function"], values)
                several.append(Given(function, int(row["axis"]), int(row["end"])))
            lifts.append(Lift(tuple(several)))
        low, span, scales = (arrays[f"{head}/{n}"] for n in ("low", "span", "scales"))
        fields = Ansatz(filled(f"{head}/network", network, arrays), tuple(lifts), low, span, scales, steady)
        inputs = dict(given)
        for name in sorted(unknown & {s.name for s in case.problem.inputs}):
            frame = input_network(case, name, architecture, key)
            inputs[name] = filled(f"{head}/input_{name}", frame, arrays)
        a, b = window["span"]
        found.append(((float(a), float(b)), fields, {n: float(v) for n, v in window["parameters"].items()}, inputs))
    return found


def history_of(directory: str | Path) -> list[dict[str, Any]]:
    """The records of training."""
    return read_metrics(_saved.folder_of(directory) / "metrics.jsonl")
