"""Names to classes."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import sciml.solvers
from sciml import errors, registry
from sciml.errors import InputError
from sciml.problems import Burgers, LidDrivenCavity


def test_names_aliases_and_back():
    assert registry.problems.get("lid_driven_cavity") is registry.problems.get("cavity") is LidDrivenCavity
    assert registry.problems.name_of(LidDrivenCavity) == "lid_driven_cavity"
    names = registry.problems.names()
    assert "cavity" not in names and list(names) == sorted(names)
    assert {"burgers", "darcy", "heat_equation", "lid_driven_cavity", "poisson", "taylor_green"} <= set(names)
    assert {"fno", "unet", "identity"} <= set(registry.operators.names())
    known = {"finite_volume", "openfoam", "pseudo_spectral", "incompressible_flow", "surrogate"}
    assert known <= set(registry.solvers.names())


@pytest.mark.parametrize(
    ("table", "name", "message"),
    [
        (registry.problems, "burger", "problem: no problem is called 'burger'; did you mean 'burgers'"),
        (registry.problems, "zzz", "known: advection, allen_cahn, bingham_collapse, burgers, burgers_front"),
        (registry.operators, "FNO", "no operator is called 'FNO'"),
        (registry.solvers, "finite_volumes", "did you mean 'finite_volume'"),
        (registry.problems, "os.system", "no problem is called 'os.system'"),
    ],
)
def test_wrong_names_get_the_nearest(table, name, message):
    with pytest.raises(InputError, match=message):
        table.get(name)


def test_classes_that_are_not_registered():
    class Other:
        pass

    with pytest.raises(InputError, match="Other is not registered"):
        registry.problems.name_of(Other)


def test_a_name_belongs_to_one_class():
    table = registry.Registry("thing", "sciml.errors")

    @table.register("a", "b")
    class First:
        pass

    assert table.get("b") is First and table.names() == ("a",)
    with pytest.raises(InputError, match="'a' is registered already"):

        @table.register("a")
        class Second:
            pass

    table.register("a")(First)  # the same class again, as when a module is reloaded
    assert table.get("a") is First


def test_suggestions():
    assert errors.suggest("viscosty", ["viscosity", "density"]) == "; did you mean 'viscosity'?"
    assert errors.suggest("q", ["viscosity", "density"]) == "; known: density, viscosity"
    assert errors.suggest("q", []) == ""
    assert issubclass(errors.FileFormatError, InputError) and issubclass(InputError, ValueError)


def test_problem_names_are_those_of_the_classes():
    for name in registry.problems.names():
        if name != "data":  # made from data, each with a name of its own
            assert registry.problems.get(name).name == name
    assert Burgers.name == "burgers"


def test_solver_names_are_all_there_before_any_is_imported():
    """In a process of its own: what other tests import would hide what is missing."""
    code = (
        "import sys; from sciml import registry; names = registry.solvers.names(); "
        "assert 'torch' not in sys.modules and 'jax' not in sys.modules; print(*names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert {"persistence", "mean_field", "parameter_interpolation", "surrogate", "finite_volume"} <= set(names)
    for module in pkgutil.walk_packages(sciml.solvers.__path__, "sciml.solvers."):
        importlib.import_module(module.name)
    ours = [n for n in registry.solvers.names() if registry.solvers.get(n).__module__.startswith("sciml.")]
    assert names == ours
    for name in names:
        assert registry.solvers.name_of(registry.solvers.get(name)) == name
