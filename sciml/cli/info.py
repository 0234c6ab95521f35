"""`sciml info`: say what a file or a folder is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import typer

from sciml.errors import FileFormatError, InputError


def info(
    path: str = typer.Argument(
        ..., metavar="FILE_OR_RUN", help="A data set file, the folder of a trained run, or anybody's data."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the facts as JSON."),
) -> None:
    """Say what a data set file, a trained run, or data of another layout are."""
    from sciml.cli import _arguments, _foreign, _show

    target = _arguments.place("FILE_OR_RUN", path)
    if target.is_dir() and target.suffix != ".zarr":
        run = (target / "config.json").is_file() or (target / "checkpoints").is_dir()
        content = describe_run(target) if run else _foreign.describe(target)
    elif _foreign.is_foreign(target):
        content = _foreign.describe(target)
    else:
        if target.suffix != ".zarr":
            _arguments.readable_file("FILE_OR_RUN", target)
        elif not target.exists():
            _arguments.readable_folder("FILE_OR_RUN", target)
        content = describe_data(target)
    if as_json:
        _show.print_json(content)
    elif content["kind"] == "run":
        _print_run(content)
    elif content["kind"] in ("foreign", "archive"):
        _foreign.show(content)
    else:
        _print_data(content)


def describe_data(path: Path) -> dict[str, Any]:
    """Return the facts about a data set file as JSON values."""
    import numpy as np

    import sciml.data
    from sciml.data import schema

    with sciml.data.open(path) as found:
        sizes = {str(k): int(v) for k, v in found.sizes.items()}
        frames = np.asarray(found["row_size"].values)
        content: dict[str, Any] = {
            "kind": "data set",
            "path": str(path),
            "bytes": _size(path),
            "problem": found.attrs["problem"],
            "schema_version": found.attrs["schema_version"],
            "cases": sizes["case"],
            "frames": int(frames.sum()),
            "frames_per_case": {"least": int(frames.min()), "most": int(frames.max())},
            "grid": {d: sizes[d] for d in ("x", "y", "z") if d in sizes},
            "fields": [
                {
                    "name": n,
                    "unit": str(found[n].attrs["units"]),
                    "type": str(found[n].dtype),
                    "long_name": str(found[n].attrs.get("long_name", "")),
                }
                for n in schema.field_names(found)
            ],
            "also": [
                n
                for n in map(str, found.data_vars)
                if n.startswith(("input_", "boundary_")) or n == "mask" or n.endswith(schema.DERIVED)
            ],
            "parameters": [_spread(n, found[n]) for n in schema.parameter_names(found)],
        }
        if "node_row_size" in found.variables:
            content["nodes"] = _nodes(found)
        if "time" in found.variables and frames.max() > 1:
            time, case = np.asarray(found["time"].values), np.asarray(found["frame_case"].values)
            steps = np.diff(time)[np.diff(case) == 0]
            content["time"] = {
                "unit": str(found["time"].attrs.get("units", "s")),
                "first": float(time.min()),
                "last": float(time.max()),
                "step_least": float(steps.min()),
                "step_most": float(steps.max()),
            }
        subset = schema.flag_names(found["subset"]) if "subset" in found else np.array(["all"] * sizes["case"])
        split = schema.flag_names(found["split"]) if "split" in found else np.array(["unsplit"] * sizes["case"])
        content["splits"] = {
            s: {p: int(np.sum((subset == s) & (split == p))) for p in dict.fromkeys(split)}
            for s in dict.fromkeys(subset)
        }
        if "status" in found:
            status = schema.flag_names(found["status"])
            content["failed"] = [int(i) for i in np.flatnonzero(status != "ok")]
        known = {"problem", "schema_version", "fields", "parameters", "Conventions"}
        content["made_by"] = {k: _decoded(v) for k, v in found.attrs.items() if k not in known}
    return content


def _nodes(found: Any) -> dict[str, Any]:
    """Dimensions, numbers of nodes and of cells by their kind, whether nodes move."""
    import numpy as np

    from sciml.support import kind_of

    axes = [a for a in "xyz" if a in found.variables]
    cells = {}
    for name in map(str, found.variables):
        if name.startswith("connectivity"):
            tail = name.removeprefix("connectivity")
            kind = tail[1:] or kind_of(found[name].shape[1], len(axes))
            cells[kind] = _range(np.asarray(found[f"cell_row_size{tail}"].values))
    return {
        **_range(np.asarray(found["node_row_size"].values)),
        "dimensions": len(axes),
        "moving": any(found[a].dims == ("obs",) for a in axes),
        "cells": cells,
    }


def _range(counts: Any) -> dict[str, int]:
    return {"least": int(counts.min(initial=counts.max(initial=0))), "most": int(counts.max(initial=0))}


def describe_run(path: Path) -> dict[str, Any]:
    """Return the facts about the folder of a trained surrogate as JSON values."""
    from sciml.cli import _arguments
    from sciml.training.callbacks import read_metrics

    config_file = path / "config.json"
    if not config_file.is_file():
        if (path / "checkpoints").is_dir():
            raise InputError(
                f"{path}: the run is incomplete (checkpoints, but no config.json); go on with sciml train --resume"
            )
        raise InputError(f"{path}: expected a data set file or a run with config.json, got a folder without it")
    config = read_json(config_file)
    content: dict[str, Any] = {"kind": "run", "path": str(path), "bytes": _size(path), "config": config}
    weights, places = path / "weights.safetensors", path / "support.safetensors"
    content["complete"] = not _arguments.missing_parts(path)
    count = config.get("members", 0)  # of an ensemble, each in a folder of its own
    members = [path / f"member_{k}" for k in range(count if isinstance(count, int) else 0)]
    if not all((m / "config.json").is_file() and not _arguments.missing_parts(m) for m in members):
        content["complete"] = False
    inside = path / "solver"
    if inside.is_dir():  # what a wrapper is around
        content["around"] = describe_run(inside)
        content["complete"] = content["complete"] and content["around"]["complete"]
    if weights.is_file():
        shapes = list(_shapes(weights).values())
        content["weights"] = {"parameters": sum(math.prod(s) for s in shapes), "tensors": len(shapes)}
    if places.is_file():
        shapes, families = _shapes(places), config.get("families")
        if isinstance(families, list):  # one for each problem
            content["supports"] = [_support(places, _within(shapes, f"{k}.")) for k in range(len(families))]
        else:
            content["support"] = _support(places, shapes)
    content["history"] = read_metrics(path / "metrics.jsonl")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or say what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not JSON ({str(error)[:120]})") from None
    if not isinstance(content, dict):
        raise FileFormatError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _shapes(path: Path) -> dict[str, list[int]]:
    """The tensors of a safetensors file, by their shapes alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{path}: truncated or no safetensors file ({error})") from None


