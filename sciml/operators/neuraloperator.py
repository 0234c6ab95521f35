"""Read the weights of an FNO of the neuraloperator package (version 2.0.0), without needing that package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sciml.errors import InputError
from sciml.operators.fno import FNO

_NORMS = {None: "none", "group_norm": "group", "instance_norm": "instance"}
# What an FNO of that package may be set to beyond its sizes, and the values that have an exact counterpart here.
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "norm": tuple(_NORMS),
    "complex_data": (False,),
    "use_channel_mlp": (True,),  # without it that package applies the activation twice in a row
    "channel_mlp_skip": ("soft-gating",),
    "fno_skip": ("linear",),
    "resolution_scaling_factor": (None,),
    "fno_block_precision": ("full",),
    "stabilizer": (None,),
    "separable": (False,),
    "preactivation": (False,),
    "positional_embedding": ("grid", None),
}


def from_neuraloperator(
    state: Mapping[str, Any] | torch.nn.Module, config: Mapping[str, Any] | None = None, *, spectral: str = "auto"
) -> FNO:
    """An `FNO` that computes what a neuraloperator FNO with these weights computes.

    Sizes are read from the tensors. The half-spectrum of that package lies on the last axis and its full axes keep
    -m … m - 1; here it lies on the first and the others keep -m … m. As both fields are real, a weight at k is the
    conjugate of the one at -k, so the weights move over without loss and the modes that it lacks are zero.

    Outputs agree wherever that package is right: on grids with more than n_modes points along every full axis (at
    equality its Nyquist mode is counted once where an interpolant has two halves), and with an even number of points
    along them (it shifts the spectrum of an odd axis by one).

    Args:
        state: its `state_dict()` (dense or Tucker weights), or the module itself.
        config: its constructor arguments where the state dict lacks them: norm, domain_padding and whatever was not
            left at its default.
        spectral: how the transforms are computed, see `FNO`.

    Raises:
        InputError: a setting without exact counterpart, named; missing weights.
    """
    if isinstance(state, torch.nn.Module):
        state = state.state_dict()
    settings: dict[str, Any] = {}
    if isinstance(state.get("_metadata"), Mapping):
        settings.update(state["_metadata"])
    settings.update(config or {})
    for name, allowed in _SUPPORTED.items():
        if name in settings and settings[name] not in allowed:
            raise InputError(f"config: {name}: expected one of {allowed}, got {settings[name]!r}")
    activation = settings.get("non_linearity")
    if activation is not None and activation is not torch.nn.functional.gelu:
        raise InputError(f"config: non_linearity: expected gelu, got {activation!r}")

    weights = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    try:
        return _build(weights, settings, spectral)
    except KeyError as missing:
        raise InputError(f"state: no entry {missing} of a neuraloperator FNO with soft-gating channel MLP") from None


def _build(weights: dict[str, Tensor], settings: dict[str, Any], spectral: str) -> FNO:
    layers = sum(k.startswith("fno_blocks.convs.") and k.endswith(".bias") for k in weights)
    dense = [_dense(weights, f"fno_blocks.convs.{i}.weight") for i in range(layers)]
    if not dense:
        raise InputError("state: expected the weights of a neuraloperator FNO, found no entry 'fno_blocks.convs.0'")
    counts = dense[0].shape[2:]
    d, width = len(counts), dense[0].shape[1]
    modes = [n // 2 for n in counts[:-1]] + [counts[-1] - 1]
    coordinates = settings.get("positional_embedding", "grid") == "grid"
    lift = weights["lifting.fcs.0.weight"]
    if "lifting.fcs.1.weight" not in weights:
        raise InputError("config: lifting_channel_ratio: expected > 0, got 0")
    padding = settings.get("domain_padding") or 0.0
    fno = FNO(
        in_channels=lift.shape[1] - d * coordinates,
        out_channels=weights["projection.fcs.1.weight"].shape[0],
        width=width,
        modes=modes,
        layers=layers,
        padding=padding,
        extension="carry",
        padding_sides="both",
        lift=lift.shape[0] / width,
        projection=weights["projection.fcs.0.weight"].shape[0] / width,
        mlp=weights["fno_blocks.channel_mlp.0.fcs.0.weight"].shape[0] / width,
        norm=_NORMS[settings.get("norm", "group_norm" if "fno_blocks.norm.0.weight" in weights else None)],
        coordinates=coordinates,
        sampling="left",
        spectral=spectral,
    ).to(dtype=lift.dtype)

    new = {}
    for name in ("lift", "projection"):
        new.update(_perceptron(weights, "lifting" if name == "lift" else name, name))
    for i in range(layers):
        there, here = "fno_blocks", f"layers.{i}"
        new[f"{here}.spectral.weight"] = half_space_weight(dense[i], modes).to(lift.dtype)
        new[f"{here}.bias"] = weights[f"{there}.convs.{i}.bias"].reshape(-1)
        new[f"{here}.skip.weight"] = weights[f"{there}.fno_skips.{i}.conv.weight"][..., 0].T
        new.update(_perceptron(weights, f"{there}.channel_mlp.{i}", f"{here}.mlp"))
        new[f"{here}.gate"] = weights[f"{there}.channel_mlp_skips.{i}.weight"].reshape(-1)
        if fno.norm == "group":
            for j in range(2):
                for part in ("weight", "bias"):
                    new[f"{here}.norms.{j}.{part}"] = weights[f"{there}.norm.{2 * i + j}.{part}"]
    fno.load_state_dict(new)
    return fno


def _perceptron(weights: dict[str, Tensor], there: str, here: str) -> dict[str, Tensor]:
    out = {}
    for j, layer in enumerate(("first", "second")):
        out[f"{here}.{layer}.weight"] = weights[f"{there}.fcs.{j}.weight"][..., 0].T
        out[f"{here}.{layer}.bias"] = weights[f"{there}.fcs.{j}.bias"]
    return out


def _dense(weights: dict[str, Tensor], key: str) -> Tensor:
    """The weight (channel in, channel out, *modes), complex128, multiplied out where it is stored as Tucker factors."""
    if f"{key}.tensor" in weights:
        return weights[f"{key}.tensor"].detach().to(torch.complex128)
    core = weights[f"{key}.core"].detach().to(torch.complex128)
    for axis in range(core.ndim):
        factor = weights[f"{key}.factors.factor_{axis}"].detach().to(torch.complex128)
        # the first axis goes last: after all of them, they are in order again
        core = (factor @ core.reshape(core.shape[0], -1)).reshape(-1, *core.shape[1:]).movedim(0, -1)
    return core


def half_space_weight(weight: Tensor, modes: list[int]) -> Tensor:
    """The weight of the same real map with the half-spectrum on the first instead of the last axis.

    Args:
        weight: (channel in, channel out, n₁, …, n_d) complex, wavenumbers -⌊n/2⌋ … on full axes, 0 … on the last.
        modes: highest wavenumber on each axis.

    Returns:
        (m₁ + 1, 2m₂ + 1, …, channel in, 2 · channel out) real: [Re | Im].
    """
    if weight.ndim == 3:
        half = weight
    else:
        full = weight.new_zeros(*weight.shape[:2], *(2 * m + 1 for m in modes))
        place = [slice(m - n // 2, m - n // 2 + n) for m, n in zip(modes[:-1], weight.shape[2:-1], strict=True)]
        full[(..., *place, slice(modes[-1], None))] = weight
        # a real field takes half of k and half of the conjugate at -k where both are stored: the plane k_d = 0
        full[..., modes[-1]] *= 0.5
        full = full + full.flip(dims=list(range(2, weight.ndim))).conj()
        half = full[:, :, modes[0] :]
        for axis, m in enumerate(modes[1:], start=3):  # from ascending order to 0 … m, -1 … -m
            order = torch.cat((torch.arange(m, 2 * m + 1), torch.arange(m - 1, -1, -1)))
            half = half.index_select(axis, order)
    half = half.movedim((0, 1), (-2, -1))
    return torch.cat((half.real, half.imag), dim=-1)
