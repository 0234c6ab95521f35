"""Small data sets with known answers, and recipes that take no time."""

import numpy as np

from sciml import data
from sciml.operators import FNO
from sciml.problems import DataProblem
from sciml.solver import Start
from sciml.solvers import Surrogate
from sciml.support import Grid, Mesh
from sciml.training import AdamW, Recipe, Running, Steps

QUIET = Running(progress=False)
FEW = {"validation": None, "running": QUIET}
SPEEDS = (0.2, 0.3, 0.4)


def recipe(steps=3, **more):
    optimiser = AdamW(**{name: more.pop(name) for name in ("lr", "average") if name in more})
    return Recipe(**({"length": Steps(steps), "batch": 4, "optimiser": optimiser} | more))


def own(dimensions, **more):
    return DataProblem(
        **({"name": "waves", "fields": ["a", "b"], "parameters": ["speed"], "dimensions": dimensions} | more)
    )


def waves(support, speed=1.0, frames=6, dt=0.1, start=0.0, problem=None, phase=0.0, times=None):
    """a + ib = exp(i(k·x − speed·t)), which is as smooth on all kinds of supports."""
    problem = problem or own(support.dimensions)
    t = start + dt * np.arange(frames) if times is None else np.asarray(times, dtype=float)
    x = 2 * np.pi * support.points().sum(-1) + phase
    angle = x - 2 * np.pi * speed * (t.reshape(-1, *[1] * x.ndim) if not problem.steady else 0.0)
    dims = support.dims if problem.steady else ("time", *support.dims)
    fields = {"a": (dims, np.cos(angle)), "b": (dims, np.sin(angle))}
    case = problem.case(speed=speed).on(support)
    return data.solution(case, None if problem.steady else t, fields, support)


def cube(dimensions, n=8, power=1.0, mask=None, periodic=False):
    return Grid((np.linspace(0, 1, n + 1) ** power,) * dimensions, (periodic,) * dimensions, mask)


def hole(n=8):
    mask = np.ones((n, n))
    mask[2:5, 3:6] = 0
    return mask


def triangles(n=5, seed=0):
    """The unit square, with its inner nodes moved at random."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(0, 1, n)
    position = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    position[1:-1, 1:-1] += rng.uniform(-0.3, 0.3, (n - 2, n - 2, 2)) / n
    number = np.arange(n * n).reshape(n, n)
    a, b, c, d = number[:-1, :-1].ravel(), number[1:, :-1].ravel(), number[1:, 1:].ravel(), number[:-1, 1:].ravel()
    return Mesh(position.reshape(-1, 2), {"triangle": np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])})


def fno(*solutions, stepping=None, how=None, dimensions=1, **more):
    model = Surrogate(FNO, stepping, width=6, modes=(3,) * dimensions, layers=1)
    return model.fit(list(solutions), recipe(**({"steps": 3} | (how or {}))), **FEW, **more)


def values(solution):
    """(time, field, *shape)."""
    axis = 1 if "time" in solution.dims else 0
    return np.stack([solution["a"].values, solution["b"].values], axis)


def started(solution, upto=0, history=1, support=None):
    case = data.case(data.pack([solution], dtype=None), 0)[0]
    frames = values(solution)[max(upto + 1 - history, 0) : upto + 1]
    return Start(case, support or case.support, frames, float(solution.time.values[upto]))
