"""Constructor arguments are the configuration."""

import json

import keras
import numpy as np
import pytest

import tfgen
from tfgen.build import build, constructor_arguments
from tfgen.configurable import Configurable


class Inner(Configurable, keras.Layer):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


class Outer(Configurable, keras.Layer):
    def __init__(self, first, scale=1.0, parts=(), **kwargs):
        super().__init__(**kwargs)
        self.first, self.scale = first, scale
        self.second = Inner(3)

    def call(self, x):
        return self.second(self.first(x)) * self.scale


class WiderOuter(Outer):
    def __init__(self, width, **kwargs):
        super().__init__(Inner(width), **kwargs)


def through_json(layer):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    return keras.saving.deserialize_keras_object(config)


def test_config_is_what_the_outermost_constructor_received():
    config = WiderOuter(5, scale=2.0).get_config()
    assert config["width"] == 5
    assert config["scale"] == 2.0
    assert "first" not in config  # made by the constructor, not received by it
    assert "units" not in config


def test_nested_objects_and_tuples_survive_json():
    layer = through_json(Outer(Inner(units=4), scale=3.0, parts=(1, (2, 3)), name="outer"))
    assert isinstance(layer.first, Inner)
    assert layer.first.dense.units == 4
    assert (layer.scale, layer.name) == (3.0, "outer")
    assert layer.get_config()["parts"] == [1, [2, 3]]  # JSON has no tuples
    assert layer(np.ones((2, 2))).shape == (2, 3)


def test_parts_take_their_owners_dtype_policy():
    owner = Outer(Inner(dtype="float64"), dtype="mixed_bfloat16")
    assert owner.second.dtype_policy.name == "mixed_bfloat16"
    assert owner.second.dense.compute_dtype == "bfloat16"
    assert owner.first.dtype_policy.name == "float64"  # made outside, keeps its own
    assert keras.config.dtype_policy().name == "float32"
    assert through_json(owner).second.dense.compute_dtype == "bfloat16"


def test_build_by_name_by_dotted_name_and_built():
    layer = build(tfgen.models, {"type": "tests.test_configurable.Inner", "units": 7})
    assert layer.dense.units == 7
    assert build(tfgen.models, layer) is layer
    objective = build(tfgen.objectives, {"type": "NegativeLogProb"})
    assert isinstance(objective, tfgen.objectives.NegativeLogProb)


def test_constructor_arguments_follow_keyword_arguments_to_the_base():
    assert constructor_arguments(WiderOuter) == {
        "width", "first", "scale", "parts", "name", "dtype", "trainable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "RealNPV"}, r"type must be one of .*RealNVP.*received: 'RealNPV'"),
        ({"event_shape": (2,)}, "spec must be a mapping with the key 'type'"),
        ({"type": "RealNVP", "num_scalez": 2}, "no argument 'num_scalez'. Did you mean 'num_scale"),
        ({"type": "no_such_package.Model"}, "cannot be imported"),
    ],
)
def test_build_refuses(spec, message):
    with pytest.raises(ValueError, match=message):
        build(tfgen.models, spec)


def all_subclasses(cls):
    found = set(cls.__subclasses__())
    return found.union(*(all_subclasses(subclass) for subclass in found))


def test_every_class_has_a_registered_name_of_its_own():
    for cls in all_subclasses(Configurable):
        if cls.__module__.startswith("tfgen."):
            name = keras.saving.get_registered_name(cls)
            assert keras.saving.get_registered_object(name) is cls, name
