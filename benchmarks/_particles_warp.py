"""A plain MLS-MPM of a nearly incompressible fluid in NVIDIA Warp: the peer of `MaterialPoint` for speed.

    PYTHON benchmarks/_particles_warp.py

PYTHON is one of an environment with warp-lang and numpy; nothing of this package is imported. Requests come as lines of
JSON on standard input: first the scene ("dimensions", "cells", "spacing", "step", "modulus", "viscosity", "density",
"volume", "positions": name of a .npy file (N, D) in cells), then numbers of steps, each answered by the seconds that
they took; 0 ends it. float32; a step clears the grid, adds particles to it atomically, moves it, and gathers back.
"""

# pyright: reportMissingImports=false, reportInvalidTypeForm=false, reportIndexIssue=false, reportOperatorIssue=false
from __future__ import annotations

import json
import sys
import time

import numpy as np
import warp as wp

WALL = 2  # nodes beyond each side and on it


@wp.func
def near(f: float):
    """Weights of the three nodes around."""
    return wp.vec3(0.5 * (1.5 - f) * (1.5 - f), 0.75 - (f - 1.0) * (f - 1.0), 0.5 * (f - 0.5) * (f - 0.5))


@wp.func
def held(v: float, i: int, n: int):
    """A component of a node's velocity between the sides."""
    if i <= WALL and v < 0.0:
        return 0.0
    if i >= n - 1 - WALL and v > 0.0:
        return 0.0
    return v


@wp.kernel
def scatter_2(
    x: wp.array(dtype=wp.vec2), v: wp.array(dtype=wp.vec2), c: wp.array(dtype=wp.mat22), ratio: wp.array(dtype=float),
    grid: wp.array2d(dtype=wp.vec3), step: float, h: float, volume: float, mass: float, modulus: float,
    viscosity: float,
):  # fmt: skip
    p = wp.tid()
    at = x[p]
    i, j = int(at[0] - 0.5), int(at[1] - 0.5)
    f = at - wp.vec2(float(i), float(j))
    wx, wy = near(f[0]), near(f[1])
    g = c[p]
    rate = wp.trace(g)
    new = ratio[p] * (1.0 + step * rate)
    ratio[p] = new
    pressure = modulus / 7.0 * (wp.pow(new, -7.0) - 1.0)
    s = viscosity * (g + wp.transpose(g)) - (pressure + viscosity * rate) * wp.identity(n=2, dtype=float)
    a = mass * h * g - (step * 4.0 / h * volume * new) * s
    start = mass * v[p]
    for k in range(3):
        for m in range(3):
            w = wx[k] * wy[m]
            q = w * (start + a * (wp.vec2(float(k), float(m)) - f))
            wp.atomic_add(grid, i + k, j + m, wp.vec3(q[0], q[1], w * mass))


@wp.kernel
def move_2(grid: wp.array2d(dtype=wp.vec3), step: float):
    i, j = wp.tid()
    q = grid[i, j]
    if q[2] > 0.0:
        vx = q[0] / q[2]
        vy = q[1] / q[2] - step * 9.81
        grid[i, j] = wp.vec3(held(vx, i, grid.shape[0]), held(vy, j, grid.shape[1]), 0.0)


@wp.kernel
def gather_2(
    x: wp.array(dtype=wp.vec2), v: wp.array(dtype=wp.vec2), c: wp.array(dtype=wp.mat22),
    grid: wp.array2d(dtype=wp.vec3), step: float, h: float,
):  # fmt: skip
    p = wp.tid()
    at = x[p]
    i, j = int(at[0] - 0.5), int(at[1] - 0.5)
    f = at - wp.vec2(float(i), float(j))
    wx, wy = near(f[0]), near(f[1])
    new = wp.vec2(0.0, 0.0)
    b = wp.mat22(0.0, 0.0, 0.0, 0.0)
    for k in range(3):
        for m in range(3):
            node = grid[i + k, j + m]
            q = wx[k] * wy[m] * wp.vec2(node[0], node[1])
            new += q
            b += wp.outer(q, wp.vec2(float(k), float(m)) - f)
    v[p] = new
    c[p] = (4.0 / h) * b
    x[p] = at + (step / h) * new


