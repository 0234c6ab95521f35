"""Balances on NumPy arrays: finite differences, spectral derivatives and finite volumes on structured grids."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from sciml.derivatives._backend import Backend
from sciml.derivatives._provider import Provider

backend = Backend(
    asarray=lambda values, like: np.asarray(values, dtype=like.dtype),
    take=lambda values, indices, axis: np.take(values, indices, axis=axis),
    concatenate=lambda arrays, axis: np.concatenate(arrays, axis=axis),
    stack=lambda arrays, axis: np.stack(arrays, axis=axis),
    broadcast=np.broadcast_to,
    rfft=lambda values, axis: np.fft.rfft(values, axis=axis),
    irfft=lambda values, n, axis: np.fft.irfft(values, n, axis=axis),
    functions={
        "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh, "abs": np.abs,
        "sign": np.sign, "erf": erf, "minimum": np.minimum, "maximum": np.maximum, "where": np.where,
    },
)  # fmt: skip

provider = Provider(backend)
lattice, strong, finite_volume, fluxes = provider.lattice, provider.strong, provider.finite_volume, provider.fluxes
