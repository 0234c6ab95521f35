"""Particles that the material-point method moves in a second, beside a plain one in NVIDIA Warp on the same cores."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._ledger import Ledger, extremes
from benchmarks._particles_matter import Matter
from sciml.geometry import Box
from sciml.materials import NewtonianFluid
from sciml.solvers import MaterialPoint

PEER = Path(__file__).with_name("_particles_warp.py")
SCENES = {2: 316, 3: 46}  # dimensions -> cells along the box, half of which the matter fills along each axis
STEPS, TURNS = 40, 5  # of a turn; turns of each, one after the other


class Ours:
    """`MaterialPoint` on a block of fluid in a corner of a box, about 100,000 particles."""

    def __init__(self, dimensions: int, cells: int):
        d = dimensions
        self.fluid, self.cells = NewtonianFluid(1000.0, 1e5, 1.0), cells
        gravity = (0.0, -9.81, 0.0)[:d]
        self.case = Matter(Box((0.0,) * d, (0.5,) * d), Box((0.0,) * d, (1.0,) * d), self.fluid, gravity=gravity).case()
        self.solver = MaterialPoint(resolution=cells, derivative="forward")
        self.grid = self.solver.grid(self.case)
        self.step = 0.35 / (cells * 11.0)  # about as long as `MaterialPoint` takes it
        parameters, inputs = jax.tree.map(jnp.asarray, self.solver.arrays(self.case))
        march, times = jax.jit(self.solver.simulate, static_argnames="scene"), jnp.array([STEPS * self.step])
        self._march = lambda: jax.block_until_ready(march(parameters, inputs, times, self.solver.scene(self.case)))

    def turn(self) -> tuple[float, int]:
        """(seconds, steps) of about `STEPS` steps from the start on."""
        began = time.perf_counter()
        found = self._march()
        return time.perf_counter() - began, int(found["substeps"].sum())


class Warp:
    """The peer, in a process of its own."""

    def __init__(self, python: Path, ours: Ours):
        self.folder = tempfile.TemporaryDirectory()
        name = str(Path(self.folder.name) / "positions.npy")
        spacing = 1.0 / ours.cells
        np.save(name, ours.grid.points() / spacing + 1.5)
        self.child = subprocess.Popen(
            [str(python), str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        d = ours.case.problem.dimensions
        self._say({
            "dimensions": d, "cells": [ours.cells] * d, "spacing": spacing, "step": ours.step,
            "modulus": ours.fluid.modulus, "viscosity": ours.fluid.dynamic_viscosity, "density": ours.fluid.density,
            "volume": float(ours.grid.weights()[0]), "positions": name,
        })  # fmt: skip

    def _say(self, what: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(what) + "\n")
        self.child.stdin.flush()

    def turn(self, steps: int) -> float:
        """Seconds of so many steps on."""
        self._say(steps)
        assert self.child.stdout is not None
        while not (line := self.child.stdout.readline()).startswith("{"):
            if not line:
                raise RuntimeError(f"the peer stopped with status {self.child.wait()}")
        return float(json.loads(line)["seconds"])

    def close(self) -> None:
        self._say(0)
        self.child.wait(timeout=60)
        self.folder.cleanup()


def compared(dimensions: int, python: Path | None, cells: int | None = None, turns: int = TURNS) -> dict[str, Any]:
    """Particles moved in a second by both, turn by turn, so that what else the machine does meets both."""
    ours = Ours(dimensions, cells or SCENES[dimensions])
    count = ours.grid.size
    ours.turn()  # compiles
    peer = None if python is None else Warp(python, ours)
    own, other = [], []
    for _ in range(turns):
        took, steps = ours.turn()
        own.append(count * steps / took)
        if peer is not None:
            other.append(count * steps / peer.turn(steps))
    found: dict[str, Any] = {
        "dimensions": dimensions, "particles": count, "steps": steps,
        "particle_steps_per_second": statistics.median(own),
    }  # fmt: skip
    if peer is not None:
        peer.close()
        ratios = [a / b for a, b in zip(own, other, strict=True)]
        found |= {"warp_particle_steps_per_second": statistics.median(other), "ratio": statistics.median(ratios),
                  "ratios": ratios}  # fmt: skip
    return found


def measure(ledger: Ledger, work: Any) -> None:
    """In the plane and in space."""
    rows = [compared(d, work.warp, 40 if work.quick else None) for d in SCENES]
    for found in rows:
        ledger.row(section="throughput", **{k: v for k, v in found.items() if k != "ratios"})
    name = "mpm_throughput_vs_known_python_mpm"
    if work.warp is None:
        ledger.check(name, None, reason="needs --warp, the Python of an environment with warp-lang", status="not_run")
        return
    worst = min(rows, key=lambda r: r["ratio"])
    note = "NVIDIA Warp 1.19 on the CPU; " + ", ".join(f"{r['ratio']:.2f} in {r['dimensions']}-D" for r in rows)
    reason = None if worst["ratio"] >= 1 else f"slower in {worst['dimensions']}-D"
    ledger.check(name, worst["ratio"], reason=reason, spread=extremes(worst["ratios"], "turns"), note=note)
