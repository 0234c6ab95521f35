"""Balances in torch: on tensors as in `sciml.derivatives.numpy`, and on functions by automatic differentiation."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sciml.derivatives._backend import Backend
from sciml.derivatives._pointwise import Pointwise
from sciml.derivatives._provider import Provider

_SMALL = 65536  # entries of an array up to which it is kept on a device


def _asarray(values: Any, like: torch.Tensor) -> torch.Tensor:
    if isinstance(values, torch.Tensor) or like.device.type == "cpu":
        return torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return _there(np.asarray(values), like.dtype, like.device)


def _take(values: torch.Tensor, indices: Any, axis: int) -> torch.Tensor:
    if isinstance(indices, torch.Tensor) or values.device.type == "cpu":
        return torch.index_select(values, axis, torch.as_tensor(indices, device=values.device))
    return torch.index_select(values, axis, _there(np.asarray(indices), torch.int64, values.device))


def _there(values: np.ndarray, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The weights and indices of stencils on a device: copied there once, for a copy has to wait for the device."""
    if values.size > _SMALL:
        return torch.as_tensor(values, dtype=dtype, device=device)
    return _kept(values.tobytes(), values.dtype.str, values.shape, dtype, device)


@lru_cache(maxsize=4096)
def _kept(content: bytes, kind: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.tensor(np.frombuffer(content, kind).reshape(shape), dtype=dtype, device=device)


def _both(a: Any, b: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors, where one may be a number."""
    like = a if isinstance(a, torch.Tensor) else b
    return _asarray(a, like), _asarray(b, like)


def _unit(point: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(axis, device=point.device), point.shape[-1]).to(point.dtype)


backend = Backend(
    asarray=_asarray,
    take=_take,
    concatenate=lambda arrays, axis: torch.cat(arrays, dim=axis),
    stack=lambda arrays, axis: torch.stack(arrays, dim=axis),
    broadcast=torch.broadcast_to,
    rfft=lambda values, axis: torch.fft.rfft(values, dim=axis),
    irfft=lambda values, n, axis: torch.fft.irfft(values, n, dim=axis),
    functions={
        "sin": torch.sin, "cos": torch.cos, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
        "abs": torch.abs, "sign": torch.sign, "erf": torch.erf, "where": torch.where,
        "minimum": lambda a, b: torch.minimum(*_both(a, b)), "maximum": lambda a, b: torch.maximum(*_both(a, b)),
    },
)  # fmt: skip
_pointwise = Pointwise(
    functions=backend.functions,
    derivative=lambda f, point, direction: torch.func.jvp(f, (point,), (direction,))[1],
    unit=_unit,
    vmap=torch.func.vmap,
)

provider = Provider(backend, _pointwise)
lattice, strong, finite_volume, fluxes = provider.lattice, provider.strong, provider.finite_volume, provider.fluxes
residual = provider.residual
