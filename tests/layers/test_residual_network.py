import numpy as np
import pytest

from tests.conformance import randomize
from tfgen.layers import ResidualNetwork

IMAGE, VECTOR = (2, 6, 4, 3), (4, 3)


def data(shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize(
    ("shape", "patch_size"),
    [(IMAGE, 1), (IMAGE, 2), (VECTOR, 1)],
    ids=["image", "patches", "vector"],
)
def test_zero_at_the_start_and_conditioned(shape, patch_size):
    network = ResidualNetwork(5, filters=4, num_blocks=2, patch_size=patch_size)
    condition = np.eye(shape[0], dtype="float32")
    y = network(data(shape), condition)
    assert y.shape == (*shape[:-1], 5)
    np.testing.assert_array_equal(y, 0.0)
    randomize(network)
    same = np.repeat(data(shape)[:1], shape[0], 0)
    y = network(same, condition).numpy()
    assert np.abs(y[0] - y[1]).max() > 1e-3
    np.testing.assert_allclose(network(same[1:2], condition[1:2])[0], y[1], rtol=1e-4, atol=1e-5)


def test_patches_stay_in_place():
    """One 3x3 convolution over 2x2 patches: pixel (0, 0) reaches rows and columns 0 to 3."""
    network = ResidualNetwork(1, filters=8, num_blocks=0, patch_size=2)
    x = data((1, 8, 8, 1))
    network(x)
    randomize(network)
    moved = x.copy()
    moved[0, 0, 0, 0] += 10.0
    difference = np.abs(network(moved) - network(x))[0, :, :, 0]
    assert (difference[:4, :4] > 0).all()
    np.testing.assert_array_equal(difference[4:], 0.0)
    np.testing.assert_array_equal(difference[:, 4:], 0.0)


def test_knows_the_position():
    network = ResidualNetwork(1, filters=8, num_blocks=1)
    x = np.zeros((1, 7, 7, 1), "float32")
    network(x)
    randomize(network)
    network.position.assign(np.zeros_like(network.position))
    interior = network(x)[0, 3:-3, 3:-3, 0].numpy()
    position = np.zeros(network.position.shape, "float32")
    position[3, 3] = 1.0
    network.position.assign(position)
    assert np.abs(network(x)[0, 3, 3, 0] - interior).max() > 1e-4


def test_refusals():
    with pytest.raises(ValueError, match="patch_size must be a divisor of 7 and 4; received: 2"):
        ResidualNetwork(1, patch_size=2)(np.zeros((1, 7, 4, 1)))
    with pytest.raises(ValueError, match="patch_size must be 1 for vectors; received: 2"):
        ResidualNetwork(1, patch_size=2)(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="num_blocks must be an integer >= 0; received: -1"):
        ResidualNetwork(1, num_blocks=-1)
