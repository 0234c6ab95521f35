"""A volume fraction carried by a flow: bounded, conservative and sharp.

α is the share of a cell that the first fluid fills. In each cell the interface is a straight line, n·x = a, of which
the slope follows from the neighbours and the place from α; what crosses a face in a step is the area of the first fluid
in the strip that is swept through it. Directions follow each other, first x or first y by turns. In each

    α ← α − (F_out − F_in) + c (s_out − s_in),    c = 1 where α > 1/2 at the beginning of the step, else 0,

s being the volume that crosses the face over the cell's. The last terms cancel over all directions of a velocity
without divergence, so that no fluid is lost; and α stays within [0, 1] while |s_x| + |s_y| ≤ 1/2.

Everything is in units of cells: volumes over the cell's, slopes as if cells were squares of side one.

Source: G. D. Weymouth, D. K.-P. Yue, J. Comput. Phys. 229, 2853 (2010), on the last term; E. Aulisa, S. Manservisi,
R. Scardovelli, S. Zaleski, J. Comput. Phys. 225, 2301 (2007), on slopes; R. Scardovelli, S. Zaleski, J. Comput. Phys.
164, 228 (2000), on areas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

TINY = 1e-6  # slopes below are none


def normals(around: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(m_x, m_y) with |m_x| + |m_y| = 1, towards less of the first fluid, of α with one more layer (ny + 2, nx + 2).

    Of the slopes of columns (central differences of their heights) along either axis the one of the flatter interface,
    and of that and the gradient of eight neighbours (Youngs) the one that is less inclined to an axis.
    """
    c = {(j, i): around[1 + j : around.shape[0] - 1 + j, 1 + i : around.shape[1] - 1 + i]
         for j in (-1, 0, 1) for i in (-1, 0, 1)}  # fmt: skip
    left, right = (c[-1, i] + c[0, i] + c[1, i] for i in (-1, 1))
    below, above = (c[j, -1] + c[j, 0] + c[j, 1] for j in (-1, 1))
    cx, cy = (left - right) / 2, (below - above) / 2
    flat = jnp.abs(cx) <= jnp.abs(cy)  # heights above x are the better ones
    hx, hy = jnp.where(flat, cx, jnp.sign(cx)), jnp.where(flat, jnp.sign(cy), cy)
    yx = (left + c[0, -1]) - (right + c[0, 1])
    yy = (below + c[-1, 0]) - (above + c[1, 0])
    (hx, hy), (yx, yy) = _scaled(hx, hy), _scaled(yx, yy)
    heights = jnp.maximum(jnp.abs(hx), jnp.abs(hy)) <= jnp.maximum(jnp.abs(yx), jnp.abs(yy))
    return jnp.where(heights, hx, yx), jnp.where(heights, hy, yy)


