"""The VAE: protocol, initialisation, likelihoods, conditioning and precision."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import all_images, check_model, randomize
from tests.oracles import LinearGaussian
from tfgen.models import VAE

tfd = tfp.distributions

SMALL_MLP = {
    "encoder": {"type": "MLPEncoder", "units": [8]},
    "decoder": {"type": "MLPDecoder", "units": [8]},
}
SMALL_CONV = {
    "encoder": {"type": "ConvEncoder", "filters": [4, 6]},
    "decoder": {"type": "ConvDecoder", "filters": [6, 4]},
}


def images(num, shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, (num, *shape)).astype("uint8")


def test_protocol_of_a_conditional_convolutional_model():
    """Odd sizes, colour, a grid of latents, labels."""
    model = VAE(
        [5, 6, 3],
        num_levels=8,
        num_classes=3,
        latent_shape=[3, 3, 2],
        likelihood={"type": "DiscretizedLogisticMixture", "num_mixtures": 2},
        encoder={"type": "ConvEncoder", "filters": [4]},
        decoder={"type": "ConvDecoder", "filters": [4], "units": [5]},
    )
    check_model(model, images(6, (5, 6, 3), 8), np.array([0, 1, 2, 0, 1, 2], "int32"))


def test_protocol_of_a_model_of_real_vectors():
    model = VAE(
        [5],
        num_features=2,
        latent_shape=[3],
        likelihood={"type": "Gaussian", "variance": "dimension"},
        **SMALL_MLP,
    )
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((6, size)).astype("float32") for size in (5, 2))
    check_model(model, x, y)


@pytest.mark.parametrize(("shape", "num_levels"), [((2, 2, 1), 3), ((1, 1, 3), 4), ((4,), 2)])
def test_importance_bound_is_a_distribution(shape, num_levels):
    """The mean weight is an unbiased estimate of p(x), and these sum to 1 over all x."""
    model = VAE(shape, num_levels, latent_shape=[1], **SMALL_MLP)
    randomize(model)
    # A posterior off the prior but wider than it: the weights are bounded.
    kernel, _ = model.posterior_part.parameters.get_weights()
    model.posterior_part.parameters.set_weights([0.3 * kernel * [1.0, 0.0], np.array([0.2, 1.0])])
    x = all_images(shape, num_levels)
    log_prob = model.log_prob(x, seed=0, num_samples=4000, chunk_size=4000)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=0.02)


def test_loss_at_the_start_is_a_sum_over_pixels():
    """Zero outputs and bias on binary 28x28 images: 784 log 2 = 543.4 nats, no KL term."""
    model = VAE([28, 28, 1], 2, latent_shape=[4], **SMALL_MLP)
    for layer in (model.posterior_part.parameters, model.decoder.linear):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    x = images(3, (28, 28, 1), 2)
    np.testing.assert_allclose(model.log_prob(x), -784 * np.log(2.0), rtol=1e-5)


def test_initialization_makes_the_decoder_the_independent_model():
    """The bound starts at the likelihood of independent pixels; only the first batch counts."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (6, 6, 1))
    x = (rng.random((2000, 6, 6, 1)) < p).astype("uint8")
    model = VAE([6, 6, 1], 2, latent_shape=[4], **SMALL_MLP)
    for layer in (model.posterior_part.parameters, model.decoder.linear):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    model.initialize(x)
    mean = x.mean(0)
    expected = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)).sum()
    assert -np.mean(model.log_prob(x)) == pytest.approx(expected, rel=1e-3)
    before = model.output_bias.numpy()
    model.initialize(1 - x)
    np.testing.assert_array_equal(model.output_bias, before)


