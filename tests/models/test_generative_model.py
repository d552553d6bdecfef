"""The base class, on the smallest flow there is: an affine map of each column."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_model
from tfgen.bijectors import Bijector
from tfgen.models import Flow
from tfgen.objectives import Objective, Player


class Affine(Bijector):
    def _create_variables(self, event_shape):
        self.loc = self._add_float_weight("loc", event_shape, initializer="zeros")
        self.log_scale = self._add_float_weight("log_scale", event_shape, initializer="zeros")

    def _forward(self, z, condition):
        return self.loc + tf.exp(self.log_scale) * z, self._log_det(z)

    def _inverse(self, x, condition):
        return (x - self.loc) * tf.exp(-self.log_scale), -self._log_det(x)

    def _log_det(self, x):
        return tf.fill(tf.shape(x)[:1], tf.reduce_sum(self.log_scale))


class AffineFlow(Flow):
    """N(loc, scale^2) for each column."""

    def __init__(self, event_shape, **kwargs):
        super().__init__(event_shape, **kwargs)
        self.bijector = Affine()


def data(num=256, dims=3):
    rng = np.random.default_rng(0)
    return (3.0 * rng.standard_normal((num, dims)) + 1.0).astype("float32")


def test_conformance():
    check_model(AffineFlow((3,), name="renamed"), data(16))


def test_log_prob_is_the_normal_density():
    model = AffineFlow((3,))
    model.bijector.loc.assign([1.0, 2.0, 3.0])
    model.bijector.log_scale.assign([0.0, 0.5, -0.5])
    x = data(5)
    expected = -0.5 * np.log(2 * np.pi) - np.array([0.0, 0.5, -0.5])
    expected = expected - 0.5 * ((x - [1, 2, 3]) / np.exp([0.0, 0.5, -0.5])) ** 2
    np.testing.assert_allclose(model.log_prob(x), expected.sum(1), rtol=1e-5)


def test_fit_reports_means_over_the_epoch():
    model = AffineFlow((3,))
    x = data(96)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    history = model.fit(x, batch_size=32, epochs=1, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(-np.mean(model.log_prob(x)), rel=1e-5)
    assert model.evaluate(x, batch_size=32, verbose=0, return_dict=True)[
        "log_prob"
    ] == pytest.approx(np.mean(model.log_prob(x)), rel=1e-5)


def test_averaged_weights_are_used_by_evaluate_and_left_by_fit():
    model = AffineFlow((3,))
    x = data(64)
    momentum = 0.9
    model.compile(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=momentum))
    trajectory = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            trajectory.append(self.model.bijector.loc.numpy())
            self.evaluated = self.model.evaluate(x, verbose=0, return_dict=True)["log_prob"]
            with self.model.averaged_weights():
                self.averaged = np.mean(self.model.log_prob(x))
            self.raw = np.mean(self.model.log_prob(x))

    watch = Watch()
    model.fit(x, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=[watch])
    average = trajectory[0]
    for value in trajectory[1:]:
        average = momentum * average + (1 - momentum) * value
    np.testing.assert_allclose(model.bijector.loc, average, rtol=1e-5)
    assert watch.evaluated == pytest.approx(watch.averaged, rel=1e-5)
    assert watch.evaluated != pytest.approx(watch.raw, rel=1e-3)


class TwoPlayers(Objective):
    """Each column's location against its own target."""

    def players(self, model):
        loc, log_scale = model.trainable_variables

        def loss(variable, target):
            def terms(x, y):
                error = tf.reduce_sum((variable - target) ** 2)
                return {"loss": tf.fill(tf.shape(x)[:1], error)}

            return terms

        return [
            Player("loc", loss(loc, 1.0), [loc]),
            Player("scale", loss(log_scale, 2.0), [log_scale]),
        ]


def test_each_player_moves_its_own_variables():
    model = AffineFlow((3,))
    model.compile(TwoPlayers(), keras.optimizers.SGD(0.25))
    history = model.fit(data(8), batch_size=8, verbose=0).history
    np.testing.assert_allclose(model.bijector.loc, 0.5)  # 0 - 0.25 * 2 (0 - 1)
    np.testing.assert_allclose(model.bijector.log_scale, 1.0)  # 0 - 0.25 * 2 (0 - 2)
    norms = {name: history.pop(f"{name}/gradient_norm") for name in ("loc", "scale")}
    assert history == {"loc/loss": [3.0], "scale/loss": [12.0]}
    np.testing.assert_allclose(norms["loc"] + norms["scale"], np.sqrt(3) * np.array([2.0, 4.0]))