def _within(shapes: dict[str, list[int]], prefix: str) -> dict[str, list[int]]:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _support(path: Path, shapes: dict[str, list[int]]) -> dict[str, Any]:
    """Where the first training case lived: kind, sizes by axis or numbers of nodes and cells."""
    try:
        found: dict[str, Any] = {"sensors": shapes["sensors"][0]} if "sensors" in shapes else {}
        if "position" in shapes:
            nodes, dimensions = shapes["position"]
            cells = {k.removeprefix("cells_"): v[0] for k, v in shapes.items() if k.startswith("cells_")}
            kind = "mesh" if cells else "points"
            return {"kind": kind, "nodes": nodes, "dimensions": dimensions, "cells": cells} | found
        axes = {a: shapes[f"faces_{a}"][0] - 1 for a in "xyz" if f"faces_{a}" in shapes}
        return {"kind": "grid", "cells": axes, "masked": "mask" in shapes} | found
    except (ValueError, IndexError):  # a number where a list of points should be
        raise FileFormatError(f"{path}: no support as expected, got tensors of shapes {shapes}") from None


def _support_text(support: dict[str, Any], shared: bool) -> str:
    if support["kind"] == "grid":
        text = "grid of " + " × ".join(str(n) for n in support["cells"].values()) + " cells"
        text += ", masked" if support["masked"] else ""
    else:
        joined = ", ".join(f"{n} {kind}s" for kind, n in support["cells"].items())
        text = f"{support['nodes']} nodes in {support['dimensions']} dimensions, {joined or 'loose'}"
    text += f", seen at {support['sensors']} sensors" if "sensors" in support else ""
    return text + ("" if shared else " (of the first case; others differ)")


