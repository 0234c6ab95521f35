"""One step of flow between two walls: Fourier modes along x and z, Chebyshev points across.

Unknown are the wall-normal velocity v and vorticity η = ∂u/∂z − ∂w/∂x of every pair of wave numbers, and the plane
means U, W. With H = u × ω + f, k² = kx² + kz² and φ = ∇²v,

    ∂t φ = −∂y(i kx Hx + i kz Hz) − k² Hy + ν ∇²φ,    v = ∂y v = 0 at the walls,
    ∂t η = i kz Hx − i kx Hz + ν ∇²η,                   η = 0 at the walls,
    ∂t U = Hx + G + ν U″,  ∂t W = Hz + ν W″,            U = W = 0 at the walls;

u and w follow from ∂y v and η, so that no divergence can arise. Everything is held in the eigenvectors of ∂²/∂y²
(`_chebyshev.Modes`), where every Helmholtz equation is a division; the two values of φ at the walls are those that
make ∂y v vanish there (an influence matrix, diagonal in even and odd parts). Products are taken on the grid, with the
2/3 rule along x and z. In time: Runge-Kutta 3 for H beside implicit viscosity of second order (Spalart, Moser, Rogers
1991), H being taken in a frame that moves with the flow, which changes nothing but the size of the steps. A subgrid
model's part of H is made in the first and in the last stage, whose weights in a step are 1/4 and 3/4 (that of the
second is 0, and it takes the first's): of second order, as viscosity is.

Sources: J. Kim, P. Moin, R. Moser, J. Fluid Mech. 177, 133 (1987), section 2; P. R. Spalart, R. D. Moser, M. M. Rogers,
J. Comput. Phys. 96, 297 (1991), appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.solvers import _chebyshev
from sciml.solvers._subgrid import Closure, filter_width
from sciml.solvers._time import Stepper

# Spalart, Moser, Rogers (1991), equation A5: of the viscous terms before and after a stage, of H now and before
_OLD, _NEW = (29 / 96, -3 / 40, 1 / 6), (37 / 160, 5 / 24, 1 / 6)
_NOW, _BEFORE = (8 / 15, 5 / 12, 3 / 4), (0.0, -17 / 60, -5 / 12)

SHORT = 64  # points of a line up to which a product is faster than a transform
STABLE = math.sqrt(3)  # |eigenvalue of H's linearisation| τ up to which the Runge-Kutta scheme is stable


def kept(n: int) -> int:
    """The largest wave number that the 2/3 rule keeps of n points."""
    return (n - 1) // 3


class Planes:
    """Transforms between values (..., y, z, x) and the modes (..., y, kz, kx) that are kept, kx ≥ 0, by way of lines
    (..., y, z, kx), on which derivatives along x can be taken, too."""

    def __init__(self, nz: int, nx: int):
        self.nz, self.nx = nz, nx
        self.mz, self.mx = kept(nz), kept(nx)
        self.rows = np.r_[0 : self.mz + 1, -self.mz : 0]  # wave numbers along z in the order of the transform

    @property
    def shape(self) -> tuple[int, int]:
        return 2 * self.mz + 1, self.mx + 1

    def back(self, modes: jax.Array) -> jax.Array:
        """(..., y, kz, kx) -> (..., y, z, x)."""
        return self.values(self.lines(modes))

    def forth(self, values: jax.Array) -> jax.Array:
        """(..., y, z, x) -> (..., y, kz, kx)."""
        return self.modes(self.lines_of(values))

    def lines(self, modes: jax.Array) -> jax.Array:
        """(..., y, kz, kx) -> (..., y, z, kx), over the few kx that are kept."""
        gap = jnp.zeros((*modes.shape[:-2], self.nz - 2 * self.mz - 1, modes.shape[-1]), modes.dtype)
        full = jnp.concatenate([modes[..., : self.mz + 1, :], gap, modes[..., self.mz + 1 :, :]], axis=-2)
        return jnp.fft.ifft(full, axis=-2, norm="forward")

    def values(self, lines: jax.Array) -> jax.Array:
        """(..., y, z, kx) -> (..., y, z, x); short lines by a product with cosines and sines, which takes half the
        time of a transform on a CPU."""
        if self.nx > SHORT:
            return jnp.fft.irfft(lines, self.nx, axis=-1, norm="forward")
        k = np.arange(self.mx + 1)
        phase = 2 * np.pi * np.outer(k, np.arange(self.nx)) / self.nx
        weight = np.where(k == 0, 1, 2)[:, None]  # each wave but the mean stands for two
        waves = np.concatenate([weight * np.cos(phase), -weight * np.sin(phase)])
        return jnp.concatenate([lines.real, lines.imag], axis=-1) @ jnp.asarray(waves, lines.real.dtype)

    def lines_of(self, values: jax.Array) -> jax.Array:
        """(..., y, z, x) -> (..., y, z, kx)."""
        return jnp.fft.rfft(values, axis=-1, norm="forward")[..., : self.mx + 1]

    def modes(self, lines: jax.Array) -> jax.Array:
        """(..., y, z, kx) -> (..., y, kz, kx)."""
        full = jnp.fft.fft(lines, axis=-2, norm="forward")
        return jnp.concatenate([full[..., : self.mz + 1, :], full[..., self.nz - self.mz :, :]], axis=-2)


class ChannelStepper(Stepper):
    """States are {"v", "eta" (y-mode, kz, kx), "mean" (2, y-mode) of U and W, "shift" of the moving frame along x,
    "force" G of the last step, "closure" (2, y) coefficient and mean viscosity of a subgrid model}.

    Args:
        shape: cells (nz, ny, nx).
        lengths: periods along x and z; `half_height` of the channel, `viscosity` kinematic: numbers or arrays of JAX.
        force: G, the pressure gradient over density that drives the flow; None where `bulk` is given.
        bulk: the mean velocity that G keeps up.
        cfl: Σ |velocity| · largest wave number · τ of a step.
        closure: a subgrid model, or None.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        lengths: tuple[Any, Any],
        half_height: Any,
        viscosity: Any,
        force: Any,
        bulk: Any,
        cfl: float,
        closure: Closure | None = None,
    ):
        nz, ny, nx = self.shape = shape
        self.planes, self.y = Planes(nz, nx), _chebyshev.modes(ny)
        self.height, self.viscosity, self.force, self.bulk, self.cfl = half_height, viscosity, force, bulk, cfl
        self.lengths, self.closure = lengths, closure
        real = jnp.zeros(()).dtype
        rows, columns = self.planes.rows, np.arange(self.planes.mx + 1)
        self.kx = jnp.asarray(columns, real)[None, :] * (2 * np.pi / lengths[0])
        self.kz = jnp.asarray(rows, real)[:, None] * (2 * np.pi / lengths[1])
        self.k2 = self.kx**2 + self.kz**2
        self.uniform = (rows[:, None] == 0) & (columns[None, :] == 0)
        self.inverse = jnp.where(self.uniform, 0, 1 / jnp.where(self.uniform, 1, self.k2))
        self.rate = jnp.asarray(self.y.rate, real)[:, None, None] / half_height**2
        self.laplace = self.rate - self.k2  # (y-mode, kz, kx), negative
        widths = np.diff(_chebyshev.faces(ny))
        top = (self.planes.mx * 2 * np.pi / lengths[0], self.planes.mz * 2 * np.pi / lengths[1])
        self.width = jnp.asarray(filter_width(self.planes, lengths, ny, half_height), real)
        self.fastest = (top[0], jnp.asarray(np.pi / widths, real)[:, None, None] / half_height, top[1])

    # -- across the channel -------------------------------------------------------------------------------------

    def across(self, matrix: np.ndarray, values: Any) -> jax.Array:
        """matrix (i, y) applied to values (..., y, kz, kx), or to (..., y)."""
        real = jnp.asarray(matrix, jnp.zeros(()).dtype)
        if values.ndim == 1:
            return real @ values
        found = jnp.einsum("ij,...jzx->...izx", real, jnp.stack([values.real, values.imag]))
        return lax.complex(found[0], found[1])

    def velocities(self, state: Any) -> dict[str, jax.Array]:
        """Modes (y, kz, kx) of velocity and of its slopes across, at the inner points: u, v, w, u_y, v_y, w_y, eta."""
        y, h = self.y, self.height
        v, v_yy, eta = self.across(y.to_values, jnp.stack([state["v"], self.rate * state["v"], state["eta"]]))
        v_y, eta_y = self.across(y.to_slopes, jnp.stack([state["v"], state["eta"]])) / h
        x, z = 1j * self.kx * self.inverse, 1j * self.kz * self.inverse
        mean = jnp.asarray(y.to_values, self.rate.dtype) @ state["mean"].T
        slope = jnp.asarray(y.to_slopes, self.rate.dtype) @ state["mean"].T / h

        def with_mean(modes: jax.Array, values: jax.Array) -> jax.Array:
            return modes.at[:, 0, 0].set(values.astype(modes.dtype))

        return {
            "u": with_mean(x * v_y - z * eta, mean[:, 0]),
            "v": v,
            "w": with_mean(z * v_y + x * eta, mean[:, 1]),
            "u_y": with_mean(x * v_yy - z * eta_y, slope[:, 0]),
            "v_y": v_y,
            "w_y": with_mean(z * v_yy + x * eta_y, slope[:, 1]),
            "eta": eta,
        }

    # -- the rest beside viscosity -------------------------------------------------------------------------------

    def rest(
        self, state: Any, speed: Any, memory: Any, anew: bool = True
    ) -> tuple[jax.Array, jax.Array, Any, dict[str, jax.Array]]:
        """(H (3, y, kz, kx), the rate that bounds a step, memory, modes of the velocities).

        Args:
            speed: of the frame along x.
            memory: of the first stage of this step: what the closure keeps, and its part of H; None where this is it.
            anew: whether that part is made of this state, rather than taken from `memory`.
        """
        m = self.velocities(state)
        if self.closure is None or not anew:
            modes = [m["u"], m["v"], m["w"], m["w_y"] - 1j * self.kz * m["v"], m["eta"]]
            modes.append(1j * self.kx * m["v"] - m["u_y"])
            u, v, w, a, b, c = self.planes.back(jnp.stack(modes))
            rate = self._carried(u - speed, v, w)
            u = u - speed
            h = self.planes.forth(jnp.stack([v * c - w * b, w * a - u * c, u * b - v * a]))
            return h if self.closure is None else h + memory[1], rate, memory, m
        velocity, gradient = self.slopes(m)
        u, v, w = velocity
        coefficient = self.closure.coefficient(velocity, gradient, self) if memory is None else memory[0][0]
        stress, eddy = self.closure.stress(gradient, coefficient, self.width)
        rate = self._carried(u - speed, v, w) + self._diffused(eddy)
        u = u - speed
        (_, xy, xz), (yx, _, yz), (zx, zy, _) = gradient
        a, b, c = zy - yz, xz - zx, yx - xy
        xx, yy, _, xy, xz, yz = stress  # the third of the diagonal is minus the others
        found = self.planes.lines_of(jnp.stack([v * c - w * b, w * a - u * c, u * b - v * a, xx, xy, xz, yy, yz]))
        carried, along, xy, xz, yy, yz = found[:3], found[3:6], *found[4:]
        # lines know two of the three derivatives, whose sum is transformed once
        slope = self.y.first[1:-1, 1:-1]  # stresses of a closure vanish at the walls
        out = 1j * self.kx * along + self.across(slope, jnp.stack([xy, yy, yz])) / self.height
        up = jnp.stack([xz, yz, -found[3] - yy])
        if memory is not None:
            found = self.planes.modes(jnp.concatenate([carried - out, up]))
            return found[:3] - 1j * self.kz * found[3:], rate, memory, m
        found = self.planes.modes(jnp.concatenate([carried, out, up]))
        own = -found[3:6] - 1j * self.kz * found[6:]
        return found[:3] + own, rate, (jnp.stack([coefficient, eddy.mean((-2, -1))]), own), m

    def slopes(self, m: Mapping[str, jax.Array]) -> tuple[jax.Array, list[list[jax.Array]]]:
        """(3, y, z, x) velocity, and ∂j u_i as [i][j], of the modes that `velocities` gives.

        Velocities and their slopes along x share the transform along z; ∂w/∂z follows from the other two.
        """
        modes = [m[n] for n in ("u", "v", "w", "u_y", "v_y", "w_y")] + [1j * self.kz * m["u"], 1j * self.kz * m["v"]]
        lines = self.planes.lines(jnp.stack(modes))
        values = self.planes.values(jnp.concatenate([lines, 1j * self.kx * lines[:3]]))
        uy, vy, wy, uz, vz, ux, vx, wx = values[3:]
        return values[:3], [[ux, uy, uz], [vx, vy, vz], [wx, wy, -ux - vy]]

    def modelled_shear(self, state: Any) -> jax.Array:
        """(y, z, x) −τ_xy of the closure, over density, with its coefficient at this moment."""
        assert self.closure is not None
        velocity, gradient = self.slopes(self.velocities(state))
        stress, _ = self.closure.stress(gradient, self.closure.coefficient(velocity, gradient, self), self.width)
        return -stress[3]

    def _carried(self, u: jax.Array, v: jax.Array, w: jax.Array) -> jax.Array:
        x, y, z = self.fastest
        return lax.stop_gradient(jnp.max(jnp.abs(u) * x + jnp.abs(v) * y + jnp.abs(w) * z))

    def _diffused(self, eddy: jax.Array) -> jax.Array:
        x, y, z = self.fastest
        # eigenvalues of diffusion are real: the scheme is stable up to 2 of them, for 1.7 along the imaginary axis
        return lax.stop_gradient(jnp.max(eddy * (x**2 + y**2 + z**2)) * (STABLE / 2))

    # -- the march ----------------------------------------------------------------------------------------------

    def step(self, state, time, remaining):
        speed = self._speed(state)
        h, rate, memory, _ = self.rest(state, speed, None)
        steps = jnp.maximum(jnp.ceil(remaining * rate / self.cfl * (1 - 1e-6)), 1)
        tau = remaining / steps
        before, force = jnp.zeros((), h.dtype), jnp.zeros(())
        for stage in range(3):
            if stage:
                h = self.rest(state, speed, memory, anew=stage == 2)[0]
            now, late = _NOW[stage] * tau, _BEFORE[stage] * tau
            state, used = self._stage(state, now * h + late * before, stage, tau)
            force, before = force + used * (_NOW[stage] + _BEFORE[stage]), h
        kept = memory[0] if self.closure is not None else state["closure"]
        return {**state, "shift": state["shift"] + speed * tau, "force": force, "closure": kept}, tau, steps

    def _speed(self, state: Any) -> jax.Array:
        """Midway between the walls and the fastest plane: as little as possible is then carried through a cell."""
        mean = jnp.asarray(self.y.to_values, self.rate.dtype) @ state["mean"][0]
        return lax.stop_gradient((jnp.maximum(jnp.max(mean), 0) + jnp.minimum(jnp.min(mean), 0)) / 2)

    def _stage(self, state: Any, h: jax.Array, stage: int, tau: jax.Array) -> tuple[Any, jax.Array]:
        """After a stage with the increment h of H over it, and the force G in it."""
        y, before = self.y, self.viscosity * tau * _OLD[stage]
        c = self.viscosity * tau * _NEW[stage]
        even = jnp.asarray(y.even, self.rate.dtype)[:, None, None] / self.height**2
        odd = jnp.asarray(y.odd, self.rate.dtype)[:, None, None] / self.height**2
        divide = 1 / (1 - c * self.laplace)

        # φ, then v
        x, z = 1j * self.kx, 1j * self.kz
        along = self.across(y.of_slopes, x * h[0] + z * h[2]) / self.height
        up, turned = self.across(y.to_modes, jnp.stack([h[1], z * h[0] - x * h[2]]))
        phi = self.laplace * state["v"]
        curve = jnp.asarray(y.curve_at, self.rate.dtype) / self.height**2
        low, high = jnp.tensordot(curve, state["v"], 1)  # φ at the walls, where v = 0
        viscous = self.laplace * phi + even * (high + low) / 2 + odd * (high - low) / 2
        right = phi + before * viscous - along - self.k2 * up
        v = right * divide / self.laplace
        for unit, sign in ((even, -1.0), (odd, 1.0)):
            row = (y.slope_at[1] + sign * y.slope_at[0]) / (2 * self.height)
            answer = c * unit * divide / self.laplace
            row_ = jnp.asarray(row, self.rate.dtype)
            v = v - jnp.tensordot(row_, v, 1) / jnp.tensordot(row_, answer, 1) * answer
        v = jnp.where(self.uniform, 0, v)

        # η
        eta = (state["eta"] * (1 + before * self.laplace) + turned) * divide
        eta = jnp.where(self.uniform, 0, eta)

        # plane means
        rate = self.rate[:, 0, 0]
        means = jnp.asarray(y.to_modes, rate.dtype) @ jnp.stack([h[0, :, 0, 0].real, h[2, :, 0, 0].real], axis=1)
        share = 1 / (1 - c * rate)
        mean = (state["mean"] * (1 + before * rate) + means.T) * share
        pushed = tau * (_NOW[stage] + _BEFORE[stage]) * jnp.asarray(y.one, rate.dtype) * share
        if self.bulk is None:
            force = jnp.asarray(self.force, rate.dtype)
        else:
            mean_of = jnp.asarray(y.mean, rate.dtype)
            force = (self.bulk - mean_of @ mean[0]) / (mean_of @ pushed)
        mean = mean.at[0].add(force * pushed)
        return {**state, "v": v, "eta": eta, "mean": mean}, force

    # -- beginning and reporting --------------------------------------------------------------------------------

    def start(self, fields: Mapping[str, Any]) -> Any:
        """The state of u, v, w at the centres of cells (z, y, x): what the truncation leaves out is taken away, and
        u, w get the divergence-free values that go with v and η."""
        u, v, w = self.planes.forth(jnp.stack([jnp.swapaxes(jnp.asarray(fields[n]), 0, 1) for n in "uvw"]))
        eta = 1j * self.kz * u - 1j * self.kx * w
        v = jnp.where(self.uniform, 0, v)
        modes = self.across(self.y.to_modes, jnp.stack([v, eta]))
        mean = jnp.stack([u[:, 0, 0].real, w[:, 0, 0].real]) @ jnp.asarray(self.y.to_modes.T, self.rate.dtype)
        real = self.rate.dtype
        state = {
            "v": modes[0],
            "eta": jnp.where(self.uniform, 0, modes[1]),
            "mean": mean,
            "shift": jnp.zeros((), real),
            "force": jnp.zeros((), real),
            "closure": jnp.zeros((2, self.shape[1] if self.closure is not None else 0), real),
        }
        return state

    def settle(self, state, time):
        """The frame is moved back, so that going on from what is reported is going on from the state: a subgrid model
        sees values between the cells otherwise."""
        turn = jnp.exp(-1j * self.kx * state["shift"])
        still = {"v": state["v"] * turn, "eta": state["eta"] * turn, "shift": 0 * state["shift"]}
        return {**state, **still}

    def frame(self, state, time):
        m = self.velocities(state)
        found = self.planes.back(jnp.stack([m["u"], m["v"], m["w"]]))
        pressure = self.pressure(state, m)
        out = {n: jnp.swapaxes(f, 0, 1) for n, f in zip("uvw", found, strict=True)}
        out["p"] = jnp.swapaxes(self.planes.back(pressure), 0, 1)
        return {**out, "wall_shear": self.wall_shear(state), "driving_force": state["force"]}

    def wall_shear(self, state: Any) -> jax.Array:
        """Over density, mean of both walls."""
        slopes = jnp.asarray(self.y.slope_at, self.rate.dtype) @ state["mean"][0] / self.height
        return self.viscosity * (slopes[0] - slopes[1]) / 2

    def pressure(self, state: Any, m: Mapping[str, jax.Array]) -> jax.Array:
        """Modes of p/ρ at the inner points, whose mean over the channel is zero.

        (∂²/∂y² − k²) P = ∇·H with P = p/ρ + |u|²/2 and ∂P/∂y = ν ∂²v/∂y² at the walls.
        """
        y, h = self.y, self.height
        right = self.rest(state, 0.0, None)[0]
        x, z = 1j * self.kx, 1j * self.kz
        divergence = x * right[0] + z * right[2] + self.across(y.first[1:-1, 1:-1], right[1]) / h
        ends = (
            self.viscosity * jnp.tensordot(jnp.asarray(y.curve_at, self.rate.dtype), state["v"], 1) / h**2
        )  # (2, kz, kx) slopes of P
        source = divergence - self.across(y.from_slopes, ends) / h
        rate = jnp.asarray(y.neumann_rate, self.rate.dtype)[:, None, None] / h**2 - self.k2
        safe = jnp.where(rate == 0, 1, rate)
        modes = jnp.where(rate == 0, 0, self.across(y.neumann_to_modes, source) / safe)
        total = self.across(y.neumann_to_values, modes)
        u, v, w = self.planes.back(jnp.stack([m["u"], m["v"], m["w"]]))
        p = total - self.planes.forth((u * u + v * v + w * w) / 2)
        mean = jnp.asarray(y.weights, self.rate.dtype) @ p[:, 0, 0].real / float(y.weights.sum())
        return p.at[:, 0, 0].add(-mean.astype(p.dtype))
