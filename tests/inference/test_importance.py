"""Importance sampling in chunks."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.oracles import LinearGaussian
from tfgen import seeds
from tfgen.inference.importance import importance_log_prob


def chunked(num_samples, chunk_size, batch_size=4, spread=30.0):
    """The result, and all the log-weights that went into it."""
    table = []

    def log_weights(num, seed):
        log_w = spread * (tf.random.stateless_uniform([num, batch_size], seed) - 5.0)
        table.append(log_w)
        return log_w

    result = importance_log_prob(log_weights, num_samples, chunk_size, seeds.as_seed(3), batch_size)
    return result, np.concatenate(table)[:num_samples].astype("float64")


@pytest.mark.parametrize(("num_samples", "chunk_size"), [(5, 5), (12, 4), (13, 5), (3, 10)])
def test_chunked_is_unchunked(num_samples, chunk_size):
    result, log_w = chunked(num_samples, chunk_size)
    assert len(log_w) == num_samples
    expected = np.log(np.exp(log_w - log_w.max(0)).mean(0)) + log_w.max(0)
    np.testing.assert_allclose(result["log_prob"], expected, rtol=1e-6)
    w = np.exp(log_w - log_w.max(0))
    expected = w.sum(0) ** 2 / (w**2).sum(0)
    np.testing.assert_allclose(result["effective_sample_size"], expected, rtol=1e-4)


def test_chunks_have_draws_of_their_own():
    _, log_w = chunked(12, 4)
    assert len(np.unique(log_w)) == log_w.size


@pytest.mark.parametrize("chunk_size", [3, 100])
def test_effective_sample_size_of_equal_weights_and_of_one_that_dominates(chunk_size):
    def equal(num, seed):
        return tf.fill([num, 1], -1000.0)

    result = importance_log_prob(equal, 9, chunk_size, seeds.as_seed(0), 1)
    np.testing.assert_allclose(result["effective_sample_size"], 9.0, rtol=1e-3)
    np.testing.assert_allclose(result["log_prob"], -1000.0, rtol=1e-6)

    result, log_w = chunked(9, chunk_size, spread=1e5)
    np.testing.assert_allclose(result["effective_sample_size"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(result["log_prob"], log_w.max(0) - np.log(9), rtol=1e-6)


def test_converges_to_the_likelihood():
    oracle = LinearGaussian.make(orthogonal=False)
    x = oracle.sample(16)
    model = oracle.vae(1.2)
    report = tf.function(
        lambda x: model.importance(x, seed=0, num_samples=5000, chunk_size=500), jit_compile=True
    )(x)
    np.testing.assert_allclose(report["log_prob"], oracle.log_prob(x), atol=0.05)
    assert np.all(report["effective_sample_size"] > 1000)
    assert np.all(report["effective_sample_size"] < 5000)


def test_exact_posterior_has_no_variance():
    oracle = LinearGaussian.make(orthogonal=True)
    x = oracle.sample(8)
    report = oracle.vae().importance(x, seed=0, num_samples=25, chunk_size=10)
    np.testing.assert_allclose(report["log_prob"], oracle.log_prob(x), atol=1e-4)
    np.testing.assert_allclose(report["effective_sample_size"], 25.0, rtol=1e-4)


def test_memory_is_bounded_by_the_chunk():
    """XLA's own account of temporary memory does not grow with the number of draws."""
    model = LinearGaussian.make(orthogonal=True).vae()
    x = tf.zeros([64, 10])

    def temporary_bytes(num_samples, chunk_size):
        function = tf.function(
            lambda x: model.importance(x, None, 0, num_samples, chunk_size), jit_compile=True
        )
        text = function.experimental_get_compiler_ir(x)(stage="optimized_hlo")
        # The largest array of the compiled program.
        sizes = [
            int(np.prod([int(d) for d in shape.split(",") if d] or [1]))
            for shape in re.findall(r"f32\[([\d,]*)\]", text)
        ]
        return 4 * max(sizes)

    assert temporary_bytes(5000, 20) <= temporary_bytes(100, 20) <= 4 * 21 * 64 * 10 * 4


@pytest.mark.parametrize("name", ["num_samples", "chunk_size"])
def test_refusals(name):
    arguments = {"num_samples": 5, "chunk_size": 5, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be an integer >= 1; received: 0"):
        importance_log_prob(
            lambda num, seed: None, seed=seeds.as_seed(0), batch_size=1, **arguments
        )
