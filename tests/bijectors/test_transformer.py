import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import (
    AdditiveTransformer,
    AffineTransformer,
    ChannelCoupling,
    GatedTransformer,
    LocationScaleTransformer,
    RationalQuadraticSplineTransformer,
    VectorCoupling,
)
from tfgen.layers import ResidualNetwork
from tfgen.models import MAF, RealNVP

KINDS = [
    AdditiveTransformer,
    AffineTransformer,
    LocationScaleTransformer,
    GatedTransformer,
    RationalQuadraticSplineTransformer,
]


def made(kind, dtype="float64"):
    transformer = kind(dtype=dtype)
    transformer.build((None, 3))
    randomize(transformer)
    return transformer


@pytest.fixture(params=KINDS)
def transformer(request):
    return made(request.param)


def test_zero_parameters_are_exactly_the_identity(transformer):
    z = 3.0 * np.random.default_rng(0).standard_normal((400, 3))
    zeros = tf.zeros([400, 3 * transformer.num_parameters], tf.float64)
    for function in (transformer.forward, transformer.inverse):
        x, log_derivative = function(tf.constant(z), zeros)
        if transformer.zeros_are_identity:
            np.testing.assert_array_equal(x, z)
            np.testing.assert_array_equal(log_derivative, 0.0)
        else:
            assert np.abs(x - z).max() > 0.1


