"""A trained surrogate as one file that needs nothing of this package: a program of torch, or ONNX."""

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.exc import UserError
from torch._export.serde.serialize import SerializeError
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError, GuardOnDataDependentSymNode

from sciml.data._files import given, replacing
from sciml.data._solution import version
from sciml.errors import InputError
from sciml.training.checkpoint import plain
from sciml.training.devices import unwrapped
from sciml.training.encoding.physical import Input, answered
from sciml.training.fitting import Fitted

SUFFIXES = (".pt2", ".onnx")
OPEN = ("batch", "point", "z", "y", "x")  # axes whose sizes follow the data
NOTE = "sciml.json"
FAILURES = (
    UserError, GuardOnDataDependentSymNode, ConstraintViolationError,  # of the tracing
    SerializeError, torch.onnx.OnnxExporterError,  # of the writing
)  # fmt: skip


def export(fitted: Fitted, name: str, path: str | Path) -> dict[str, Any]:
    """Write `path`, and say what is in it; see `Surrogate.export`."""
    target = Path(given(path))
    if target.suffix not in SUFFIXES:
        raise InputError(f"path: expected a file that ends in {' or '.join(SUFFIXES)}, got {target.name!r}")
    if target.suffix == ".onnx" and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise InputError("path: .onnx needs the packages onnx and onnxscript; pip install 'sciml[onnx]'")
    with replacing(target) as part:
        part.touch()  # a place that cannot be written is named before the work
        note, body = _made(fitted, name, target.suffix)
        part.write_bytes(body)
    return note


def _made(fitted: Fitted, name: str, suffix: str) -> tuple[dict[str, Any], bytes]:
    """(what the file says of itself, the file)."""
    e = fitted.encoding
    if e.constraints:
        names = ", ".join(type(c).__name__ for c in e.constraints)
        raise InputError(
            f"export: a file has no form for {names}; export surrogate.constrained(), which has no constraints"
        )
    operator = copy.deepcopy(unwrapped(fitted.operator)).cpu().eval()
    module, inputs = e.physical(operator)
    failure: Exception | None = None
    for free in (OPEN, ("batch",)):  # some arithmetic with open sizes has no form in a file
        try:
            program = _traced(module, inputs, free)
            note: dict[str, Any] = {"operator": name, "sciml_version": version()}
            note |= {"inputs": _described(program, inputs), "output": {"name": "y", "holds": list(answered(e))}}
            note["features"] = inspect.getdoc(e.problem.features) if e.features.names else None
            note["encoding"] = e.to_json()
            note["sensors"] = e.sensors
            note = plain(note)
            body = (_onnx if suffix == ".onnx" else _pt2)(program, inputs, note)
        except FAILURES as error:
            failure = failure or error
            continue
        if failure is not None:
            why = f"{suffix} has no form for what the {name} computes on others ({type(failure).__name__})"
            warnings.warn(f"export: only for the grid of the training data: {why}", stacklevel=4)
        return note, body
    message = f"export: {suffix} has no form for what the {name} computes ({type(failure).__name__})"
    raise InputError(message) from failure


def _traced(module: torch.nn.Module, inputs: dict[str, Input], free: tuple[str, ...]) -> torch.export.ExportedProgram:
    """The module as a program with these axes open, as far as its arithmetic leaves them so."""
    dtype = next(module.buffers()).dtype
    dims = {n: {i: torch.export.Dim.AUTO for i, a in enumerate(p.axes) if a in free} for n, p in inputs.items()}
    with torch.no_grad():
        examples = {n: torch.ones(p.sizes, dtype=dtype) for n, p in inputs.items()}
        return torch.export.export(module, (), examples, dynamic_shapes=dims)


def _sizes(program: torch.export.ExportedProgram) -> dict[str, list[Any]]:
    """The sizes of every input; those that are open are symbols."""
    names = program.graph_signature.user_inputs
    found = {str(n.name): n.meta["val"].shape for n in program.graph.nodes if n.op == "placeholder" and n.name in names}
    # a symbol that turned out to have one value stays a SymInt
    free = lambda n: isinstance(n, torch.SymInt) and n.node.expr.is_symbol  # noqa: E731
    return {name: [n if free(n) else int(n) for n in shape] for name, shape in found.items()}


