"""Schedules at their known points; the running average against its recursion; scalers against NumPy."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sciml.errors import InputError
from sciml.training import ExponentialMovingAverage, FeatureScaler, FieldScaler
from sciml.training.schedules import Constant, Cosine, Linear, OneCycle, Schedule


def test_one_cycle_points():
    f = OneCycle()
    assert f(0.0) == pytest.approx(0.04) and f(0.2) == pytest.approx(1.0) and f(1.0) == pytest.approx(1e-3)
    assert f(0.1) == pytest.approx((0.04 + 1) / 2) and f(0.6) == pytest.approx((1 + 1e-3) / 2)
    rising = [f(x) for x in np.linspace(0, 0.2, 50)]
    falling = [f(x) for x in np.linspace(0.2, 1, 50)]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert OneCycle(warmup=0)(0.0) == 1


def test_cosine_linear_and_constant_points():
    cosine, linear = Cosine(), Linear()
    assert cosine(0.0) == 0 and cosine(0.02) == 1 and cosine(1.0) == pytest.approx(0)
    assert cosine(0.51) == pytest.approx(0.5)
    assert linear(0.05) == 1 and linear(1.0) == 0 and linear(0.525) == pytest.approx(0.5)
    assert Linear(final=0.2)(1.0) == pytest.approx(0.2)
    assert Constant()(0.7) == 1 and Constant(warmup=0.2)(0.1) == pytest.approx(0.5)


def test_factor_by_step():
    values = [OneCycle().at(k, 100) for k in range(100)]
    assert all(0 < v <= 1 for v in values) and max(values) > 0.999 and np.argmax(values) in (19, 20)
    assert Cosine().at(250, 100) == Cosine().at(100, 100)  # beyond the end: the end
    with pytest.raises(InputError, match="did you mean 'Cosine'"):
        Schedule.from_json({"kind": "cosine"})


def test_average_follows_its_recursion():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = ExponentialMovingAverage(model, decay=0.9)
    expected = model[0].weight.detach().double().clone()
    for n in range(1, 120):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 3)
            model[1].running_mean += 1.0
        average.update(model)
        d = min(0.9, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * model[0].weight.detach().double()
    assert torch.allclose(average.model[0].weight.double(), expected, atol=1e-4)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)  # buffers are copied
    assert not any(p.requires_grad for p in average.model.parameters())
    with pytest.raises(InputError, match="average: expected a decay"):
        ExponentialMovingAverage(model, 1.0)


def test_average_of_a_constant_is_the_constant():
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, 0.99)
    for _ in range(5):
        average.update(model)
    assert torch.allclose(average.model.weight, model.weight)


def test_field_scaler():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(10, 3, 4, 5)) * np.array([1, 10, 0]).reshape(3, 1, 1) + np.array([0, 5, 2]).reshape(3, 1, 1)
    mask = rng.random((4, 5)) > 0.4
    dirty = np.where(mask, data, np.nan)
    chunks = [(dirty[:3], mask), (dirty[3:], mask)]
    m = np.broadcast_to(mask, (10, 4, 5))
    plain = FieldScaler.fit(("a", "b", "c"), chunks)
    assert plain.offset == pytest.approx([0, 0, 2])  # only of what varies by less than its mean
    assert plain.scale == pytest.approx([*(np.sqrt((data[:, i][m] ** 2).mean()) for i in range(2)), 1])
    assert (plain.normalise(np.zeros((2, 3, 4, 5)), 2)[:, :2] == 0).all()  # rest stays rest
    centred = FieldScaler.fit(("a", "b", "c"), chunks, centred=True)
    assert centred.offset == pytest.approx([data[:, i][m].mean() for i in range(3)])
    assert centred.scale[:2] == pytest.approx([data[:, i][m].std() for i in range(2)]) and centred.scale[2] == 1
    back = FieldScaler.from_json(centred.to_json())
    assert back.restore(back.normalise(data, 2), 2) == pytest.approx(data, abs=1e-4)
    with pytest.raises(InputError, match="not finite in a"):
        FieldScaler.fit(("a", "b", "c"), [(np.where(np.arange(3).reshape(3, 1, 1) == 0, np.nan, data), None)])
    with pytest.raises(InputError, match="no values"):
        FieldScaler.fit(("a",), [])


def test_feature_scaler():
    table = np.stack([np.linspace(0, 4, 9), np.full(9, 0.3)], axis=1)
    scaler = FeatureScaler.from_json(FeatureScaler.fit(("re", "dt"), table).to_json())
    scaled = scaler.normalise(table)
    assert scaled[:, 0].mean() == pytest.approx(0, abs=1e-6) and scaled[:, 0].std() == pytest.approx(1)
    assert (scaled[:, 1] == 0).all() and scaled.dtype == np.float64
    assert scaler.constant_but_different(table) == []
    assert scaler.constant_but_different(np.array([[9.0, 0.4]])) == ["dt"]
    assert math.isfinite(scaler.normalise(np.array([1.0, 1e30]))[1])


SUMMED = """
import numpy as np
from sciml.training.normalisation import Sums
sums = Sums(2)
weights = np.linspace(0.5, 1.5, 64 * 64).reshape(64, 64)
sums.add(np.random.default_rng(0).standard_normal((50, 2, 64, 64)), weights)
print(sums.total.tobytes().hex(), sums.square.tobytes().hex())
"""


def test_sums_do_not_depend_on_threads():
    """Whoever goes on with a run on another number of threads has the same scales, to the last digit."""
    told = []
    for threads in ("1", "2"):
        set_ = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        told.append(
            subprocess.run([sys.executable, "-c", SUMMED], env=set_, capture_output=True, text=True, check=True)
        )
    assert told[0].stdout == told[1].stdout and len(told[0].stdout.split()) == 2
