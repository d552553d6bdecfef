"""The ResNet VAE with IAF: its flow, its bound, its passes, its start and its protocol."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import all_images, autodiff_log_det, check_model, randomize
from tfgen.layers.weight_norm import WeightNormConv2D, WeightNormMaskedConv2D
from tfgen.models import ResNetIAFVAE
from tfgen.models.latent.bidirectional import IAFStep
from tfgen.objectives import ELBO

TINY = {"depths": (1, 1), "filters": 4, "latent_channels": 2, "flow_depth": 1}


def images(num, shape, num_levels, seed=0):
    return np.random.default_rng(seed).integers(0, num_levels, (num, *shape)).astype("uint8")


def test_protocol():
    """Colour, odd sides, labels, two levels of resolution."""
    arguments = {**TINY, "transformer": {"type": "GatedTransformer"}}
    model = ResNetIAFVAE([3, 5, 3], num_levels=8, num_classes=3, **arguments)
    check_model(model, images(6, (3, 5, 3), 8), np.array([0, 1, 2, 0, 1, 2], "int32"))


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("transformer", ["LocationScaleTransformer", "GatedTransformer"])
def test_flow_is_strictly_autoregressive(transformer, is_reversed):
    """A triangular Jacobian in the order of rows, columns, channels, or its reverse, with nothing
    missing below the diagonal; the diagonal is what the step reports."""
    step = IAFStep(2, 4, 2, {"type": transformer}, is_reversed, dtype="float64")
    rng = np.random.default_rng(0)
    z = tf.constant(rng.standard_normal((3, 2, 2, 2)))
    context = tf.constant(rng.standard_normal((3, 2, 2, 4)))
    step(z, context)
    randomize(step, scale=0.5)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z, context])
        changed, log_slope = step(z, context)
    jacobian = tape.batch_jacobian(changed, z, experimental_use_pfor=False).numpy()
    jacobian = jacobian.reshape(3, 8, 8)
    if is_reversed:
        jacobian = jacobian[:, ::-1, ::-1]
    before, after = np.tri(8, k=-1, dtype=bool), ~np.tri(8, dtype=bool)
    np.testing.assert_array_equal(jacobian[:, after], 0.0)
    assert np.abs(jacobian[:, before]).max(axis=0).min() > 0
    expected = autodiff_log_det(lambda value: step(value, context)[0], z)
    np.testing.assert_allclose(tf.reduce_sum(log_slope, [1, 2, 3]), expected, atol=1e-10)
    slopes = jacobian[:, range(8), range(8)]
    order = slice(None, None, -1 if is_reversed else 1)
    np.testing.assert_allclose(log_slope.numpy().reshape(3, 8)[:, order], np.log(slopes))
    # The context reaches all but the first value, which sees nothing.
    by_context = np.abs(tape.batch_jacobian(changed, context, experimental_use_pfor=False).numpy())
    by_context = by_context.reshape(3, 8, -1).max(axis=(0, 2))[order]
    assert by_context[0] == 0.0
    assert by_context[1:].min() > 0.0


def wide_posterior(num_flows, **arguments):
    """Of binary 2x3 images; off the prior, but wider than it, so that weights are bounded."""
    model = ResNetIAFVAE([2, 3, 1], 2, num_flows=num_flows, **TINY, **arguments)
    randomize(model, scale=0.2)
    model.output_layer.length.assign(5.0 * model.output_layer.length)
    for layer in model.layers_upwards:
        bias = layer.up_first.bias.numpy()
        bias[:4] = [0.3, -0.3, 0.3, 0.3]
        layer.up_first.bias.assign(bias)
    return model


@pytest.mark.parametrize("num_flows", [0, 1, 2])
def test_bound_and_samples_are_one_distribution(num_flows):
    """Over all images, mean weights (each an unbiased estimate of p(x)) sum to 1; and `sample`,
    which never sees the posterior, draws the images as often as these say."""
    model = wide_posterior(num_flows)
    x = all_images((2, 3, 1), 2)
    report = model.importance(x, seed=0, num_samples=4000, chunk_size=4000)
    assert np.median(report["effective_sample_size"]) > 500
    probabilities = np.exp(report["log_prob"].numpy().astype("float64"))
    assert probabilities.sum() == pytest.approx(1.0, abs=0.01)
    assert probabilities.max() > 2 * probabilities.min()
    drawn = model.sample(40_000, seed=1).numpy().reshape(-1, 6)
    counts = np.bincount(drawn @ (2 ** np.arange(6)[::-1]), minlength=64)
    errors = (counts - 40_000 * probabilities) / np.sqrt(40_000 * probabilities)
    assert np.mean(errors**2) < 2.5


def test_terms_are_those_of_the_distributions():
    """Each draw's log p(z) and log p(x | z) again from the vector of latents, with labels; KL rows,
    one a layer and channel, add up to the total."""
    model = ResNetIAFVAE([3, 5, 2], 4, num_classes=3, **{**TINY, "depths": (2, 1)})
    randomize(model)
    x, y = images(4, (3, 5, 2), 4), np.array([0, 1, 2, 0], "int32")
    condition = model.condition(y, 4)
    terms = model.terms(x, y, num_samples=3, seed=0)
    assert model.latent_shapes == [(1, 2, 2), (2, 3, 2), (2, 3, 2)]
    assert terms.z.shape == (3, 4, 4 + 12 + 12)
    prior, likelihood = model.prior(condition), model.likelihood(terms.z, condition)
    assert (prior.batch_shape, prior.event_shape) == ((4,), (28,))
    assert (likelihood.batch_shape, likelihood.event_shape) == ((3, 4), (3, 5, 2))
    np.testing.assert_allclose(prior.log_prob(terms.z), terms.log_pz, rtol=1e-5)
    log_px = likelihood.log_prob(x.astype("float32"))
    np.testing.assert_allclose(log_px, terms.log_px, rtol=1e-5)
    assert terms.kl.shape == (3 * 2, 4)
    total = tf.reduce_mean(terms.log_qz - terms.log_pz, axis=0)
    np.testing.assert_allclose(tf.reduce_sum(terms.kl, axis=0), total, rtol=1e-4)


def test_each_draw_is_of_its_own_example():
    """Under a posterior without width, every one of the draws is the code of its x and label."""
    model = ResNetIAFVAE([3, 5, 2], 4, num_classes=3, num_flows=2, **TINY)
    randomize(model)
    for layer in model.layers_upwards:
        layer.up_first.bias.assign(np.where(np.arange(layer.up_first.units) // 2 == 1, -15.0, 0.5))
    x, y = images(4, (3, 5, 2), 4), np.array([0, 1, 2, 0], "int32")
    z = model.encode(x, y)
    terms = model.terms(x, y, num_samples=3, seed=0)
    np.testing.assert_allclose(terms.z, np.stack([z] * 3), atol=1e-3)
    assert np.abs(z[0] - z[1:]).max(axis=1).min() > 0.01
    other = model.encode(x, (y + 1) % 3)
    assert np.abs(other - z).max(axis=1).min() > 0.01


def test_joint_distribution():
    """Draws of the prior have its density: E_p[r(z) / p(z)] = 1 for a density r inside p."""
    model = ResNetIAFVAE([2, 2, 1], 2, num_features=1, **TINY)
    randomize(model, scale=0.2)
    y = np.array([[-2.0], [2.0]], "float32")
    joint = model.distribution(y)
    z, x = joint.sample(5000, seed=(0, 1))
    assert (z.shape, x.shape) == ((5000, 2, 4), (5000, 2, 2, 2, 1))
    log_pz = model.prior(model.condition(y, 2)).log_prob(z)
    np.testing.assert_allclose(
        joint.log_prob([z, x]) - log_pz,
        model.likelihood(z, model.condition(y, 2)).log_prob(x),
        rtol=1e-4,
    )
    mean, deviation = tf.reduce_mean(z, 0), 0.7 * tf.math.reduce_std(z, 0)
    normalised = (z - mean) / deviation
    log_r = -tf.reduce_sum(0.5 * normalised**2 + tf.math.log(deviation * np.sqrt(2 * np.pi)), -1)
    np.testing.assert_allclose(tf.reduce_mean(tf.exp(log_r - log_pz), 0), 1.0, atol=0.05)
    assert np.abs(mean[0] - mean[1]).max() > 0.1  # the condition reaches the prior


def test_rows_of_the_kl_are_layers_and_channels():
    """Moving the posterior's mean in one channel of the top layer by 3 standard deviations raises
    that row, by about 3^2 / 2 at each of 2x2 places; the layer's other row stays. Free bits then
    hold each of the other rows at the floor."""
    model = ResNetIAFVAE([8, 8, 1], 2, num_flows=0, **TINY)
    x = images(16, (8, 8, 1), 2)
    model.initialize(x)
    before = model.terms(x, seed=0).kl
    bias = model.layers_upwards[-1].up_first.bias
    bias.assign(bias + 3.0 * np.eye(bias.shape[0])[1])
    after = model.terms(x, seed=0).kl
    change = tf.reduce_mean(after - before, axis=1).numpy()
    assert 12.0 < change[1] < 24.0
    np.testing.assert_allclose(change[0], 0.0, atol=1e-5)
    floor = 10.0
    state = model.seeds.state.numpy()
    terms = ELBO(free_bits=floor)(model, x)
    model.seeds.state.assign(state)
    rows = tf.reduce_mean(model.terms(x).kl, axis=1).numpy()
    assert rows[1] > floor > np.delete(rows, 1).max()
    rate = terms["loss"] - terms["reconstruction"]
    np.testing.assert_allclose(rate, rows[1] + 3 * floor, rtol=1e-5)


def test_initialisation(monkeypatch):
    """A second pass over the first batch has outputs of mean 0 and the stated deviation in every
    convolution; p(x | z) starts from the pixels' frequency; only the first batch counts."""
    model = ResNetIAFVAE([8, 8, 1], 2, **{**TINY, "depths": (2, 1), "num_flows": 2})
    model.top.assign([0.5, -0.5, 1.0, -1.0])
    x = (np.random.default_rng(0).random((64, 8, 8, 1)) < 0.2).astype("uint8")
    model.initialize(x)
    outputs = {}

    def record(layer, inputs):
        outputs[layer.path] = (layer, layer._output(inputs))
        return outputs[layer.path][1]

    for kind in (WeightNormConv2D, WeightNormMaskedConv2D):
        monkeypatch.setattr(kind, "call", record)
    model.terms(x, seed=0)
    gains = []
    for layer, y in outputs.values():
        values = tf.reshape(y, [-1, y.shape[-1]])
        np.testing.assert_allclose(tf.reduce_mean(values, 0), 0.0, atol=1e-4)
        np.testing.assert_allclose(tf.math.reduce_std(values, 0), layer.gain, rtol=1e-3)
        gains.append(layer.gain)
    assert len(outputs) == len([part for part in model._flatten_layers() if hasattr(part, "gain")])
    assert sorted(set(gains)) == [0.1, 1.0]
    mean = x.mean()
    np.testing.assert_allclose(model.output_bias, [[[[np.log(mean / (1 - mean))]]]], rtol=1e-5)
    weights = model.get_weights()
    model.initialize(1 - x)
    for value, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_top_is_not_blown_up_by_initialisation():
    """The vector at the top starts at zero, where its convolution's output does not vary."""
    model = ResNetIAFVAE([8, 8, 1], 2, **TINY)
    model.initialize(images(8, (8, 8, 1), 2))
    top = model.layers_upwards[-1]
    np.testing.assert_array_equal(top.down_first.length, np.full(top.down_first.units, 0.1, "f"))


