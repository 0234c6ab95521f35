"""The shapes that functions state are checked in the tests, and nowhere else."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from sciml import metrics
from sciml.contracts import GridBatch
from sciml.errors import InputError
from sciml.operators import FNO
from sciml.support import Points, Stencil


def test_arguments_are_checked():
    with pytest.raises(TypeCheckError, match="params"):
        GridBatch(torch.ones(2, 3, 8), torch.ones(3, 1))
    with pytest.raises(TypeCheckError, match="weight"):
        Stencil(np.zeros((4, 2), int), np.ones((4, 3)))
    with pytest.raises(TypeCheckError, match="points"):
        Points(np.eye(2)).sample(np.ones(2), np.ones((5, 3)))
    with pytest.raises(TypeCheckError, match="absolute"):
        metrics.Sums(np.ones(2), np.ones(3), np.ones(2), np.ones(2))


def test_answers_are_checked(monkeypatch):
    net = FNO(1, 1, width=2, modes=(2,), layers=1)
    monkeypatch.setattr(net, "unpad", lambda v, space: v[:, 1:])
    with pytest.raises(TypeCheckError, match="return value"):
        net(torch.ones(2, 1, 8))


def test_refusals_of_the_package_come_first():
    with pytest.raises(InputError, match="equal shapes"):
        metrics.mse(np.ones(2), np.ones(3))
    with pytest.raises(InputError, match="params"):
        FNO(1, 1, width=2, modes=(2,), n_params=1)(torch.ones(2, 1, 8), torch.ones(3, 1))


def test_users_pay_nothing():
    """Outside the tests functions are as they were written."""
    code = """
import numpy as np
from sciml import metrics, support
assert not any(hasattr(f, "__wrapped__") for f in (metrics.mse, support.Points.sample, support.Stencil.__init__))
try:
    metrics.mse(np.ones(2), np.ones(3))
except metrics.pointwise.InputError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "refused", done.stderr
