"""`import sciml` is cheap, and every public name is there."""

import importlib
import json
import os
import subprocess
import sys

import pytest

import sciml

HEAVY = ("torch", "jax", "xarray", "h5py", "matplotlib", "scipy", "equinox", "jaxtyping", "dask", "rich", "typer")
PROBE = f"""
import json, sys, time
import numpy
start = time.perf_counter()
import sciml
elapsed = time.perf_counter() - start
sciml.problems.LidDrivenCavity().case(viscosity=0.1)._repr_html_()
print(json.dumps({{"seconds": elapsed, "loaded": [m for m in {HEAVY!r} if m in sys.modules]}}))
"""


def probe(code):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_light_and_fast():
    """Nouns and problems need NumPy alone; the fastest of three imports counts, so that a busy machine does not."""
    found = [probe(PROBE) for _ in range(3)]
    assert all(f["loaded"] == [] for f in found)
    assert min(f["seconds"] for f in found) < 1.0


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("sciml.operators", ("jax", "xarray", "h5py", "matplotlib")),
        ("sciml.constraints", ("jax", "xarray", "h5py", "matplotlib")),
        ("sciml.processes", ("jax", "xarray", "h5py", "matplotlib")),
        ("sciml.data", ("torch", "jax", "matplotlib")),
        ("sciml.derivatives.numpy", ("torch", "jax", "xarray")),
        ("sciml.metrics", ("jax", "matplotlib")),
        ("sciml.structure", ("torch", "jax", "matplotlib", "h5py")),
        ("sciml.implicit", ("torch", "jax")),
        ("sciml.implicit.torch", ("jax", "xarray", "matplotlib")),
        ("sciml.implicit.jax", ("torch", "xarray", "matplotlib")),
        ("sciml.solvers", ("torch", "jax", "xarray", "matplotlib")),
        ("sciml.solvers.finite_volume", ("torch", "matplotlib")),
        ("sciml.solvers.pseudospectral", ("torch", "matplotlib")),
        ("sciml.solvers.openfoam", ("torch", "jax", "xarray", "matplotlib")),
    ],
)
def test_sub_packages_load_one_backend_only(module, forbidden):
    code = f"import json, sys, {module}; print(json.dumps([m for m in {forbidden!r} if m in sys.modules]))"
    assert probe(code) == []


@pytest.mark.parametrize("name", [n for n in sciml.__all__ if n != "cli"])
def test_public_names_resolve(name):
    assert getattr(sciml, name) is not None
    assert name in dir(sciml)


@pytest.mark.parametrize(
    "package",
    [
        "problems",
        "operators",
        "solvers",
        "data",
        "metrics",
        "training",
        "derivatives",
        "implicit",
        "constraints",
        "processes",
        "structure",
    ],
)
def test_public_names_of_sub_packages_resolve(package):
    module = importlib.import_module(f"sciml.{package}")
    names = [n for n in getattr(module, "__all__", dir(module)) if not n.startswith("_")]
    assert names
    for name in names:
        assert getattr(module, name) is not None


def test_names_that_do_not_exist():
    for module in (sciml, sciml.solvers, sciml.derivatives, sciml.data):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_version():
    parts = sciml.__version__.split(".")
    assert len(parts) == 3 and all(p.isdigit() for p in parts)
