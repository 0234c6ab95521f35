"""What solvers on moved meshes say of their movers and monitors, and ask of what monitors give."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.meshing.mover import MeshMover


def mover_told(mover: MeshMover | None) -> dict[str, Any] | None:
    """Name, settings that are numbers or words, and movers inside; of weights a fingerprint, so that two answers of one
    mover differ in what they say if it was trained in between."""
    if mover is None:
        return None
    inside = {k: mover_told(v) for k, v in vars(mover).items() if isinstance(v, MeshMover)}
    found = {"name": mover.name, **plain_settings(vars(mover)), **inside}
    network: Any = getattr(mover, "network", None)
    if hasattr(network, "state_dict"):
        found["weights"] = _fingerprint(network.state_dict())
    return found


def monitor_told(monitor: Any) -> dict[str, Any]:
    """Name of a function or object, and what a partial sets of it."""
    if isinstance(monitor, functools.partial):
        return monitor_told(monitor.func) | plain_settings(monitor.keywords)
    return {"name": str(getattr(monitor, "__name__", type(monitor).__name__))}


def plain_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are numbers or words."""
    return {k: v for k, v in values.items() if not k.startswith("_") and isinstance(v, bool | int | float | str)}


def short(solver: Any) -> str:
    """A solver in a line: its settings, of movers and monitors the name."""
    words = [f"{k}={v['name'] if isinstance(v, dict) else repr(v)}" for k, v in solver.settings.items()]
    return f"{type(solver).__name__}({', '.join(words)})"


def checked_density(values: Any, count: int) -> Float[np.ndarray, " node"]:
    """What a monitor gave, in float64; whether it is positive is asked by movers.

    Raises:
        InputError: anything but a number for each node.
    """
    expected = f"monitor: expected a value for each of {count} nodes"
    if values is None:
        raise InputError(f"{expected}, got None")
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{expected}, got {values!r:.60}") from None
    if found.shape != (count,):
        raise InputError(f"{expected}, got the shape {found.shape}")
    return found


def _fingerprint(weights: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return found.hexdigest()[:12]
