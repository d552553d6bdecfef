"""What every public layer owes a Keras program, as one check; and the table of all of them."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conformance import randomize
from tfgen import bijectors, distributions, latents, layers, models

tfb = tfp.bijectors

Shape = tuple[int | None, ...]


class Case(NamedTuple):
    """A layer with non-default arguments.

    Attributes:
        layer: makes one.
        inputs: shapes of its arguments; None is the size of the batch.
        outputs: shapes of what it returns.
        part: of a `VAE`, whose argument of that name the layer is: it cannot be called on its own.
        passes_masks: of time steps; all other layers refuse them.
        num_levels: of the first argument, where its values are levels.
    """

    layer: Callable[[], keras.Layer]
    inputs: Sequence[Shape]
    outputs: Sequence[Shape]
    part: str | None = None
    passes_masks: bool = False
    num_levels: int | None = None


def _flow(make: Callable[[], Any], shape: Shape = (None, 4), condition: int = 0) -> Case:
    """A bijector: x, and a condition, to z of the same shape and a log-determinant."""
    inputs = [shape, (None, condition)] if condition else [shape]
    return Case(make, inputs, [shape, (None,)])


def _transformer(make: Callable[[], Any]) -> Case:
    """x `[B, 3]` and its parameters to z and the elementwise log-derivative."""
    size = 3 * make().num_parameters
    return Case(make, [(None, 3), (None, size)], [(None, 3), (None, 3)])


def _part(name: str, make: Callable[[], Any]) -> Case:
    """A part of a `VAE`, of data x and latents z."""
    return Case(make, [(None, 3), (None, 2)], [(None,)], part=name)


def _masked_mlp(num_outputs: int, condition: int = 0) -> layers.MaskedMLP:
    return layers.MaskedMLP(4, num_outputs, [7], "tanh", "reversed", condition_size=condition)


def _autoregressive(condition: int = 0) -> bijectors.MaskedAutoregressive:
    return bijectors.MaskedAutoregressive(_masked_mlp(2, condition))


def _network(num_outputs: int) -> layers.ResidualNetwork:
    return layers.ResidualNetwork(num_outputs, 5, 1, activation="tanh")


CASES = {
    # ---------------------------------------------------------------- tfgen.layers
    "ActNormConv2D": Case(
        lambda: layers.ActNormConv2D(3, 3), [(None, 4, 5, 2), (None, 2)], [(None, 4, 5, 3)]
    ),
    "CausalConv1D": Case(
        lambda: layers.CausalConv1D(3, 3, dilation=2, delay=1, use_bias=False),
        [(None, 7, 2)],
        [(None, 7, 3)],
        passes_masks=True,
    ),
    "ConvDecoder": Case(
        lambda: layers.ConvDecoder((3, 5, 2), [4, 3], 1, [5], "elu", 0.2),
        [(None, 4)],
        [(None, 3, 5, 2)],
    ),
    "ConvEncoder": Case(
        lambda: layers.ConvEncoder([3, 4], 1, "elu", 0.2), [(None, 5, 4, 2)], [(None, 2, 1, 4)]
    ),
    "DiagonalBiLSTM": Case(
        lambda: layers.DiagonalBiLSTM(4, 2), [(None, 3, 2, 2)], [(None, 3, 2, 4)]
    ),
    "MLP": Case(
        lambda: layers.MLP([4, 3], "tanh", 0.2), [(None, 5, 2)], [(None, 5, 3)], passes_masks=True
    ),
    "MLPDecoder": Case(
        lambda: layers.MLPDecoder((3, 2), [4], "tanh", 0.2), [(None, 5)], [(None, 3, 2)]
    ),
    "MLPEncoder": Case(lambda: layers.MLPEncoder([4], "tanh", 0.2), [(None, 3, 2)], [(None, 4)]),
    "MaskedConv2D": Case(
        lambda: layers.MaskedConv2D(4, 3, "A", 2, use_bias=False),
        [(None, 3, 4, 2)],
        [(None, 3, 4, 4)],
    ),
    "MaskedDense": Case(
        lambda: layers.MaskedDense(3, use_bias=False), [(None, 4), (4, 3)], [(None, 3)]
    ),
    "MaskedMLP": Case(
        lambda: layers.MaskedMLP(
            4,
            2,
            [7, 6],
            activation="tanh",
            order="random",
            degrees="random",
            num_masks=2,
            direct=True,
            condition_size=3,
            dropout=0.2,
            mask_seed=5,
        ),
        [(None, 4), (None, 3)],
        [(None, 4, 2)],
    ),
    "ResNetDecoder": Case(
        lambda: layers.ResNetDecoder((3, 5, 2), [4, 3], 2, [5], "relu", 0.2),
        [(None, 4)],
        [(None, 3, 5, 2)],
    ),
    "ResNetEncoder": Case(
        lambda: layers.ResNetEncoder([3, 4], 2, [5], "relu", 0.2), [(None, 5, 4, 2)], [(None, 5)]
    ),
    "ResidualBlock": Case(
        lambda: layers.ResidualBlock(3, 0.5, "tanh"), [(None, 4, 5, 3)], [(None, 4, 5, 3)]
    ),
    "ResidualNetwork": Case(
        lambda: layers.ResidualNetwork(3, 4, 1, patch_size=2, activation="tanh"),
        [(None, 4, 6, 2), (None, 2)],
        [(None, 4, 6, 3)],
    ),
    "RowLSTM": Case(lambda: layers.RowLSTM(4, 2, 3), [(None, 3, 2, 2)], [(None, 3, 2, 4)]),
    "ShiftedConv2D": Case(
        lambda: layers.ShiftedConv2D(3, (2, 3), 1, strides=2, gain=0.5),
        [(None, 4, 5, 2)],
        [(None, 2, 3, 3)],
    ),
    "ShiftedConv2DTranspose": Case(
        lambda: layers.ShiftedConv2DTranspose(3, (2, 3)), [(None, 2, 3, 2)], [(None, 4, 6, 3)]
    ),
    "WeightNormConv2D": Case(
        lambda: layers.WeightNormConv2D(3, 5, gain=0.5, strides=2),
        [(None, 4, 5, 2)],
        [(None, 2, 3, 3)],
    ),
    "WeightNormDense": Case(
        lambda: layers.WeightNormDense(3, gain=0.5),
        [(None, 4, 2)],
        [(None, 4, 3)],
        passes_masks=True,
    ),
    "WeightNormMaskedConv2D": Case(
        lambda: layers.WeightNormMaskedConv2D(4, 3, "A", 2, gain=0.5),
        [(None, 3, 4, 2)],
        [(None, 3, 4, 4)],
    ),
    "ZeroConv2D": Case(
        lambda: layers.ZeroConv2D(3, 1), [(None, 4, 5, 2), (None, 2)], [(None, 4, 5, 3)]
    ),
    # ---------------------------------------------------------------- tfgen.bijectors
    "ActNorm": _flow(lambda: bijectors.ActNorm()),
    "BatchNorm": _flow(lambda: bijectors.BatchNorm()),
    "Chain": _flow(lambda: bijectors.Chain([bijectors.ActNorm(), bijectors.DiagonalScaling()])),
    "ChannelCoupling": _flow(
        lambda: bijectors.ChannelCoupling(
            _network(4), 1, bijectors.LocationScaleTransformer(bound=3.0)
        ),
        condition=2,
    ),
    "CheckerboardCoupling": _flow(
        lambda: bijectors.CheckerboardCoupling(_network(4), 1, bijectors.SigmoidTransformer()),
        (None, 4, 4, 2),
    ),
    "DiagonalScaling": _flow(lambda: bijectors.DiagonalScaling()),
    "Fixed": _flow(lambda: bijectors.Fixed(tfb.Softplus(hinge_softness=0.5), 1)),
    "Invert": _flow(lambda: bijectors.Invert(_autoregressive(3)), condition=3),
    "InvertibleConv1x1": _flow(lambda: bijectors.InvertibleConv1x1(seed=3), (None, 2, 2, 3)),
    "LearnedGaussian": _flow(lambda: bijectors.LearnedGaussian(), (None, 2, 2, 3), condition=2),
    "MaskedAutoregressive": _flow(lambda: _autoregressive(3), condition=3),
    "OnFirstHalf": _flow(lambda: bijectors.OnFirstHalf(bijectors.DiagonalScaling())),
    "Recompute": _flow(
        lambda: bijectors.Recompute(bijectors.VectorCoupling(_network(8), 0)), condition=2
    ),
    "VectorCoupling": _flow(lambda: bijectors.VectorCoupling(_network(8), 1), condition=2),
    "AdditiveTransformer": _transformer(lambda: bijectors.AdditiveTransformer()),
    "AffineTransformer": _transformer(lambda: bijectors.AffineTransformer(bound=0.5)),
    "GatedTransformer": _transformer(lambda: bijectors.GatedTransformer(1.0, bound=3.0)),
    "LocationScaleTransformer": _transformer(lambda: bijectors.LocationScaleTransformer(3.0)),
    "RationalQuadraticSplineTransformer": _transformer(
        lambda: bijectors.RationalQuadraticSplineTransformer(3, 2.0)
    ),
    "SigmoidTransformer": _transformer(lambda: bijectors.SigmoidTransformer(3.0)),
    # ---------------------------------------------------------------- tfgen.latents
    "AutoregressiveFlowPrior": _part(
        "prior", lambda: latents.AutoregressiveFlowPrior((2,), 1, [5], "tanh")
    ),
    "CouplingFlowPrior": _part("prior", lambda: latents.CouplingFlowPrior((2,), 1, 4)),
    "DiagonalPosterior": _part("posterior", lambda: latents.DiagonalPosterior((2,))),
    "FullCovariancePosterior": _part("posterior", lambda: latents.FullCovariancePosterior((2,))),
    "GaussianMixturePrior": _part("prior", lambda: latents.GaussianMixturePrior((2,), 3)),
    "IAFPosterior": _part("posterior", lambda: latents.IAFPosterior((2,), 1, [5], 3, "tanh", 1.0)),
    "LaplacePosterior": _part("posterior", lambda: latents.LaplacePosterior((2,), 1, 1.0)),
    "StandardNormalPrior": _part("prior", lambda: latents.StandardNormalPrior((2,))),
    "VampPrior": _part("prior", lambda: latents.VampPrior((2,), (3,), 3)),
    # ---------------------------------------------------------------- tfgen.distributions
    "AutoregressiveLikelihood": Case(
        lambda: distributions.AutoregressiveLikelihood(
            (2, 3, 1),
            3,
            {"type": "PixelCNN", "filters": 4, "num_blocks": 1, "top_filters": 4},
            (2, 3, 2),
        ),
        [(None, 2, 3, 1), (None, 2, 3, 2)],
        [(None,)],
        num_levels=3,
    ),
}

BASE = "what its subclasses share"
VALUE = "a value made from tensors, without weights"
FUNCTION = "a function"
NOT_LAYERS = {
    "Bernoulli": VALUE,
    "Bijector": BASE,
    "Categorical": VALUE,
    "Coupling": BASE,
    "Dequantization": BASE,
    "DiscretizedLogistic": VALUE,
    "DiscretizedLogisticMixture": VALUE,
    "EdgeConv2D": BASE,
    "FlowDistribution": VALUE,
    "FlowPrior": BASE,
    "Gaussian": VALUE,
    "GaussianMixture": VALUE,
    "IncrementalPass": "a pass of a MaskedMLP",
    "Likelihood": BASE,
    "Logit": VALUE,
    "MixtureOfDiscretizedLogistics": VALUE,
    "ModelDistribution": VALUE,
    "OrderedSqueeze": VALUE,
    "Posterior": BASE,
    "Prior": BASE,
    "Squeeze": VALUE,
    "Transformer": BASE,
    "UniformDequantization": "noise, without weights",
    "VariationalDequantization": "holds a layer, a Chain",
    "WeightNorm": BASE,
    "batch_statistics": FUNCTION,
    "causal_mask": FUNCTION,
    "channel_groups": FUNCTION,
    "nets": "a module",
}


def model_of(case: Case) -> keras.Model:
    """A functional model of the layer alone, or the `VAE` that it is a part of."""
    if case.part is None:
        inputs = [keras.Input(batch_shape=shape) for shape in case.inputs]
        return keras.Model(inputs, case.layer()(*inputs))
    networks = {"units": [5], "activation": "relu"}
    return models.VAE(
        case.inputs[0][1:],
        latent_shape=(2,),
        encoder={"type": "MLPEncoder", **networks},
        decoder={"type": "MLPDecoder", **networks},
        **{case.part: case.layer()},
    )


def arrays(case: Case, batch_size: int) -> list[np.ndarray]:
    """N(0, 1), or uniform levels."""
    rng = np.random.default_rng(0)
    shapes = [[batch_size if size is None else size for size in shape] for shape in case.inputs]
    values = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    if case.num_levels is not None:
        values[0] = rng.integers(0, case.num_levels, shapes[0]).astype("float32")
    return values


def outputs_of(case: Case, model: Any, inputs: Sequence[Any], **kwargs: Any) -> list[tf.Tensor]:
    """What the layer returns; of a part, the density that it has a part in."""
    if case.part is None:
        return keras.tree.flatten(model(list(inputs), **kwargs))
    x, z = map(tf.convert_to_tensor, inputs)
    if case.part == "prior":
        return [model.prior().log_prob(z)]
    return [model.posterior(x).log_prob(z)]


def loss_and_gradients(
    case: Case, model: Any, inputs: Sequence[Any], variables: Sequence[Any]
) -> tuple[tf.Tensor, list[Any]]:
    """The sum of the means of sin(y) over the outputs y, and its derivatives."""
    variables = [variable.value for variable in variables]
    with tf.GradientTape() as tape:
        outputs = outputs_of(case, model, inputs)
        loss = tf.add_n([tf.reduce_mean(tf.sin(y)) for y in outputs])
    return loss, tape.gradient(loss, variables)


def check_layer(case: Case) -> None:
    """All checks but that of a fresh process, which wants one process for all layers."""
    check_configuration(case)
    check_seeds(case)
    check_masks(case)
    model = model_of(case)
    randomize(model)
    check_shapes(case, model)
    check_mixed_precision(case, model)
    check_compiled_step(case, model)


def check_configuration(case: Case) -> None:
    """Through JSON and back; `name`, `trainable` and `dtype` are Keras's."""
    layer = case.layer()
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    changed = {**config, "name": "renamed", "trainable": False, "dtype": "float64"}
    other = type(layer).from_config(changed)
    assert (other.name, other.trainable, other.variable_dtype) == ("renamed", False, "float64")