@pytest.mark.parametrize("variance", ["scalar", "dimension", "network"])
def test_gaussian_noise_is_learned(variance):
    """Data of two scales: what does not depend on z is a variable of the right shape."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4000, 2)) * [0.1, 3.0] + [5.0, -5.0]).astype("float32")
    model = VAE([2], latent_shape=[1], likelihood={"type": "Gaussian", "variance": variance})
    model.initialize(x)
    shapes = {"scalar": (1,), "dimension": (2, 1, 1)}
    if variance == "network":
        assert model.output_constant is None
        assert model.output_bias.shape == (2, 1, 2)
    else:
        assert model.output_constant.shape == shapes[variance]
        assert model.output_bias.shape == (2, 1, 1)
    model.decoder.linear.kernel.assign(tf.zeros_like(model.decoder.linear.kernel))
    p = model.likelihood(tf.zeros([1, 1, 1]))
    scale = [math.sqrt((0.1**2 + 3.0**2) / 2)] * 2 if variance == "scalar" else [0.1, 3.0]
    np.testing.assert_allclose(p.mean()[0, 0], [5.0, -5.0], atol=0.15)
    np.testing.assert_allclose(p.stddev()[0, 0], scale, rtol=0.05)


def test_codes_and_samples_of_the_linear_gaussian():
    """encode is q's mean, decode the mean of p(x | z), samples have the data's moments."""
    oracle = LinearGaussian.make(orthogonal=True)
    model, x = oracle.vae(), oracle.sample(8)
    gain = np.linalg.solve(oracle.precision, oracle.weights.T) / oracle.variance
    z = (x - oracle.offset) @ gain.T
    np.testing.assert_allclose(model.encode(x), z, atol=1e-4)
    expected = z @ oracle.weights.T + oracle.offset
    np.testing.assert_allclose(model.decode(z.astype("float32")), expected, atol=1e-4)
    samples = model.sample(40_000, seed=0).numpy()
    np.testing.assert_allclose(samples.mean(0), oracle.offset, atol=0.1)
    covariance = oracle.weights @ oracle.weights.T + oracle.variance * np.eye(10)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.1)


def test_decode_is_in_data_units():
    """The mean of a saturated decoder is the highest level, not 1."""
    model = VAE([2, 2, 1], 16, latent_shape=[1], **SMALL_MLP)
    bias = np.zeros(model.output_bias.shape)
    num_mixtures = model.observation.num_mixtures
    bias[..., num_mixtures : 2 * num_mixtures] = 5.0
    bias[..., 2 * num_mixtures :] = -5.0
    model.output_bias.assign(bias)
    x = model.decode(tf.zeros([1, 1]))
    assert x.shape == (1, 2, 2, 1)
    np.testing.assert_allclose(x, 15.0, atol=1e-3)
    assert (model.sample(4, seed=0).numpy() == 15).all()


def test_distributions_compose_with_tfp():
    """prior, posterior, likelihood and the joint are TFP values, consistent with `terms`."""
    model = VAE([3, 3, 2], 4, latent_shape=[2], **SMALL_MLP)
    x = images(5, (3, 3, 2), 4)
    posterior = model.posterior(tf.constant(x))
    assert posterior.event_shape == (2,)
    assert posterior.batch_shape == (5,)
    z = posterior.sample(7, seed=(0, 1))
    p = model.likelihood(z)
    assert p.event_shape == (3, 3, 2)
    assert p.batch_shape == (7, 5)
    joint = model.distribution()
    log_joint = joint.log_prob([z, tf.broadcast_to(tf.cast(x, tf.float32), [7, *x.shape])])
    expected = p.log_prob(tf.cast(x, tf.float32)) + model.prior().log_prob(z)
    np.testing.assert_allclose(log_joint, expected, rtol=1e-5)
    z, x = joint.sample(4, seed=(0, 1))
    assert z.shape == (4, 2)
    assert x.shape == (4, 3, 3, 2)


def test_joint_of_a_conditional_model_has_one_batch_entry_a_label():
    model = VAE([4], 2, num_classes=3, latent_shape=[2], **SMALL_MLP)
    randomize(model)
    joint = model.distribution([0, 2])
    assert joint.batch_shape == (2,)
    z, x = joint.sample(5, seed=(0, 1))
    log_prob = joint.log_prob([z, x])
    for column, label in enumerate((0, 2)):
        alone = model.distribution([label])
        np.testing.assert_allclose(
            log_prob[:, column],
            alone.log_prob([z[:, column, None], x[:, column, None]])[:, 0],
            rtol=1e-5,
        )


@pytest.mark.parametrize("latent_shape", [[2], [2, 2, 1]])
def test_condition_reaches_encoder_and_decoder(latent_shape):
    networks = SMALL_MLP if len(latent_shape) == 1 else SMALL_CONV
    model = VAE([8, 8, 1], 2, num_classes=2, latent_shape=latent_shape, **networks)
    randomize(model)
    x = images(1, (8, 8, 1), 2)
    assert not np.allclose(model.encode(x, [0]), model.encode(x, [1]))
    z = np.ones((1, *latent_shape), "float32")
    assert not np.allclose(model.decode(z, [0]), model.decode(z, [1]))


def test_kl_has_one_row_for_each_latent_dimension():
    """Of a grid, in the order of its flattening, against TFP's KL of each dimension."""
    model = VAE([8, 8, 1], 2, latent_shape=[2, 2, 3], **SMALL_CONV)
    randomize(model)
    x = images(4, (8, 8, 1), 2)
    q = model.posterior(tf.constant(x)).distribution
    expected = tfd.kl_divergence(q, tfd.Normal(0.0, 1.0)).numpy().reshape(4, 12).T
    np.testing.assert_allclose(model.terms(x, seed=0).kl, expected, rtol=1e-5)


