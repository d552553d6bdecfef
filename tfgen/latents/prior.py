"""Priors p(z)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.bijectors import Bijector, Chain, Fixed, Invert, MaskedAutoregressive, VectorCoupling
from tfgen.bijectors.transformer import new_transformer
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.distributions.flow_distribution import FlowDistribution
from tfgen.latents.iaf import InverseAutoregressiveFlow, order
from tfgen.latents.posterior import positive_scale
from tfgen.layers.masked_dense import MaskedMLP
from tfgen.layers.residual_network import ResidualNetwork

tfb = tfp.bijectors
tfd = tfp.distributions


class Prior(Configurable, keras.Layer):
    """p(z) or p(z | y): a part of a `VAE`.

    Args:
        latent_shape: of z.
        condition_size: length of the model's condition, or 0.
    """

    def __init__(self, latent_shape: Sequence[int], condition_size: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self.condition_size = condition_size
        for size in self.latent_shape:
            check_integer("latent_shape", size, minimum=1)
        self.autocast = False

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """Event shape `latent_shape`; batch shape `[]` or, where it reads the condition, `[B]`."""
        raise NotImplementedError

    def initialize(self, model: Any, x: tf.Tensor) -> None:
        """Data-dependent start, from a batch of data in native units."""

    @property
    def num_latents(self) -> int:
        """Entries of z."""
        return math.prod(self.latent_shape)

    @property
    def float_dtype(self) -> str:
        return "float64" if self.variable_dtype == "float64" else "float32"

    def _add_float_weight(self, name: str, shape: Any, initializer: Any = "zeros") -> Any:
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, dtype=self.float_dtype, autocast=False
        )


class StandardNormalPrior(Prior):
    """p(z) = N(0, I)."""

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        zeros = tf.zeros(self.latent_shape, self.float_dtype)
        return tfd.Independent(tfd.Normal(zeros, 1.0), len(self.latent_shape))


class FlowPrior(Prior):
    """p(z) = N(f^-1(z); 0, I) |det df^-1/dz|, or p(z | y) where the model has a condition.

    A subclass sets `flow`, the bijector f.
    """

    flow: Bijector

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        shape: Any = self.latent_shape
        if condition is not None:
            shape = tf.concat([tf.shape(condition)[:1], shape], axis=0)
        zeros = tf.zeros(shape, self.float_dtype)
        base = tfd.Independent(tfd.Normal(zeros, 1.0), len(self.latent_shape))
        return FlowDistribution(
            base, self.flow.as_tfp(condition, event_ndims=len(self.latent_shape))
        )


class AutoregressiveFlowPrior(FlowPrior):
    """N(0, I) pushed through autoregressive steps [1, section 3.2].

        eps_i = (z_i - m_i(z_<i)) exp(-a_i(z_<i))

    in every step, with the order reversed from step to step. Densities take one pass of each step,
    draws a loop over the entries.

    With a diagonal Gaussian posterior this is the bound of an inverse autoregressive flow posterior
    with the prior N(0, I), f^-1 being the flow; the generative model p(x | f(eps)) is deeper [1].

    Args:
        latent_shape: of z; grids in raster order.
        num_flows: number of steps.
        hidden: units of each hidden layer of a step's network.
        activation: of the networks.
        transformer: specification of each step's elementwise map; `LocationScaleTransformer`, the
            affine one above, by default.
        condition_size: length of the model's condition, or 0.

    [1] Chen, Kingma, Salimans, Duan, Dhariwal, Schulman, Sutskever, Abbeel. Variational lossy
        autoencoder. ICLR 2017. arXiv:1611.02731
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_flows: int = 2,
        hidden: Sequence[int] = (320,),
        activation: str = "elu",
        transformer: Any = None,
        condition_size: int = 0,
        **kwargs: Any,
    ):
        super().__init__(latent_shape, condition_size=condition_size, **kwargs)
        check_integer("num_flows", num_flows, minimum=1)
        steps = []
        for index in range(num_flows):
            elementwise = new_transformer(transformer or {"type": "LocationScaleTransformer"})
            network = MaskedMLP(
                self.num_latents,
                elementwise.num_parameters,
                hidden,
                activation=activation,
                order=order(index),
                condition_size=condition_size,
            )
            steps.append(MaskedAutoregressive(network, elementwise))
        self.flow = Chain(steps)


