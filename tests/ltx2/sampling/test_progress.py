"""How many predictions a run makes, known before it begins."""

from __future__ import annotations

import pytest
import torch

from ltx2.sampling.sample import num_predictions
from ltx2.sampling.solvers import Injection, Prediction
from ltx2.sampling.table import SOLVERS


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("levels", [(1.0, 0.9, 0.5, 0.0), (1.0, 0.9, 0.5, 0.2), (0.7, 0.001, 0.0), (1.0, 0.0)])
def test_the_total_is_what_the_solver_asks_for(solver, levels):
    asked = []

    def denoise(x, sigma):
        asked.append(sigma)
        return Prediction((x[0] * 0.3 + sigma,), (x[0] * 0.1,))

    noise = Injection(lambda kind, step: (torch.randn(1, 4, 2),), lambda x: x)
    sigmas = torch.tensor(levels)
    SOLVERS[solver](denoise, (torch.randn(1, 4, 2),), sigmas, noise)
    assert num_predictions(SOLVERS[solver], sigmas) == len(asked)


def test_solvers_of_two_predictions_a_step_count_both():
    assert num_predictions(SOLVERS["euler"], torch.linspace(1, 0, 9)) == 8
    assert num_predictions(SOLVERS["res_2s"], torch.linspace(1, 0, 9)) == 17
