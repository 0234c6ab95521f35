"""Marching periodic equations in Fourier space.

∂t ŵ = −ν k² ŵ + N̂(ŵ) with N evaluated on the grid and truncated to wave numbers below a third of the cells on each
axis, so that products of two fields carry no aliases there (2/3 rule). Diffusion is integrated exactly by the factor
e^(−νk²t), the rest by classical Runge-Kutta 4.

Source: S. A. Orszag, J. Atmos. Sci. 28, 1074 (1971), for the truncation; L. N. Trefethen, Spectral Methods in MATLAB
(2000), chapter 10, for the integrating factor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class System(NamedTuple):
    """A periodic equation in Fourier space.

    Args:
        decay: ν k², (modes).
        nonlinear: ŵ -> (N̂, advective rate in 1/s: Σ |velocity|/spacing at its largest).
        fields: ŵ -> fields and tendencies at cell centres.
        start: initial ŵ.
    """

    decay: jax.Array
    nonlinear: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
    fields: Callable[[jax.Array], dict[str, jax.Array]]
    start: jax.Array


class Controls(NamedTuple):
    """Static choices; `derivative` is "reverse" or "forward": which derivative of the march can be taken."""

    cfl: float
    max_substeps: int
    checkpoints: int
    derivative: str


def wave_numbers(n: int, length: Any, half: bool) -> jax.Array:
    """2πm/length for the modes m of a (real, where `half`) transform over n cells."""
    m = np.fft.rfftfreq(n, 1 / n) if half else np.fft.fftfreq(n, 1 / n)
    return jnp.asarray(m) * (2 * np.pi / length)


def kept(n: int, half: bool) -> np.ndarray:
    """Which modes survive the 2/3 rule."""
    m = np.fft.rfftfreq(n, 1 / n) if half else np.fft.fftfreq(n, 1 / n)
    return 3 * np.abs(m) < n


def refit(values: jax.Array, n: int, axis: int, have: float, want: float) -> jax.Array:
    """The trigonometric interpolant of periodic samples, on n points.

    Args:
        values: samples at (i + have)/m of the period along `axis`.
        want: results at (j + want)/n of the period.
    """
    m = values.shape[axis]
    modes = np.fft.rfftfreq(m, 1 / m)
    spectrum = jnp.moveaxis(jnp.fft.rfft(values, axis=axis), axis, -1)
    size = n // 2 + 1
    spectrum = spectrum * jnp.exp(-2j * np.pi * modes * have / m).astype(spectrum.dtype)
    if m % 2 == 0:  # the highest mode stands for both signs: half of it belongs to each
        spectrum = spectrum.at[..., -1].multiply(0.5 if size > len(modes) else 1.0)
    spectrum = jnp.pad(spectrum, [(0, 0)] * (spectrum.ndim - 1) + [(0, max(0, size - len(modes)))])[..., :size]
    kept_modes = np.fft.rfftfreq(n, 1 / n)
    spectrum = spectrum * jnp.exp(2j * np.pi * kept_modes * want / n).astype(spectrum.dtype) * (n / m)
    return jnp.moveaxis(jnp.fft.irfft(spectrum, n, axis=-1), -1, axis)


def _step(system: System, controls: Controls, w: jax.Array, remaining: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of Runge-Kutta 4 with integrating factor; the step size divides what remains of the interval."""
    a, rate = system.nonlinear(w)
    steps = jnp.maximum(jnp.ceil(remaining * lax.stop_gradient(rate) / controls.cfl * (1 - 1e-6)), 1)
    tau = remaining / steps
    half = jnp.exp(-system.decay * tau / 2)
    whole = half * half
    b, _ = system.nonlinear(half * (w + tau / 2 * a))
    c, _ = system.nonlinear(half * w + tau / 2 * b)
    d, _ = system.nonlinear(whole * w + tau * half * c)
    new = whole * w + tau / 6 * (whole * a + 2 * half * (b + c) + d)
    return new, jnp.where(steps <= 1, remaining, tau)


def _advance(system: System, controls: Controls, w: jax.Array, length: jax.Array) -> tuple[jax.Array, ...]:
    """March over `length`: (ŵ, time covered, steps taken); stops early on values that are not finite."""

    def cond(carry: Any) -> jax.Array:
        _, elapsed, count, alive = carry
        return (length - elapsed > 1e-6 * length) & alive & (count < controls.max_substeps)

    def body(carry: Any) -> Any:
        w, elapsed, count, _ = carry
        new, tau = _step(system, controls, w, length - elapsed)
        return new, elapsed + tau, count + 1, jnp.isfinite(jnp.sum(jnp.abs(new)))

    start = (w, jnp.zeros_like(length), jnp.zeros((), int), jnp.array(True))
    if controls.derivative == "forward":
        w, elapsed, count, _ = lax.while_loop(cond, body, start)
    else:
        w, elapsed, count, _ = eqxi.while_loop(
            cond, body, start, max_steps=controls.max_substeps, checkpoints=controls.checkpoints, kind="checkpointed"
        )
    return w, elapsed, count


