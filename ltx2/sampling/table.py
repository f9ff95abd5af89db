"""The solvers by the names that the Sample node shows."""

from __future__ import annotations

from .res_2s import res_2s
from .solvers import Solver, euler, euler_ancestral, euler_cfg_pp, gradient_estimation

SOLVERS: dict[str, Solver] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "euler_cfg_pp": euler_cfg_pp,
    "gradient_estimation": gradient_estimation,
    "res_2s": res_2s,
}
