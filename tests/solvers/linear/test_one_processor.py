"""Callbacks from traced code on a machine with one processor."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
from sciml.problems import CylinderFlow
from sciml.solvers import IncompressibleFlow, linear
flow = IncompressibleFlow((96, 176), dtype="float64")
print(len(linear.record(flow, CylinderFlow().case(viscosity=2e-3), [0.0002])) > 2)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_callbacks_within_a_march_end_on_one_processor():
    environment = {k: v for k, v in os.environ.items() if k not in ("NPROC", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True, env=environment
    )
    assert done.stdout.strip() == "True"
