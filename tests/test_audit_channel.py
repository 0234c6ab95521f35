"""Audits of channels whose flow rate is kept, and of large-eddy simulations."""

from typing import Any

import numpy as np
import pytest

import sciml
from sciml.problems import TurbulentChannel
from sciml.solvers import WALE, ChannelFlow

TIMES = [0.0, *(0.05 + np.arange(7) * 1e-3)]  # the last seven are near enough for rates of change


@pytest.fixture(scope="module")
def kept():
    """A large-eddy simulation whose driving force, 0.8 N/m³, is not the expected one, 1 N/m³."""
    given: dict = {"viscosity": 1 / 40, "length_x": 2.0, "length_z": 1.5, "disturbance": 3.0, "bulk_velocity": 8.0}
    return ChannelFlow((12, 24, 16), WALE()).solve(TurbulentChannel("flow_rate").case(**given), TIMES)


def whole(audit: Any, name: str) -> Any:
    (row,) = audit.select(name, 0)
    assert row.floor is not None
    return row


def test_the_driving_force_is_the_one_that_is_stored(kept):
    audit = sciml.audit(kept.isel(time=slice(1, None)))
    row = whole(audit, "momentum x")
    assert row.rms < row.floor < 1e-3
    assert not any("force" in note for note in audit.notes)
    between = whole(sciml.audit(kept), "momentum x, between frames")
    assert between.rms < 2 * between.floor < 1e-3


def test_a_wrong_force_stands_out(kept):
    wrong = kept.isel(time=slice(1, None)).assign(driving_force=kept.driving_force[1:] + 0.1)
    row = whole(sciml.audit(wrong), "momentum x")
    assert row.rms == pytest.approx(0.1, rel=0.01) and row.rms > 100 * row.floor


@pytest.mark.parametrize("how", ["left out", "of one frame"])
def test_a_force_that_is_not_known_is_remarked(kept, how):
    known = kept.isel(time=slice(1, None))
    force = known.driving_force.copy()
    force[3] = np.nan
    known = known.drop_vars("driving_force") if how == "left out" else known.assign(driving_force=force)
    audit = sciml.audit(known)
    assert any("not known, and taken to be the expected 1 N m-3" in note for note in audit.notes)
    assert whole(audit, "momentum x").largest == pytest.approx(0.2, abs=0.01)


def test_after_a_file_it_is_the_same(kept, tmp_path):
    sciml.data.write(sciml.data.pack([kept.isel(time=slice(1, None))]), tmp_path / "a.h5")
    with sciml.data.open(tmp_path / "a.h5") as found:
        audit = sciml.audit(sciml.data.case(found, 0)[1])
    row = whole(audit, "momentum x")
    assert row.rms < 2e-4 and any("wale" in note for note in audit.notes)


def test_a_subgrid_model_is_remarked_where_there_was_one(kept):
    (note,) = [n for n in sciml.audit(kept).notes if "wale" in n]
    assert "no part of the equations" in note
    case = TurbulentChannel().case(viscosity=1 / 40, length_x=2.0, length_z=1.5)
    plain = sciml.audit(ChannelFlow((4, 9, 4)).solve(case, [0.0, 0.001]))
    assert not any("model" in n or "force" in n for n in plain.notes)
    broken = kept.assign_attrs(settings="{")
    assert not any("wale" in n for n in sciml.audit(broken).notes)