class CouplingFlowPrior(FlowPrior):
    """N(0, I) pushed through coupling layers [1], of the even and of the odd entries in turn.

    Densities and draws take one pass. Starts as N(0, I).

    Args:
        latent_shape: of z, at least two entries; grids are flattened.
        num_flows: number of couplings.
        filters, num_blocks: width and residual blocks of a coupling's network.
        transformer: specification of each coupling's elementwise map; affine by default.
        condition_size: length of the model's condition, or 0.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    def __init__(
        self,
        latent_shape: Sequence[int],
        num_flows: int = 4,
        filters: int = 128,
        num_blocks: int = 1,
        transformer: Any = None,
        condition_size: int = 0,
        **kwargs: Any,
    ):
        super().__init__(latent_shape, condition_size=condition_size, **kwargs)
        check_integer("num_flows", num_flows, minimum=1)
        allowed = "of at least two entries for a coupling"
        check_argument(self.num_latents >= 2, "latent_shape", allowed, self.latent_shape)
        rank = len(self.latent_shape)
        to_vectors, back = (tfb.Reshape(self.latent_shape, [self.num_latents]) for _ in range(2))
        steps: list[Bijector] = [Fixed(to_vectors, rank)]
        for index in range(num_flows):
            elementwise = new_transformer(transformer or {"type": "AffineTransformer"})
            num_outputs = elementwise.num_parameters * self.num_latents
            network = ResidualNetwork(num_outputs, filters, num_blocks)
            steps.append(VectorCoupling(network, index % 2, elementwise))
        self.flow = Chain([*steps, Invert(Fixed(back, rank))])


class GaussianMixturePrior(Prior):
    """p(z) = sum_m w_m N(mu_m, diag(sigma_m^2)), all of it learned, whatever the condition.

    The means start as draws of N(0, I), the scales at 1, the weights equal.

    Args:
        latent_shape: of z.
        num_components: number of Gaussians.
    """

    def __init__(self, latent_shape: Sequence[int], num_components: int = 10, **kwargs: Any):
        super().__init__(latent_shape, **kwargs)
        check_integer("num_components", num_components, minimum=1)
        shape = (num_components, *self.latent_shape)
        self.logits = self._add_float_weight("logits", (num_components,))
        spread = keras.initializers.RandomNormal(stddev=1.0)
        self.loc = self._add_float_weight("loc", shape, spread)
        self.raw_scale = self._add_float_weight("raw_scale", shape)

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        values = tfd.Normal(self.loc.value, positive_scale(self.raw_scale.value))
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=self.logits.value),
            tfd.Independent(values, len(self.latent_shape)),
        )


class VampPrior(Prior):
    """p(z) = 1/M sum_m q(z | u_m): the model's own posterior, for M learned pseudo-inputs [1].

    The pseudo-inputs are weights on the network's scale, where integer levels span [-1, 1].
    `initialize` sets them to examples of the first batch, with a little noise.

    A density takes M components for each z: `[K, B, M, J]` numbers for K draws and B examples.

    Departs from [1]: pseudo-inputs are not clipped to the range of the data, where a clipped one
    would get no gradient.

    Args:
        latent_shape: of z.
        event_shape: of one example.
        num_components: M.
        condition_size: length of the model's condition, which must be 0.

    Raises:
        ValueError: a conditional model, whose posterior needs a condition besides u; an inverse
            autoregressive posterior, whose density at another's draw is a loop over the latents for
            every component.

    [1] Tomczak, Welling. VAE with a VampPrior. AISTATS 2018. arXiv:1705.07120
    """

    noise_scale = 0.01

    def __init__(
        self,
        latent_shape: Sequence[int],
        event_shape: Sequence[int],
        num_components: int = 100,
        condition_size: int = 0,
        **kwargs: Any,
    ):
        super().__init__(latent_shape, condition_size=condition_size, **kwargs)
        check_integer("num_components", num_components, minimum=1)
        allowed = "0 for a VampPrior: q(z | u, y) needs a y for each pseudo-input"
        check_argument(condition_size == 0, "condition_size", allowed, condition_size)
        self.pseudo_inputs = self._add_float_weight(
            "pseudo_inputs",
            (num_components, *event_shape),
            keras.initializers.RandomNormal(stddev=0.5),
        )

    def distribution(self, model: Any, condition: tf.Tensor | None = None) -> tfd.Distribution:
        u = self.pseudo_inputs.value
        if model.num_levels is not None:  # data units
            u = 0.5 * (u + 1.0) * (model.num_levels - 1)
        components = model.posterior(u)
        in_parallel = not isinstance(components, InverseAutoregressiveFlow)
        allowed = "one with a density in parallel for a VampPrior"
        check_argument(in_parallel, "posterior", allowed, type(model.posterior_part).__name__)
        equal = tfd.Categorical(logits=tf.zeros(u.shape[:1], self.float_dtype))
        return tfd.MixtureSameFamily(equal, components)

    def initialize(self, model: Any, x: tf.Tensor) -> None:
        u = model.observation.normalize(x, self.float_dtype).numpy()
        u = np.resize(u, self.pseudo_inputs.shape)  # repeats the batch
        noise = np.random.default_rng(0).standard_normal(u.shape)
        self.pseudo_inputs.assign(u + self.noise_scale * noise)