def march(system: System, controls: Controls, times: jax.Array) -> dict[str, jax.Array]:
    """Fields over (time, ...) at `times`, "substeps" since the last frame and the time "reached".

    After a stop the remaining frames hold NaN.
    """

    def interval(carry: Any, ends: Any) -> Any:
        w, alive = carry
        start, stop = ends
        length = jnp.where(alive, stop - start, 0)
        w, elapsed, count = _advance(system, controls, w, length)
        done = alive & jnp.isfinite(jnp.sum(jnp.abs(w))) & (elapsed >= length * (1 - 1e-5))
        out = {k: jnp.where(done, v, jnp.nan) for k, v in system.fields(w).items()}
        out |= {"substeps": count, "reached": start + elapsed}
        return (jnp.where(done, w, 0), done), out

    starts = jnp.concatenate([jnp.zeros((1,), times.dtype), times[:-1]])
    return lax.scan(interval, (system.start, jnp.array(True)), (starts, times))[1]


def flow(parameters: Any, streamfunction: jax.Array | None, shape: tuple[int, int]) -> System:
    """Two-dimensional incompressible flow by its vorticity: ∂t ω + ∇·(uω) = ν∇²ω, ω = ∂v/∂x − ∂u/∂y = −∇²ψ.

    Args:
        parameters: velocity, density, viscosity (dynamic), length.
        streamfunction: (m + 1, n + 1) nodal ψ, u = ∂ψ/∂y, v = −∂ψ/∂x, both ends of the period included; what ψ gains
            across the period is the mean flow. None for the Taylor-Green vortices.
        shape: cells (y, x).
    """
    ny, nx = shape
    length, density = parameters["length"], parameters["density"]
    nu = parameters["viscosity"] / density
    kx, ky = wave_numbers(nx, length, True)[None, :], wave_numbers(ny, length, False)[:, None]
    k2 = kx**2 + ky**2
    inverse = jnp.where(k2 > 0, 1 / jnp.where(k2 > 0, k2, 1), 0)
    keep = kept(ny, False)[:, None] & kept(nx, True)[None, :]
    if streamfunction is None:
        k = 2 * np.pi / length
        x, y = (2 * np.pi * (np.arange(n) + 0.5) / n for n in (nx, ny))
        psi = -parameters["velocity"] / k * jnp.asarray(np.cos(y)[:, None] * np.cos(x)[None, :])
        mean = (0.0 * density, 0.0 * density)
    else:
        psi = streamfunction
        rise_y, rise_x = jnp.mean(psi[-1] - psi[0]), jnp.mean(psi[:, -1] - psi[:, 0])
        mean = (rise_y / length, -rise_x / length)
        rows, columns = (np.arange(n) / (n - 1) for n in psi.shape)
        psi = (psi - rise_y * jnp.asarray(rows)[:, None] - rise_x * jnp.asarray(columns)[None, :])[:-1, :-1]
        psi = refit(refit(psi, ny, 0, 0.0, 0.5), nx, 1, 0.0, 0.5)

    def back(spectrum: jax.Array) -> jax.Array:
        return jnp.fft.irfft2(spectrum, shape)

    def velocities(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return back(1j * ky * inverse * w) + mean[0], back(-1j * kx * inverse * w) + mean[1]

    def nonlinear(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        u, v = velocities(w)
        vorticity = back(w)
        transport = 1j * kx * jnp.fft.rfft2(u * vorticity) + 1j * ky * jnp.fft.rfft2(v * vorticity)
        rate = jnp.max(jnp.abs(u)) * nx / length + jnp.max(jnp.abs(v)) * ny / length
        return jnp.where(keep, -transport, 0), rate

    def fields(w: jax.Array) -> dict[str, jax.Array]:
        u, v = velocities(w)
        change = nonlinear(w)[0] - nu * k2 * w
        ux, uy, vx = back(-kx * ky * inverse * w), back(-(ky**2) * inverse * w), back(kx**2 * inverse * w)
        # ∇²p = −ρ ∇·(u·∇u) = −2ρ (∂x u ∂x u + ∂y u ∂x v)
        p = back(jnp.where(keep, 2 * density * inverse * jnp.fft.rfft2(ux * ux + uy * vx), 0))
        return {
            "u": u,
            "v": v,
            "p": p,
            "u_tendency": back(1j * ky * inverse * change),
            "v_tendency": back(-1j * kx * inverse * change),
        }

    return System(nu * k2, nonlinear, fields, jnp.where(keep, k2 * jnp.fft.rfft2(psi), 0))


def burgers(parameters: Any, initial: jax.Array | None, shape: tuple[int]) -> System:
    """∂t u + ∂x(u²/2) = ν ∂xx u.

    Args:
        parameters: viscosity (kinematic), velocity, length.
        initial: (m,) u at the centres of m cells; None for velocity · sin(2πx/length).
        shape: (cells,).
    """
    (n,) = shape
    k = wave_numbers(n, parameters["length"], True)
    keep = kept(n, True)
    if initial is None:
        u0 = parameters["velocity"] * jnp.asarray(np.sin(2 * np.pi * (np.arange(n) + 0.5) / n))
    else:
        u0 = refit(initial, n, 0, 0.5, 0.5)

    def nonlinear(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = jnp.fft.irfft(w, n)
        rate = jnp.max(jnp.abs(u)) * n / parameters["length"]
        return jnp.where(keep, -0.5j * k * jnp.fft.rfft(u * u), 0), rate

    def fields(w: jax.Array) -> dict[str, jax.Array]:
        change = nonlinear(w)[0] - parameters["viscosity"] * k**2 * w
        return {"u": jnp.fft.irfft(w, n), "u_tendency": jnp.fft.irfft(change, n)}

    return System(parameters["viscosity"] * k**2, nonlinear, fields, jnp.where(keep, jnp.fft.rfft(u0), 0))
