"""Metrics of latent-variable models against closed forms."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.oracles import LinearGaussian
from tfgen.data import Split
from tfgen.evaluation import (
    active_units,
    inference_gap,
    mutual_information,
    representation,
)
from tfgen.evaluation.metrics import evaluate_metrics, needs_train, resolve
from tfgen.evaluation.representation import classes_of_clusters
from tfgen.models import LatentVariableModel

tfd = tfp.distributions
PLAIN = {"jit_compile": False}


class Scaled(LatentVariableModel):
    """p(z) = N(0, I), q(z | x) = N(gain x, scale^2 I), x in two dimensions."""

    def __init__(self, gain, scale=1.0, **kwargs):
        super().__init__([2], **kwargs)
        self.gain, self.scale, self.latent_shape = gain, scale, (2,)

    def prior(self, condition=None):
        return tfd.MultivariateNormalDiag(tf.zeros([2]))

    def posterior(self, x, condition=None):
        scale = tf.fill(tf.shape(x), self.scale)
        return tfd.Independent(tfd.Normal(self.gain * x, scale), 1)

    def likelihood(self, z, condition=None):
        return tfd.Independent(tfd.Normal(z, 1.0), 1)


def gaussian_split(num=1000):
    return Split(np.random.default_rng(0).standard_normal((num, 2)).astype("float32"))


def test_mutual_information_of_gaussian_codes():
    """x ~ N(0, I), so q(z) = N(0, gain^2 + scale^2): I = log(1 + gain^2 / scale^2) in 2-D."""
    found = mutual_information(Scaled(1.0), gaussian_split(), **PLAIN)
    assert found["mutual_information"] == pytest.approx(math.log(2.0), abs=0.05)
    assert found["aggregate_posterior_kl"] == pytest.approx(1.0 - math.log(2.0), abs=0.05)
    assert found["mutual_information_limit"] == math.log(1000)
    wide = mutual_information(Scaled(1.5, 0.5), gaussian_split(), **PLAIN)
    assert wide["mutual_information"] == pytest.approx(math.log(10.0), abs=0.1)


def test_mutual_information_of_equal_and_of_separate_posteriors():
    equal = mutual_information(Scaled(0.0), gaussian_split(50), **PLAIN)
    assert equal["mutual_information"] == pytest.approx(0.0, abs=1e-5)
    assert equal["aggregate_posterior_kl"] == pytest.approx(0.0, abs=1e-5)
    separate = mutual_information(Scaled(1e4), gaussian_split(50), **PLAIN)
    assert separate["mutual_information"] == pytest.approx(math.log(50), abs=1e-5)
    # The first N of the split.
    first = mutual_information(Scaled(1e4), gaussian_split(50), num_examples=20, **PLAIN)
    assert first["mutual_information"] == pytest.approx(math.log(20), abs=1e-5)


def blobs(centres, labels, seed=0):
    """100 examples about each centre."""
    rng = np.random.default_rng(seed)
    x = np.repeat(np.array(centres, "float32"), 100, axis=0)
    x += 0.3 * rng.standard_normal(x.shape).astype("float32")
    order = rng.permutation(len(x))
    return Split(x[order], np.repeat(labels, 100).astype("int32")[order])


def accuracies(train, test, gain=1.0):
    found = representation(Scaled(gain), test, train, **PLAIN)
    names = ("k_means_accuracy", "nearest_neighbors_accuracy", "linear_probe_accuracy")
    assert set(found) == set(names)
    return [found[name] for name in names]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_separable_classes_are_recognised_whatever_the_clusters_are_called():
    centres = [[5, 0], [-5, 0], [0, 5], [0, -5]]
    for labels in ([0, 1, 2, 3], [2, 0, 3, 1]):
        train, test = (blobs(centres, labels, seed) for seed in (0, 1))
        assert accuracies(train, test) == [1.0, 1.0, 1.0]
    # Classifiers and clusters' classes come from the training split alone.
    assert accuracies(train, Split(test.x, (test.y + 1) % 4)) == [0.0, 0.0, 0.0]
    # Codes that say nothing.
    assert max(accuracies(train, test, gain=0.0)) <= 0.3


def test_only_neighbours_solve_exclusive_or():
    train, test = (
        blobs([[5, 5], [-5, -5], [5, -5], [-5, 5]], [0, 0, 1, 1], seed) for seed in (0, 1)
    )
    k_means, neighbours, probe = accuracies(train, test)
    assert neighbours == 1.0
    assert k_means <= 0.6
    assert probe <= 0.8


def test_clusters_are_assigned_by_counts():
    """Cluster 0 holds one example of class 0 and ten of class 1: one is not as good as ten."""
    clusters = np.repeat([0, 0, 1, 1], [1, 10, 2, 9])
    labels = np.repeat([0, 1, 0, 1], [1, 10, 2, 9])
    np.testing.assert_array_equal(classes_of_clusters(clusters, labels, 2), [1, 0])
    # Each class to one cluster, although class 1 is the most frequent in both.
    clusters, labels = (
        np.repeat([0, 0, 1, 1], [1, 9, 2, 10]),
        np.repeat([0, 1, 0, 1], [1, 9, 2, 10]),
    )
    assert sorted(classes_of_clusters(clusters, labels, 2)) == [0, 1]


def check_gaps(model, x, approximation, amortization):
    found = inference_gap(model, Split(x), chunk_size=500, **PLAIN)
    assert found["num_gap_examples"] == len(x)
    for name, expected in (("approximation", approximation), ("amortization", amortization)):
        assert found[f"{name}_gap"] == pytest.approx(expected, abs=0.02), name
        # This model's gaps are the same for every x: what differs is noise of the draws.
        assert found[f"{name}_gap_standard_error"] < 0.02


def test_gaps_of_the_best_posterior_of_its_family():
    oracle = LinearGaussian.make(orthogonal=False)
    assert oracle.mean_field_gap > 0.1
    check_gaps(oracle.vae(), oracle.sample(40), oracle.mean_field_gap, 0.0)


def test_gaps_of_posteriors_that_an_encoder_missed():
    """KL of N(m + d, c^2 S) to a posterior N(m, Lambda^-1), S its best diagonal."""
    oracle = LinearGaussian.make(orthogonal=False)
    for factor, offset in ((0.5, 0.0), (1.0, 0.4)):
        model = oracle.vae(posterior_scale=factor)
        bias = model.posterior_part.parameters.bias
        bias.assign(bias.numpy() + offset * np.repeat([1.0, 0.0], 3))
        of_scale = 3 * (0.5 * (factor**2 - 1.0) - math.log(factor))
        of_offset = 0.5 * offset**2 * oracle.precision.sum()
        check_gaps(model, oracle.sample(40), oracle.mean_field_gap, of_scale + of_offset)


def test_a_run_asks_for_metrics_by_name_or_with_options():
    centres = [[5, 0], [-5, 0]]
    train, test = blobs(centres, [0, 1], 0), blobs(centres, [0, 1], 1)
    specs = ["active_units", {"type": "mutual_information", "num_examples": 30}, "representation"]
    assert needs_train(specs)
    assert not needs_train(specs[:2])
    found = evaluate_metrics(specs, Scaled(1.0), test, train, jit_compile=False)
    assert found["active_units"] == found["num_latent_units"] == 2
    assert found["mutual_information_limit"] == math.log(30)
    assert found["linear_probe_accuracy"] == 1.0
    for spec, message in (
        ("active_unit", "config.evaluation.metrics must be one of 'active_units', .*active_unit'"),
        ({"num_examples": 3}, "config.evaluation.metrics must be one of"),
        ({"type": "active_units", "treshold": 1}, "must be one of threshold, .*mean 'threshold'"),
        ({"type": "representation", "train": None}, "must be one of num_neighbors, batch_size;"),
    ):
        with pytest.raises(ValueError, match=message):
            resolve(spec)


def test_what_metrics_refuse():
    split = gaussian_split(10)
    no_latents = object()
    for metric in (active_units, mutual_information, inference_gap):
        with pytest.raises(ValueError, match=r"model must be a LatentVariableModel.*'object'"):
            metric(no_latents, split)
        with pytest.raises(ValueError, match="split must be of at least two examples; received: 1"):
            metric(Scaled(1.0), split[:1])
    with pytest.raises(ValueError, match="split must be labelled"):
        representation(Scaled(1.0), split, split)
    with pytest.raises(ValueError, match="model must be one that is not conditional"):
        representation(Scaled(1.0, num_classes=2), split, split)