def _scaled(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    size = jnp.abs(x) + jnp.abs(y)
    some = size > TINY
    return jnp.where(some, x / jnp.where(some, size, 1), 0), jnp.where(some, y / jnp.where(some, size, 1), 1)


def place(mx: jax.Array, my: jax.Array, alpha: jax.Array) -> jax.Array:
    """a of the line |m_x| x + |m_y| y = a in the unit square, below which α of it lies; |m_x| + |m_y| = 1."""
    low, high = jnp.minimum(jnp.abs(mx), jnp.abs(my)), jnp.maximum(jnp.abs(mx), jnp.abs(my))
    alpha = jnp.clip(alpha, 0, 1)
    less = jnp.minimum(alpha, 1 - alpha)  # the other half mirrors it
    corner = less * 2 * high < low
    inside = jnp.where(corner, 2 * less * low * high, 1)
    root = jnp.where(inside > 0, jnp.sqrt(jnp.where(inside > 0, inside, 1)), 0)
    a = jnp.where(corner, root, less * high + low / 2)
    return jnp.where(alpha <= 0.5, a, low + high - a)


def share(mx: jax.Array, my: jax.Array, a: jax.Array) -> jax.Array:
    """The area of m_x x + m_y y ≤ a in the unit square; m_x, m_y ≥ 0 and not both zero."""
    low, high = jnp.minimum(mx, my), jnp.maximum(mx, my)
    whole = low + high
    a = jnp.clip(a, 0, whole)
    less = jnp.minimum(a, whole - a)
    # beside a cell with nearly nothing of a fluid a slope may be so small that the product is none
    corner = (less < low) & (low * high > 8 * jnp.finfo(low.dtype).tiny)
    safe = jnp.where(corner, low * high, 1)
    area = jnp.where(corner, less**2 / (2 * safe), (less - low / 2) / jnp.where(high > 0, high, 1))
    return jnp.where(2 * a <= whole, area, 1 - area)


def swept(alpha: jax.Array, mx: jax.Array, my: jax.Array, s: jax.Array) -> jax.Array:
    """What of the first fluid leaves cells through their faces on the side of larger x in a step, over a cell's volume:
    that in the strip of width s ≥ 0 beside the face."""
    ax, ay, a = jnp.abs(mx), jnp.abs(my), place(mx, my, alpha)
    # a mirror if the normal points to smaller x; then the strip begins at the origin
    start = jnp.where(mx > 0, 1 - s, 0)
    part = share(ax * s, ay, a - ax * start)
    cut = (alpha > 0) & (alpha < 1) & (ax * s + ay > 0)
    return s * jnp.where(cut, part, alpha)


def crossing(alpha: jax.Array, s: jax.Array, axis: int) -> jax.Array:
    """The first fluid that crosses the faces normal to an axis (1: x) in a step, over a cell's volume.

    Args:
        alpha: with two more layers on all sides, (ny + 4, nx + 4).
        s: (ny, nx + 1), or (ny + 1, nx) for y: the volume that crosses, signed, over a cell's.
    """
    mx, my = normals(alpha)  # one more layer
    inner = alpha[1:-1, 1:-1]
    if axis == 0:
        return crossing_x(inner.T, my.T, mx.T, s.T).T
    return crossing_x(inner, mx, my, s)


def crossing_x(inner: jax.Array, mx: jax.Array, my: jax.Array, s: jax.Array) -> jax.Array:
    """The same for faces normal to x, from α and slopes with one more layer."""
    inner, mx, my = inner[1:-1], mx[1:-1], my[1:-1]
    left = swept(inner[:, :-1], mx[:, :-1], my[:, :-1], jnp.maximum(s, 0))
    right = swept(inner[:, 1:], -mx[:, 1:], my[:, 1:], jnp.maximum(-s, 0))
    return jnp.where(s > 0, left, -right)


def in_turns(first_x: jax.Array, along: Callable[[Any, int], Any], state: Any) -> Any:
    """along(along(state, 1), 0), x before y, or the other way round; each of the two is compiled once.

    Args:
        along: (state, axis) -> state.
    """

    def turn(state: Any, x: jax.Array) -> Any:
        return lax.cond(x, lambda s: along(s, 1), lambda s: along(s, 0), state), None

    return lax.scan(turn, state, jnp.stack([first_x, ~first_x]))[0]


def full(alpha: jax.Array) -> jax.Array:
    """1 where there is more of the first fluid than of the second one, at the beginning of a step."""
    return jnp.where(lax.stop_gradient(alpha) > 0.5, 1.0, 0.0).astype(alpha.dtype)


def over(
    alpha: jax.Array, full: jax.Array, s: jax.Array, axis: int, surround: Callable, entering: Callable
) -> tuple[jax.Array, jax.Array]:
    """(α, what of the first fluid has crossed the faces normal to an axis, over a cell's volume) after one direction.

    Args:
        alpha: (ny, nx).
        s: volumes that cross faces, over a cell's.
        surround: α -> α with two more layers, (ny + 4, nx + 4).
        entering: (what crosses, s, axis) -> the same with what comes in from outside.
    """
    f = entering(crossing(surround(alpha), s, axis), s, axis)
    # the change first: where a cell is full it is none, to the last digit
    return alpha + (full * jnp.diff(s, axis=axis) - jnp.diff(f, axis=axis)), f


def carried(
    alpha: jax.Array, sx: jax.Array, sy: jax.Array, surround: Callable, entering: Callable, first_x: jax.Array
) -> jax.Array:
    """α after one step by a velocity without divergence, see `over`; first along x or first along y."""
    more = full(alpha)
    s = {1: sx, 0: sy}
    return in_turns(first_x, lambda a, axis: over(a, more, s[axis], axis, surround, entering)[0], alpha)
