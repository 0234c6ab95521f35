"""Gradients of solutions against difference quotients, what is kept for them, and what is said where there are none.

The same equations in torch and in JAX, float64. Quotients are central ones with four steps, each half the one before,
extrapolated to a step of zero (Richardson); how far the last two extrapolations are apart stands beside each. Up to
`DIRECTIONS` parameters each has its own quotient, of more there are so many directions of chance.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks._ledger import Ledger
from sciml.implicit import DENSE, Check
from sciml.implicit import jax as on_jax
from sciml.implicit import torch as on_torch
from sciml.implicit.bridge import to_jax, to_torch
from sciml.problems import Burgers
from sciml.solvers import PseudoSpectral

SMALL, LARGE = 5, DENSE + 22  # unknowns: Jacobians written out, and products alone
STEP, LEVELS, DIRECTIONS = 0.03, 4, 30
ITERATIONS, VALUES = (10, 100, 1000), 16384
WARN = Check(on_failure="warn")

# -- equations, in any library ------------------------------------------------------------------------------------

_RANDOM = np.random.default_rng(0)
MANY = _RANDOM.standard_normal(SMALL * SMALL + SMALL)  # a matrix and a right-hand side
PLACES = np.linspace(0.0, 2 * np.pi, LARGE, endpoint=False)
TIMES = np.linspace(0.0, 2.0, 9)
FEW = np.array([0.5, 0.8, 0.3, 1.0])
WEIGHTS = {n: np.random.default_rng(n).standard_normal(n) for n in (2, SMALL, LARGE, 8)}


@dataclass(frozen=True)
class Library:
    """One of the two, with its arrays."""

    name: str
    xp: Any
    implicit: Any
    array: Callable[[Any], Any]

    def parts(self, theta: Any) -> tuple[Any, Any]:
        return theta[: SMALL * SMALL].reshape(SMALL, SMALL), theta[SMALL * SMALL :]

    def neighbours(self, v: Any, theta: Any, symmetric: bool = False) -> Any:
        """(3 + θ₀ cos) v − θ₁ v(·−1) − θ₂ v(·+1), or with θ₁ on both sides."""
        xp, other = self.xp, theta[1] if symmetric else theta[2]
        return (3 + theta[0] * self.array(np.cos(PLACES))) * v - theta[1] * xp.roll(v, 1) - other * xp.roll(v, -1)

    def given(self, theta: Any) -> Any:
        return self.array(np.cos(3 * PLACES)) + theta[3] * self.array(np.sin(PLACES))

    def solutions(self) -> dict[str, tuple[Callable[[Any], Any], np.ndarray]]:
        """What is solved -> (θ ↦ x, θ)."""
        xp, im, array = self.xp, self.implicit, self.array
        small, large = array(np.zeros(SMALL)), array(np.zeros(LARGE))
        eye, t = array(np.eye(SMALL)), array(TIMES)

        def cubic(x: Any, p: Any) -> Any:
            a, b = self.parts(p)
            return x**3 + 2 * x + 0.3 * (a @ x) - b

        def layer(x: Any, p: Any) -> Any:
            a, b = self.parts(p)
            return xp.tanh(0.2 * (a @ x) + b)

        def misfit(x: Any, p: Any) -> Any:
            return x[0] * xp.exp(-x[1] * t) - xp.cos(p[0] * t) - 0.3 * p[1]

        def chain(x: Any, p: Any) -> Any:
            return x**3 + self.neighbours(x, p) - self.given(p)

        def saturated(x: Any, p: Any) -> Any:
            return 0.1 * xp.tanh(self.neighbours(x, p)) + self.given(p)

        def symmetric(v: Any, p: Any) -> Any:
            return self.neighbours(v, p, True)

        def dense(p: Any) -> Any:
            a, b = self.parts(p)
            return im.linear_solve(2 * eye + 0.3 * a, b)

        fit, line = array(np.array([1.0, 0.5])), f"{LARGE} unknowns"
        return {
            f"root, {SMALL} unknowns": (lambda p: im.root(cubic, small, p), MANY),
            f"root, {line}": (lambda p: im.root(chain, large, p), FEW),
            f"fixed_point, {SMALL} unknowns": (lambda p: im.fixed_point(layer, small, p), MANY),
            f"fixed_point, {line}": (lambda p: im.fixed_point(saturated, large, p), FEW),
            "least_squares, residual not zero": (lambda p: im.least_squares(misfit, fit, p), np.array([2.2, 0.5])),
            "linear_solve, matrix": (dense, MANY),
            "linear_solve, products, GMRES": (lambda p: im.linear_solve(self.neighbours, self.given(p), p), FEW),
            "linear_solve, products, CG": (lambda p: im.linear_solve(symmetric, self.given(p), p, symmetric=True), FEW),
        }


TORCH = Library("torch", torch, on_torch, torch.as_tensor)
JAX = Library("JAX", jnp, on_jax, jnp.asarray)


def total(x: Any, library: Library) -> Any:
    """A number that all of x tells in."""
    return (library.array(WEIGHTS[x.shape[0]]) * x).sum() + (x**2).sum()


# -- gradients ----------------------------------------------------------------------------------------------------


def quotients(
    value: Callable[[np.ndarray], float], theta: np.ndarray, directions: np.ndarray, step: float
) -> tuple[np.ndarray, float]:
    """The slopes along directions, and how far the last two extrapolations are apart over the largest."""
    found, gaps = [], []
    for d in directions:
        table: list[list[float]] = []
        for level in range(LEVELS):
            h = step / 2**level
            row = [(value(theta + h * d) - value(theta - h * d)) / (2 * h)]
            for k in range(level):
                row.append(row[k] + (row[k] - table[level - 1][k]) / (4.0 ** (k + 1) - 1))
            table.append(row)
        found.append(table[-1][-1])
        gaps.append(abs(table[-1][-1] - table[-2][-1]))
    size = max(abs(f) for f in found)
    return np.array(found), max(gaps) / size


def compared(
    ledger: Ledger, library: str, what: str, value: Callable[[np.ndarray], float],
    gradient: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, step: float = STEP,
) -> float:  # fmt: skip
    """A row; the largest difference of the gradient from the quotients, over the largest of these."""
    many = len(theta) > DIRECTIONS
    directions = np.eye(len(theta))
    if many:
        directions = np.random.default_rng(1).standard_normal((DIRECTIONS, len(theta))) / np.sqrt(len(theta))
    slopes, gap = quotients(value, theta, directions, step)
    difference = float(np.abs(directions @ gradient(theta) - slopes).max() / np.abs(slopes).max())
    ledger.row(
        section="implicit", library=library, what=what, parameters=len(theta), relative_difference=difference,
        quotient_error=gap, directions=len(directions),
    )  # fmt: skip
    return difference


def by_torch(solve: Callable[[Any], Any]) -> tuple[Any, Any]:
    def value(theta: np.ndarray) -> float:
        with torch.no_grad():
            return float(total(solve(torch.from_numpy(theta)), TORCH))

    def gradient(theta: np.ndarray) -> np.ndarray:
        p = torch.from_numpy(theta.copy()).requires_grad_()
        return torch.autograd.grad(total(solve(p), TORCH), p)[0].numpy()

    return value, gradient


def by_jax(solve: Callable[[Any], Any]) -> tuple[Any, Any]:
    def number(p: Any) -> Any:
        return total(solve(p), JAX)

    value, gradient = jax.jit(number), jax.jit(jax.grad(number))
    return lambda t: float(value(jnp.asarray(t))), lambda t: np.asarray(gradient(jnp.asarray(t)))


def measure_gradients(ledger: Ledger, quick: bool) -> list[float]:
    worst = []
    kinds = TORCH.solutions()
    for what, (solve, theta) in list(kinds.items())[: 1 if quick else None]:
        worst.append(compared(ledger, "torch", what, *by_torch(solve), theta))
    with jax.enable_x64(True):
        in_jax = JAX.solutions()
        for what, (solve, theta) in list(in_jax.items())[: 1 if quick else None]:
            worst.append(compared(ledger, "JAX", what, *by_jax(solve), theta))
        solve, theta = in_jax[f"root, {SMALL} unknowns"]
        inside = to_torch(solve)
        worst.append(compared(ledger, "JAX in torch", f"root, {SMALL} unknowns", *by_torch(inside), theta))
        solve, theta = kinds[f"root, {SMALL} unknowns"]
        inside = to_jax(solve, like=np.zeros(SMALL))
        worst.append(compared(ledger, "torch in JAX", f"root, {SMALL} unknowns", *by_jax(inside), theta))
    if not quick:
        solve, theta = burgers()
        worst.append(compared(ledger, "JAX in torch", "Burgers by PseudoSpectral, viscosity and initial field",
                              *by_torch(solve), theta, step=0.02))  # fmt: skip
    return worst


def burgers() -> tuple[Callable[[Any], Any], np.ndarray]:
    """A flow solver of the package as a function of torch."""
    problem, solver = Burgers(), PseudoSpectral(8)
    parameters, inputs = solver.arrays(problem.case(viscosity=0.05))

    def march(nu: Any, u: Any) -> Any:
        return solver.simulate(parameters | {"viscosity": nu}, inputs | {"u": u}, [0.02], problem)["u"]

    bridged = to_torch(march)
    return lambda p: bridged(p[0], p[1:])[-1], np.append(0.05, np.array(inputs["u"], dtype=np.float64))


# -- memory -------------------------------------------------------------------------------------------------------


def peak_above(call: Callable[[], Any]) -> int | None:
    """Bytes of the process at most, above what it had before, as Linux counts them; None where it does not."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status("VmRSS")
    except (OSError, AttributeError):
        return None
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(rf"{name}:\s*(\d+) kB", text)[0])


