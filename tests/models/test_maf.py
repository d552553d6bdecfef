import contextlib
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import check_bijector, check_model, randomize
from tests.export_checks import check_export
from tfgen.bijectors import BatchNorm, MaskedAutoregressive
from tfgen.bijectors.batch_norm import batch_norms
from tfgen.data import Split as DataSplit
from tfgen.models import MADE, MAF
from tfgen.training.callbacks import Validation

tfd = tfp.distributions


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def small(event_shape, scale=0.3, **arguments):
    model = MAF(event_shape, **{"num_layers": 2, "hidden": [6], "activation": "tanh"} | arguments)
    randomize(model, scale=scale)
    for index, layer in enumerate(batch_norms(model)):
        layer.mean.assign(0.5 * normal(*layer.mean.shape, seed=index))
        layer.variance.assign(0.5 + np.abs(normal(*layer.mean.shape, seed=index)))
    return model


def draw(model, num, *args, **kwargs):
    """As exported, in a plain graph: nothing to compile."""
    return tf.function(lambda: model.sample(num, *args, **kwargs), autograph=False)().numpy()


IMAGES = dict(num_levels=17, num_classes=3, alpha=0.1, normalization="batch_norm", num_mixtures=2)


def image_data(num):
    x = np.random.default_rng(0).integers(0, 17, (num, 2, 2, 1)).astype("uint8")
    return x, np.arange(num) % 3


def test_conformance():
    model = small([3], num_layers=1, num_features=2, normalization="batch_norm")
    check_model(model, normal(8, 3).astype("float32"), normal(8, 2, seed=1).astype("float32"))


def test_export(tmp_path):
    """Conditional images through batch normalisation to a mixture of Gaussians."""
    model = small([2, 2, 1], num_layers=1, **IMAGES)
    x, y = image_data(3)
    check_export(model, x, tmp_path, y.astype("int32"))


@pytest.mark.parametrize(
    ("event_shape", "arguments"),
    [
        ([4], {"num_features": 2, "normalization": "batch_norm"}),
        ([2, 1, 2], {"degrees": "random"}),
    ],
)
def test_log_det(event_shape, arguments):
    """The whole flow against its Jacobian; every weight and statistic is random."""
    model = small(event_shape, dtype="float64", **arguments)
    condition = normal(2, 2, seed=1) if "num_features" in arguments else None
    check_bijector(model.bijector, normal(2, *event_shape), condition)


def test_layers_alternate_their_order():
    model = small([4], num_layers=3, num_mixtures=2)
    steps = [s for s in model.bijector.bijectors if isinstance(s, MaskedAutoregressive)]
    forwards, backwards = [0, 1, 2, 3], [3, 2, 1, 0]
    networks = [*(s.network for s in steps), model.mixture.network]
    assert [list(n.order().numpy()) for n in networks] == [forwards, backwards] * 2


