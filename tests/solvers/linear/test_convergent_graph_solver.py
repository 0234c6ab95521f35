"""A solver of network problems that learns, and pore networks as linear systems."""

import json

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

from sciml.errors import FileFormatError, InputError
from sciml.problems.networks import Network, random_pores, random_states
from sciml.solvers.linear import ConvergentGraphSolver, PoreSystem

OPTIONS = {"heads": 4, "width": 16, "gamma": 0.99, "exact": True}


def networks(count: int, start: int = 0) -> list[Network]:
    return [random_pores(np.random.default_rng(start + k), (20, 30)).network() for k in range(count)]


def error(solver: ConvergentGraphSolver, held: list[Network]) -> float:
    """‖p̂ − p‖ over ‖p − p̄‖ at the free pores of all networks, p̄ the mean of each."""
    miss = size = 0.0
    for n, y in zip(held, solver.solve_many(held), strict=True):
        truth = n.answer[n.free]
        miss, size = miss + np.square(y[n.free] - truth).sum(), size + np.square(truth - truth.mean()).sum()
    return float(np.sqrt(miss / size))


@pytest.fixture(scope="module")
def trained() -> ConvergentGraphSolver:
    return ConvergentGraphSolver(**OPTIONS).fit(networks(80), steps=200, batch=8, lr=1e-2)


def test_training_lowers_the_error_on_networks_that_it_has_not_seen(trained):
    held = networks(8, 1000)
    before = error(ConvergentGraphSolver(**OPTIONS).fit(networks(24), steps=1, batch=8, lr=1e-12), held)
    assert before > 0.7  # 1 is the error of the mean
    assert error(trained, held) < 0.4 * before
    losses = [v for _, v in trained.record["losses"]]
    assert losses[-1] < 0.1 * losses[0] and trained.record["steps"] == 200


def test_what_is_given_is_answered_and_several_are_singles(trained):
    held = networks(3, 2000)
    together = trained.solve_many(held)
    for n, y in zip(held, together, strict=True):
        assert (y[~n.free] == n.answer[~n.free]).all()
        assert np.allclose(trained.solve(n), y, rtol=0, atol=1e-5)


def test_a_saved_solver_answers_bit_for_bit(trained, tmp_path):
    trained.save(tmp_path / "run")
    again = ConvergentGraphSolver.load(tmp_path / "run")
    network = networks(1, 3000)[0]
    assert np.array_equal(again.solve(network), trained.solve(network))
    assert again.record == trained.record
    again.save(tmp_path / "more")
    for name in ("weights.safetensors", "learned.safetensors"):
        assert (tmp_path / "more" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"operator": {}}))
    with pytest.raises(FileFormatError):
        ConvergentGraphSolver.load(tmp_path / "run")


def test_a_seed_decides_all_and_draws_are_networks_too():
    def run(seed: int) -> np.ndarray:
        solver = ConvergentGraphSolver(heads=2, width=4).fit(
            lambda rng: random_states(rng).network(), steps=3, batch=2, pool=3, seed=seed
        )
        return solver.solve(random_states(np.random.default_rng(9)).network())

    assert np.array_equal(run(0), run(0)) and not np.array_equal(run(0), run(1))


def test_what_cannot_be_used_is_named(trained):
    with pytest.raises(InputError, match="has not been trained"):
        ConvergentGraphSolver().solve(networks(1)[0])
    with pytest.raises(InputError, match="no option is called so"):
        ConvergentGraphSolver(head=3)
    with pytest.raises(InputError, match="expected 3 numbers a node"):
        trained.solve(random_states(np.random.default_rng(0)).network())
    with pytest.raises(InputError, match="number 1 has no answer"):
        one = networks(1)[0]
        ConvergentGraphSolver().fit([one, Network(one.nodes, one.edges, one.links, one.points)])
    with pytest.raises(InputError, match="at least one, got none"):
        ConvergentGraphSolver().fit([])
    with pytest.raises(InputError, match="steps"):
        ConvergentGraphSolver().fit(networks(1), steps=0)


@pytest.mark.parametrize("seed", range(3))
def test_pressures_as_a_linear_system(seed):
    pores = random_pores(np.random.default_rng(seed))
    system = PoreSystem(pores)
    matrix = system.matrix().toarray()
    assert system.symmetric and system.null_space() is None and system.size == int((~pores.fixed).sum())
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert np.allclose(system.pressure(spsolve(system.matrix().tocsc(), system.rhs)), pores.pressure(), rtol=1e-9)
    assert len(system.support.points()) == system.size


def test_pressures_that_are_given_stay_whether_or_not_the_rest_is_known(trained):
    pores = random_pores(np.random.default_rng(77))
    alone, beside = (trained.solve(pores.network(solved)) for solved in (False, True))
    assert np.array_equal(alone, beside)
    assert np.allclose(pores.pressure_of(alone)[pores.fixed], pores.given[pores.fixed])
    with pytest.raises(InputError, match="no answer"):
        ConvergentGraphSolver().fit([pores.network(False)], steps=1)
