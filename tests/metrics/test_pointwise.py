"""The pointwise metrics against loops written out by hand, and the properties that their formulas promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sciml import metrics
from sciml.errors import InputError

ELEMENTS = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
SHAPE = (2, 3, 4)  # field, y, x


def fields(shape=SHAPE):
    return hnp.arrays(np.float64, shape, elements=ELEMENTS)


def masks(shape=SHAPE[1:]):
    return hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0])).filter(lambda m: m.sum() > 0)


def by_hand(p, t, m):
    """(mse, label mean square, mae, largest error) over the fluid, cell by cell."""
    square = label = absolute = largest = 0.0
    count = 0
    for c in range(p.shape[0]):
        for j in range(p.shape[1]):
            for i in range(p.shape[2]):
                if m[j, i] == 0:
                    continue
                e = p[c, j, i] - t[c, j, i]
                square, label, absolute = square + e * e, label + t[c, j, i] ** 2, absolute + abs(e)
                largest, count = max(largest, abs(e)), count + 1
    return square / count, label / count, absolute / count, largest


@given(fields(), fields(), masks())
@settings(max_examples=60, deadline=None)
def test_against_loops(p, t, m):
    square, label, absolute, largest = by_hand(p, t, m)
    assert metrics.mse(p, t, mask=m) == pytest.approx(square, rel=1e-12)
    assert metrics.mae(p, t, mask=m) == pytest.approx(absolute, rel=1e-12)
    assert metrics.rmse(p, t, mask=m) == pytest.approx(math.sqrt(square), rel=1e-12)
    assert metrics.max_error(p, t, mask=m) == largest
    expected = square / label if label > 0 else (0.0 if square == 0 else math.inf)
    assert metrics.nmse(p, t, mask=m) == pytest.approx(expected, rel=1e-12)
    assert metrics.relative_l2(p, t, mask=m) == pytest.approx(math.sqrt(expected), rel=1e-12)


@given(fields(), fields(), masks(), st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_scale(p, t, m, c):
    """Ratios do not see the unit; errors carry it."""
    for name in ("nmse", "relative_l2", "vrmse", "correlation"):
        f = getattr(metrics, name)
        assert f(c * p, c * t, mask=m) == pytest.approx(f(p, t, mask=m), rel=1e-6, abs=1e-9)
    assert metrics.mae(c * p, c * t, mask=m) == pytest.approx(c * metrics.mae(p, t, mask=m), rel=1e-9)
    assert metrics.mse(c * p, c * t, mask=m) == pytest.approx(c * c * metrics.mse(p, t, mask=m), rel=1e-9)


@given(fields(), fields(), masks(), st.sampled_from([math.nan, math.inf, 1e30]))
@settings(max_examples=60, deadline=None)
def test_values_outside_the_mask_are_never_read(p, t, m, poison):
    dirty_p, dirty_t = p.copy(), t.copy()
    dirty_p[:, m == 0] = poison
    dirty_t[:, m == 0] = poison
    for name in ("mse", "nmse", "mae", "rmse", "relative_l2", "vrmse", "max_error", "correlation"):
        f = getattr(metrics, name)
        assert f(dirty_p, dirty_t, mask=m) == pytest.approx(f(p, t, mask=m), rel=1e-12)


@given(fields(), fields(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_cells_does_not_matter(p, t, random):
    order = list(range(12))
    random.shuffle(order)
    p2, t2 = (a.reshape(2, 12)[:, order].reshape(SHAPE) for a in (p, t))
    for name in ("mse", "nmse", "mae", "vrmse", "max_error", "correlation"):
        f = getattr(metrics, name)
        assert f(p2, t2) == pytest.approx(f(p, t), rel=1e-7, abs=1e-9)


@given(fields(), fields(), fields())
@settings(max_examples=60, deadline=None)
def test_rmse_and_mae_and_max_are_metrics(p, t, q):
    for name in ("rmse", "mae", "max_error"):
        f = getattr(metrics, name)
        assert f(p, p) == 0
        assert f(p, t) == pytest.approx(f(t, p), rel=1e-12)
        assert f(p, t) <= f(p, q) + f(q, t) + 1e-9
    assert metrics.mae(p, t) <= metrics.rmse(p, t) * (1 + 1e-12) <= metrics.max_error(p, t) * (1 + 1e-9) + 1e-12


@given(fields((3, 4)), hnp.arrays(np.float64, (3, 4), elements=st.integers(1, 4).map(float)))
@settings(max_examples=40, deadline=None)
def test_weights_equal_repeated_cells(t, w):
    """A cell of area 3 counts as three cells of area 1."""
    p = t + np.arange(12.0).reshape(3, 4)
    repeat = w.astype(int).ravel()
    many_p, many_t = (np.repeat(a.ravel(), repeat) for a in (p, t))
    for name in ("mse", "nmse", "mae", "vrmse", "correlation"):
        f = getattr(metrics, name)
        assert f(p, t, weights=w) == pytest.approx(f(many_p, many_t), rel=1e-6, abs=1e-9)


def test_reference_values():
    t = np.array([1.0, 2.0, 3.0, 4.0])
    p = t + np.array([1.0, -1.0, 1.0, -1.0])
    assert metrics.mse(p, t) == 1.0
    assert metrics.nmse(p, t) == pytest.approx(1 / 7.5)
    assert metrics.vrmse(p, t) == pytest.approx(1 / math.sqrt(1.25))
    assert metrics.vrmse(np.full(4, 2.5), t) == pytest.approx(1.0)  # the mean scores one
    assert metrics.vrmse(p, t, epsilon=1e-7) == pytest.approx(1 / math.sqrt(1.25 + 1e-7), rel=1e-12)
    assert metrics.correlation(3 * t + 7, t) == pytest.approx(1.0)
    assert metrics.correlation(-t, t) == pytest.approx(-1.0)


def test_variants_of_nmse():
    """The pooled ratio is ruled by loud frames, the per-frame mean by quiet ones."""
    t = np.stack([np.full((1, 2, 2), 10.0), np.full((1, 2, 2), 0.1)])
    p = t + 0.1
    assert metrics.nmse(p, t) == pytest.approx(0.01 / 50.005)
    assert metrics.nmse_per_frame(p, t) == pytest.approx((1e-4 + 1.0) / 2)
    steps = np.stack([p, p], axis=1), np.stack([t, t], axis=1)
    assert metrics.nmse_per_frame(*steps, axis=0) == pytest.approx([0.50005, 0.50005])


def test_zero_fields():
    zero, one = np.zeros((2, 3)), np.ones((2, 3))
    assert metrics.nmse(zero, zero) == 0 and metrics.nmse(one, zero) == math.inf and metrics.nmse(zero, one) == 1
    assert metrics.relative_l2(zero, zero) == 0 and metrics.relative_l2(one, zero) == math.inf
    assert metrics.vrmse(one, one) == 0 and metrics.vrmse(zero, one) == math.inf
    assert metrics.vrmse(np.full((3,), 0.1) + 1, np.full((3,), 0.1)) == math.inf  # rounding is not variance
    assert metrics.correlation(one, 2 * one) == 1 and metrics.correlation(one, np.arange(6.0).reshape(2, 3)) == 0
    assert metrics.mse(zero, zero) == metrics.mae(zero, zero) == metrics.max_error(zero, zero) == 0


def test_nan_inside_the_mask_is_seen():
    p, t = np.ones(3), np.array([1.0, np.nan, 1.0])
    for name in ("mse", "nmse", "mae", "max_error", "relative_l2"):
        assert math.isnan(getattr(metrics, name)(p, t)), name


def test_errors():
    with pytest.raises(InputError, match="equal shapes"):
        metrics.mse(np.ones(3), np.ones(4))
    with pytest.raises(InputError, match="mask: expected a shape"):
        metrics.mse(np.ones(3), np.ones(3), mask=np.ones(4))
    with pytest.raises(InputError, match="at least one cell"):
        metrics.nmse(np.ones(3), np.ones(3), mask=np.zeros(3))
    with pytest.raises(InputError, match="negative"):
        metrics.nmse(np.ones(3), np.ones(3), weights=-np.ones(3))
    with pytest.raises(InputError, match="frame_ndim"):
        metrics.nmse_per_frame(np.ones(3), np.ones(3), frame_ndim=2)


def test_float32_input_is_summed_in_float64():
    t = np.full(1_000_000, 0.1, dtype=np.float32)
    assert metrics.mse(t + np.float32(0.1), t) == pytest.approx(float(np.float32(0.2) - np.float32(0.1)) ** 2, rel=1e-7)


def test_correlation_time():
    x = np.linspace(0, 1, 50)
    t = np.stack([np.sin(2 * np.pi * x)] * 5)
    other = np.cos(2 * np.pi * x)
    angle = np.linspace(0, np.pi / 2, 5)  # correlation is about cos(angle)
    p = np.cos(angle)[:, None] * t + np.sin(angle)[:, None] * other
    rho = metrics.correlation(p, t, axis=1)
    times = np.arange(5) * 0.5
    i = int(np.argmax(rho < 0.9))
    expected = np.interp(-0.9, [-rho[i - 1], -rho[i]], [times[i - 1], times[i]])
    assert metrics.correlation_time(p, t, times) == pytest.approx(expected)
    assert metrics.correlation_time(t, t, times) == math.inf
    assert metrics.correlation_time(-t, t, times) == 0.0
    assert metrics.correlation_time(p, t, times, threshold=-2) == math.inf
    broken = p.copy()
    broken[1] = np.nan
    assert metrics.correlation_time(broken, t, times) == 0.5
    with pytest.raises(InputError, match="strictly increasing"):
        metrics.correlation_time(p, t, times[::-1])


def test_other_array_libraries():
    """torch tensors are taken as they are, JAX arrays stay JAX arrays."""
    import torch
    from jax import numpy as jnp

    rng = np.random.default_rng(0)
    p, t = rng.normal(size=(2, 3, 4))
    assert metrics.nmse(torch.tensor(p, requires_grad=True), torch.tensor(t)) == pytest.approx(metrics.nmse(p, t))
    value = metrics.vrmse(jnp.asarray(p), jnp.asarray(t), mask=jnp.ones((3, 4)))
    assert type(value).__module__.startswith("jax") and float(value) == pytest.approx(metrics.vrmse(p, t), rel=1e-5)
