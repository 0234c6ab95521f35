"""Small solutions with random values for the tests of `sciml.data`."""

from __future__ import annotations

from typing import Any

import numpy as np

import sciml
from sciml import data
from sciml.boundary import Series
from sciml.problem import FieldSpec, ParameterSpec, PDEProblem, Scales

problems = sciml.problems


@sciml.registry.problems.register("test_box")
class TestBox(PDEProblem):
    """A problem in three dimensions, for the schema alone."""

    __test__ = False
    name = "test_box"
    title = "Box"
    dimensions = 3
    fields = (FieldSpec("c", "kg m-3", description="concentration"),)
    parameters = (ParameterSpec("depth", "m", 1.0, 0.0, open_minimum=True),)

    def geometry(self, case: Any) -> Any:
        return sciml.geometry.Box((0.0, -1.0, 2.0), (1.0, 1.0, 2.0 + case.depth))

    def boundary_conditions(self, case: Any) -> dict[str, Any]:
        return {}

    def equations(self, q: Any, d: Any, theta: Any, x: Any) -> dict[str, Any]:
        raise NotImplementedError

    def scales(self, case: Any) -> Scales:
        return Scales(1.0, 1.0, {"c": 1.0})


def centres(low: float, high: float, n: int) -> np.ndarray:
    return low + (np.arange(n) + 0.5) * (high - low) / n


def cavity(
    rng: np.random.Generator, frames: int = 4, n: int = 6, *, subset: str = "bc", ic: bool = False, faces: bool = True,
    dtype: str = "f8", status: str = "ok", **parameters: float,
) -> Any:  # fmt: skip
    """A labelled "solution" of the cavity with random values."""
    if ic:
        knots = int(rng.integers(2, 5))
        parameters |= {
            "lid_motion": Series(np.arange(knots) * 1.5, rng.standard_normal(knots)),
            "initial_streamfunction": rng.standard_normal((int(rng.integers(3, 6)), 5)),
        }  # type: ignore[assignment]
    case = problems.LidDrivenCavity().case(label="a", subset=subset, **parameters)
    fields = {k: (("time", "y", "x"), rng.standard_normal((frames, n, n)).astype(dtype)) for k in "uvp"}
    coords = {"x": centres(0, case.width, n), "y": centres(0, case.height, n)}
    if faces:
        fields["u_face"] = (("time", "y", "x_face"), rng.standard_normal((frames, n, n + 1)).astype(dtype))
        coords["x_face"] = np.linspace(0, case.width, n + 1)
    times = 0.25 * np.arange(frames) + rng.random()
    return data.solution(
        case, times, fields, coords, solver="random", settings={"n": n}, status=status
    )  # fmt: skip


def cavities(count: int = 4, seed: int = 0, **how: Any) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        cavity(rng, 3 + i, subset=("bc", "ic")[i % 2], ic=bool(i % 2), lid_velocity=1.0 + i, **how)
        for i in range(count)
    ]


def assert_same_solution(a: Any, b: Any, dtype: Any = None) -> None:
    """Equal variables, dimensions, attributes; fields after conversion to `dtype`."""
    assert set(map(str, a.variables)) == set(map(str, b.variables))
    for name in a.variables:
        assert a[name].dims == b[name].dims, name
        x, y = np.asarray(a[name].values), np.asarray(b[name].values)
        if dtype is not None and name in a.data_vars and not str(name).startswith(("input_", "mask", "connect")):
            y = y.astype(dtype)
        if name in a.coords and name != "time":
            np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12, err_msg=str(name))
        else:
            np.testing.assert_array_equal(x, y, err_msg=str(name))
        for key, value in b[name].attrs.items():
            assert np.array_equal(a[name].attrs[key], value), (name, key)
    assert a.attrs == b.attrs
