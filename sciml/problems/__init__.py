"""The equations: one family of problems a file."""

from sciml.problems.advection import Advection as Advection
from sciml.problems.allen_cahn import AllenCahn as AllenCahn
from sciml.problems.bingham_collapse import BinghamCollapse as BinghamCollapse
from sciml.problems.burgers import Burgers as Burgers
from sciml.problems.burgers_front import BurgersFront as BurgersFront
from sciml.problems.burgers_ramp import BurgersRamp as BurgersRamp
from sciml.problems.cylinder_flow import CylinderFlow as CylinderFlow
from sciml.problems.dam_break import DamBreak as DamBreak
from sciml.problems.dam_flow import DamFlow as DamFlow
from sciml.problems.darcy import Darcy as Darcy
from sciml.problems.diffusion import Diffusion as Diffusion
from sciml.problems.diffusion_sorption import DiffusionSorption as DiffusionSorption
from sciml.problems.elastic_drop import ElasticDrop as ElasticDrop
from sciml.problems.elastic_plate import ElasticPlate as ElasticPlate
from sciml.problems.granular_collapse import GranularCollapse as GranularCollapse
from sciml.problems.heat_equation import HeatEquation as HeatEquation
from sciml.problems.heat_plate import HeatPlate as HeatPlate
from sciml.problems.isotropic_turbulence import IsotropicTurbulence as IsotropicTurbulence
from sciml.problems.kolmogorov_flow import KolmogorovFlow as KolmogorovFlow
from sciml.problems.lid_driven_cavity import LidDrivenCavity as LidDrivenCavity
from sciml.problems.mass_transport import MassTransport as MassTransport
from sciml.problems.own_data import DataProblem as DataProblem
from sciml.problems.own_data import Observed as Observed
from sciml.problems.poisson import Poisson as Poisson
from sciml.problems.porous_medium import PorousMedium as PorousMedium
from sciml.problems.pushed_material import PushedMaterial as PushedMaterial
from sciml.problems.stefan import Stefan as Stefan
from sciml.problems.step_transport import StepTransport as StepTransport
from sciml.problems.swirl import Swirl as Swirl
from sciml.problems.taylor_green import TaylorGreen as TaylorGreen
from sciml.problems.taylor_green_3d import TaylorGreen3D as TaylorGreen3D
from sciml.problems.tube_flow import TubeFlow as TubeFlow
from sciml.problems.turbulent_channel import TurbulentChannel as TurbulentChannel

__all__ = [
    "Advection", "AllenCahn", "BinghamCollapse", "Burgers", "BurgersFront", "BurgersRamp", "CylinderFlow",
    "DamBreak", "DamFlow", "Darcy", "DataProblem", "Diffusion", "DiffusionSorption", "ElasticDrop", "ElasticPlate",
    "GranularCollapse", "HeatEquation", "HeatPlate", "IsotropicTurbulence", "KolmogorovFlow", "LidDrivenCavity",
    "MassTransport", "Observed", "Poisson", "PorousMedium", "PushedMaterial", "Stefan", "StepTransport", "Swirl",
    "TaylorGreen", "TaylorGreen3D", "TubeFlow", "TurbulentChannel",
]  # fmt: skip
