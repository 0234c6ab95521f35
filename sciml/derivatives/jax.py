"""Balances in JAX: on arrays as in `sciml.derivatives.numpy`, and on functions by automatic differentiation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sciml.derivatives._backend import Backend
from sciml.derivatives._pointwise import Pointwise
from sciml.derivatives._provider import Provider

backend = Backend(
    asarray=lambda values, like: jnp.asarray(values, dtype=like.dtype),
    take=lambda values, indices, axis: jnp.take(values, indices, axis=axis),
    concatenate=lambda arrays, axis: jnp.concatenate(arrays, axis=axis),
    stack=lambda arrays, axis: jnp.stack(arrays, axis=axis),
    broadcast=jnp.broadcast_to,
    rfft=lambda values, axis: jnp.fft.rfft(values, axis=axis),
    irfft=lambda values, n, axis: jnp.fft.irfft(values, n, axis=axis),
    functions={
        "sin": jnp.sin, "cos": jnp.cos, "exp": jnp.exp, "log": jnp.log, "sqrt": jnp.sqrt, "tanh": jnp.tanh,
        "abs": jnp.abs, "sign": jnp.sign, "erf": jax.scipy.special.erf, "minimum": jnp.minimum, "maximum": jnp.maximum,
        "where": jnp.where,
    },
)  # fmt: skip
_pointwise = Pointwise(
    functions=backend.functions,
    derivative=lambda f, point, direction: jax.jvp(f, (point,), (direction,))[1],
    unit=lambda point, axis: jnp.zeros_like(point).at[axis].set(1.0),
    vmap=jax.vmap,
)

provider = Provider(backend, _pointwise)
lattice, strong, finite_volume, fluxes = provider.lattice, provider.strong, provider.finite_volume, provider.fluxes
residual = provider.residual