@wp.kernel
def scatter_3(
    x: wp.array(dtype=wp.vec3), v: wp.array(dtype=wp.vec3), c: wp.array(dtype=wp.mat33), ratio: wp.array(dtype=float),
    grid: wp.array3d(dtype=wp.vec4), step: float, h: float, volume: float, mass: float, modulus: float,
    viscosity: float,
):  # fmt: skip
    p = wp.tid()
    at = x[p]
    i, j, o = int(at[0] - 0.5), int(at[1] - 0.5), int(at[2] - 0.5)
    f = at - wp.vec3(float(i), float(j), float(o))
    wx, wy, wz = near(f[0]), near(f[1]), near(f[2])
    g = c[p]
    rate = wp.trace(g)
    new = ratio[p] * (1.0 + step * rate)
    ratio[p] = new
    pressure = modulus / 7.0 * (wp.pow(new, -7.0) - 1.0)
    lost = pressure + viscosity * 2.0 / 3.0 * rate
    s = viscosity * (g + wp.transpose(g)) - lost * wp.identity(n=3, dtype=float)
    a = mass * h * g - (step * 4.0 / h * volume * new) * s
    start = mass * v[p]
    for k in range(3):
        for m in range(3):
            for n in range(3):
                w = wx[k] * wy[m] * wz[n]
                q = w * (start + a * (wp.vec3(float(k), float(m), float(n)) - f))
                wp.atomic_add(grid, i + k, j + m, o + n, wp.vec4(q[0], q[1], q[2], w * mass))


@wp.kernel
def move_3(grid: wp.array3d(dtype=wp.vec4), step: float):
    i, j, o = wp.tid()
    q = grid[i, j, o]
    if q[3] > 0.0:
        vx = held(q[0] / q[3], i, grid.shape[0])
        vy = held(q[1] / q[3] - step * 9.81, j, grid.shape[1])
        vz = held(q[2] / q[3], o, grid.shape[2])
        grid[i, j, o] = wp.vec4(vx, vy, vz, 0.0)


@wp.kernel
def gather_3(
    x: wp.array(dtype=wp.vec3), v: wp.array(dtype=wp.vec3), c: wp.array(dtype=wp.mat33),
    grid: wp.array3d(dtype=wp.vec4), step: float, h: float,
):  # fmt: skip
    p = wp.tid()
    at = x[p]
    i, j, o = int(at[0] - 0.5), int(at[1] - 0.5), int(at[2] - 0.5)
    f = at - wp.vec3(float(i), float(j), float(o))
    wx, wy, wz = near(f[0]), near(f[1]), near(f[2])
    new = wp.vec3(0.0, 0.0, 0.0)
    b = wp.mat33(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for k in range(3):
        for m in range(3):
            for n in range(3):
                node = grid[i + k, j + m, o + n]
                q = wx[k] * wy[m] * wz[n] * wp.vec3(node[0], node[1], node[2])
                new += q
                b += wp.outer(q, wp.vec3(float(k), float(m), float(n)) - f)
    v[p] = new
    c[p] = (4.0 / h) * b
    x[p] = at + (step / h) * new


KERNELS = {
    2: (scatter_2, move_2, gather_2, wp.vec2, wp.mat22, wp.vec3),
    3: (scatter_3, move_3, gather_3, wp.vec3, wp.mat33, wp.vec4),
}


def main() -> None:
    wp.config.quiet = True
    wp.init()
    scene = json.loads(sys.stdin.readline())
    d, h, step = scene["dimensions"], scene["spacing"], scene["step"]
    scatter, move, gather, vector, matrix, node = KERNELS[d]
    shape = tuple(n + 2 * WALL for n in scene["cells"])
    position = np.load(scene["positions"]).astype(np.float32)
    volume, density = scene["volume"], scene["density"]
    with wp.ScopedDevice("cpu"):
        x = wp.array(position, dtype=vector)
        v, c = wp.zeros(len(position), dtype=vector), wp.zeros(len(position), dtype=matrix)
        ratio = wp.array(np.ones(len(position), np.float32), dtype=float)
        grid = wp.zeros(shape, dtype=node)
        matter = [step, h, volume, volume * density, scene["modulus"], scene["viscosity"]]

        def march(steps: int) -> None:
            for _ in range(steps):
                grid.zero_()
                wp.launch(scatter, len(position), [x, v, c, ratio, grid, *matter])
                wp.launch(move, shape, [grid, step])
                wp.launch(gather, len(position), [x, v, c, grid, step, h])

        march(1)
        for line in sys.stdin:
            steps = int(line)
            if not steps:
                break
            began = time.perf_counter()
            march(steps)
            took = time.perf_counter() - began
            centre = x.numpy().mean(0).tolist()
            print(json.dumps({"seconds": took, "centre": centre}), flush=True)


if __name__ == "__main__":
    main()
