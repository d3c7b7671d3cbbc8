"""Optimisers against PyTorch and by hand, learning-rate schedules against closed forms."""

import numpy as np
import pytest

from quietct.nn.optimizers import learning_rate_at, make_optimiser

GRADIENTS = np.random.default_rng(0).standard_normal((5, 7)) * 10.0 ** np.arange(-3, 4)
CONFIGS = {
    "sgd": {"kind": "sgd"},
    "momentum": {"kind": "momentum", "momentum": 0.8},
    "adam": {"kind": "adam", "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
}


def descend(config):
    optimiser, parameters = make_optimiser(config, 7, np.float64), np.ones(7)
    for gradient in GRADIENTS:
        optimiser.update(parameters, gradient, 0.1)
    return parameters


def test_plain_descent_subtracts_the_gradients():
    np.testing.assert_allclose(descend(CONFIGS["sgd"]), 1 - 0.1 * GRADIENTS.sum(axis=0))


def test_momentum_weighs_older_gradients_by_a_geometric_series():
    weights = np.cumsum(0.8 ** np.arange(5))[::-1]
    np.testing.assert_allclose(descend(CONFIGS["momentum"]), 1 - 0.1 * weights @ GRADIENTS)


def test_first_step_of_adam_has_the_size_of_the_learning_rate():
    optimiser, parameters = make_optimiser({"kind": "adam"}, 2, np.float64), np.zeros(2)
    optimiser.update(parameters, np.array([1e-3, -50.0]), 0.01)
    np.testing.assert_allclose(parameters, [-0.01, 0.01], rtol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_optimisers_leave_the_gradient_as_it_is(kind):
    optimiser, gradient = make_optimiser(CONFIGS[kind], 3), np.array([1, -2, 3], np.float32)
    optimiser.update(np.ones(3, np.float32), gradient, 0.1)
    np.testing.assert_array_equal(gradient, [1, -2, 3])


@pytest.mark.parametrize("kind", CONFIGS)
def test_optimisers_equal_pytorch(kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
    parameter = torch.nn.Parameter(torch.ones(7, dtype=torch.float64))
    optimiser = {
        "sgd": lambda: torch.optim.SGD([parameter], 0.1),
        "momentum": lambda: torch.optim.SGD([parameter], 0.1, momentum=0.8),
        "adam": lambda: torch.optim.Adam([parameter], 0.1, (0.8, 0.95), 1e-3),
    }[kind]()
    for gradient in GRADIENTS:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
    np.testing.assert_allclose(descend(CONFIGS[kind]), parameter.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "step", "epoch", "rate"),
    [
        ({"kind": "constant"}, 77, 7, 0.4),
        ({"kind": "step", "every": 3, "factor": 0.5}, 20, 2, 0.4),
        ({"kind": "step", "every": 3, "factor": 0.5}, 70, 7, 0.1),
        ({"kind": "cosine", "final_fraction": 0.1}, 0, 0, 0.4),
        ({"kind": "cosine", "final_fraction": 0.1}, 50, 5, 0.4 * 0.55),
        ({"kind": "cosine", "final_fraction": 0.1}, 100, 10, 0.04),
        ({"kind": "constant", "warmup_steps": 10}, 0, 0, 0.04),
        ({"kind": "constant", "warmup_steps": 10}, 10, 1, 0.4),
    ],
)
def test_learning_rate_schedules(schedule, step, epoch, rate):
    assert learning_rate_at(schedule, 0.4, step, epoch, steps=100) == pytest.approx(rate)
