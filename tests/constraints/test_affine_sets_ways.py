"""Projections find the same point by every way: tables of rows, conjugate gradients, matrices that are formed."""

import numpy as np
import pytest
import torch

from sciml.constraints import Projection, _rows
from sciml.constraints._rows import Rows
from sciml.errors import InputError

#: no tables and no conjugate gradients; no tables and always conjugate gradients; tables where there can be one
WAYS = {"formed": (0, 10**18), "gradients": (0, 0), "table": (4, 10**18)}


@pytest.fixture
def by_way(monkeypatch):
    def make(way, *given):
        padded, large = WAYS[way]
        monkeypatch.setattr(_rows, "PADDED", padded)
        monkeypatch.setattr(_rows, "LARGE", large)
        found = Projection(*given)
        assert found._all_rows().iterative == (way == "gradients")
        assert (found._all_rows().table is not None) == (way == "table")
        return found

    return make


def disjoint(n, m, seed):
    """Rows of weights of both signs, in a mixed order, and values that none holds."""
    r = np.random.default_rng(seed)
    row = r.permutation(np.arange(n) % (m + 1))  # m: none
    return (row == np.arange(m)[:, None]) * r.uniform(0.2, 3.0, n) * r.choice([-1, 1], n)


def chance(m, p, n, seed, make):
    r = np.random.default_rng(seed)
    rows, inside = make(m + p), r.uniform(-0.8, 0.8, n)
    a, c = rows[:m], rows[m:]
    return n, (a, a @ inside), (c, c @ inside + r.uniform(0, 0.3, p)), -1.0, 1.0


def given(n, batch=5, seed=3):
    return torch.from_numpy(1.7 * np.random.default_rng(seed).standard_normal((batch, n)))


@pytest.mark.parametrize("seed", range(3))
def test_tables_and_matrices(by_way, seed):
    sets = chance(4, 5, 120, seed, lambda k: disjoint(120, k, seed))
    found = [by_way(way, *sets)(given(120)) for way in WAYS]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("m", "p"), [(6, 8), (0, 12), (12, 0)])
def test_gradients_and_matrices(by_way, m, p):
    sets = chance(m, p, 90, m, lambda k: np.random.default_rng(k).standard_normal((k, 90)))
    formed, other = (by_way(way, *sets)(given(90)) for way in ("formed", "gradients"))
    torch.testing.assert_close(other, formed, rtol=0, atol=1e-12)


def test_rows_that_are_nearly_the_same(by_way):
    """Conjugate gradients give up, and matrices are formed."""

    def make(k):
        r = np.random.default_rng(1)
        return r.standard_normal((1, 90)) + 1e-4 * r.standard_normal((k, 90))

    sets = chance(5, 5, 90, 2, make)
    x = by_way("gradients", *sets)(given(90)).numpy()
    a, c = sets[1:3]
    assert np.abs(x @ a[0].T - a[1]).max() < 1e-12 * 90
    assert (x @ c[0].T - c[1]).max() < 1e-12 * 90
    assert np.abs(x).max() <= 1.0


@pytest.mark.parametrize("way", WAYS)
def test_all_values_at_bounds(by_way, way):
    """The only point is a corner: of each row the largest value that bounds allow."""
    a = disjoint(60, 3, 4)
    corner = np.sign(a.sum(0))
    held = a.any(0)
    project = by_way(way, 60, (a, a @ corner), None, -1.0, 1.0)
    x = project(given(60)).numpy()
    np.testing.assert_allclose(x[:, held], np.broadcast_to(corner[held], x[:, held].shape), rtol=0, atol=1e-12)
    assert np.abs(x @ a.T - a @ corner).max() < 1e-12


@pytest.mark.parametrize("way", WAYS)
def test_no_point(by_way, way):
    a = np.abs(disjoint(60, 3, 4))
    right = 0.5 * a.sum(1)
    right[1] *= 2.1  # more than all values at their upper bounds
    with pytest.raises(InputError, match="equation 1 by"):
        by_way(way, 60, (a, right), None, -1.0, 1.0)(given(60))


@pytest.mark.parametrize("way", WAYS)
def test_derivatives(by_way, way):
    sets = chance(2, 2, 14, 5, lambda k: disjoint(14, k, 11))
    project = by_way(way, *sets)
    z = given(14, 2).requires_grad_()
    b = torch.from_numpy(np.stack([sets[1][1]] * 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, b: project(z, b=b), (z, b))
    assert torch.autograd.gradgradcheck(lambda z, b: project(z, b=b) ** 3, (z, b))
    torch.testing.assert_close(project(z).detach(), project(z.detach()), rtol=0, atol=1e-13)


def test_each_sample_alone(by_way):
    """Right sides and bounds of their own, and samples that leave the batch at other steps."""
    sets = chance(4, 4, 80, 1, lambda k: np.random.default_rng(k).standard_normal((k, 80)))
    z = given(80, 4) * torch.tensor([0.01, 1.0, 3.0, 30.0])[:, None]
    d = torch.from_numpy(sets[2][1]) + torch.tensor([0.0, 0.1, 0.2, 3.0])[:, None]
    high = torch.tensor([1.0, 1.5, 2.0, 4.0]).double()[:, None].expand(4, 80)
    for way in ("formed", "gradients"):
        project = by_way(way, *sets)
        together = project(z, d=d, high=high)
        alone = [project(z[i], d=d[i], high=high[i]) for i in range(4)]
        torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-12)


def test_products_of_tables():
    a = torch.from_numpy(disjoint(50, 6, 0))
    rows, x, y = Rows.of(a, True), given(50), given(6)
    free = x > 0
    assert rows.table is not None
    torch.testing.assert_close(rows.along(x), x @ a.T)
    torch.testing.assert_close(rows.back(y), y @ a)
    wanted = torch.stack([torch.diagonal((a * f) @ a.T) for f in free.double()])
    torch.testing.assert_close(rows.diagonal(free), wanted)
    assert Rows.of(torch.cat([a, a[:1]]), True).table is None


def test_double_and_single_precision_of_the_module(by_way):
    sets = chance(3, 3, 70, 1, lambda k: np.random.default_rng(k).standard_normal((k, 70)))
    project = by_way("gradients", *sets)
    wanted = project(given(70))
    torch.testing.assert_close(project.double()(given(70)), wanted, rtol=0, atol=1e-12)