def test_batch_norm_follows_every_layer():
    model = small([4], num_layers=3, normalization="batch_norm")
    kinds = [type(step) for step in model.bijector.bijectors]
    assert kinds[2:-1] == [MaskedAutoregressive, BatchNorm] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 2, "normalization": "batch_norm", "num_classes": 3},
        {"num_layers": 1, "num_mixtures": 3},
    ],
)
def test_density_integrates_to_one(arguments):
    model = small([2], scale=0.6, **arguments)
    label = 2 if "num_classes" in arguments else None
    draws = draw(model, 1000, label, seed=0)
    low, high = draws.min(0) - 3.0 * draws.std(0), draws.max(0) + 3.0 * draws.std(0)
    axes = [np.linspace(a, b, 300) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(model.log_prob(grid.astype("float32"), label))
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    np.testing.assert_allclose(density.sum() * cell, 1.0, atol=1e-2)


def test_noise_of_samples_is_recovered():
    model = small([6], num_layers=3, num_features=2)
    z, y = normal(20, 6).astype("float32"), normal(20, 2).astype("float32")
    x, _ = model.bijector.forward_and_log_det(z, y)
    assert np.abs(x - z).max() > 0.5
    np.testing.assert_allclose(model.encode(x, y), z, atol=1e-4)


def test_made_mixture_of_gaussians_is_a_flow_without_layers():
    """ "MADE MoG", for images too: what `MADE` gives for the logits of the pixels."""
    model = small([3], num_layers=0, num_mixtures=4, num_classes=2)
    made = MADE(
        [3],
        num_features=2,
        hidden=[6],
        activation="tanh",
        likelihood={"type": "GaussianMixture", "num_mixtures": 4},
    )
    made.network.set_weights(model.mixture.network.get_weights())
    x, labels = normal(5, 3).astype("float32"), np.array([0, 1, 1, 0, 1])
    z, log_det = model.bijector(x)
    expected = made.log_prob(z, np.eye(2)[labels]) + log_det
    np.testing.assert_allclose(model.log_prob(x, labels), expected, rtol=1e-5)


@pytest.mark.parametrize("num_mixtures", [None, 2])
def test_composes_with_tfp(num_mixtures):
    model = small([3], num_features=2, num_mixtures=num_mixtures, dtype="float64")
    x, y = normal(4, 3), normal(4, 2, seed=1)
    distribution = model.distribution(y)
    assert distribution.batch_shape == [4]
    np.testing.assert_allclose(distribution.log_prob(x), model.log_prob(x, y), rtol=1e-10)
    # Every x under every y.
    expected = [model.log_prob(x, row) for row in y]
    every = distribution.log_prob(x[:, None])
    np.testing.assert_allclose(every, np.transpose(expected), rtol=1e-10)
    one = model.distribution(y[0])
    np.testing.assert_allclose(one.log_prob(x), model.log_prob(x, y[0]), rtol=1e-10)
    if num_mixtures:
        draws = tf.function(lambda: one.sample([2, 5], seed=1), autograph=False)()
        assert draws.shape == (2, 5, 3)
        assert np.isfinite(one.log_prob(draws)).all()
    base = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), [3])
    if not num_mixtures:
        transformed = tfd.TransformedDistribution(base, model.as_tfp(y[0]))
        np.testing.assert_allclose(transformed.log_prob(x), one.log_prob(x), rtol=1e-10)


def test_samples_follow_the_density():
    """Means of log p over samples of p are its negative entropy: two ways to one number."""
    model = small([2], num_layers=1, num_mixtures=3, scale=0.5)
    draws = draw(model, 20_000, seed=0)
    log_prob = model.log_prob(draws).numpy()
    low, high = np.min(draws, 0) - 3.0, np.max(draws, 0) + 3.0
    axes = [np.linspace(a, b, 400) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    log_density = model.log_prob(grid.astype("float32")).numpy()
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    entropy = -np.sum(np.exp(log_density) * log_density) * cell
    error = log_prob.std() / math.sqrt(len(log_prob))
    assert abs(-log_prob.mean() - entropy) < 4.0 * error + 1e-3


def test_temperature_narrows_samples_of_the_mixture_too():
    model = small([2], scale=0.1, num_layers=1, num_mixtures=2)
    spread = [np.std(draw(model, 500, seed=0, temperature=t)) for t in (0.1, 1.0)]
    assert spread[0] < 0.8 * spread[1]


def test_initialize_standardises_tables_and_the_base_starts_from_the_data():
    x = (normal(500, 3) * [1e-3, 1.0, 1e4] + [5.0, -2.0, 1e5]).astype("float32")
    model = MAF([3], num_layers=2, hidden=[8], num_mixtures=3)
    model.initialize(x)
    z = model.encode(x)
    np.testing.assert_allclose(np.mean(z, 0), 0.0, atol=1e-2)
    np.testing.assert_allclose(np.var(z, 0), 1.0, atol=1e-2)
    entropy = 1.5 * math.log(2.0 * math.pi * math.e) + math.log(1e-3 * 1e4)
    assert -np.mean(model.log_prob(x)) < entropy + 0.5


def test_extreme_values_stay_finite():
    for arguments in ({}, {"normalization": "batch_norm", "num_mixtures": 2}):
        model = small([3], num_layers=3, **arguments)
        x = (1e3 * normal(10, 3)).astype("float32")
        assert np.isfinite(model.log_prob(x)).all()
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.log_prob(x))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        assert all(np.isfinite(gradient).all() for gradient in gradients)


# ---------------------------------------------------------------------- batch normalisation