def measure_memory(ledger: Ledger, quick: bool) -> None:
    """x = ρ sin x + θ by Picard's iteration, ρ such that about as many steps are needed; the same steps unrolled."""
    size = 256 if quick else VALUES
    for wanted in ITERATIONS:
        rate = 0.5
        for _ in range(50):  # 10⁻² (1 − ρ) ρⁿ is the residual after n steps
            rate = (float(np.finfo(np.float64).eps ** 0.75) / (0.01 * (1 - rate))) ** (1 / wanted)
        calls = 0

        def g(x: Any, p: Any, rate: float = rate) -> Any:
            nonlocal calls
            calls += 1
            return rate * torch.sin(x) + p

        guess = torch.zeros(size, dtype=torch.float64)
        solver = on_torch.Anderson(memory=0, max_steps=10 * wanted)
        theta = torch.full((size,), 0.01 * (1 - rate), dtype=torch.float64, requires_grad=True)

        def implied(g: Any = g, guess: Any = guess, theta: Any = theta, solver: Any = solver) -> Any:
            return on_torch.fixed_point(g, guess, theta, solver=solver).square().sum()

        implied()
        steps = calls - 2  # one that finds that it is done, one with a graph

        def unrolled(g: Any = g, x: Any = guess, theta: Any = theta, steps: int = steps) -> Any:
            for _ in range(steps):
                x = g(x, theta)
            return x.square().sum()

        slopes: dict[str, torch.Tensor] = {}
        for method, call in (("implicit", implied), ("unrolled", unrolled)):
            kept: list[int] = []
            with torch.autograd.graph.saved_tensors_hooks(_counting(kept), lambda t: t):
                loss = call()
            slopes[method] = torch.autograd.grad(loss, theta)[0]
            del loss
            calls = 0
            peak = peak_above(lambda call=call, theta=theta: torch.autograd.grad(call(), theta))
            ledger.row(
                section="implicit_memory", method=method, iterations=steps, values=size,
                kept_for_backward_bytes=sum(kept), peak_above_bytes=peak,
                gradient_difference=float((slopes[method] - slopes["implicit"]).abs().max()
                                          / slopes["implicit"].abs().max()),
            )  # fmt: skip


