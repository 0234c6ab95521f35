"""Standard errors of averages over time, against processes whose errors are known."""

import numpy as np
import pytest
from _processes import autoregressive
from scipy.stats import t as student

from sciml.errors import InputError
from sciml.evaluation import sampling_error
from sciml.evaluation._blocking import Blocking


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_intervals_of_autoregressive_means_cover_the_truth(phi):
    """Var of the mean: σ²/T (1 + 2 Σ (1 − k/T) φᵏ), σ² = 1/(1 − φ²). Of 2000 series, 95 % intervals by Student's t."""
    steps, count = 2048, 2000
    series = autoregressive(phi, steps, count, seed=int(10 * phi))
    found = sampling_error(series)
    k = np.arange(1, steps)
    variance = (1 + 2 * ((1 - k / steps) * phi**k).sum()) / steps / (1 - phi**2)
    assert np.sqrt(np.mean(found["standard_error"] ** 2) / variance) == pytest.approx(1.0, abs=0.05)
    inside = np.abs(found["mean"]) <= student.ppf(0.975, found["blocks"] - 1) * found["standard_error"]
    assert 0.92 <= inside.mean() <= 0.97
    assert found["resolved"].mean() > 0.99
    assert np.mean(found["integral_time"]) == pytest.approx(0.5 * (1 + phi) / (1 - phi), rel=0.1)
    naive = series.std(axis=1, ddof=1) / np.sqrt(steps)
    if phi == 0.9:  # what one would say who takes frames for independent
        assert np.mean(np.abs(found["mean"]) <= 1.96 * naive) < 0.5


def test_a_series_too_short_to_say_says_so():
    found = sampling_error(autoregressive(0.99, 64, 200, seed=5))
    assert found["resolved"].mean() < 0.3
    with pytest.raises(InputError, match="series: expected"):
        sampling_error([1.0])
    with pytest.raises(InputError, match="series: expected finite"):
        sampling_error([1.0, np.nan])
    assert sampling_error([2.0] * 9)["standard_error"] == 0.0 and sampling_error([2.0] * 9)["resolved"]


def test_series_of_other_runs_are_blocks_of_their_own():
    """Constants that differ from run to run: all of the error is between runs."""
    blocking = Blocking(1, 1)
    for run_, level in enumerate(np.linspace(-1, 1, 40)):
        for _ in range(16):
            blocking.add(run_, np.full((1, 1), level))
    found = blocking.error(1.0)
    levels = np.linspace(-1, 1, 40)
    assert found.standard_error[0] == pytest.approx(levels.std(ddof=1) / np.sqrt(40), rel=0.05)
    assert found.samples[0] == pytest.approx(40, rel=0.1)