def shuffled_columns(num):
    """A table whose columns depend on each other and have long tails."""
    z = normal(num, 4)
    x = [z[:, 0], z[:, 0] ** 2 + 0.1 * z[:, 1], np.exp(0.5 * z[:, 1]) * z[:, 2]]
    return np.stack([*x, x[2] * x[1] + 0.1 * z[:, 3]], 1).astype("float32")


def test_evaluation_does_not_suffer_lagging_statistics():
    """Running averages with the published decay, and large steps: evaluation explodes. The same
    weights recalibrated: exactly what the statistics of the training set give."""
    train = shuffled_columns(1000)
    model = MAF([4], num_layers=5, hidden=[32], normalization="batch_norm")
    model.initialize(train)
    layers = batch_norms(model)
    running = [[layer.mean.numpy(), layer.variance.numpy()] for layer in layers]
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(model.trainable_variables)

    @tf.function
    def training_step(x):
        with tf.GradientTape() as tape, model._training():
            loss = -tf.reduce_mean(model.log_prob(x))
            moments, z = [], x
            for step in model.bijector.bijectors:
                if isinstance(step, BatchNorm):
                    moments.append(tf.nn.moments(z, 0))
                z = step(z)[0]
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss, moments

    rng = np.random.default_rng(0)
    for _ in range(60):
        loss, moments = training_step(train[rng.permutation(1000)[:100]])
        for average, batch in zip(running, moments, strict=True):
            for index in range(2):
                average[index] = 0.9 * average[index] + 0.1 * batch[index].numpy()

    # Training's view of the whole set: its exact statistics.
    with model._training():
        exact = model.log_prob(train).numpy()
    for layer, (mean, variance) in zip(layers, running, strict=True):
        layer.mean.assign(mean)
        layer.variance.assign(variance)
    lagging = model.log_prob(train).numpy()
    model.recalibrate(train, batch_size=300)
    recalibrated = model.log_prob(train).numpy()

    np.testing.assert_allclose(recalibrated, exact, rtol=1e-3, atol=1e-3)
    assert -exact.mean() < float(loss) + 1.0
    assert exact.mean() - lagging.mean() > 10.0


def test_fit_recalibrates_before_validation_and_at_the_end():
    x = shuffled_columns(256)
    model = MAF([4], num_layers=1, hidden=[8], normalization="batch_norm")
    model.compile(optimizer=keras.optimizers.Adam(1e-2), jit_compile=False)
    history = model.fit(x, batch_size=64, epochs=2, validation_data=(x,), verbose=0)
    with model._training():
        exact = np.mean(model.log_prob(x))
    np.testing.assert_allclose(np.mean(model.log_prob(x)), exact, rtol=1e-4)
    np.testing.assert_allclose(history.history["val_log_prob"][-1], exact, rtol=1e-4)


def test_a_run_validates_with_the_statistics_of_the_averaged_weights(monkeypatch):
    model = small([4], normalization="batch_norm")
    train = DataSplit(shuffled_columns(64))

    @contextlib.contextmanager
    def other_weights():
        for variable in model.trainable_variables:
            variable.assign(0.5 * variable)
        yield

    def evaluate(split):
        with model._training():
            exact = model.log_prob(train.x)
        np.testing.assert_allclose(model.log_prob(train.x), exact, rtol=1e-3, atol=1e-3)
        validated.append(split)
        return {"metric": "nats", "nats": 1.0}

    class Anything:
        step, best_value = tf.Variable(0), 0.0

        def write(self, *args):
            pass

    validated = []
    monkeypatch.setattr(model, "averaged_weights", other_weights)
    split = DataSplit(shuffled_columns(8))
    parts = (evaluate, split, train, Anything(), Anything(), Anything())
    validation = Validation(0, 1, 1, *parts)
    validation.set_model(model)
    validation.on_step(1, {})
    assert validated == [split]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "num_layers must be an integer >= 1; received: 0"),
        (
            {"normalization": "layer_norm"},
            "normalization must be one of 'actnorm', 'batch_norm'; received: 'layer_norm'",
        ),
        ({"num_mixtures": 0}, "num_mixtures must be an integer >= 1; received: 0"),
        ({"hidden": [0]}, "units must be an integer >= 1; received: 0"),
        ({"num_levels": 4, "alpha": 0.6}, "alpha must be at least 0 and below 0.5"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MAF([4], **arguments)
