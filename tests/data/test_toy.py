"""The toy densities are what they say: normalised, sampled exactly, of the stated entropy."""

import math

import numpy as np
import pytest

import tfgen.data
from tfgen.data.toy import TOY_DENSITIES

NAMES = sorted(TOY_DENSITIES)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_integrates_to_one_and_the_grid_gives_its_entropy(name):
    density = TOY_DENSITIES[name]()
    width, height = (12.0, 40.0) if name == "banana" else (6.0, 6.0)
    spacing = 0.02
    # Cell centres: no grid line lies on an edge of the checkerboard or of a moon.
    first = np.arange(-width, width, spacing) + spacing / 2
    second = np.arange(-height / 4 if name == "banana" else -height, height, spacing) + spacing / 2
    mass = entropy = 0.0
    for block in np.array_split(first, 64):
        x = np.stack(np.meshgrid(block, second, indexing="ij"), axis=-1).reshape(-1, 2)
        log_prob = density.log_prob(x)
        prob = np.exp(log_prob)
        mass += prob.sum() * spacing**2
        entropy -= (prob * np.where(prob > 0, log_prob, 0.0)).sum() * spacing**2
    assert mass == pytest.approx(1.0, abs=2e-5)
    assert entropy == pytest.approx(density.entropy, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_entropy_is_the_mean_surprise_of_the_samples(name):
    density = TOY_DENSITIES[name]()
    nats = -density.log_prob(density.sample(100_000, np.random.RandomState(1)))
    error = nats.std() / math.sqrt(len(nats))
    assert abs(nats.mean() - density.entropy) < 4 * error + 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_samples_fall_where_the_density_says(name):
    """Chi-square over a coarse grid: the entropy alone would not see a mirrored set."""
    density = TOY_DENSITIES[name]()
    num_samples, side, parts = 40_000, 6.0, 12
    x = density.sample(num_samples, np.random.RandomState(2))
    edges = np.linspace(-side, side, parts + 1)
    counts, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=[edges, edges])
    fine = 40
    spacing = 2 * side / (parts * fine)
    centres = -side + spacing * (np.arange(parts * fine) + 0.5)
    grid = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    prob = np.exp(density.log_prob(grid)).reshape(parts, fine, parts, fine).sum(axis=(1, 3))
    expected = num_samples * prob * spacing**2
    cells = expected > 20
    assert not counts[expected < 1e-6].any()
    chi_square = np.sum((counts - expected)[cells] ** 2 / expected[cells])
    assert chi_square < cells.sum() + 4 * math.sqrt(2 * cells.sum())


def test_closed_forms():
    entropy = {name: TOY_DENSITIES[name]().entropy for name in NAMES}
    assert entropy["correlated_gaussian"] == pytest.approx(
        0.5 * math.log(np.linalg.det(2 * math.pi * math.e * np.array([[1, 0.9], [0.9, 1]])))
    )
    assert entropy["checkerboard"] == pytest.approx(math.log(32))
    # Eight Gaussians 7.6 standard deviations apart: the choice of one costs log 8, less overlap.
    separate = math.log(8) + math.log(2 * math.pi * math.e * 0.2**2)
    assert separate - 2e-3 < entropy["eight_gaussians"] < separate


@pytest.mark.parametrize("name", NAMES)
def test_loading_draws_the_three_sets_independently(name):
    splits = tfgen.data.load(name, num_examples=400, seed=3)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [400, 100, 100]
    assert splits.train.x.dtype == np.float32
    assert splits.info.entropy == TOY_DENSITIES[name]().entropy
    rows = np.concatenate([splits.train.x, splits.validation.x, splits.test.x])
    assert len(np.unique(rows, axis=0)) == 600
    again = tfgen.data.load(name, num_examples=400, seed=3)
    np.testing.assert_array_equal(again.test.x, splits.test.x)
    other = tfgen.data.load(name, num_examples=400, seed=4)
    assert not np.array_equal(other.train.x, splits.train.x)
