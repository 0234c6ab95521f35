"""Small data with known answers: travelling waves on a line, steady sums on loose nodes."""

from __future__ import annotations

import numpy as np

import sciml

CELLS, FRAMES, SPEED, STEP = 16, 41, 0.5, 0.05


def wave(phase: float, frames: int = FRAMES) -> np.ndarray:
    """u(t, x) = sin(2π(x − ct) + φ) on a periodic line, exact, (frames, CELLS)."""
    x, t = (np.arange(CELLS) + 0.5) / CELLS, STEP * np.arange(frames)
    return np.sin(2 * np.pi * (x[None] - SPEED * t[:, None]) + phase)


def waves(phases: list[float], frames: int = FRAMES) -> list[sciml.data.Dataset]:  # type: ignore[name-defined]
    problem = sciml.DataProblem("wave", ["u"], ["phase"], 1, periodic=(True,))
    line = sciml.Grid((np.linspace(0, 1, CELLS + 1),), periodic=(True,))
    times = STEP * np.arange(frames)
    return [
        sciml.data.solution(problem.case(phase=p, label=f"wave {i}"), times, {"u": wave(p, frames)}, line)
        for i, p in enumerate(phases)
    ]


def steady(values: list[float]) -> list[sciml.data.Dataset]:  # type: ignore[name-defined]
    """T(x, y) = a x + a² y on twelve loose nodes, exactly two modes."""
    problem = sciml.DataProblem("plates", ["T"], ["a"], 2, steady=True)
    nodes = np.random.default_rng(0).uniform(0, 1, (12, 2))
    return [
        sciml.data.solution(
            problem.case(a=a, label=f"plate {i}"), None, {"T": (("node",), a * nodes[:, 0] + a**2 * nodes[:, 1])},
            sciml.Points(nodes),
        )
        for i, a in enumerate(values)
    ]  # fmt: skip


def swarm(rates: list[float]) -> list[sciml.data.Dataset]:  # type: ignore[name-defined]
    """c = exp(−r t) x on loose nodes that swing, with no word on where they live but their own places."""
    problem = sciml.DataProblem("swarm", ["c"], ["rate"], 2)
    base, times, found = np.random.default_rng(0).uniform(0, 1, (10, 2)), np.linspace(0, 1, 7), []
    for r in rates:
        places = base[None] + 0.1 * np.sin(r * times)[:, None, None]
        values = np.exp(-r * times)[:, None] * places[..., 0]
        nodes = {"x": places[..., 0], "y": places[..., 1]}
        case = problem.case(rate=r).on(sciml.Points(places[0]))
        found.append(sciml.data.solution(case, times, {"c": (("time", "node"), values)}, nodes))
    return found