def check_seeds(case: Case) -> None:
    """Keras's seed decides the weights, and what is dropped while training."""
    inputs = arrays(case, 2)
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        model = model_of(case)
        values = [variable.numpy() for variable in model.variables]
        if case.layer().get_config().get("dropout"):
            randomize(model)
            draws = [outputs_of(case, model, inputs, training=True)[0] for _ in range(2)]
            assert not np.array_equal(*draws)
            values += draws
        runs.append(values)
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)


def check_masks(case: Case) -> None:
    """A mask of time steps comes out again, or is an error; it is never dropped."""
    if case.part is not None:
        return  # a part's methods take tensors, and never a Keras graph's
    layer = case.layer()
    first, *rest = (keras.Input(batch_shape=shape) for shape in case.inputs)
    mask = keras.KerasTensor(first.shape[:2], "bool")
    first._keras_mask = mask
    if case.passes_masks:
        assert layer(first, *rest)._keras_mask is mask
    else:
        with pytest.raises(ValueError, match="mask must be None"):
            layer(first, *rest)


def check_shapes(case: Case, model: keras.Model) -> None:
    """Built from shapes alone, symbolic with a free batch, eager; rows do not see each other."""
    if case.part is None:
        assert [tuple(y.shape) for y in model.outputs] == list(case.outputs)
        layer = case.layer()
        layer.build(*case.inputs)
        assert [v.shape for v in layer.variables] == [v.shape for v in model.variables]
    for size in (2, 3):
        outputs = outputs_of(case, model, arrays(case, size))
        assert [tuple(y.shape) for y in outputs] == [(size, *shape[1:]) for shape in case.outputs]
    inputs = arrays(case, 3)
    reversed_inputs = [
        x[::-1] if shape[0] is None else x for x, shape in zip(inputs, case.inputs, strict=True)
    ]
    of_reversed = outputs_of(case, model, reversed_inputs)
    for y, mirrored in zip(outputs_of(case, model, inputs), of_reversed, strict=True):
        np.testing.assert_allclose(mirrored[::-1], y, rtol=1e-5, atol=1e-5)