def _described(program: torch.export.ExportedProgram, inputs: dict[str, Input]) -> dict[str, Any]:
    """Axes, sizes, and contents of the inputs; of open sizes the least and the most, which may be None."""
    found: dict[str, Any] = {}
    for name, shape in _sizes(program).items():
        sizes: list[Any] = []
        for axis, n in zip(inputs[name].axes, shape, strict=True):
            if isinstance(n, torch.SymInt):
                known = program.range_constraints[n.node.expr]
                most = int(known.upper) if known.upper < 2**31 else None
                n = [1 if axis == "batch" else int(known.lower), most]
            sizes.append(n)
        found[name] = {"axes": list(inputs[name].axes), "sizes": sizes, "holds": list(inputs[name].holds)}
    return found


def _pt2(program: torch.export.ExportedProgram, inputs: dict[str, Input], note: dict[str, Any]) -> bytes:
    """The program as torch stores it."""
    program.example_inputs = None  # as large as a field, and of no use
    body = io.BytesIO()
    torch.export.save(program, body, extra_files={NOTE: json.dumps(note)})
    return body.getvalue()


def _onnx(program: torch.export.ExportedProgram, inputs: dict[str, Input], note: dict[str, Any]) -> bytes:
    """The program as an ONNX model whose open axes have names, and which answers NaN below their least sizes."""
    import onnx

    axes = {
        name: {i: inputs[name].axes[i] for i, n in enumerate(shape) if isinstance(n, torch.SymInt)}
        for name, shape in _sizes(program).items()
    }
    log = logging.getLogger("torch.onnx")
    former = log.level
    log.setLevel(logging.ERROR)
    try:  # it warns of packages that nothing here needs, and of axes that share a name because they share a size
        with warnings.catch_warnings(action="ignore"):
            made = torch.onnx.export(program, (), dynamic_shapes=axes, output_names=["y"], verbose=False)
    finally:
        log.setLevel(former)
    assert made is not None
    model = made.model_proto
    sizes = ((name, i, n) for name, v in note["inputs"].items() for i, n in enumerate(v["sizes"]))
    _guard(model.graph, {(name, i): n[0] for name, i, n in sizes if isinstance(n, list) and n[0] > 1})
    onnx.helper.set_model_props(model, {NOTE: json.dumps(note)})
    return model.SerializeToString()


def _guard(graph: Any, least: dict[tuple[str, int], int]) -> None:
    """Make y NaN where an axis (input, number) is shorter than this; ONNX itself knows no bounds of open sizes."""
    from onnx import helper, numpy_helper

    if not least:
        return
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["guard.y" if n == "y" else n for n in names]
    dtype = helper.tensor_dtype_to_np_dtype(graph.output[0].type.tensor_type.elem_type)
    constants = {"least": list(least.values()), "zero": 0, "nan": np.array(np.nan, dtype)}
    graph.initializer.extend(numpy_helper.from_array(np.array(v), f"guard.{k}") for k, v in constants.items())
    found = [f"guard.{name}.{axis}" for name, axis in least]
    shapes = zip(found, least, strict=True)
    graph.node.extend(helper.make_node("Shape", [n], [out], start=i, end=i + 1) for out, (n, i) in shapes)
    graph.node.extend([
        helper.make_node("Concat", found, ["guard.sizes"], axis=0),
        helper.make_node("Sub", ["guard.sizes", "guard.least"], ["guard.spare"]),
        helper.make_node("ReduceMin", ["guard.spare"], ["guard.worst"], keepdims=0),
        helper.make_node("Less", ["guard.worst", "guard.zero"], ["guard.small"]),
        helper.make_node("Where", ["guard.small", "guard.nan", "guard.y"], ["y"]),
    ])  # fmt: skip
