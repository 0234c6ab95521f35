"""Multigrid solvers on what goes wrong easily: very small and large numbers, constants, regions cut off, bad input."""

import jax
import numpy as np
import pytest

import sciml
from sciml.errors import InputError
from sciml.solvers.linear import (
    ConjugateGradient,
    End,
    GridSystem,
    IncompleteCholesky,
    LearnedMultigrid,
    Multigrid,
    MultigridCG,
    SparseDirect,
    families,
)

WALLS, OPEN, AROUND = (End.WALL,) * 2, (End.OPEN,) * 2, (End.PERIODIC,) * 2
CLOSED = GridSystem((16, 16), (WALLS, WALLS), (1.0, 1.0))
NOISE = np.random.default_rng(0).standard_normal((16, 16))
SOLVERS = [MultigridCG, LearnedMultigrid]


def faces(shape=(16, 16)) -> tuple[np.ndarray, np.ndarray]:
    return np.ones((shape[0], shape[1] + 1)), np.ones((shape[0] + 1, shape[1]))


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("size", [1e-30, 1e-19, 1e25])
def test_the_size_of_right_hand_sides_does_not_matter(kind, size):
    system = families.Constant().draw(0, (16, 16))
    solve = kind(tolerance=1e-5).prepare(system)
    x, info = solve((size * NOISE).astype(np.float32))
    one, other = solve(NOISE.astype(np.float32))
    assert bool(info.converged)
    assert int(info.iterations) == int(other.iterations)
    np.testing.assert_allclose(np.asarray(x) / size, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("double", [False, True])
def test_a_constant_on_a_closed_box_asks_for_nothing(double):
    with jax.enable_x64(double):
        for value in (0.1, 1e-3, 7.7e5):
            x, info = MultigridCG().prepare(CLOSED)(np.full((16, 16), value))
            assert bool(info.converged)
            assert np.abs(np.asarray(x)).max() <= 1e-5 * value


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("ends", [WALLS, OPEN])
def test_regions_that_are_cut_off(kind, ends):
    c = faces()
    c[0][4:9, 5], c[0][4:9, 11], c[1][4, 5:11], c[1][9, 5:11] = 0, 0, 0, 0
    system = GridSystem((16, 16), (ends, WALLS), (1.0, 1.0), c)
    expected, _ = SparseDirect().prepare(system)(NOISE)
    with jax.enable_x64(True):
        x, info = kind(tolerance=1e-10).prepare(system)(NOISE)
        assert bool(info.converged)
    null = system.null_space()
    assert null is not None
    off = (np.asarray(x) - expected).ravel()
    off -= null @ (null.T @ off)
    assert np.abs(off).max() < 1e-7 * np.abs(expected).max()


def test_tolerances_below_rounding_end_at_rounding():
    small = GridSystem((16, 16), (WALLS, WALLS), (1 / 16, 1 / 16))
    for size in (1.0, 1e-6):
        solve = MultigridCG(1e-9).prepare(small)
        x, info = solve(np.float32(size) * NOISE.astype(np.float32))
        assert float(info.residual) < 3e-6
        _, again = solve(np.float32(size) * NOISE.astype(np.float32), guess=x)
        assert float(again.residual) < 3e-6
    case = sciml.problems.LidDrivenCavity().case()
    found = sciml.solvers.IncompressibleFlow(8, pressure_solver=MultigridCG(1e-9)).solve(case, times=[0.1])
    assert np.isfinite(found.u).all()


def test_what_does_not_converge_is_no_worse_than_nothing():
    rng = np.random.default_rng(0)
    c = tuple(1e12 ** rng.random(f.shape) for f in faces((32, 32)))
    system = GridSystem((32, 32), (OPEN, OPEN), (1.0, 1.0), c)
    with jax.enable_x64(True):
        _, info = MultigridCG().prepare(system)(rng.standard_normal((32, 32)))
    assert not bool(info.converged)
    assert float(info.residual) <= 1


def test_long_cells_are_seen_to_by_themselves():
    system = GridSystem((32, 32), (OPEN, OPEN), (1.0, 1 / 32))
    with jax.enable_x64(True):
        _, info = MultigridCG().prepare(system)(np.random.default_rng(0).standard_normal((32, 32)))
    assert bool(info.converged)
    assert int(info.iterations) < 20


def test_flat_arrays_and_whole_numbers():
    solve = MultigridCG().prepare(CLOSED)
    x, _ = solve(NOISE)
    y, _ = solve(NOISE.ravel(), guess=np.asarray(x).ravel())
    assert y.shape == (256,)
    np.testing.assert_allclose(np.asarray(y).reshape(16, 16), x, atol=1e-4 * np.abs(np.asarray(x)).max())
    assert bool(solve(np.arange(256).reshape(16, 16))[1].converged)


def spoilt(value: float, where=(0, (3, 4)), **more) -> GridSystem:
    c = faces()
    c[where[0]][where[1]] = value
    return GridSystem(**{"shape": (16, 16), "ends": (WALLS, WALLS), "spacing": (1.0, 1.0), "coefficients": c} | more)


@pytest.mark.parametrize("solver", [MultigridCG(), SparseDirect(), ConjugateGradient(IncompleteCholesky())])
@pytest.mark.parametrize(
    ("system", "words"),
    [
        (lambda: spoilt(np.nan), "1 of 272 coefficients of x are negative or not finite"),
        (lambda: spoilt(np.inf), "1 of 272 coefficients of x are negative or not finite"),
        (lambda: spoilt(-1.0, (1, (2, 2))), "1 of 272 coefficients of y are negative or not finite"),
        (lambda: spoilt(1.0, spacing=(-1.0, 1.0)), "expected positive spacings, got"),
        (lambda: spoilt(2.0, (0, (3, 0)), ends=(AROUND, WALLS)), "differ on both ends of its periodic axis"),
        (lambda: spoilt(1.0, coefficients=(2.0, 3.0)), r"on its faces, of shape \(16, 17\), got \(\)"),
        (lambda: spoilt(1.0, coefficients=faces()[::-1]), r"on its faces, of shape \(16, 17\), got \(17, 16\)"),
        (lambda: spoilt(1.0, coefficients=faces()[:1]), "expected coefficients for each of 2 axes, got 1"),
        (lambda: spoilt(1.0, ends=((End.PERIODIC, End.WALL), WALLS)), "both ends of an axis periodic or neither"),
    ],
)
def test_systems_that_are_none_are_refused(solver, system, words):
    with pytest.raises(InputError, match=words):
        solver.prepare(system())


def test_other_bad_input_is_refused_in_a_line():
    solve = MultigridCG().prepare(CLOSED)
    for bad, words in (
        (1j * NOISE, "rhs: expected real numbers, got complex128"),
        (None, "rhs: expected real numbers, got object"),
        (np.where(NOISE > 2, np.nan, NOISE), "rhs: [0-9]+ of 256 values are not finite"),
        (NOISE[:8], r"rhs: expected an array of shape \(16, 16\), got \(8, 16\)"),
    ):
        with pytest.raises(InputError, match=words):
            solve(bad)
    with pytest.raises(InputError, match="guess: expected real numbers"):
        solve(NOISE, guess=1j * NOISE)
    for waits in ((1,), (1, 2, 3)):
        with pytest.raises(InputError, match="expected one for each of 2 axes"):
            MultigridCG(waits=waits).prepare(CLOSED)
    with pytest.raises(InputError, match="expected rules such as"):
        Multigrid(rules=LearnedMultigrid())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"for a tolerance say tolerance=0\.0001"):
        LearnedMultigrid(1e-4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected finite numbers up to"):
        LearnedMultigrid({"across": np.full((4, 8), 1e300)})


def test_the_weights_of_the_package_are_nobodys_to_change():
    with pytest.raises(ValueError, match="read-only"):
        LearnedMultigrid().weights["across"][:] = 0
