"""`import sciml.data` is quick and loads neither torch nor JAX, nor anything that it does not need yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from sciml import data

ROOT = Path(__file__).resolve().parents[2]


def test_importing_is_light():
    script = (
        "import sys; from sciml import data; "
        "heavy = {'torch', 'jax', 'xarray', 'dask', 'h5py', 'matplotlib', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy; data.Windows, data.Loader; "
        "assert not {'torch', 'jax', 'xarray', 'h5py'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_everything_named_is_there():
    for name in data.__all__:
        assert getattr(data, name) is not None
    assert set(data.__all__) <= set(dir(data))
    with pytest.raises(AttributeError, match="no attribute 'opn'"):
        data.opn  # noqa: B018
