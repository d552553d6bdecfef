import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_bijector, randomize
from tfgen.bijectors import (
    ActNorm,
    AdditiveTransformer,
    AffineTransformer,
    ChannelCoupling,
    CheckerboardCoupling,
    OnFirstHalf,
    VectorCoupling,
)
from tfgen.layers import ResidualNetwork

IMAGE, VECTOR = (2, 3, 4), (5,)


def network(num_values, num_parameters=2):
    return ResidualNetwork(num_parameters * num_values, filters=4, num_blocks=1, dtype="float64")


def checkerboard(parity):
    return CheckerboardCoupling(network(4), parity, dtype="float64")


def vector(parity):
    return VectorCoupling(network(5), parity, dtype="float64")


def channel(half):
    return ChannelCoupling(network(2), half, dtype="float64")


def data(shape, seed=0):
    return np.random.default_rng(seed).standard_normal((3, *shape))


def changed_places(make, which):
    if make is checkerboard:
        rows, columns = np.indices(IMAGE[:2])
        return np.repeat(((rows + columns) % 2 == which)[..., None], 4, -1)
    if make is vector:
        return np.arange(5) % 2 == which
    places = np.zeros(IMAGE, bool)
    places[..., 2 * which : 2 * which + 2] = True
    return places


KINDS = [(checkerboard, IMAGE), (vector, VECTOR), (channel, IMAGE)]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("make", "shape"), KINDS)
def test_coupling(make, shape, which):
    layer = make(which)
    z = data(shape)

    # Identity at the start, exactly.
    x, log_det = layer.forward_and_log_det(z)
    np.testing.assert_array_equal(x, z)
    np.testing.assert_array_equal(log_det, 0.0)

    randomize(layer)
    check_bijector(layer, z)

    # The kept part passes; the changed part depends on all of the kept part and, of the changed
    # part, on the same entry only.
    with tf.GradientTape(persistent=True) as tape:
        z = tf.constant(z)
        tape.watch(z)
        x = layer.forward_and_log_det(z)[0]
    size = int(np.prod(shape))
    jacobian = tape.batch_jacobian(x, z, experimental_use_pfor=False)
    jacobian = np.abs(jacobian.numpy()).max(0).reshape(size, size)
    changed = changed_places(make, which).ravel()
    np.testing.assert_array_equal(jacobian[~changed], np.eye(size)[~changed])
    among_changed = jacobian[np.ix_(changed, changed)]
    np.testing.assert_array_equal(among_changed, np.diag(np.diag(among_changed)))
    assert (jacobian[np.ix_(changed, ~changed)].max(0) > 0).all()

    # Tails: networks are linear far out, log-scales bounded.
    far = 1e3 * data(shape, seed=1)
    x, log_det = layer.forward_and_log_det(far)
    assert np.isfinite(log_det).all()
    np.testing.assert_allclose(layer(x)[0], far, rtol=1e-9, atol=1e-8)


def test_additive_coupling_preserves_volume():
    transformer = AdditiveTransformer()
    layer = VectorCoupling(network(5, 1), 0, transformer, dtype="float64")
    layer(data(VECTOR))
    randomize(layer)
    check_bijector(layer, data(VECTOR))
    assert np.abs(layer(data(VECTOR))[0] - data(VECTOR)).max() > 0.1
    np.testing.assert_array_equal(layer(data(VECTOR))[1], 0.0)


def test_condition_reaches_the_network():
    condition = np.eye(3)
    layer = channel(1)
    layer(data(IMAGE), condition)
    randomize(layer)
    check_bijector(layer, data(IMAGE), condition)
    same = np.repeat(data(IMAGE)[:1], 3, 0)
    log_det = layer(same, condition)[1]
    assert len(set(np.round(log_det, 6))) == 3


def test_on_first_half():
    layer = OnFirstHalf(ActNorm(dtype="float64"), dtype="float64")
    layer(data(IMAGE))
    randomize(layer)
    check_bijector(layer, data(IMAGE))
    x, _ = layer.forward_and_log_det(data(IMAGE))
    np.testing.assert_array_equal(x[..., 2:], data(IMAGE)[..., 2:])
    assert (np.abs(x[..., :2] - data(IMAGE)[..., :2]) > 1e-3).all()


def test_refusals():
    with pytest.raises(ValueError, match="network must be of 10 outputs; received: 5"):
        VectorCoupling(network(5, 1), 0)(data(VECTOR))
    with pytest.raises(ValueError, match="at least two places"):
        VectorCoupling(network(1), 0)(data((1,)))
    with pytest.raises(ValueError, match="at least two channels; received: 1"):
        ChannelCoupling(network(1), 0)(data((2, 2, 1)))
    with pytest.raises(ValueError, match="even number of channels; received: 3"):
        OnFirstHalf(ActNorm())(data((2, 2, 3)))
    with pytest.raises(ValueError, match="parity must be one of 0, 1; received: 2"):
        CheckerboardCoupling(network(1), 2)


def test_arguments_survive_serialisation():
    layer = CheckerboardCoupling(network(4), 1, AffineTransformer(bound=0.5))
    again = CheckerboardCoupling.from_config(layer.get_config())
    assert again.parity == 1
    assert again.transformer.bound == 0.5
    assert again.network.num_outputs == 8
