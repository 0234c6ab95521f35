"""What an audit says of flows around bodies: mass, momentum with the force on the body, values on it."""

import numpy as np
import pytest

import sciml
from sciml.problems import CylinderFlow
from sciml.solvers import IncompressibleFlow


@pytest.fixture(scope="module")
def wakes():
    case = CylinderFlow().case(viscosity=2e-3)
    return {
        n: IncompressibleFlow((n, n * 11 // 6), dtype="float64", tendencies=True).solve(case, [0.02, 0.1])
        for n in (36, 72)
    }


def test_the_whole_domain_is_balanced_with_the_force_on_the_body(wakes):
    found = {n: sciml.audit(wake) for n, wake in wakes.items()}
    for one in found.values():
        (mass,) = one.select("continuity", 0)
        assert mass.rms < 1e-12
        for axis in "xy":
            (momentum,) = one.select(f"momentum {axis}", 0)
            assert momentum.rms <= momentum.floor
        assert "left out of the balances" in "".join(one.notes)
    coarse, fine = (found[n].select("momentum x", 0)[0] for n in (36, 72))
    assert fine.relative < coarse.relative / 2 and fine.relative < 1e-3


def test_a_wrong_force_or_a_leak_is_seen(wakes):
    wake = wakes[72]
    wrong = wake.assign(force_x=wake.force_x * 1.1)
    (row,) = sciml.audit(wrong).select("momentum x", 0)
    assert row.rms > 2 * row.floor
    area = 0.12 * 0.22 - np.pi * 0.01**2
    assert row.rms == pytest.approx(0.1 * float(np.sqrt((wake.force_x**2).mean())) / area, rel=0.1)
    leak = wake.copy(deep=True)
    leak["u_face"][..., -1] *= 1.01
    (row,) = sciml.audit(leak).select("continuity", 0)
    assert row.rms > 100 * row.floor


def test_values_on_the_body_are_extrapolated_from_beside_it(wakes):
    coarse, fine = (sciml.audit(wakes[n]).select("u on cylinder")[0] for n in (36, 72))
    assert fine.rms < coarse.rms and fine.rms < 2 * fine.floor
    slipping = wakes[72].copy(deep=True)
    slipping["u"] = slipping["u"] + 2.0
    assert sciml.audit(slipping).select("u on cylinder")[0].rms > 1.5


def test_without_a_force_only_mass_is_balanced_over_all(wakes):
    bare = wakes[36].drop_vars(["force_x", "force_y"])
    bare.attrs.pop("quantities", None)
    found = sciml.audit(bare)
    assert found.select("continuity", 0) and not found.select("momentum x", 0)