def check_mixed_precision(case: Case, model: keras.Model) -> None:
    """Variables and (log-)densities in float32; networks give bfloat16, to its precision."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = model_of(case)
    finally:
        keras.config.set_dtype_policy(previous)
    half.set_weights(model.get_weights())
    assert {variable.dtype for variable in half.trainable_variables} <= {"float32"}
    is_network = hasattr(layers, type(case.layer()).__name__)
    inputs = arrays(case, 2)
    of_half, expected = (outputs_of(case, m, inputs) for m in (half, model))
    for y, value in zip(of_half, expected, strict=True):
        assert y.dtype == ("bfloat16" if is_network else "float32")
        atol = 0.04 * max(1.0, np.abs(value).max())
        np.testing.assert_allclose(np.asarray(y, "float32"), value, atol=atol)


def check_compiled_step(case: Case, model: keras.Model) -> None:
    """Value and gradient under XLA are the eager ones; a gradient reaches every variable."""
    inputs = [tf.constant(x) for x in arrays(case, 2)]
    layer = model if case.part is None else getattr(model, f"{case.part}_part")

    def step() -> tuple[tf.Tensor, list[Any]]:
        return loss_and_gradients(case, model, inputs, layer.trainable_variables)

    loss, gradients = step()
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches {variable.path}"
    compiled_loss, compiled = tf.function(step, jit_compile=True)()
    np.testing.assert_allclose(compiled_loss, loss, rtol=1e-4, atol=1e-6)
    for gradient, expected in zip(compiled, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
