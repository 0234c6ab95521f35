"""The published channel obeys the balance of stresses that no simulation can miss, and the law of the wall."""

import numpy as np
from scipy.interpolate import CubicSpline

from sciml.evaluation import profile_error
from sciml.problems import _mkm


def test_the_table_obeys_the_balance_of_stresses():
    y = _mkm.y()
    assert np.all(np.diff(y) > 0) and y[-1] == _mkm.REYNOLDS
    total = CubicSpline(y, _mkm.mean()).derivative()(y) - _mkm.stress("uv")
    assert np.abs(total - (1 - y / _mkm.REYNOLDS)).max() < 0.01  # of averages over finite time


def test_the_table_is_that_of_a_channel():
    y, u = _mkm.y(), _mkm.mean()
    assert profile_error(y, y, y, u, high=3.5)["largest"] < 0.02  # u⁺ = y⁺
    log = 2.5 * np.log(np.maximum(y, 1e-3)) + 5.5  # as J. Kim, P. Moin, R. Moser (1987) found at this Reynolds number
    assert profile_error(y, log, y, u, low=30, high=100)["largest"] < 0.02
    assert 14 < y[np.argmax(_mkm.stress("uu"))] < 16
    shear = np.abs(_mkm.stress("uv"))
    assert np.all(shear <= np.sqrt(_mkm.stress("uu") * _mkm.stress("vv")) + 1e-12)  # Cauchy and Schwarz
    for name in ("uu", "vv", "ww"):
        assert np.all(_mkm.stress(name)[1:] > 0) and _mkm.stress(name)[0] == 0
