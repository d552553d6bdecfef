"""Flows trained for seconds on densities of known entropy: close to it, never below, normalised."""

import math

import keras
import numpy as np
import pytest

import tfgen.data
from tfgen.data.toy import TOY_DENSITIES
from tfgen.models import MAF, RealNVP

MODELS = {
    "RealNVP": lambda: RealNVP([2], num_couplings=3, filters=16, num_blocks=1, bound=2.0),
    "MAF": lambda: MAF([2], num_layers=2, hidden=[32, 32], activation="tanh"),
}


def trained(name, model):
    """The model after 160 steps on exact draws, and held-out draws."""
    data = tfgen.data.load(name, num_examples=40_000)
    schedule = keras.optimizers.schedules.CosineDecay(2e-2, 160)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule, global_clipnorm=10.0), jit_compile=False
    )
    model.fit(data.train.x, batch_size=500, epochs=2, verbose=0)
    return model, data.test.x


def check(name, model, x):
    """Excess over the entropy = divergence from the truth: positive but for noise, at most 0.05."""
    density = TOY_DENSITIES[name]()
    log_prob = model.log_prob(x).numpy().astype("float64")
    standard_error = log_prob.std() / math.sqrt(len(x))
    assert -log_prob.mean() < density.entropy + 0.05
    assert -log_prob.mean() > density.entropy - 3.0 * standard_error
    # The same with most of the noise of the draws taken out.
    excess = density.log_prob(x.astype("float64")) - log_prob
    assert -3.0 * excess.std() / math.sqrt(len(x)) < excess.mean() < 0.05

    low, high = x.min(0), x.max(0)
    margin = 0.5 * (high - low)
    axes = [np.linspace(a, b, 250) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype("float32")
    mass = np.exp(model.log_prob(grid)).sum() * np.prod([a[1] - a[0] for a in axes])
    assert mass == pytest.approx(1.0, abs=1e-2)


# Real NVP on a Gaussian: test_realnvp.py.
@pytest.mark.parametrize(
    ("name", "model"), [("banana", "RealNVP"), ("banana", "MAF"), ("correlated_gaussian", "MAF")]
)
def test_flow_reaches_the_entropy_and_not_below(name, model):
    check(name, *trained(name, MODELS[model]()))