def test_flow_is_a_tfp_distribution():
    import tensorflow_probability as tfp

    model = AffineFlow((3,))
    model.bijector.loc.assign([1.0, 2.0, 3.0])
    model.bijector.log_scale.assign([0.0, 0.5, -0.5])
    distribution = model.distribution()
    assert isinstance(distribution, tfp.distributions.Distribution)
    x = data(6)
    np.testing.assert_allclose(distribution.log_prob(x), model.log_prob(x), rtol=1e-5)
    # Any leading shape, as TFP's own.
    np.testing.assert_allclose(
        distribution.log_prob(x.reshape(2, 3, 3)), np.reshape(model.log_prob(x), (2, 3)), rtol=1e-5
    )
    chained = tfp.bijectors.Chain([tfp.bijectors.Shift([5.0, 5.0, 5.0]), model.as_tfp()])
    z = tf.random.stateless_normal((4, 3), (0, 1))
    np.testing.assert_allclose(chained.forward(z), model.decode(z) + 5.0, rtol=1e-5)
    np.testing.assert_allclose(chained.inverse(chained.forward(z)), z, atol=1e-5)
    samples = distribution.sample(20_000, seed=(1, 2))
    np.testing.assert_allclose(np.mean(samples, 0), [1, 2, 3], atol=0.06)
    # Its gradients reach the layer's variables.
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(model.distribution().log_prob(x))
    assert tape.gradient(loss, model.bijector.loc.value) is not None


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_likelihoods_in_float32(policy):
    model = AffineFlow((3,), dtype=policy)
    x = data(32)
    reference = AffineFlow((3,))
    np.testing.assert_allclose(model.log_prob(x), reference.log_prob(x), rtol=1e-6)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    history = model.fit(x, batch_size=32, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_uniform_flow_is_eight_bits():
    class Nothing(Flow):
        """u is uniform on [0, 1)."""

        def __init__(self, event_shape, **kwargs):
            super().__init__(event_shape, **kwargs)
            self.bijector = Affine()

        def base(self, condition=None):
            import tensorflow_probability as tfp

            zeros = tf.zeros(self.latent_shape)
            return tfp.distributions.Independent(tfp.distributions.Uniform(zeros, 1.0), 3)

    for num_levels, bits in ((256, 8.0), (32, 5.0)):
        model = Nothing((2, 2, 1), num_levels=num_levels)
        x = np.random.default_rng(0).integers(0, num_levels, (16, 2, 2, 1)).astype("uint8")
        bits_per_dim = -model.log_prob(x) / (4 * np.log(2.0))
        np.testing.assert_allclose(bits_per_dim, bits, rtol=1e-6)
        assert model.likelihood_kind == "bound"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": (0, 2)}, "event_shape must be a list of positive integers"),
        ({"event_shape": (2,), "num_levels": 1}, "num_levels must be an integer >= 2; received: 1"),
        ({"event_shape": (2,), "num_levels": 300}, "num_levels must be at most 256"),
        ({"event_shape": (2,), "num_classes": 1}, "num_classes must be an integer >= 2"),
        ({"event_shape": (2,), "num_classes": 3, "num_features": 2}, "num_classes must be None"),
    ],
)
def test_constructor_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        AffineFlow(**arguments)


def test_fit_refuses_bad_data_before_training():
    model = AffineFlow((2, 2, 1), num_levels=256)
    model.compile()
    before = model.bijector.loc.numpy()
    with pytest.raises(ValueError, match=r"x must be integers 0..255 .*float32"):
        model.fit(np.random.rand(8, 2, 2, 1).astype("float32"), verbose=0)
    with pytest.raises(ValueError, match="x must be an array with at least one example"):
        model.fit(np.zeros((0, 2, 2, 1), "uint8"), verbose=0)
    with pytest.raises(ValueError, match="y must be None"):
        model.fit(np.zeros((8, 2, 2, 1), "uint8"), np.zeros(8, "int32"), verbose=0)
    np.testing.assert_array_equal(model.bijector.loc, before)


def test_conditions_are_labels_or_features():
    model = AffineFlow((2,), num_classes=3)
    np.testing.assert_array_equal(model.condition([2, 0], 2), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(model.condition(1, 2), [[0, 1, 0], [0, 1, 0]])
    with pytest.raises(ValueError, match=r"y must be labels 0\.\.2; received"):
        model.condition([0, 3], 2)
    with pytest.raises(ValueError, match="y must be integer labels"):
        model.condition([0.5, 1.0], 2)
    with pytest.raises(ValueError, match="y must be given"):
        model.condition(None, 2)
    featured = AffineFlow((2,), num_features=2)
    np.testing.assert_array_equal(featured.condition([1.0, 2.0], 2), [[1, 2], [1, 2]])
    with pytest.raises(ValueError, match=r"y must be features of shape \['B', 2\]"):
        featured.condition(np.zeros((2, 3)), 2)


def test_wrong_backend_is_named():
    import subprocess
    import sys

    code = "import os; os.environ['KERAS_BACKEND'] = 'numpy'; import tfgen"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "tfgen needs Keras's TensorFlow backend; received: 'numpy'" in run.stderr
