"""Small data as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _waves import steady, waves

import sciml


@pytest.fixture
def one_wave(tmp_path: Path) -> Path:
    """One trajectory, as a file."""
    sciml.data.write(sciml.data.pack(waves([0.3]), dtype=None), tmp_path / "wave.h5")
    return tmp_path / "wave.h5"


@pytest.fixture
def plates(tmp_path: Path) -> Path:
    """Thirty steady cases, without a split."""
    sciml.data.write(sciml.data.pack(steady(np.linspace(0.5, 2, 30).tolist()), dtype=None), tmp_path / "plates.h5")
    return tmp_path / "plates.h5"