def _counting(kept: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    def pack(t: torch.Tensor) -> torch.Tensor:
        kept.append(t.numel() * t.element_size())
        return t

    return pack


# -- failures -----------------------------------------------------------------------------------------------------


def trials(library: Library) -> Mapping[str, tuple[Callable[[Any, Check], Any], np.ndarray]]:
    """What goes wrong -> (θ, check ↦ x, θ)."""
    xp, im, array = library.xp, library.implicit, library.array
    n = DENSE + 2
    holed = (np.arange(n) < n - 1).astype(np.float64)  # the diagonal of a singular matrix, and what it can solve for
    one, two = array(np.ones(1)), array(np.array([1.0, 0.0]))

    def by_products(symmetric: bool) -> Callable[[Any, Check], Any]:
        return lambda p, c: im.linear_solve(lambda v, d: d * v, array(holed), p, symmetric=symmetric, check=c)

    return {
        "root: there is none, x² = −1": (
            lambda p, c: im.root(lambda x, p: x**2 - p, one, p, check=c), np.array([-1.0])),
        "fixed_point: the iteration grows": (
            lambda p, c: im.fixed_point(lambda x, p: x**3 + p * xp.exp(x), 2 * one, p, check=c), np.array([1.0])),
        "least_squares: there is no minimum, e⁻ˣ": (
            lambda p, c: im.least_squares(lambda x, p: xp.exp(-p * x), one, p, check=c), np.array([1.0])),
        "root: a double one": (
            lambda p, c: im.root(lambda x, p: (x - 0.3) ** 2 - p, one, p, check=c), np.array([0.0])),
        "fixed_point: 1 − ∂f/∂x is singular": (
            lambda p, c: im.fixed_point(lambda x, p: xp.stack([p[0], x[1]]), two, p, check=c), np.array([1.0])),
        "linear_solve: a singular matrix": (
            lambda p, c: im.linear_solve(p.reshape(2, 2), array(np.ones(2)), check=c), np.ones(4)),
        "linear_solve: the backward solve by GMRES fails": (by_products(False), holed),
        "linear_solve: the backward solve by CG fails": (by_products(True), holed),
    }  # fmt: skip


def differentiated(library: Library, solve: Callable[[Any], Any], theta: np.ndarray) -> np.ndarray:
    if library is TORCH:
        p = torch.from_numpy(theta.copy()).requires_grad_()
        return torch.autograd.grad(solve(p).sum(), p)[0].numpy()
    return np.asarray(jax.block_until_ready(jax.jit(jax.grad(lambda p: solve(p).sum()))(jnp.asarray(theta))))


def tried(call: Callable[[], np.ndarray]) -> dict[str, Any]:
    """What was raised, what was warned of, and what came back."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            gradient, raised, message = call(), None, None
        except Exception as error:
            gradient, raised, message = None, type(error).__name__, _line(str(error))
    said = [_line(str(w.message)) for w in caught if issubclass(w.category, RuntimeWarning)]
    finite = None if gradient is None else bool(np.isfinite(gradient).all())
    return {"raised": raised, "message": message, "warned": said[0] if said else None, "gradient_finite": finite}


def _line(message: str) -> str:
    """The line of a message that names a function of `sciml.implicit`, or its first one."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"(root|fixed_point|least_squares|linear_solve): ", line)]
    return (named or lines or [""])[0][:200]


def measure_failures(ledger: Ledger, quick: bool) -> int:
    """A row for each; how many gave finite gradients without a word, or warned and gave them all the same."""
    silent = 0
    log = logging.getLogger("jax._src.callback")  # which prints what is raised, too
    log.setLevel(logging.CRITICAL)
    for library in (TORCH, JAX):
        with jax.enable_x64(True):
            for what, (solve, theta) in list(trials(library).items())[: 2 if quick else None]:
                by_default = tried(lambda s=solve, t=theta, a=library: differentiated(a, lambda p: s(p, Check()), t))
                warned = tried(lambda s=solve, t=theta, a=library: differentiated(a, lambda p: s(p, WARN), t))
                bad = by_default["raised"] is None or (warned["raised"] is None and warned["gradient_finite"])
                silent += bool(bad)
                ledger.row(
                    section="implicit_failures", library=library.name, what=what, raised=by_default["raised"],
                    message=by_default["message"], on_warning=warned["warned"],
                    on_warning_gradient_finite=warned["gradient_finite"], silent=bool(bad),
                )  # fmt: skip
    log.setLevel(logging.NOTSET)
    for what, call in _others().items():
        found = tried(call)
        silent += found["raised"] is None
        ledger.row(
            section="implicit_failures", library="torch", what=what, raised=found["raised"], message=found["message"],
            on_warning=None, on_warning_gradient_finite=None, silent=found["raised"] is None,
        )  # fmt: skip
    return silent


def _others() -> dict[str, Callable[[], np.ndarray]]:
    def solved() -> tuple[torch.Tensor, torch.Tensor]:
        p = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
        return on_torch.root(lambda x, p: x**2 - p, torch.ones(1, dtype=torch.float64), p), p

    def twice() -> np.ndarray:
        x, p = solved()
        slope = torch.autograd.grad(x.sum(), p, create_graph=True)[0]
        return torch.autograd.grad(slope.sum(), p)[0].numpy()

    def changed() -> np.ndarray:
        x, p = solved()
        with torch.no_grad():
            p.add_(1.0)
        return torch.autograd.grad(x.sum(), p)[0].numpy()

    return {
        "root: a second derivative is asked for": twice,
        "root: θ is changed in place before the backward pass": changed,
    }


# -- all of it ----------------------------------------------------------------------------------------------------


def measure_implicit(ledger: Ledger, work: Any) -> None:
    """Rows and checks of the part `implicit`."""
    quick = bool(work.given.quick)
    ledger.seeds(0)
    torch.set_num_threads(1)
    measure_memory(ledger, quick)
    worst: Sequence[float] = measure_gradients(ledger, quick)
    silent = measure_failures(ledger, quick)
    reason = f"{silent} of what goes wrong gave gradients without a word" if silent else None
    ledger.check(
        "implicit_gradient_error", max(worst), reason, "missed" if silent else None,
        spread={"low": min(worst), "high": max(worst), "of": f"least and most of {len(worst)} rows"},
        note="largest difference from difference quotients, over the largest of these; float64, torch, JAX, the bridge",
    )  # fmt: skip
