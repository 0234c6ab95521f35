"""Matrices with known answers, and preconditioners that are bad on purpose."""

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from sciml.solvers.linear import Preconditioner

FILES = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "matrices"


def poisson(*shape):
    """−Δ on a box with zero values beyond it, spacing 1."""
    total = sp.csr_array((1, 1))
    for n in shape:
        line = sp.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
        total = sp.kron(total, sp.eye_array(n)) + sp.kron(sp.eye_array(total.shape[0]), line)
    return sp.csr_array(total)


def closed(*shape):
    """The same between walls: constants are its null space."""
    open_ = poisson(*shape)
    off = open_ - sp.diags_array(open_.diagonal())
    return sp.csr_array(off - sp.diags_array(np.asarray(off.sum(axis=1)).ravel()))


def spread(n, condition, seed=0):
    """A dense positive matrix with eigenvalues from 1 to `condition`."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    made = (basis * np.geomspace(1, condition, n)) @ basis.T
    return (made + made.T) / 2


class Noise(Preconditioner):
    """(1 − share) D⁻¹ r and noise that is another at each call."""

    name, linear = "noise", False

    def __init__(self, share, seed=0):
        self.share, self.seed = share, seed

    def set_up(self, concrete):
        random, d = np.random.default_rng(self.seed), concrete.diagonal

        def apply(r):
            noise = random.standard_normal(len(r)) * np.linalg.norm(r) / np.sqrt(len(r))
            return ((1 - self.share) * r + self.share * noise) / d

        return apply, 0


class Given(Preconditioner):
    """Any function, of r and the matrix."""

    name = "given"

    def __init__(self, function, linear):
        self.function, self.linear = function, linear

    def set_up(self, concrete):
        return lambda r: self.function(r, concrete.matrix), 0
