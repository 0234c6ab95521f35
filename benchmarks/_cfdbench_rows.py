"""The rows of the CFDBench table: what is trained on which task, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sciml.studies._plan import Plan, surrogate_settings
from sciml.training.augmentations import Mirror, Subsample
from sciml.training.laws import Constraint, DivergenceFree
from sciml.training.losses import Nmse
from sciml.training.objectives import Supervised, WithPhysics
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Autoregressive, Query, Steady

DEEPCFD = "deepcfd"
TRIANGLES = "triangles"  # the cylinder's flows at the nodes of triangles
STEPS = 20
#: flow -> fields that are seen and predicted; the pressure is a further one, where it is asked for
FLOWS = {
    "cavity": ("u", "v"),
    "tube": ("u", "v", "alpha"),
    "dam": ("u", "v", "alpha"),
    "cylinder": ("u", "v"),
}
SUBSETS = ("bc", "prop", "geo")
#: cases of the published design, and how many are made of each subset at least: fewer cannot be split
DESIGN = {
    "cavity": (50, 84, 25),
    "tube": (50, 100, 25),
    "dam": (70, 100, 50),
    "cylinder": (50, 105, 20),
}
LEAST = 10
#: parameters and distance of frames: as published; of cavity and cylinder a quarter of L/U, and viscosities that the
#: cells resolve. Published are, of the cavity, 0.1 s, a hundred L/U at 10 m/s, and Reynolds numbers up to 100,000; of
#: the cylinder 0.1 s, five D/U at 1 m/s, in the code and 0.001 s in the files
PROFILES = {"cavity": "resolved", "tube": "published", "dam": "published", "cylinder": "resolved"}
EVERY = {"cylinder": 100}  # frames of the release that a step spans: 0.1 s, as in the published code
#: (samples in a batch, learning rate), of which each row gets the best pair: small batches for what makes few steps
TRIALS = ((4, 1e-3), (16, 1e-3), (16, 4e-3))
TUNING = 0.2  # of the minutes of a row, for each pair of them
POINTS = 1000  # of a frame, others in every batch, of what is asked point by point, as published
#: one-step NMSE, "All", of the published bar charts: read off within 2 % (cylinder 5 %); the whole design, u or u and v
PUBLISHED = {
    "persistence": {"cavity": 1.41e-3, "tube": 0.111, "dam": 3.16e-3, "cylinder": 0.0156},
    "Auto-FFN": {"cavity": 1.41e-3, "tube": 0.106, "dam": 3.15e-3, "cylinder": 0.0156},
    "Auto-DeepONet": {"cavity": 1.40e-3, "tube": 0.065, "dam": 3.07e-3, "cylinder": 0.0156},
    "Auto-EDeepONet": {"cavity": 1.48e-3, "tube": 0.078, "dam": 2.74e-3, "cylinder": 0.0156},
    "Auto-DeepONetCNN": {"cavity": 1.02e-3, "tube": 0.055, "dam": 3.15e-3, "cylinder": 0.0160},
    "FNO, width 32": {"cavity": 0.51e-3, "tube": 0.0052, "cylinder": 1.8e-5},
    "FFN": {"cavity": 0.0222, "tube": 3.094, "dam": 0.169, "cylinder": 0.0281},  # of any time, Table 8
    "DeepONet": {"cavity": 0.0647, "tube": 0.344, "dam": 0.0687, "cylinder": 2.363},
    "U-Net (2015)": {"cavity": 0.42e-3, "tube": 0.0032, "dam": 3.24e-3, "cylinder": 2.2e-5},
}


@dataclass(frozen=True)
class Entry:
    """A row.

    Args:
        operator, options: what is trained.
        query: whether it is asked for times, given how a case begins; else frame after frame.
        step: frames of the data that a step spans.
        strides: steps that one may span in training.
        changes: of the recipe.
        flows: that it is a row of; all, where nothing is said.
        constraints: laws that answers obey.
        whole: whether batches have a fourth of the samples: of what takes seconds for a frame of 4096 points.
    """

    operator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    query: bool = False
    step: int = 1
    strides: int = 1
    changes: Mapping[str, Any] = field(default_factory=dict)
    flows: tuple[str, ...] = tuple(FLOWS)
    constraints: tuple[Constraint, ...] = ()
    whole: bool = False

    def plan(
        self, minutes: float, trial: tuple[int, float], seed: int, fields: tuple[str, ...], steady: bool = False,
        subset: Sequence[str] | None = None,
    ) -> Plan:  # fmt: skip
        batch, rate = trial
        batch = batch // 4 if self.whole else batch
        recipe = Recipe(
            length=ProcessorMinutes(minutes), batch=batch, objective=Supervised(Nmse()),
            optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(), seed=seed, validate_every=50,
            validation_items=48, keep="best",
            augmentations=(Subsample(POINTS),) if self.query else (),
        ).replace(**self.changes)  # fmt: skip
        stepping = Steady() if steady else Query() if self.query else Autoregressive(self.step, strides=self.strides)
        settings: Any = surrogate_settings()
        return Plan(self.operator, self.options, recipe, settings(
            stepping=stepping, fields=fields, subset=None if subset is None else tuple(subset),
            constraints=self.constraints or None))  # fmt: skip


#: a steady task: of what is given to what is wanted, one answer a case
STEADY = {
    "UNetEx": Entry("unetex"),
    "U-Net": Entry("unet", {"width": 24, "patch": 2}),
    "FNO": Entry("fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2}),
    "UNetEx, one decoder": Entry("unetex", {"separate": False}),
    "Transformer": Entry("transformer"),
}

#: of what is to cost less a step than the solver
LIGHT = {"width": 32, "patch": 4, "multipliers": (1, 2)}

#: a step of the usual 10 of width 96 takes 20 times as long
FACTORISED = {"width": 32, "iterations": 2}

#: of graph operators: the usual 8 rounds of 64 channels make a step in the time
SMALL = {"width": 32, "layers": 5}

#: so of attention, which is told of its loss by fewer samples, too: each of them costs it as much as a step
THIN = {"width": 32, "depth": 3}
SELDOM: dict[str, Any] = {"validate_every": 100, "validation_items": 12}

#: a new operator joins by one line; the most telling ones first
ENTRIES = {
    "U-Net": Entry("unet", {"width": 24, "patch": 2}),
    "FNO": Entry("fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2}),
    "Transformer": Entry("transformer"),
    "U-Net (2015)": Entry("unet_2015"),
    "FNO, width 32": Entry("fno", {"width": 32, "modes": (12, 12), "layers": 4}),
    "ResNet": Entry("resnet"),
    "DeepONet": Entry("deeponet", {"width": 100, "basis": 100, "depth": 8}, query=True),
    "FFN": Entry("ffn", query=True),
    "U-Net, light": Entry("unet", LIGHT),
    "U-Net, any time": Entry("unet", {"width": 24, "patch": 2}, query=True, changes={"augmentations": ()}),
    "U-Net, light, any time": Entry("unet", LIGHT, query=True, changes={"augmentations": ()}),
    "U-Net, 5 frames a step": Entry("unet", {"width": 24, "patch": 2}, step=5),
    "U-Net, light, mirrored": Entry("unet", LIGHT, changes={"augmentations": (Mirror(),)}, flows=("cylinder",)),
    "U-Net, light, any time, mirrored": Entry(
        "unet", LIGHT, query=True, changes={"augmentations": (Mirror(),)}, flows=("cylinder",)
    ),
    "U-Net, mirrored, 5 frames a step": Entry(
        "unet", {"width": 24, "patch": 2}, step=5, changes={"augmentations": (Mirror(),)}, flows=("cylinder",)
    ),
    "U-Net, light, mirrored, 5 frames a step": Entry(
        "unet", LIGHT, step=5, changes={"augmentations": (Mirror(),)}, flows=("cylinder",)
    ),
    "IFactFormer": Entry("ifactformer", FACTORISED),
    "GNOT, 1000 points": Entry("gnot", changes={"augmentations": (Subsample(POINTS),)}),
    "Transolver, 1000 points": Entry("transolver", changes={"augmentations": (Subsample(POINTS),)}),
    "IFactFormer, batches of 1 and 4": Entry("ifactformer", FACTORISED, changes=SELDOM, whole=True),
    "GNOT, 3 layers of 32, 1000 points": Entry(
        "gnot", THIN, changes=SELDOM | {"augmentations": (Subsample(POINTS),)}, whole=True
    ),
    "Transolver, 3 layers of 32, 1000 points": Entry(
        "transolver", THIN, changes=SELDOM | {"augmentations": (Subsample(POINTS),)}, whole=True
    ),
    "FLARE, 1000 points": Entry("flare", changes={"augmentations": (Subsample(POINTS),)}),
    "MeshGraphNet, 5 rounds of 32": Entry("meshgraphnet", SMALL, whole=True),
    "PIORF, 5 rounds of 32": Entry("piorf", SMALL, whole=True),
    "Auto-DeepONet": Entry("auto_deeponet"),
    "Auto-EDeepONet": Entry("auto_edeeponet"),
    "Auto-FFN": Entry("auto_ffn"),
    "Auto-DeepONetCNN": Entry("auto_deeponetcnn"),
    "Transformer, jitter": Entry("transformer", {"jitter": 2}),
    "U-Net, strides": Entry("unet", {"width": 24, "patch": 2}, strides=8),
    "FNO, strides": Entry("fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2}, strides=8),
    "U-Net, mirrored": Entry(
        "unet", {"width": 24, "patch": 2}, changes={"augmentations": (Mirror(),)}, flows=("cylinder",)
    ),
    "U-Net, continuity": Entry(
        "unet", {"width": 24, "patch": 2},
        changes={"objective": WithPhysics(Supervised(Nmse()), balances=("continuity",))},
    ),
    "FNO, continuity": Entry(
        "fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2},
        changes={"objective": WithPhysics(Supervised(Nmse()), balances=("continuity",))},
    ),
    "U-Net, divergence-free": Entry(
        "unet", {"width": 24, "patch": 2}, constraints=(DivergenceFree(),), flows=("cavity", "cylinder")
    ),
    "FNO, divergence-free": Entry(
        "fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2},
        constraints=(DivergenceFree(),), flows=("cavity", "cylinder"),
    ),
    "FNO, mirrored": Entry(
        "fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2},
        changes={"augmentations": (Mirror(),)}, flows=("cylinder",),
    ),
}  # fmt: skip

#: rows of the table that are trained where nothing else is asked: the best of each kind
TELLING = (
    "U-Net", "FNO", "U-Net, mirrored", "Transformer", "FLARE, 1000 points", "IFactFormer, batches of 1 and 4",
    "Transolver, 3 layers of 32, 1000 points", "GNOT, 3 layers of 32, 1000 points", "MeshGraphNet, 5 rounds of 32",
    "UNetEx",
)  # fmt: skip

#: of the cylinder's flows on triangles: options and batches of the rows on 64 × 64 cells; attention takes all nodes
TRIANGLE_ROWS = {n: ENTRIES[n] for n in ("MeshGraphNet, 5 rounds of 32", "PIORF, 5 rounds of 32")} | {
    "GNOT, 3 layers of 32": Entry("gnot", THIN, changes=SELDOM, whole=True),
    "Transolver, 3 layers of 32": Entry("transolver", THIN, changes=SELDOM, whole=True),
}

#: rows that are held against solvers on several grids, error against cost; the cylinder, on which networks come nearest
#: to the solver, has them all
WORTH = {
    "cylinder": (
        "U-Net", "U-Net, light", "U-Net, any time", "U-Net, light, any time", "FNO", "U-Net, mirrored",
        "U-Net, light, mirrored", "U-Net, light, any time, mirrored",
        "Transolver, 3 layers of 32, 1000 points", "IFactFormer, batches of 1 and 4",
        "GNOT, 3 layers of 32, 1000 points",
    ),
    DEEPCFD: ("U-Net", "FNO"),
    "dam": ("U-Net", "FNO", "U-Net, any time", "U-Net, light, any time"),
    "tube": ("FNO", "U-Net, light, any time"),
    "cavity": ("FNO", "U-Net, light, any time"),
}  # fmt: skip
