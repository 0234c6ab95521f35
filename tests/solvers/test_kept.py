"""What JAX compiles is kept between processes, unless somebody says otherwise."""

import json
import os
import subprocess
import sys

import pytest
from test_no_circles import imports, modules

COUNT = """
import json, sys
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # of this process: the function below is small
found = {"hits": 0, "misses": 0}
def hear(event, **more):
    for name in found:
        found[name] += event == f"/jax/compilation_cache/cache_{name}"
jax.monitoring.register_event_listener(hear)
import sciml.solvers.finite_volume
from sciml.solvers import _kept
jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.ones((7, 7))).block_until_ready()
print(json.dumps(found | {"folder": str(_kept.FOLDER), "set": jax.config.jax_compilation_cache_dir,
                          "most": jax.config.jax_compilation_cache_max_size}))
"""


def ran(folder, code=COUNT, **more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_") and k != "SCIML_CACHE"}
    environment |= {"SCIML_CACHE": str(folder), "OMP_NUM_THREADS": "1"} | more
    environment = {k: v for k, v in environment.items() if v}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return folder, ran(folder)


def test_a_second_process_compiles_nothing(filled):
    folder, (first, _) = filled
    assert first["misses"] > 0 and first["folder"].startswith(str(folder)) and 0 < first["most"] < 2**30
    second, complaints = ran(folder)
    assert second["misses"] == 0 and second["hits"] == first["misses"] + first["hits"]
    assert not complaints


def test_without_a_bound_it_is_kept_too(tmp_path):
    bound = {"JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}
    first, second = (ran(tmp_path, **bound)[0] for _ in range(2))
    assert first["most"] == second["most"] == -1 and first["misses"] > 0 == second["misses"]


def test_off_is_off(tmp_path):
    found, _ = ran("off", XDG_CACHE_HOME=str(tmp_path))
    assert found["hits"] == found["misses"] == 0 and found["set"] is None and not os.listdir(tmp_path)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG_CACHE_HOME is for other systems")
def test_it_is_in_the_users_cache_folder(tmp_path):
    found, _ = ran("", XDG_CACHE_HOME=str(tmp_path))
    (kind,) = (tmp_path / "sciml" / "jax").iterdir()
    assert found["folder"] == str(kind) and kind.stat().st_mode & 0o077 == 0


def test_what_a_user_has_set_is_left_as_it_is(tmp_path):
    found, _ = ran(tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "theirs"))
    assert found["set"] == str(tmp_path / "theirs") and found["most"] == -1
    assert not (tmp_path / "ours").exists()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    found, complaints = ran(tmp_path / "file")
    assert found["set"] is None and not complaints


def test_what_was_cut_short_is_removed_and_made_again(filled):
    folder, (first, _) = filled
    (kind,) = (folder / "jax").iterdir()
    for entry in kind.glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:20])
        entry.with_name(entry.name.removesuffix("cache") + "atime").unlink()
    again, complaints = ran(folder)
    assert again["misses"] == first["misses"] and not complaints
    assert ran(folder)[0]["misses"] == 0


def test_every_solver_that_needs_jax_keeps_what_it_compiles():
    """The public modules alone: what they are made of is not imported without them."""
    edges = imports(modules())

    def reached(module):
        todo, known = [module], {module}
        while todo:
            for onward in edges[todo.pop()]:
                if onward not in known:
                    known.add(onward)
                    todo.append(onward)
        return known

    for name in ("incompressible", "two_phase", "finite_volume", "pseudospectral", "pinn", "linear"):
        assert "sciml.solvers._kept" in reached(f"sciml.solvers.{name}"), name
