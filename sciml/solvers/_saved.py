"""A trained surrogate as a directory: weights, where its training data lived, settings and metrics."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
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
#: the arrays that runs of all kinds keep, each in a file of its name
PARTS = ("weights", "support", "learned", "calibration", "moments")


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
    folder = made(directory)
    operator: Any = unwrapped(fitted.operator)
    weights = {k: v.detach().cpu() for k, v in operator.state_dict().items()}
    places = places_of(fitted.encoding.template, fitted.encoding.sensors)
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
    write_tensors(folder / "weights.safetensors", weights)
    write_tensors(folder / "support.safetensors", places)
    write_metrics(folder, fitted.metrics)
    _write_config(folder, config)


def write_metrics(directory: str | Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.jsonl."""
    lines = "".join(json.dumps(r) + "\n" for r in metrics).encode()
    log = folder_of(directory) / "metrics.jsonl"
    if not log.exists() or log.read_bytes() != lines:  # what is there may be another run's
        replace_bytes(log, lines)


def made(directory: str | Path) -> Path:
    """The directory of a run, made if it is missing.

    Raises:
        InputError: it cannot be made.
    """
    folder = folder_of(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"directory: {folder} cannot be made ({error.strerror or error})") from None
    return folder


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    found = json.loads(json.dumps(plain(dict(config))))
    found["config_sha256"] = _config_digest(found)
    replace_bytes(folder / "config.json", (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def write_parts(
    directory: str | Path, solver: str, content: Mapping[str, Any], parts: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Write config.json with `content`, and a file of arrays for each of `parts`."""
    assert set(parts) <= set(PARTS), sorted(parts)
    folder, config = made(directory), {"schema": SCHEMA, "solver": solver, "sciml_version": version(), **content}
    for name, arrays in parts.items():
        tensors = {k: torch.tensor(np.asarray(v)) for k, v in arrays.items()}
        write_tensors(folder / f"{name}.safetensors", tensors)
        config[f"{name}_sha256"] = digest(tensors)
    _write_config(folder, config)


@contextlib.contextmanager
def reading(
    directory: str | Path, solver: str, names: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]]:
    """What `write_parts` wrote: (config, arrays by part). What fails while they are made use of is laid to the files.

    Raises:
        InputError: no such directory.
        FileFormatError: a file that is missing, broken, or does not belong to the others.
    """
    folder = folder_of(directory)
    config, path = read_config(folder), folder / "config.json"
    if config.get("solver") != solver:
        raise FileFormatError(f"{path}: holds {config.get('solver')!r}, expected {solver!r}")
    if config.get("config_sha256") != _config_digest(config):
        raise FileFormatError(f"{path}: the settings are not those that were saved (their digest differs)")
    arrays = {}
    for name in names:
        tensors, _ = read_tensors(folder / f"{name}.safetensors")
        if digest(tensors) != config.get(f"{name}_sha256"):
            file = folder / f"{name}.safetensors"
            raise FileFormatError(f"{file}: the {name} are not those that {path} was saved with")
        arrays[name] = {k: v.numpy() for k, v in tensors.items()}
    try:
        yield config, arrays
    except FileFormatError:
        raise
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FileFormatError(f"{path}: entry {error} is missing or cannot be used") from None


def restore(operator: Operator, weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """Put the weights of a run into an operator of its kind.

    Raises:
        FileFormatError: weights that are not of this operator.
    """
    load_weights(
        operator, {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}, folder / "weights.safetensors"
    )


def load(directory: str | Path) -> tuple[type[Operator], dict[str, Any], Fitted]:
    """(operator class, options, what was trained) as `save` wrote it; executes no code from the files.

    Raises:
        InputError: no such directory.
        FileFormatError: a file that is missing, broken, or does not belong to the others.
    """
    folder = folder_of(directory)
    config = read_config(folder)
    path = folder / "config.json"
    if config.get("solver") != "surrogate" and config.get("solver") in registry.solvers.names():
        why = "" if config["solver"] != "particle_surrogate" else ", as graphs of particles change from step to step"
        raise FileFormatError(f"{path}: holds {config['solver']!r}, expected one on fields{why}")
    try:
        kind: Any = registry.operators.get(str(config["operator"]))
    except KeyError:
        raise FileFormatError(f"{path}: entry 'operator' is missing or cannot be used") from None
    except InputError as error:
        raise FileFormatError(f"{path}: {error}; one's own is imported first (sciml --import FILE.py)") from None
    try:
        named = encoding_named(str(config["encoding"]["kind"]), str(path))
        places, _ = read_tensors(folder / "support.safetensors")
        template, sensors = template_of({k: v.numpy() for k, v in places.items()}, str(folder / "support.safetensors"))
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


def places_of(template: Support, sensors: np.ndarray | None = None) -> dict[str, torch.Tensor]:
    """Where the first training case lived, and the fixed sensors, as tensors."""
    found: dict[str, Any] = {}
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
    if sensors is not None:
        found["sensors"] = sensors
    return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in found.items()}


def template_of(given: Mapping[str, np.ndarray], where: str) -> tuple[Support, np.ndarray | None]:
    """(support, sensors) from what `places_of` gave."""
    arrays = dict(given)
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
