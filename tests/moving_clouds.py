"""Solutions of particles that move in known ways, for tests of what is made of them."""

import numpy as np

from sciml import data, problems
from sciml.problem import Case

AXES = "xyz"


def solved(case, times, first, moved, velocity, volume=None, wrap=None, **more):
    """A solution of particles at X + d(t): first (N, D), moved and velocity (T, N, D); `wrap` of a periodic box."""
    d = first.shape[1]
    position = first + moved
    if wrap is not None:
        position = np.mod(position, wrap)
    names = [f"{n}_{a}" for n in ("displacement", "velocity") for a in AXES[:d]]
    values = np.moveaxis(np.concatenate([moved, np.broadcast_to(velocity, moved.shape)], axis=-1), -1, 0)
    fields = {n: (("time", "node"), v.copy()) for n, v in zip(names, values, strict=True)}
    if any(f.name == "density" for f in case.problem.fields):
        fields["density"] = (("time", "node"), np.full(moved.shape[:2], 1000.0))
    attributes = {} if volume is None else {"volume": volume}
    coords = dict(zip(AXES, np.moveaxis(position, -1, 0), strict=False))
    return data.solution(case, times, fields, coords, node_attributes=attributes, **more)


def thrown(speed=(0.5, 1.0), times=None, spacing=0.025, dimensions=2, **parameters):
    """A block of a dam break that flies freely before it touches anything: d = v₀ t + ½ g t²."""
    problem = problems.DamBreak(dimensions)
    given = {"width": 0.2, "height": 0.2, "left": 0.2, "bottom": 0.3, **parameters}
    names = ("speed_x", "speed_y", "speed_z")[:dimensions]
    case = problem.case(**given, **dict(zip(names, speed, strict=False)))
    made = problem.particles(case, spacing)
    t = np.linspace(0.0, 0.2, 5) if times is None else np.asarray(times)
    gravity = problem.gravity(case)
    moved = t[:, None, None] * made.velocity + 0.5 * t[:, None, None] ** 2 * gravity
    return solved(case, t, made.position, moved, made.velocity + t[:, None, None] * gravity, made.volume)


def gas(count=12, frames=6, seed=0, dimensions=2):
    """Particles that go straight on in a periodic box of length 1, and round it."""
    rng = np.random.default_rng(seed)
    first, speed = rng.random((count, dimensions)), rng.uniform(-3, 3, (count, dimensions))
    names = [f"{n}_{a}" for n in ("displacement", "velocity") for a in AXES[:dimensions]]
    problem = problems.DataProblem(
        "gas", names, [], dimensions, periodic=(True,) * dimensions, velocity=names[dimensions:]
    )
    t = 0.1 * np.arange(frames)
    case = Case(problem, extents=((0.0, 1.0),) * dimensions, label=f"gas {seed}")
    return solved(case, t, first, t[:, None, None] * speed, speed, wrap=1.0)
