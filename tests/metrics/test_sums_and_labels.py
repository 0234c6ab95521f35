"""Sums that are added before anything is divided; arrays with names are aligned by them, or refused."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml import metrics
from sciml.errors import InputError
from sciml.metrics import Sums

NAMES = ("mse", "rmse", "mae", "nmse", "relative_l2")


@given(st.integers(1, 5), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_sums_of_parts_are_those_of_the_whole(cut, seed):
    rng = np.random.default_rng(seed)
    (p, t), w = rng.normal(size=(2, 6, 2, 3, 4)), rng.random((6, 1, 3, 4))
    whole = Sums.of(p, t, weights=w, axis=(0, 2, 3))
    parts = [Sums.of(p[s], t[s], weights=w[s], axis=(0, 2, 3)) for s in (slice(0, cut), slice(cut, 6))]
    by_case = Sums.of(p, t, weights=w, axis=(2, 3))
    for name in NAMES:
        expected = getattr(metrics, name)(p, t, weights=w, axis=(0, 2, 3))
        for found in (whole, sum(parts), parts[0] + parts[1], by_case.pool(0)):
            assert getattr(found, name) == pytest.approx(expected, rel=1e-12)
        assert getattr(by_case.pool(), name) == pytest.approx(getattr(metrics, name)(p, t, weights=w), rel=1e-12)
    assert by_case.error.shape == (6, 2)


def test_edge_cases_of_sums():
    zero, one = np.zeros((2, 3)), np.ones((2, 3))
    assert Sums.of(zero, zero).nmse == 0 and Sums.of(one, zero).nmse == math.inf
    empty = Sums.of(np.full((2, 3), np.nan), one, mask=zero)
    assert empty.count == 0
    for name in NAMES:
        with pytest.raises(InputError, match="at least one cell"):
            getattr(empty, name)
    assert (empty + Sums.of(2 * one, one)).nmse == 1.0
    assert math.isnan(Sums.of(np.array([np.nan, 1.0]), np.ones(2)).nmse)


def test_sums_of_tensors_carry_gradients():
    torch.manual_seed(0)
    p, t = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True), torch.randn(2, 3, 4, dtype=torch.float64)
    mask = torch.ones(3, 4, dtype=torch.float64)
    mask[0, 0] = 0
    found = Sums.of(p, t, mask=mask, axis=(1, 2))
    loss = found.pool().nmse
    (gradient,) = torch.autograd.grad(loss, p)
    assert torch.allclose(gradient, 2 * (p - t) * mask / (t**2 * mask).sum())
    assert loss.item() == pytest.approx(metrics.nmse(p, t, mask=mask), rel=1e-12)
    assert found.nmse.shape == (2,) and found.relative_l2.requires_grad


def test_quadrature_weights_give_integrals():
    """x² on [0, 1] with cells that are ever wider: means are those of the integrals, not of the points."""
    faces = np.linspace(0, 1, 401) ** 2
    x, w = (faces[1:] + faces[:-1]) / 2, np.diff(faces)
    t, p = x, x + x**2
    assert metrics.mse(p, t, weights=w) == pytest.approx(1 / 5, rel=1e-4)
    assert metrics.nmse(p, t, weights=w) == pytest.approx(3 / 5, rel=1e-4)
    assert metrics.mae(p, t, weights=w) == pytest.approx(1 / 3, rel=1e-4)
    assert metrics.vrmse(p, t, weights=w) == pytest.approx(math.sqrt(12 / 5), rel=1e-4)
    assert metrics.correlation(x**2, x, weights=w) == pytest.approx(math.sqrt(15 / 16), rel=1e-4)
    assert metrics.nmse(p, t) != pytest.approx(3 / 5, rel=0.05)


def labelled(dims=("y", "x")):
    values = np.arange(12.0).reshape(3, 4) ** 2 + 1
    return xr.DataArray(values, dims=("y", "x"), coords={"y": np.arange(3.0), "x": np.linspace(0, 1, 4)}).transpose(
        *dims
    )


def test_dimensions_go_by_their_names():
    t = labelled()
    p = t + xr.DataArray([1.0, 0.0, 0.0, 3.0], dims="x", coords={"x": t.x})
    weights = xr.DataArray([1.0, 2.0, 4.0], dims="y")
    for name in (*NAMES, "vrmse", "correlation", "max_error"):
        f = getattr(metrics, name)
        assert f(t.transpose("x", "y"), t) == f(t, t)
        assert f(p.transpose("x", "y"), t, axis=0) == pytest.approx(f(p.values, t.values, axis=0))
    expected = metrics.mse(p.values, t.values, weights=weights.values[:, None])
    assert metrics.mse(p.T, t, weights=weights) == pytest.approx(expected)
    assert metrics.mse(p.T, t.values.T, weights=weights) == pytest.approx(expected)
    assert metrics.mse(p, t, mask=xr.DataArray([0, 1, 1, 1], dims="x")) == pytest.approx(3.0)
    assert Sums.of(p.T, t).mse == pytest.approx(10 / 4)
    close = p.assign_coords(x=p.x.astype("float32"))
    assert metrics.mse(close, t) == pytest.approx(10 / 4)
    assert metrics.nmse_per_frame(p.T, t, frame_ndim=1) == pytest.approx(
        metrics.nmse_per_frame(p.values, t.values, frame_ndim=1)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.isel(y=slice(None, None, -1)), "prediction: expected the coordinates along y .* another order"),
        (lambda a: a.assign_coords(x=a.x + 0.1), "prediction: expected the coordinates along x .* got others"),
        (lambda a: a.rename(y="z"), r"prediction: expected the dimensions of target, \('y', 'x'\), got \('z', 'x'\)"),
        (lambda a: a.isel(y=0), "prediction: expected the dimensions of target"),
        (lambda a: a.isel(x=slice(0, 3)), "prediction: expected 4 values along x"),
        (lambda a: a.values.T, "expected equal shapes"),
        (lambda a: np.ma.masked_less(a.values, 3), "are masked"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, message):
    for name in ("rmse", "vrmse", "correlation", "max_error"):
        with pytest.raises(InputError, match=message):
            getattr(metrics, name)(change(labelled()), labelled())
    with pytest.raises(InputError, match="mask: expected the dimensions of target"):
        metrics.mse(labelled(), labelled(), mask=xr.DataArray(np.ones(2), dims="t"))


def test_divergence_and_spectra_go_by_names():
    x, y = (np.arange(6) + 0.5) / 6, (np.arange(5) + 0.5) / 5
    coords = {"y": y, "x": x}
    u = xr.DataArray(np.sin(3 * y)[:, None] * x**2, dims=("y", "x"), coords=coords)
    v = xr.DataArray(np.cos(y)[:, None] * x, dims=("y", "x"), coords=coords)
    expected = metrics.divergence((u.values, v.values), (x, y))
    for velocity in ((u.T, v), (u, v.T), (u.T, v.T)):
        assert np.array_equal(metrics.divergence(velocity, (x, y)), expected)
    assert metrics.divergence_error((u.T, v), (x, y)) == metrics.divergence_error((u.values, v.values), (x, y))
    both = xr.concat([u, v], "component")
    assert metrics.spectrum_error(both.transpose("x", "component", "y"), both, (1.0, 1.0)) == 0
    with pytest.raises(InputError, match="coordinates along y"):
        metrics.divergence((u, v.isel(y=slice(None, None, -1))), (x, y))
