"""Growth of a Tollmien-Schlichting wave, by the stability equation and by the flow solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.polynomial import chebyshev

from sciml.problems import TurbulentChannel
from sciml.solvers import ChannelFlow

REYNOLDS = 7500.0  # of the centre line's speed and half the height
KNOWN = 0.24989154 + 0.00223498j  # M. R. Malik, T. A. Zang, M. Y. Hussaini, J. Comput. Phys. 61, 64 (1985)


def orr_sommerfeld(reynolds: float, alpha: float, near: complex, n: int = 80) -> tuple[complex, Callable[..., Any]]:
    """The eigenvalue c next to a guess and its v(y, derivative), by collocation in (1 − y²)² T_k: none of the solver's
    code.

    (U − c)(v″ − α²v) − U″v = (v⁗ − 2α²v″ + α⁴v)/(iαRe),  U = 1 − y².
    """
    y = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    basis = [chebyshev.chebmul(chebyshev.poly2cheb([1, 0, -2, 0, 1]), np.eye(n)[k]) for k in range(n)]
    v, v2, v4 = (np.stack([chebyshev.chebval(y, chebyshev.chebder(b, m)) for b in basis], 1) for m in (0, 2, 4))
    laplace = v2 - alpha**2 * v
    twice = v4 - 2 * alpha**2 * v2 + alpha**4 * v
    found: Any = scipy.linalg.eig((1 - y**2)[:, None] * laplace + 2 * v - twice / (1j * alpha * reynolds), laplace)
    values, vectors = found
    k = int(np.argmin(np.abs(np.where(np.isfinite(values), values, 99) - near)))
    padded = (np.pad(b, (0, n + 8 - len(b))) for b in basis)
    total = sum(c * b for c, b in zip(vectors[:, k], padded, strict=True))
    return complex(values[k]), lambda at, m=0: chebyshev.chebval(at, chebyshev.chebder(total, m))


def growth(cells: int = 63, cfl: float = 0.2, until: float = 20.0, size: float = 1e-5) -> tuple[complex, complex]:
    """(c of the wave with α = 1 as the solver has it, c by the equation), in units of the centre line's speed."""
    known, mode = orr_sommerfeld(REYNOLDS, 1.0, KNOWN)
    case = TurbulentChannel().case(
        disturbance=0.0, viscosity=1 / REYNOLDS, friction_velocity=np.sqrt(2 / REYNOLDS), length_x=2 * np.pi,
        length_z=1.0,
    )  # fmt: skip
    solver = ChannelFlow((4, cells, 8), cfl=cfl)
    x, y, _ = solver.grid(case).centres
    wave = size * np.exp(1j * x)[None, :] / abs(mode(y)).max()
    first = solver.solve(case, [0.0, 1e-6 * until]).isel(time=[0])  # two times, as below: both share one program
    first["v"] = first.v + (mode(y)[:, None] * wave).real
    first["u"] = first.u + (1j * mode(y, 1)[:, None] * wave).real  # without divergence
    found = solver.resume(case, first, [0.0, until])
    modes = np.fft.rfft(found.v.values[:, 0], axis=-1)[..., 1]
    weight = np.diff(solver.grid(case).faces[1])
    power = [float((weight * abs(m) ** 2).sum()) for m in modes]
    turn = np.angle((weight * np.conj(modes[0]) * modes[1]).sum())
    turns = np.round((known.real * until + turn) / (2 * np.pi))  # the wave has run around the box so many times
    speed = (2 * np.pi * turns - turn) / until
    return complex(speed, np.log(power[1] / power[0]) / (2 * until)), known