def _spread(name: str, variable: Any) -> dict[str, Any]:
    import numpy as np

    values = np.asarray(variable.values, float)
    return {
        "name": name,
        "unit": str(variable.attrs.get("units", "")),
        "least": float(np.min(values)),
        "median": float(np.median(values)),
        "most": float(np.max(values)),
        "different": int(np.unique(values).size),
    }


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    unwrap: Any = getattr(value, "tolist", None)
    return unwrap() if unwrap is not None else value


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _places(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Where values live, in words."""
    if "nodes" not in content:
        return [("grid", " × ".join(f"{n} {d}" for d, n in content["grid"].items()))]

    def span(found: dict[str, Any]) -> str:
        least, most = found["least"], found["most"]
        return f"{most:,}" if least == most else f"{least:,} to {most:,}"

    nodes = content["nodes"]
    moving = ", moving" if nodes["moving"] else ""
    found = [("nodes", f"{span(nodes)} in {nodes['dimensions']}-D{moving}")]
    plural = {"prism": "prisms", "hexahedron": "hexahedra", "tetrahedron": "tetrahedra"}
    cells = ", ".join(f"{span(n)} {plural.get(kind, kind + 's')}" for kind, n in nodes["cells"].items())
    return [*found, ("cells", cells)] if cells else found


def _print_data(content: dict[str, Any]) -> None:
    from sciml._repr_html import pretty_unit
    from sciml.cli import _show

    console = _show.console()
    per = content["frames_per_case"]
    frames = f"{content['frames']}"
    if per["most"] > 1:
        same = per["least"] == per["most"]
        frames += f" ({per['most']} a case)" if same else f" ({per['least']} to {per['most']} a case)"
    items = [
        ("problem", content["problem"]),
        ("cases", str(content["cases"])),
        ("frames", frames),
        *_places(content),
        ("size", _show.size(content["bytes"])),
        ("schema", content["schema_version"]),
    ]
    if "time" in content:
        t = content["time"]
        step = f"{t['step_least']:.4g}"
        if t["step_most"] > t["step_least"] * 1.001:
            step += f" to {t['step_most']:.4g}"
        items.insert(3, ("time", f"{t['first']:.4g} to {t['last']:.4g} {t['unit']}, step {step} {t['unit']}"))
    if content.get("failed"):
        items.append(("failed cases", ", ".join(map(str, content["failed"][:20]))))
    if content["also"]:
        items.append(("also holds", ", ".join(content["also"])))
    console.print(_show.facts(f"{content['path']}: a data set", items))
    console.print(
        _show.table(
            "",
            ("field", "unit", "type", "what it is"),
            [(f["name"], pretty_unit(f["unit"]), f["type"], f["long_name"]) for f in content["fields"]],
        )
    )
    if content["parameters"]:
        console.print(
            _show.table(
                "",
                ("parameter", "unit", "least", "median", "most", "different"),
                [
                    (
                        p["name"],
                        pretty_unit(p["unit"]),
                        f"{p['least']:.4g}",
                        f"{p['median']:.4g}",
                        f"{p['most']:.4g}",
                        str(p["different"]),
                    )
                    for p in content["parameters"]
                ],
            )
        )
    parts = list(next(iter(content["splits"].values())))
    rows = [(name, *(str(counts[p]) for p in parts)) for name, counts in content["splits"].items()]
    if len(rows) > 1:
        rows.append(("all", *(str(sum(c[p] for c in content["splits"].values())) for p in parts)))
    console.print(_show.table("", ("cases by subset", *parts), rows))
    made = [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in content["made_by"].items()]
    if made:
        console.print(_show.facts("how it was made", made))


def _print_run(content: dict[str, Any]) -> None:
    from sciml.cli import _show

    console = _show.console()
    config = content["config"]
    training = _table_of(config, "training")
    state = "yes" if content["complete"] else "no, weights or support are missing; go on with sciml train --resume"
    what = ("operator", _call(config)) if "operator" in config else ("solver", _solver(config))
    head = [what, ("complete", state), ("size", _show.size(content["bytes"]))]
    if "weights" in content:
        count = content["weights"]
        head.insert(1, ("weights", f"{count['parameters']:,} numbers in {count['tensors']} tensors"))
    if "coverage" in config:
        head.append(("error bars", f"coverage {config['coverage']} per {config.get('per', '?')}, "
                     f"from {_table_of(config, 'calibration').get('cases', '?')} cases"))  # fmt: skip
    if "members" in config:
        head.append(("members", str(config["members"])))
    if "around" in content:
        inner = content["around"]["config"]
        head.append(("around", _call(inner) if "operator" in inner else str(inner.get("solver", "?"))))
    if "supports" in content:
        for encoding, support in zip(config["families"], content["supports"], strict=True):
            head += _of_problem(encoding if isinstance(encoding, dict) else {}, support)
    else:
        head += _of_problem(_table_of(config, "encoding") or config, content.get("support"))
    recipe = _table_of(training, "recipe")
    if recipe:
        head.append(("length", _part(recipe.get("length"))))
        parts = [_part(recipe[k]) for k in ("objective", "optimiser", "schedule") if recipe.get(k)]
        head.append(("recipe", ", ".join([*parts, f"batch {recipe.get('batch')}", f"seed {recipe.get('seed')}"])))
    if "cases" in training:
        names = training.get("data")
        where = f" of {', '.join(map(str, names)) if isinstance(names, list) else names}" if names else ""
        head.append(("data", f"{training['cases']} cases, {training.get('frames', '?')} frames{where}"))
    if "seconds" in training:
        head.append(("training", f"{training.get('steps', '?')} steps in {training['seconds']:.4g} s"))
    for key in ("loss", "validation"):
        found = [r[key] for r in content["history"] if isinstance(r.get(key), int | float)]
        if found:
            head.append((f"last {key}", f"{found[-1]:.4g} (least {min(found):.4g})"))
    console.print(_show.facts(f"{content['path']}: a trained run", head))
    items = [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in _flat(training).items()
             if v not in (None, "", {}, [])]  # fmt: skip
    if items:
        console.print(_show.facts("settings", items))


def _of_problem(encoding: dict[str, Any], support: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What a run was trained on, and what it answers there."""
    head: list[tuple[str, str]] = []
    problem = encoding.get("problem")
    if problem:
        head.append(("problem", str(problem.get("problem", "?")) if isinstance(problem, dict) else str(problem)))
    if isinstance(encoding.get("fields"), list):
        head.append(("predicts", ", ".join(map(str, encoding["fields"]))))
    if "stepping" in encoding:
        head.append(("time", _part(encoding["stepping"])))
    step = encoding.get("step")
    if isinstance(step, dict):
        plain = problem.get("time_unit", "") if isinstance(problem, dict) else ""
        unit = " time scales of the case" if step.get("kind") == "nondimensional" else f" {plain}".rstrip()
        head.append(("step", f"{step.get('value'):.6g}{unit}"))
    if support is not None:
        head.append(("trained on", _support_text(support, bool(encoding.get("shared", True)))))
    return head


def _solver(config: dict[str, Any]) -> str:
    name, given = str(config.get("solver", "?")), _table_of(_table_of(config, "learned"), "arguments")
    return name + (f"({', '.join(f'{k}={json.dumps(v)}' for k, v in given.items())})" if given else "")


def _flat(training: dict[str, Any]) -> dict[str, Any]:
    """The record of training with the whole recipe as dotted paths."""
    from sciml.reporting.names import flattened

    return flattened(training)


def _part(value: Any) -> str:
    """A part of a recipe as one would write it: Autoregressive(step=1, history=1, increments=true)."""
    if isinstance(value, dict) and "kind" in value:
        inner = ", ".join(f"{k}={_part(v)}" for k, v in value.items() if k != "kind")
        return f"{value['kind']}({inner})"
    return value if isinstance(value, str) else json.dumps(value)


def _table_of(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _call(config: dict[str, Any]) -> str:
    options = ", ".join(f"{k}={json.dumps(v)}" for k, v in _table_of(config, "options").items())
    return f"{config.get('operator', '?')}({options})"
