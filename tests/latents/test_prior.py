"""Priors integrate to one and sample what they score."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tfgen.latents import AutoregressiveFlowPrior, CouplingFlowPrior
from tfgen.models import VAE
from tfgen.objectives import ELBO

tfd = tfp.distributions

FLOW = {"type": "AutoregressiveFlowPrior", "num_flows": 2, "hidden": [6]}
COUPLING = {"type": "CouplingFlowPrior", "num_flows": 2, "filters": 6}
MIXTURE = {"type": "GaussianMixturePrior", "num_components": 3}
VAMP = {"type": "VampPrior", "num_components": 4}


def small(prior, **arguments):
    model = VAE(
        [3],
        latent_shape=[2],
        prior=prior,
        encoder={"type": "MLPEncoder", "units": [5], "activation": "tanh"},
        decoder={"type": "MLPDecoder", "units": [5]},
        **arguments,
    )
    randomize(model, scale=0.2)
    return model


@pytest.mark.parametrize("prior", [FLOW, COUPLING, MIXTURE, VAMP])
def test_integrates_to_one_and_samples_what_it_scores(prior):
    p = small(prior).prior()
    edge = np.linspace(-12.0, 12.0, 361, dtype="float32")
    cell = (edge[1] - edge[0]) ** 2
    grid = np.stack(np.meshgrid(edge, edge, indexing="ij"), -1).reshape(-1, 2)
    mass = np.exp(p.log_prob(grid).numpy().astype("float64")) * cell
    assert mass.sum() == pytest.approx(1.0, abs=2e-3)

    z = p.sample(20_000, seed=[0, 3]).numpy()
    assert z.shape == (20_000, 2)
    # Mean, second moments, and the mass of each quadrant around the mean.
    mean = mass @ grid
    np.testing.assert_allclose(z.mean(0), mean, atol=0.05)
    second = (grid - mean).T @ ((grid - mean) * mass[:, None])
    np.testing.assert_allclose(np.cov(z.T), second, atol=0.05 * np.trace(second))
    for signs in ((1, 1), (1, -1), (-1, 1)):
        expected = mass[((grid - mean) * signs > 0).all(1)].sum()
        assert ((z - mean) * signs > 0).all(1).mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("prior", [FLOW, COUPLING])
def test_densities_of_flow_priors_take_one_pass_and_no_loop(prior):
    model = small(prior)
    log_prob = tf.function(lambda z: model.prior().log_prob(z))
    graph = log_prob.get_concrete_function(tf.TensorSpec([5, 2])).graph
    operations = [operation.type for operation in graph.get_operations()]
    assert "MatMul" in operations
    assert not {"While", "StatelessWhile"} & set(operations)


@pytest.mark.parametrize("prior", [FLOW, COUPLING])
def test_flow_priors_are_conditional_where_the_model_is(prior):
    model = small(prior, num_classes=3)
    p = model.prior(model.condition([0, 2], 2))
    assert p.batch_shape == (2,)
    z = p.sample(5, seed=[0, 1])
    log_prob = p.log_prob(z)
    joint = model.distribution([0, 2])
    assert joint.batch_shape == (2,)
    assert joint.sample(5, seed=[0, 1])[1].shape == (5, 2, 3)
    alone = model.prior(model.condition([2], 1)).log_prob(z[:, 1:])
    np.testing.assert_allclose(log_prob[:, 1:], alone, rtol=1e-5)
    assert np.abs(log_prob[:, 1] - p.log_prob(z[:, ::-1])[:, 0]).max() > 1e-3


@pytest.mark.parametrize("cls", [AutoregressiveFlowPrior, CouplingFlowPrior])
def test_grids_are_flattened_in_raster_order(cls):
    flat, grid = cls([4]), cls([2, 1, 2])
    z = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    for part in (flat, grid):
        part.distribution(None).log_prob(tf.reshape(z, [3, *part.latent_shape]))
    randomize(flat)
    grid.set_weights(flat.get_weights())
    expected = flat.distribution(None).log_prob(z)
    actual = grid.distribution(None).log_prob(z.reshape(3, 2, 1, 2))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert grid.distribution(None).sample(2, seed=[0, 1]).shape == (2, 2, 1, 2)


def test_couplings_start_as_the_standard_normal():
    p = CouplingFlowPrior([3]).distribution(None)
    z = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    expected = tfd.MultivariateNormalDiag(np.zeros(3, "float32"), np.ones(3, "float32")).log_prob(z)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-6)


@pytest.mark.parametrize("posterior", ["DiagonalPosterior", "FullCovariancePosterior"])
def test_vamp_is_the_mean_of_the_posteriors_of_its_pseudo_inputs(posterior):
    """Which are weights like any other: their gradient arrives, and the encoder's through them."""
    model = small(VAMP, posterior={"type": posterior})
    u = model.prior_part.pseudo_inputs
    z = np.random.default_rng(0).standard_normal((6, 2)).astype("float32")
    each = [model.posterior(u.value[m : m + 1]).log_prob(z) for m in range(4)]
    expected = tf.reduce_logsumexp(tf.stack(each), 0) - np.log(4.0)
    np.testing.assert_allclose(model.prior().log_prob(z), expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        log_prob = model.prior().log_prob(z)
    for gradient in tape.gradient(log_prob, [u.value, model.encoder.layers[0].kernel.value]):
        assert np.all(np.abs(gradient).sum(-1) > 0)


def test_vamp_starts_from_the_data():
    """Of binary images, pseudo-inputs are on the network's scale and enter q in data units."""
    model = VAE([2, 2, 1], 2, latent_shape=[2], prior={**VAMP, "num_components": 5})
    x = np.random.default_rng(0).integers(0, 2, (3, 2, 2, 1)).astype("uint8")
    model.initialize(x)
    u = model.prior_part.pseudo_inputs.numpy()
    np.testing.assert_allclose(u, 2.0 * x[[0, 1, 2, 0, 1]] - 1.0, atol=0.05)
    assert len(np.unique(u)) == u.size
    means = model.prior().components_distribution.mean()
    np.testing.assert_allclose(means[:3], model.encode(x), atol=0.1)


def test_gradients_of_the_bound_reach_every_prior():
    x = np.random.default_rng(0).standard_normal((6, 3)).astype("float32")
    for prior in (FLOW, COUPLING, MIXTURE, VAMP):
        model = small(prior)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(ELBO()(model, x)["loss"])
        variables = model.prior_part.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            assert gradient is not None, variable.path
            assert np.any(gradient != 0), variable.path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": VAMP, "num_classes": 2}, "condition_size must be 0 for a VampPrior"),
        (
            {"prior": VAMP, "posterior": {"type": "IAFPosterior", "hidden": [4]}},
            "posterior must be one with a density in parallel for a VampPrior",
        ),
        ({"prior": COUPLING, "latent_shape": [1]}, "of at least two entries for a coupling"),
        ({"prior": AutoregressiveFlowPrior([3])}, r"prior must be one of latents \(2,\)"),
        ({"prior": {**MIXTURE, "num_components": 0}}, "num_components must be an integer >= 1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE([3], **{"latent_shape": [2], **arguments})