def test_only_inference_runs_the_flow(monkeypatch):
    """Samples, decoded latents and the prior do without it; so does a posterior without flows."""
    model = wide_posterior(1)
    gaussian = wide_posterior(0)
    x = images(3, (2, 3, 1), 2)
    z = model.encode(x)
    sample, decoded = model.sample(4, seed=0), model.decode(z)

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(IAFStep, "call", refuse)
    np.testing.assert_array_equal(model.sample(4, seed=0), sample)
    np.testing.assert_array_equal(model.decode(z), decoded)
    model.prior().log_prob(z)
    gaussian.log_prob(x)
    with pytest.raises(AssertionError):
        model.log_prob(x)


def test_context_reaches_the_posterior():
    """From both passes, and through nothing but the flow: the base stays."""
    model = wide_posterior(1)
    x = images(3, (2, 3, 1), 2)
    z = model.encode(x)
    lowest = model.layers_upwards[0]
    for convolution, sizes in (
        (lowest.up_first, lowest.up_sizes),
        (lowest.down_first, lowest.down_sizes),
    ):
        first = sum(sizes[:-2])  # then the context, then the features
        bias = convolution.bias.numpy()
        moved = bias.copy()
        moved[first : first + 4] += 1.0
        convolution.bias.assign(moved)
        other = model.encode(x)
        convolution.bias.assign(bias)
        size = model.latent_sizes[-1]
        np.testing.assert_array_equal(other[:, :-size], z[:, :-size])
        # All but the first value of the lowest layer, which sees nothing.
        assert np.abs(other - z)[:, -size + 1 :].min() > 0
        np.testing.assert_array_equal(other[:, -size], z[:, -size])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_precision(policy):
    """Latents, their densities and the likelihood are float32 where networks compute in bfloat16,
    and float64 under float64."""
    arguments = {**TINY, "num_flows": 2, "event_shape": [4, 4, 1], "num_levels": 16}
    single = ResNetIAFVAE(**arguments)
    model = ResNetIAFVAE(dtype=policy, **arguments)
    assert model.layers_upwards[0].flows[1].outputs.compute_dtype == policy.removeprefix("mixed_")
    randomize(single, scale=0.1)
    model.set_weights(single.get_weights())
    x = images(4, (4, 4, 1), 16)
    expected = tf.float64 if policy == "float64" else tf.float32
    assert {value.dtype for value in model.terms(x, seed=0)[:5]} == {expected}
    z = model.prior().sample(2, seed=(0, 1))
    np.testing.assert_allclose(model.decode(z), single.decode(tf.cast(z, "float32")), rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": [8]}, r"event_shape must be \(H, W, C\); received: \(8,\)"),
        ({"depths": []}, "depths must be a list of at least one integer"),
        ({"depths": (2, 0)}, "depths must be an integer >= 1; received: 0"),
        ({"filters": 1}, "filters must be at least latent_channels=2; received: 1"),
        ({"num_flows": -1}, "num_flows must be an integer >= 0; received: -1"),
        ({"flow_depth": 0}, "flow_depth must be an integer >= 1; received: 0"),
        ({"transformer": "gated"}, "transformer must be a specification"),
        ({"likelihood": {"type": "Gaussian"}}, "likelihood must be one for data with num_levels=4"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNetIAFVAE(**{"event_shape": [4, 4, 1], "num_levels": 4, **TINY, **arguments})


def test_signatures_in_a_graph():
    """With a free batch dimension, as exports have it: the numbers of the live model."""
    model = ResNetIAFVAE([3, 5, 1], 4, num_flows=2, **TINY)
    randomize(model)
    x = images(3, (3, 5, 1), 4)
    z = model.encode(x)
    seed = np.array([0, 5], "int32")
    expected = {
        "log_prob": ([x], model.log_prob(x, seed=0)),
        "encode": ([x], z),
        "decode": ([z], model.decode(z)),
        "reconstruct": ([x], model.decode(z)),
        "sample": ([np.int32(3), seed], model.sample(3, seed=seed)),
    }
    signatures = model.signatures()
    assert set(signatures) == set(expected)
    for name, (inputs, values) in expected.items():
        function, specs = signatures[name]
        (found,) = tf.function(function, input_signature=specs)(*inputs).values()
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5, err_msg=name)