@pytest.mark.parametrize("magnitude", [1.0, 1e3])
def test_inverse_and_derivatives(transformer, magnitude):
    rng = np.random.default_rng(1)
    is_spline = isinstance(transformer, RationalQuadraticSplineTransformer)
    # Slopes and bins of 1e-3 cost a spline some digits; its inside is 5 either way.
    tolerance = 1e-7 if is_spline else 1e-12
    z = tf.constant((3.0 if is_spline else magnitude) * rng.standard_normal((40, 3)))
    parameters = rng.standard_normal((40, 3 * transformer.num_parameters))
    parameters = tf.constant(magnitude * parameters)
    with tf.GradientTape() as tape:
        tape.watch(z)
        x, log_derivative = transformer.forward(z, parameters)
    derivative = tape.gradient(x, z)
    np.testing.assert_allclose(log_derivative, np.log(derivative), atol=tolerance)
    again, inverse_log_derivative = transformer.inverse(x, parameters)
    np.testing.assert_allclose(again, z, rtol=tolerance, atol=tolerance * magnitude)
    np.testing.assert_allclose(inverse_log_derivative, -log_derivative, atol=1e3 * tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_everywhere(kind):
    """Far tails, the ends of the spline, its inner knots; parameters from zero to 1e3; float32."""
    transformer = made(kind, "float32")
    edges = 5.0 * (1.0 + np.array([-2e-5, -1e-5, -1e-6, -1e-7, 0.0, 1e-7, 1e-5]))
    values = np.concatenate([[0.0, 1.25, 1e3, 1e30], edges])
    values = np.concatenate([values, -values])[:, None] * np.ones(3)
    tails = np.array([[1e3, -1e3, 1e3], [-700.0, 1e3, 5.1]])
    rng = np.random.default_rng(0)
    for x in (values, tails):
        for scale in (0.0, 3.0, 1e3):
            parameters = scale * rng.standard_normal((len(x), 3 * transformer.num_parameters))
            for function in (transformer.forward, transformer.inverse):
                inputs = [tf.constant(a, tf.float32) for a in (x, parameters)]
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    outputs = function(*inputs)
                gradients = tape.gradient(outputs, inputs)
                for array in (*outputs, gradients[0], gradients[1]):
                    assert array is None or np.isfinite(array).all()


def test_affine_log_scale_is_bounded_per_channel():
    transformer = AffineTransformer(bound=2.0)
    transformer.build((None, 3))
    transformer.largest_log_scale.assign([0.5, 1.0, 2.0])
    parameters = tf.constant([[1e4, -1e4, 1e4, 0.0, 0.0, 7.0]])
    x, log_derivative = transformer.forward(tf.ones([1, 3]), parameters)
    np.testing.assert_allclose(log_derivative, [[0.5, -1.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(
        x, np.exp([[0.5, -1.0, 2.0]]) + np.array([[0.0, 0.0, 7.0]]), rtol=1e-6
    )


def test_location_scale_is_the_unbounded_map_near_zero_and_bounded_far_off():
    transformer = LocationScaleTransformer(bound=4.0)
    raw, location = np.array([[0.05, -0.1, 1e6]]), np.array([[2.0, -1.0, 3.0]])
    parameters = tf.constant(np.concatenate([raw, location], 1))
    u, log_derivative = transformer.inverse(tf.ones([1, 3], tf.float64), parameters)
    expected = np.array([[0.05, -0.1, 4.0]])
    np.testing.assert_allclose(-log_derivative, expected, atol=3e-5)
    np.testing.assert_allclose(u, (1.0 - location) * np.exp(-expected), rtol=1e-4)


def test_gated_update_is_the_published_one():
    transformer = GatedTransformer(forget_bias=1.5, bound=1e6)
    x, s, m = np.random.default_rng(0).standard_normal((3, 4, 2))
    parameters = tf.constant(np.concatenate([s, m], -1))
    z, log_derivative = transformer.inverse(tf.constant(x), parameters)
    gate = special.expit(s + 1.5)
    np.testing.assert_allclose(z, gate * x + (1.0 - gate) * m, rtol=1e-9)
    np.testing.assert_allclose(log_derivative, np.log(gate), rtol=1e-9)
    # A closed gate: the logarithm of a sigmoid that underflows would be infinite.
    parameters = tf.constant([[-200.0, 0.5]])
    _, log_derivative = transformer.inverse(tf.ones([1, 1]), parameters)
    np.testing.assert_allclose(log_derivative, -198.5, rtol=1e-4)


def test_spline_is_that_of_its_knots():
    transformer = RationalQuadraticSplineTransformer(num_bins=4, bound=3.0, dtype="float64")
    parameters = np.random.default_rng(0).standard_normal((1, 1, 11))
    widths, heights = (
        6.0 * (1e-3 + (1.0 - 4e-3) * special.softmax(parameters[..., part], axis=-1))
        for part in (slice(0, 4), slice(4, 8))
    )
    slopes = np.exp(math.log(1e3) * np.tanh(parameters[..., 8:] / math.log(1e3)))
    z = np.linspace(-3.5, 3.5, 701)[:, None]
    x, log_derivative = transformer.forward(
        tf.constant(z), tf.constant(np.repeat(parameters[0], 701, 0))
    )
    spline = tfp.bijectors.RationalQuadraticSpline(widths, heights, slopes, range_min=-3.0)
    inside = np.abs(z) < 2.99
    np.testing.assert_allclose(x[inside], spline.forward(z)[inside], rtol=1e-12)
    np.testing.assert_allclose(
        log_derivative[inside], spline.forward_log_det_jacobian(z, 0)[inside], atol=1e-12
    )
    outside = np.abs(z) >= 3.0
    np.testing.assert_array_equal(x[outside], z[outside])
    np.testing.assert_array_equal(log_derivative[outside], 0.0)
    steps = np.diff(np.ravel(x))
    assert (steps > 0).all()
    assert steps.max() < 0.01 * np.exp(np.max(log_derivative)) * 1.01  # no jump at the ends
    # Knots go to knots.
    knots = [np.cumsum(sizes)[:3] - 3.0 for sizes in (widths, heights)]
    x, log_derivative = transformer.forward(
        tf.constant(knots[0][:, None]), tf.constant(np.repeat(parameters[0], 3, 0))
    )
    np.testing.assert_allclose(np.ravel(x), knots[1], atol=1e-9)
    np.testing.assert_allclose(np.ravel(np.exp(log_derivative)), slopes.ravel(), rtol=1e-7)


def test_spline_starts_to_learn_from_zero():
    """The correction that makes the identity exact is no part of the gradient."""
    transformer = RationalQuadraticSplineTransformer()
    z, parameters = tf.constant([[1.3]]), tf.zeros([1, 23])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z, parameters])
        x, log_derivative = transformer.forward(z, parameters)
    for y in (x, log_derivative):
        assert np.abs(tape.gradient(y, parameters)).max() > 1e-3
    np.testing.assert_allclose(tape.gradient(x, z), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", [LocationScaleTransformer, GatedTransformer, RationalQuadraticSplineTransformer]
)
@pytest.mark.parametrize("coupling", [VectorCoupling, ChannelCoupling])
def test_in_a_coupling(coupling, kind):
    size = 4 if coupling is VectorCoupling else 2
    transformer = kind(dtype="float64")
    network = ResidualNetwork(transformer.num_parameters * size, 4, 1, dtype="float64")
    layer = coupling(network, 1, transformer, dtype="float64")
    x = 2.0 * np.random.default_rng(0).standard_normal((3, 4))
    layer(x)
    randomize(layer)
    check_bijector(layer, x)
    z = layer(x)[0]
    kept = [0, 2] if coupling is VectorCoupling else [0, 1]
    changed = [1, 3] if coupling is VectorCoupling else [2, 3]
    np.testing.assert_array_equal(z.numpy()[:, kept], x[:, kept])
    assert (np.abs(z - x)[:, changed].max(0) > 1e-3).all()


SPLINE = {"type": "RationalQuadraticSplineTransformer", "num_bins": 3, "bound": 4.0}


@pytest.mark.parametrize(
    ("model", "event_shape", "arguments"),
    [
        (RealNVP, [2, 1, 2], {"num_couplings": 1, "filters": 4, "num_blocks": 1, "num_scales": 1}),
        (MAF, [3], {"num_layers": 1, "hidden": [5]}),
    ],
)
def test_spline_flows_need_no_new_model(model, event_shape, arguments):
    flow = model(event_shape, transformer=SPLINE, dtype="float64", **arguments)
    randomize(flow)
    x = 2.0 * np.random.default_rng(0).standard_normal((5, *event_shape))
    z, log_det = flow.bijector(x)
    again, forward_log_det = flow.bijector.forward_and_log_det(z)
    np.testing.assert_allclose(again, x, atol=1e-8)
    np.testing.assert_allclose(forward_log_det, -log_det, atol=1e-8)
    far = flow.bijector(x + 1e3)[1]
    assert np.abs(log_det - far).min() > 1e-3  # a spline, which is the identity far out
    loaded = model.from_config(flow.get_config())
    loaded.set_weights(flow.get_weights())
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    for wrong, message in [
        ({"type": "ActNorm"}, "transformer must be that of a Transformer; received: 'ActNorm'"),
        (AffineTransformer(), "transformer must be a specification, a mapping; received"),
    ]:
        with pytest.raises(ValueError, match=message):
            model(event_shape, transformer=wrong, **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocationScaleTransformer(bound=0.0), "bound must be positive; received: 0.0"),
        (lambda: GatedTransformer(bound=-1.0), "bound must be positive; received: -1.0"),
        (
            lambda: RationalQuadraticSplineTransformer(num_bins=1),
            "num_bins must be an integer >= 2; received: 1",
        ),
        (
            lambda: RationalQuadraticSplineTransformer(num_bins=1000),
            "num_bins must be below 1000; received: 1000",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
