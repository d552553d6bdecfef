import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import check_bijector
from tfgen.bijectors import Fixed, OrderedSqueeze, Squeeze

tfb, tfd = tfp.bijectors, tfp.distributions
SQUEEZES = [Squeeze, OrderedSqueeze]


def numbered(height, width, channels):
    return np.arange(height * width * channels, dtype="float64").reshape(1, height, width, channels)


def test_squeeze_channel_order():
    x = numbered(4, 6, 3)
    z = Squeeze().inverse(x).numpy()
    assert z.shape == (1, 2, 3, 12)
    for i, j, c, dy, dx in np.ndindex(2, 3, 3, 2, 2):
        assert z[0, i, j, 4 * c + 2 * dy + dx] == x[0, 2 * i + dy, 2 * j + dx, c]


def test_ordered_squeeze_slot_order():
    x = numbered(4, 6, 3)
    z = OrderedSqueeze().inverse(x).numpy()
    places = [(0, 0), (1, 1), (0, 1), (1, 0)]
    for i, j, c, slot in np.ndindex(2, 3, 3, 4):
        dy, dx = places[slot]
        assert z[0, i, j, 3 * slot + c] == x[0, 2 * i + dy, 2 * j + dx, c]


def test_first_half_of_an_ordered_squeeze_is_the_even_checkerboard():
    x = numbered(6, 4, 2)
    kept = OrderedSqueeze().inverse(x).numpy()[..., :4]
    rows, columns = np.indices((6, 4))
    assert set(kept.ravel()) == set(x[0, (rows + columns) % 2 == 0].ravel())


@pytest.mark.parametrize("squeeze", SQUEEZES)
def test_bijector(squeeze):
    z = np.random.default_rng(0).standard_normal((2, 2, 1, 8))
    check_bijector(Fixed(squeeze(), 3, dtype="float64"), z, tolerance=0.0)


@pytest.mark.parametrize("squeeze", SQUEEZES)
def test_alone_in_tfp(squeeze):
    """Shapes, any number of batch dimensions, and a density that no squeeze may change."""
    bijector = squeeze()
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 6, 2))
    z = bijector.inverse(x)
    assert z.shape == (2, 3, 2, 3, 8)
    assert bijector.inverse_event_shape([4, 6, 2]) == [2, 3, 8]
    assert bijector.forward_event_shape([2, 3, 8]) == [4, 6, 2]
    np.testing.assert_array_equal(bijector.inverse_event_shape_tensor([4, 6, 2]), [2, 3, 8])
    np.testing.assert_array_equal(bijector.forward_event_shape_tensor([2, 3, 8]), [4, 6, 2])
    np.testing.assert_array_equal(tfb.Invert(bijector).inverse(z), x)
    base = tfd.Independent(tfd.Normal(tf.zeros([2, 3, 8], tf.float64), 1.0), 3)
    density = tfd.TransformedDistribution(base, bijector)
    assert density.event_shape == (4, 6, 2)
    np.testing.assert_allclose(
        density.log_prob(x), tfd.Normal(0.0, 1.0).log_prob(x).numpy().sum((2, 3, 4)), rtol=1e-6
    )


@pytest.mark.parametrize("squeeze", SQUEEZES)
def test_odd_sizes_are_refused(squeeze):
    with pytest.raises(ValueError, match=r"height and width must be even; received: \(3, 4\)"):
        squeeze().inverse(np.zeros((1, 3, 4, 1)))
    with pytest.raises(ValueError, match="channels must be divisible by 4; received: 6"):
        squeeze().forward(np.zeros((1, 2, 2, 6)))