def test_other_posteriors_have_one_row():
    """A full covariance in closed form; a mixture, which has none, by the draws."""

    class Full(VAE):
        def posterior(self, x, condition=None):
            q = super().posterior(x, condition).distribution
            factor = tf.linalg.diag(q.scale) + tf.constant([[0.0, 0.0], [0.3, 0.0]])
            return tfd.MultivariateNormalTriL(q.loc, factor)

        def prior(self, condition=None):
            return tfd.MultivariateNormalDiag(tf.zeros(2), tf.ones(2))

    class Mixture(VAE):
        def posterior(self, x, condition=None):
            q = super().posterior(x, condition)
            weights = tfd.Categorical(logits=tf.zeros([tf.shape(x)[0], 1]))
            components = tfd.BatchReshape(q, [tf.shape(x)[0], 1])
            return tfd.MixtureSameFamily(weights, components)

    x = images(3, (4,), 2)
    arguments = {"num_levels": 2, "latent_shape": [2], **SMALL_MLP}
    full = Full([4], **arguments)
    terms = full.terms(x, num_samples=20_000, seed=0)
    assert terms.kl.shape == (1, 3)
    sampled = tf.reduce_mean(terms.log_qz - terms.log_pz, 0)
    np.testing.assert_allclose(terms.kl[0], sampled, atol=0.03)
    terms = Mixture([4], **arguments).terms(x, num_samples=5, seed=0)
    np.testing.assert_allclose(
        terms.kl[0], tf.reduce_mean(terms.log_qz - terms.log_pz, 0), rtol=1e-5
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_likelihood_in_float32(policy):
    """Networks compute in half precision, the rest does not; training steps are finite."""
    single = VAE([4, 4, 1], 16, latent_shape=[2], **SMALL_MLP)
    model = VAE([4, 4, 1], 16, latent_shape=[2], dtype=policy, **SMALL_MLP)
    assert model.decoder.compute_dtype == policy.removeprefix("mixed_")
    model.set_weights(single.get_weights())
    x = images(4, (4, 4, 1), 16)
    terms = model.terms(x, seed=0)
    assert {value.dtype for value in terms} == {tf.float32}
    np.testing.assert_allclose(model.log_prob(x, seed=0), single.log_prob(x, seed=0), rtol=0.02)
    # A bias that half precision cannot hold.
    model.output_bias.assign(np.full(model.output_bias.shape, 1.0 + 1e-4))
    values = model.likelihood(tf.zeros([1, 1, 2])).distribution.loc.numpy()
    shift = values - np.round(values * 128) / 128
    assert np.any(np.abs(shift) > 1e-5)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    losses = model.fit(x, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def test_float64():
    model = VAE([3], latent_shape=[2], dtype="float64", **SMALL_MLP)
    x = np.random.default_rng(0).standard_normal((4, 3))
    assert {value.dtype for value in model.terms(x, seed=0)} == {tf.float64}


def test_dropout_acts_in_training_only():
    encoder = {"type": "MLPEncoder", "units": [64], "dropout": 0.5}
    model = VAE([4], 2, latent_shape=[2], encoder=encoder, decoder=SMALL_MLP["decoder"])
    x = tf.constant(images(3, (4,), 2))
    np.testing.assert_array_equal(model.posterior(x).mean(), model.posterior(x).mean())
    with model._training():
        first, second = model.posterior(x).mean(), model.posterior(x).mean()
    assert not np.allclose(first, second)


def test_signatures():
    model = VAE([4], 2, latent_shape=[2], **SMALL_MLP)
    signatures = model.signatures()
    assert set(signatures) == {"log_prob", "sample", "encode", "decode", "reconstruct"}
    x = tf.constant(images(3, (4,), 2))
    encode, (spec,) = signatures["encode"]
    assert spec.dtype == tf.uint8
    z = encode(x)["z"]
    np.testing.assert_array_equal(z, model.encode(x))
    decode, (spec,) = signatures["decode"]
    assert spec.shape.as_list() == [None, 2]
    np.testing.assert_array_equal(decode(z)["x"], model.decode(z))
    reconstruct, _ = signatures["reconstruct"]
    np.testing.assert_array_equal(reconstruct(x)["x"], model.decode(z))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"likelihood": {"type": "Gaussian"}}, "likelihood must be one for data with num_levels=4"),
        ({"likelihood": {"type": "Bernoulli"}}, "received: 'Bernoulli for num_levels=2'"),
        ({"likelihood": {"type": "Categorical", "num_levels": 8}}, "num_levels=8"),
        ({"latent_shape": [0]}, "latent_shape must be an integer >= 1; received: 0"),
        ({"encoder": {"type": "MLPEncoder", "unit": [8]}}, "Did you mean 'units'?"),
        ({"decoder": keras.layers.Dense(7)}, "decoder must be one with outputs"),
        ({"latent_shape": [3, 3, 2], **SMALL_CONV}, "latent_shape must be"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        VAE([8, 8, 1], **{"num_levels": 4, **arguments})
