"""A `tfb.Bijector` inside a `Fixed` is saved as its type and parameters."""

import json

import numpy as np
import pytest
import tensorflow_probability as tfp

from tfgen.bijectors import Fixed, Logit, OrderedSqueeze, Squeeze

tfb = tfp.bijectors

BIJECTORS = [
    (tfb.Sigmoid(), (4,)),
    (tfb.Softplus(hinge_softness=0.5), (4,)),
    (tfb.Permute(np.array([2, 0, 3, 1])), (4,)),
    (tfb.Reshape([2, 2], [4]), (2, 2)),
    (Logit(0.1), (4,)),
    (Squeeze(), (2, 2, 3)),
    (OrderedSqueeze(), (2, 2, 3)),
]


@pytest.mark.parametrize(("bijector", "shape"), BIJECTORS, ids=lambda v: getattr(v, "name", ""))
def test_configuration_through_json(bijector, shape):
    layer = Fixed(bijector, len(shape))
    again = Fixed.from_config(json.loads(json.dumps(layer.get_config())))
    assert type(again.bijector) is type(bijector)
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, *shape)).astype("float32")
    for received, expected in zip(again(x), layer(x), strict=True):
        np.testing.assert_array_equal(received, expected)


def test_a_specification_is_a_bijector():
    layer = Fixed({"type": "Softplus", "hinge_softness": 0.5}, 1)
    x = np.float32([[0.1, 2.0]])
    np.testing.assert_array_equal(layer(x)[0], tfb.Softplus(0.5).inverse(x))


def test_a_bijector_of_bijectors_is_not_saved():
    chain = tfb.Chain([tfb.Scale(2.0), tfb.Shift(1.0)])
    with pytest.raises(ValueError, match="bijector must be one whose parameters are numbers"):
        Fixed(chain, 1).get_config()
