"""Checkpoints: one safetensors file each, its JSON state in the header, replaced atomically.

Weights, averages, optimiser moments and random states are tensors; step, settings and everything else is JSON in the
file's metadata. Because a checkpoint is a single file that appears by `os.replace`, a process killed at any instant
leaves either the former checkpoint or the new one, never a mixture. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as _load
from safetensors.torch import save as _save
from torch import Tensor, nn

from sciml.data._files import replacing
from sciml.errors import FileFormatError, InputError


def replace_bytes(path: str | Path, content: bytes) -> None:
    """Write a file so that it holds either its former or the whole new content, whenever the process dies.

    A symbolic link stays, and the file behind it is replaced; a file that was there before hands on its permissions.

    Raises:
        InputError: a place that cannot be written, or a full disk.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def plain(value: Any) -> Any:
    """JSON-able: tuples become lists, NumPy's numbers and arrays Python's; what cannot be, its text."""
    return json.loads(json.dumps(value, default=lambda v: v.tolist() if hasattr(v, "tolist") else repr(v)))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any] | None = None) -> None:
    """Tensors by name, and JSON values, as one safetensors file, atomically.

    Equal content gives equal bytes.
    """
    stored = {k: v.detach().cpu().contiguous().clone() for k, v in sorted(tensors.items())}
    metadata = {"state": json.dumps(state, sort_keys=True)} if state is not None else None
    body = _save(stored, metadata=metadata)
    replace_bytes(path, body)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote: (tensors, state).

    Raises:
        InputError: no such file.
        FileFormatError: not a safetensors file, or a broken one.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        tensors = _load(content)
        length = struct.unpack("<Q", content[:8])[0]
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        state = json.loads(metadata.get("state", "{}"))
    except (SafetensorError, ValueError, struct.error, UnicodeDecodeError, RuntimeError) as error:
        raise FileFormatError(f"{path}: expected a safetensors file, got something else or a broken one ({error})")\
            from None  # fmt: skip
    return tensors, state


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes: equal if and only if the tensors are, bit for bit."""
    h = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        h.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        if tensor.numel():  # one without values has no bytes to look at
            h.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors named "<parameter number>.<slot>"."""
    found: dict[str, Tensor] = {}
    for index, slots in optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            found[f"{index}.{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{k}": v for k, v in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(prefix + "/")}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy weights into a model.

    Raises:
        FileFormatError: names or shapes that do not fit, named.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        kind = "is missing" if name in expected else "is not part of this model"
        raise FileFormatError(f"{where}: weight {name!r} {kind}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise FileFormatError(
                f"{where}: weight {name!r} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FileFormatError(f"{where}: weight {name!r} holds values that are not finite")
    model.load_state_dict(dict(tensors))
