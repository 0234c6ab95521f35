"""A trained surrogate as a directory: weights, where its training data lived, settings and metrics."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciml import registry
from sciml.contracts import Operator
from sciml.data._solution import version
from sciml.errors import FileFormatError, InputError
from sciml.support import CELLS, Grid, Mesh, Points, Support
from sciml.training.callbacks import read_metrics
from sciml.training.checkpoint import digest, load_weights, plain, read_tensors, replace_bytes, write_tensors
from sciml.training.devices import unwrapped
from sciml.training.encoding import encoding_named
from sciml.training.fitting import Fitted, anew
from sciml.training.recipe import Recipe

SCHEMA = 2


def folder_of(directory: str | Path) -> Path:
    """The path of a run, `~` expanded.

    Raises:
        InputError: something that is no path.
    """
    if not isinstance(directory, str | Path):
        raise InputError(f"run: expected the path of a directory, got {directory!r:.80}")
    return Path(directory).expanduser()


def save(fitted: Fitted, kind: type[Operator], options: Mapping[str, Any], solver: str, directory: str | Path) -> None:
    """Write weights.safetensors, support.safetensors, config.json and metrics.jsonl."""
    folder = folder_of(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"directory: {folder} cannot be made ({error.strerror or error})") from None
    operator: Any = unwrapped(fitted.operator)
    weights = {k: v.detach().cpu() for k, v in operator.state_dict().items()}
    places = _places(fitted)
    config = {
        "schema": SCHEMA,
        "solver": solver,
        "operator": kind.name,
        "operator_config": plain(operator.config()),
        "options": plain(dict(options)),
        "encoding": fitted.encoding.to_json(),
        "training": fitted.record,
        "weights_sha256": digest(weights),
        "support_sha256": digest(places),
        "sciml_version": version(),
    }
    config = json.loads(json.dumps(config))
    config["config_sha256"] = _config_digest(config)
    write_tensors(folder / "weights.safetensors", weights)
    write_tensors(folder / "support.safetensors", places)
    lines = "".join(json.dumps(r) + "\n" for r in fitted.metrics).encode()
    log = folder / "metrics.jsonl"
    if not log.exists() or log.read_bytes() != lines:  # what is there may be another run's
        replace_bytes(log, lines)
    replace_bytes(folder / "config.json", (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())


def load(directory: str | Path) -> tuple[type[Operator], dict[str, Any], Fitted]:
    """(operator class, options, what was trained) as `save` wrote it; executes no code from the files.

    Raises:
        InputError: no such directory.
        FileFormatError: a file that is missing, broken, or does not belong to the others.
    """
    folder = folder_of(directory)
    config = read_config(folder)
    path = folder / "config.json"
    try:
        kind: Any = registry.operators.get(str(config["operator"]))
        named = encoding_named(str(config["encoding"]["kind"]), str(path))
        places, _ = read_tensors(folder / "support.safetensors")
        template, sensors = _template(places, str(folder / "support.safetensors"))
        encoding = named.from_json(config["encoding"], template, sensors, str(path))
        operator = anew(kind, config["operator_config"], encoding)
        recipe = Recipe.from_json(config["training"]["recipe"])
        options, record = dict(config["options"]), dict(config["training"])
    except FileFormatError:
        raise
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise FileFormatError(f"{path}: entry {error} is missing or cannot be used") from None
    if config.get("config_sha256") != _config_digest(config):
        raise FileFormatError(f"{path}: the settings are not those that were saved (their digest differs)")
    weights, _ = read_tensors(folder / "weights.safetensors")
    load_weights(operator, weights, folder / "weights.safetensors")
    for name, tensors in (("weights", weights), ("support", places)):
        if digest(tensors) != config.get(f"{name}_sha256"):
            file = folder / f"{name}.safetensors"
            raise FileFormatError(f"{file}: the {name} are not those that {path} was saved with")
    return kind, options, Fitted(encoding, operator, recipe, record, read_metrics(folder / "metrics.jsonl"))


def _places(fitted: Fitted) -> dict[str, torch.Tensor]:
    """Where the first training case lived, and the fixed sensors, as tensors."""
    e, found = fitted.encoding, {}
    template = e.template
    if isinstance(template, Grid):
        for axis, faces in zip("xyz", template.faces, strict=False):
            found[f"faces_{axis}"] = faces
        for axis, places in zip("xyz", template.at or (), strict=False):
            found[f"at_{axis}"] = places
        found["periodic"] = np.array(template.periodic, dtype=np.int64)
        if template.mask is not None:
            found["mask"] = template.mask
    else:
        found["position"] = template.points()
        if isinstance(template, Mesh):
            found |= {f"cells_{kind}": cells for kind, cells in template.cells.items()}
        elif isinstance(template, Points) and template.volume is not None:
            found["volume"] = template.volume
    if e.sensors is not None:
        found["sensors"] = e.sensors
    return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in found.items()}


def _template(tensors: Mapping[str, torch.Tensor], where: str) -> tuple[Support, np.ndarray | None]:
    arrays = {k: v.numpy() for k, v in tensors.items()}
    sensors = arrays.pop("sensors", None)
    try:
        if "position" in arrays:
            cells = {k: arrays[f"cells_{k}"] for k in CELLS if f"cells_{k}" in arrays}
            position = arrays["position"]
            return (Mesh(position, cells) if cells else Points(position, arrays.get("volume"))), sensors
        faces = tuple(arrays[f"faces_{a}"] for a in "xyz" if f"faces_{a}" in arrays)
        at = tuple(arrays[f"at_{a}"] for a in "xyz" if f"at_{a}" in arrays)
        return Grid(faces, tuple(bool(p) for p in arrays["periodic"]), arrays.get("mask"), at or None), sensors
    except (KeyError, InputError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{where}: no support as expected: {error}") from None


def _config_digest(config: dict[str, Any]) -> str:
    """Of all settings but the digest itself, which may not change what the weights mean unnoticed."""
    rest = {k: v for k, v in config.items() if k != "config_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_config(directory: str | Path) -> dict[str, Any]:
    """config.json of a run directory.

    Raises:
        InputError: no such directory, or one that holds no run.
        FileFormatError: a broken file, or one written by another version.
    """
    folder = folder_of(directory)
    path = folder / "config.json"
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: expected the directory of a trained model, but there is none")
    if not os.path.isfile(path):
        raise InputError(f"{folder}: expected the directory of a trained model, but it holds no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected JSON, got something else ({error})") from None
    if config.get("schema") != SCHEMA:
        raise FileFormatError(f"{path}: schema is {config.get('schema')!r}, expected {SCHEMA}")
    return config
