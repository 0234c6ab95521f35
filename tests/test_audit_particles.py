"""Audits of solutions whose nodes are particles: laws that hold to rounding where they should, and what breaks them."""

from __future__ import annotations

import numpy as np
import pytest

import sciml
from sciml.boundary import Series
from sciml.data import solution
from sciml.errors import InputError

G, SPACING = 9.81, 0.0125


def made(problem, case, times, position, velocity, volume=True, density=None):
    """A solution of positions and velocities (T, N, D)."""
    particles = problem.particles(case, SPACING)
    axes = "xyz"[: problem.dimensions]
    fields = {f"displacement_{a}": position[..., i] - particles.position[:, i] for i, a in enumerate(axes)}
    fields |= {f"velocity_{a}": velocity[..., i] for i, a in enumerate(axes)}
    if density is not None:
        fields["density"] = density
    return solution(
        case, times, {k: (("time", "node"), v) for k, v in fields.items()},
        {a: position[..., i] for i, a in enumerate(axes)},
        node_attributes={"volume": particles.volume} if volume else None,
    )  # fmt: skip


def thrown(dimensions=2, **options):
    """A block in free flight: exact."""
    problem = sciml.problems.ElasticDrop(dimensions)
    case = problem.case(bottom=0.6, speed_x=0.8, speed_y=0.5)
    particles, times = problem.particles(case, SPACING), np.linspace(0.0, 0.2, 6)
    t = times[:, None, None]
    gravity = problem.gravity(case)
    position = particles.position + t * particles.velocity + t**2 / 2 * gravity
    velocity = particles.velocity + t * gravity
    return problem, case, times, position, velocity, made(problem, case, times, position, velocity, **options)


def row(found, name):
    (only,) = found.select(name)
    return only


@pytest.mark.parametrize("dimensions", [2, 3])
def test_free_flight_obeys_every_law(dimensions):
    *_, answer = thrown(dimensions)
    found = sciml.audit(answer)
    assert [r.name for r in found.rows] == ["displacement", "outside", "momentum", "energy", "volume"]
    for name in ("displacement", "outside", "momentum", "energy"):
        assert row(found, name).largest < 1e-12
    crowded = row(found, "volume")
    assert crowded.largest < 1e-3 and 0.01 < crowded.floor < 0.06
    assert found.frames == 6 and not found.notes and "momentum" in str(found)


def test_each_law_sees_what_breaks_it():
    problem, case, times, position, velocity, _ = thrown()

    def audited(p=position, v=velocity, **options):
        return sciml.audit(made(problem, case, times, p, v, **options))

    out = position.copy()
    out[2, :4, 0] -= 0.5
    assert row(audited(out), "outside").largest == pytest.approx(4 / position.shape[1])
    faster = velocity.copy()
    faster[3:, :, 0] += 0.3  # pushed by nothing
    push = row(audited(v=faster), "momentum")
    assert push.largest == pytest.approx(0.3 / 0.04 / max(G, case.scales.velocity / case.scales.time))
    gain = row(audited(v=faster), "energy").largest
    assert gain == pytest.approx(((0.8 + 0.3) ** 2 - 0.8**2) / 2 / case.scales.velocity**2)
    heap = position.mean(1, keepdims=True) + 0.8 * (position - position.mean(1, keepdims=True))
    assert row(audited(heap), "volume").largest > 0.2
    dense = np.full(position.shape[:2], 1000.0 / 0.8**2)
    assert row(audited(heap, density=dense), "volume").largest < 0.02
    blind = audited(volume=False)
    assert not blind.select("volume") and any(n.startswith("volume: not checked") for n in blind.notes)


def test_a_wall_pushes_and_never_pulls():
    """A block that rests on the floor is held; lifted, or drawn down, it is not explained by the floor."""
    problem = sciml.problems.GranularCollapse()
    case = problem.case(left=0.35)
    particles, times = problem.particles(case, SPACING), np.linspace(0.0, 0.3, 4)
    position = np.repeat(particles.position[None], 4, 0)
    still = np.zeros_like(position)
    found = sciml.audit(made(problem, case, times, position, still))
    assert all(row(found, n).largest < 1e-12 for n in ("displacement", "outside", "momentum", "energy"))
    down = still.copy()
    down[2:, :, 1] = -3.0  # 30 m/s² downwards
    assert row(sciml.audit(made(problem, case, times, position, down)), "momentum").largest == pytest.approx(
        (30 - G) / G
    )
    along = still.copy()
    along[2:, :, 0] = 1.0  # the floor has friction
    assert row(sciml.audit(made(problem, case, times, position, along)), "momentum").largest < 1e-12
    slippery = sciml.problems.DamBreak()
    case = slippery.case(left=0.35)
    found = sciml.audit(made(slippery, case, times, position, along))
    assert row(found, "momentum").largest == pytest.approx(10 / G)


def test_a_plate_may_push_and_do_work():
    problem = sciml.problems.PushedMaterial()
    case = problem.case(plate_velocity_x=Series([0.0], [0.5]), left=0.25)
    particles, times = problem.particles(case, SPACING), np.linspace(0.0, 0.3, 4)
    position = particles.position + times[:, None, None] * np.array([0.5, 0.0])
    velocity = np.where(times[:, None, None] > 0, [0.5, 0.0], 0.0) + 0 * position
    found = sciml.audit(made(problem, case, times, position, velocity))
    assert row(found, "momentum").largest < 1e-12 and row(found, "outside").largest == 0
    assert not found.select("energy") and any(n.startswith("energy: not checked") for n in found.notes)
    left_behind = sciml.audit(made(problem, case, times, position - times[:, None, None] * [0.4, 0.0], velocity))
    assert row(left_behind, "outside").largest > 0.1


def test_solutions_that_lack_something_are_refused():
    *_, answer = thrown()
    with pytest.raises(InputError, match="does not hold 'displacement_y'"):
        sciml.audit(answer.drop_vars("displacement_y"))
    broken = answer.copy(deep=True)
    broken["velocity_x"][3, 2] = np.nan
    with pytest.raises(InputError, match="'velocity_x' holds values that are not finite, first in frame 3"):
        sciml.audit(broken)
