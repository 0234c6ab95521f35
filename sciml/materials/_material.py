"""What a material promises to whoever follows its particles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from sciml.errors import InputError, is_number
from sciml.materials._tensors import total

State = dict[str, Any]


def is_array(value: Any) -> bool:
    """Whether it is an array of some library, which may be traced, and no plain number."""
    return hasattr(value, "dtype") and not isinstance(value, np.generic)


@dataclass(frozen=True)
class Material(ABC):
    """Abstract: how stress follows from what a particle has gone through.

    A material is numbers alone, and says what each particle has to keep (its state: name -> array whose last axis is
    the particle). All methods take the array library as `xp` (`numpy`, `jax.numpy`), so that they can be compiled,
    differentiated and mapped over materials; numbers may then be traced. Tensors have their components first, (d, d,
    N), d = 2 or 3; where d = 2 all is of the plane: means of d principal values, and moduli of plane strain. Instead of
    an array a tensor may be a list of rows of components (N,), and what follows from it is then one too: XLA goes
    through these several times faster when derivatives are taken.

    Args:
        density: ρ₀, of what is not deformed, kg m⁻³.

    Raises:
        InputError: a number outside of its range; only plain numbers are looked at.
    """

    density: Any

    #: whether `crowded` changes anything
    crowds: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.require("density", above=0.0)

    def require(
        self, name: str, above: float | None = None, least: float | None = None, most: float | None = None
    ) -> None:
        """Refuse a field that is a plain number out of range, or none at all; arrays, which may be traced, pass."""
        value = getattr(self, name)
        if is_array(value):
            return
        good = is_number(value)
        good = good and (above is None or value > above) and (least is None or value >= least)
        if not (good and (most is None or value <= most)):
            bound = f"> {above:g}" if above is not None else f">= {least:g}"
            if most is not None:
                bound = f"in {'(' if above is not None else '['}{above if least is None else least:g}, {most:g}]"
            raise InputError(f"{type(self).__name__}: {name} is {value!r:.60}, expected a number {bound}")

    @property
    def numbers(self) -> dict[str, Any]:
        """Its fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @abstractmethod
    def begin(self, xp: Any, dimensions: int, count: int, dtype: Any) -> State:
        """The state of so many particles that are not deformed."""

    @abstractmethod
    def deformed(self, xp: Any, deformation: Any) -> State:
        """The state of particles with deformation gradients (d, d, N), as well as these tell."""

    @abstractmethod
    def update(self, xp: Any, state: State, gradient: Any, step: Any) -> tuple[State, Any]:
        """One step.

        Args:
            gradient: L = ∂vᵢ/∂xⱼ (d, d, N), s⁻¹.
            step: Δt, s.

        Returns:
            (state, Kirchhoff stress τ = J σ (d, d, N), Pa), both after the step; tensors in the form of `gradient`.
        """

    @abstractmethod
    def stress(self, xp: Any, state: State, gradient: Any) -> Any:
        """τ = J σ (d, d, N), Pa, of a state, while it is deformed at the rate L; in the form of `gradient`."""

    @abstractmethod
    def ratio(self, xp: Any, state: State) -> Any:
        """(N,) J = ρ₀/ρ, present volume over first volume."""

    @abstractmethod
    def energy(self, xp: Any, state: State) -> Any:
        """(N,) what is stored and can be had back, per first volume, J m⁻³."""

    @abstractmethod
    def speed(self, xp: Any, state: State) -> Any:
        """(N,) of the fastest wave through the matter, m s⁻¹."""

    def crowded(self, xp: Any, state: State, ratio: Any, share: Any) -> State:
        """The state, corrected where particles lie closer than it tells: J comes nearer, by `share` of the way, to the
        smaller one of itself and of `ratio`.

        What flows for long is deformed so far that a J that is marched on no longer is that of the places of
        particles; without pressure between them they then gather in clumps. Solids that keep their shape need nothing.

        Args:
            ratio: (N,) ρ₀ over the density that the masses around a particle have.
            share: (N,) or a number from 0 to 1.
        """
        return state

    def viscosity(self) -> Any:
        """The largest kinematic viscosity whose stress `update` takes at the old time, m² s⁻¹: explicit steps are
        limited by it; 0 where there is none."""
        return 0.0


def power(gradient: Any, stress: Any) -> Any:
    """(N,) τ : L, what stress does to each first volume, W m⁻³."""
    d = range(len(stress))
    return total(stress[i][j] * gradient[i][j] for i in d for j in d)
