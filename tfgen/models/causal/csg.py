"""The causal semantic generative model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import layers, seeds
from tfgen.build import build
from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.models.causal.gaussian_prior import GaussianPrior
from tfgen.models.causal.mechanisms import CausalTerms, Mechanisms, diagonal, draw, log_mean
from tfgen.models.causal.networks import FanInMLP, fan_in_dense
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import LatentVariableModel

tfd = tfp.distributions


class Posterior(NamedTuple):
    """q(s, v | x) = q(v | x) q(s | v, x), as the functions that its two factors need."""

    variation: tfd.Distribution
    semantic_given: Callable[[tf.Tensor], tfd.Distribution]


class CSG(Mechanisms, LatentVariableModel):
    """Causal semantic generative model [1], trained on one domain to predict labels on another.

        p(x, y) = E_p(s, v)[p(x | s, v) p(y | s)]

    s is what causes the label, v the rest of the image. What generates images and labels,
    p(x | s, v) and p(y | s), is the same in every domain; only the prior p(s, v) changes. The
    posterior q(s, v | x) is of the *test* domain, whose prior p_t is one of three:

    - "training" (CSG): p_t = p.
    - "independent" (CSG-ind): p_t = p(s) p(v), the marginals; nothing further is learned.
    - "adapted" (CSG-DA): a prior of its own, which starts as p and is learned from unlabelled
      images of the test domain, see `tfgen.objectives.CausalELBO`.

    With `variation_size=0` it is the ablation CSGz: one latent, for which "independent" means
    nothing.

    `predict` gives E_q[p(y | s)] for images of the test domain, `predict_training` the normalised
    E_q[r p(y | s)], r = p / p_t, for images of the training domain: with it a validation on the
    training domain must be made. With one draw or the mean of q both are the same, since r cancels.

    `log_prob(x)` and `log_prob(x, y)` are importance-weighted lower bounds under the training
    prior, for whatever p_t: the joint log p(x, y), not log p(x | y). `sample_labelled` draws images
    with their labels; `sample(num, y)` draws images for given labels.

    Networks, with h the encoder's output [1, appendix F.2, and the authors' code]:

        v ~ N(a(W h), softplus(W h)^2),   c = a(W h)
        s ~ N(a(W g), softplus(W relu(norm(v, c)))^2),   g = (v, c) through `semantic_units`
        p(y | s) = softmax(logits(s)),   one logit for two classes

    with a the `latent_activation`, and the decoder's output through a sigmoid for integer data.
    Departures from [1] and from the authors' code: `norm` is a layer normalisation in place of a
    batch normalisation, which would make a likelihood depend on the rest of its batch; means of the
    prior are learned, as in the code; the correlation of the initial prior is the one asked for
    (see `GaussianPrior`), and "independent" uses the prior's exact marginal p(v). The defaults are
    the sizes for shifted MNIST; [1] uses linear latents with convolutional networks.

    Args:
        event_shape: shape of one example.
        num_classes: number of labels.
        num_levels: number of integer levels of discrete data, or None for real data.
        semantic_size: dimensions of s.
        variation_size: dimensions of v; 0 for CSGz.
        context_size: dimensions of c, and of the default decoder's layer of s alone; of CSGz in [1]
            the sum of this and the former.
        semantic_units: of layers with ReLU between (v, c) and s.
        latent_activation: a; "sigmoid", or "linear" for latents before the activation.
        classifier_units: of layers with ReLU between s and the logits.
        test_prior: "training", "independent" or "adapted".
        prior: further arguments of the `GaussianPrior`; by default those of [1] on shifted MNIST.
        noise_scale: standard deviation of p(x | s, v), where integer levels are scaled to [0, 1].
        encoder: a Keras layer from scaled data to features of any shape, or the specification of
            one of `tfgen.layers`.
        decoder: a Keras layer from `[N, S + V]` to data, or a specification likewise.
        **kwargs: `name`, `dtype`.

    Raises:
        ValueError: an argument outside its range; a decoder whose output is no image.

    [1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
        out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int,
        num_levels: int | None = None,
        semantic_size: int = 50,
        variation_size: int = 100,
        context_size: int = 100,
        semantic_units: Sequence[int] = (),
        latent_activation: str = "sigmoid",
        classifier_units: Sequence[int] = (),
        test_prior: str = "training",
        prior: Mapping[str, Any] | None = None,
        noise_scale: float = 0.03,
        encoder: Any = None,
        decoder: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, num_classes=num_classes, **kwargs)
        check_integer("context_size", context_size, minimum=1)
        self.create_mechanisms(
            semantic_size, variation_size, noise_scale, classifier_units, decoder, context_size
        )
        check_one_of("test_prior", test_prior, ("training", "independent", "adapted"))
        is_possible = variation_size > 0 or test_prior != "independent"
        check_argument(is_possible, "test_prior", "another where variation_size is 0", test_prior)
        self.kind_of_test_prior = test_prior

        sizes = {"semantic_size": semantic_size, "variation_size": variation_size}
        start = {"loc": 0.5, "scale": 0.5, "correlation": 0.9} if prior is None else dict(prior)
        self.training_block = GaussianPrior(**sizes, **start)
        self.adapted_block = GaussianPrior(**sizes, **start) if test_prior == "adapted" else None

        self.encoder = FanInMLP() if encoder is None else build(layers, encoder)
        self.first_head = fan_in_dense(variation_size + context_size, latent_activation)
        narrow = keras.initializers.RandomNormal(stddev=0.01)
        self.variation_scale = (
            keras.layers.Dense(variation_size, kernel_initializer=narrow)
            if variation_size
            else None
        )
        self.semantic_mlp = FanInMLP(semantic_units, "relu")
        self.semantic_loc = fan_in_dense(semantic_size, latent_activation)
        self.semantic_norm = keras.layers.LayerNormalization()
        self.semantic_scale = keras.layers.Dense(semantic_size, kernel_initializer=narrow)

    # ------------------------------------------------------------------ the model's distributions

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(s, v) of the training domain."""
        return self.training_block.joint()

    def test_prior(self) -> tfd.Distribution:
        """p_t(s, v) of the test domain."""
        if self.adapted_block is not None:
            return self.adapted_block.joint()
        if self.kind_of_test_prior == "independent":
            return self.training_block.independent()
        return self.prior()

    def _log_test_prior(self, z: tf.Tensor, log_prior: tf.Tensor) -> tf.Tensor:
        if self.adapted_block is not None:
            return self.adapted_block.log_prob(z)
        if self.kind_of_test_prior == "independent":
            return self.training_block.independent_log_prob(z)
        return log_prior

    def posterior_parts(self, x: tf.Tensor) -> Posterior:
        """q(v | x), batch shape `[B]`, and q(s | v, x) for v of any leading dimensions."""
        h = self.features(self.encoder, x)
        v_loc, context = tf.split(
            self._float(self.first_head(h)), [self.variation_size, -1], axis=-1
        )
        v_scale = tf.ones_like(v_loc)
        if self.variation_scale is not None:
            v_scale = self._scale(self.variation_scale(h))

        def semantic_given(v: tf.Tensor) -> tfd.Distribution:
            leading = tf.shape(v)[:-1]
            repeated = tf.broadcast_to(context, tf.concat([leading, context.shape[-1:]], axis=0))
            inputs = tf.concat([v, repeated], axis=-1)
            inputs = tf.reshape(inputs, [-1, inputs.shape[-1]])
            loc = self._float(self.semantic_loc(self.semantic_mlp(inputs)))
            scale = self._scale(self.semantic_scale(tf.nn.relu(self.semantic_norm(inputs))))
            shape = tf.concat([leading, [self.semantic_size]], axis=0)
            return diagonal(tf.reshape(loc, shape), tf.reshape(scale, shape))

        return Posterior(diagonal(v_loc, v_scale), semantic_given)

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """q(v | x) q(s | v, x), a joint distribution of pairs (v, s)."""
        parts = self.posterior_parts(x)
        return tfd.JointDistributionSequential(
            [parts.variation, parts.semantic_given], batch_ndims=1
        )

    # ------------------------------------------------------------------ draws and bounds

    def draw_prior(
        self, num_samples: Any, seed: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        return draw(self.prior(), num_samples, seed)

    def causal_terms(
        self,
        x: Any,
        num_samples: int = 1,
        seed: Any = None,
        mean_path: bool = False,
        condition: tf.Tensor | None = None,
    ) -> CausalTerms:
        """As the mixin's; the mean of q is that of q(v | x) and that of q(s | v, x) there."""
        x = self.check_data(x)
        parts = self.posterior_parts(x)
        if mean_path:
            v = parts.variation.mean()[None]
            semantic = parts.semantic_given(v)
            return self._densities(x, semantic.mean(), v, parts, semantic)
        v_seed, s_seed = seeds.split(self.next_seed(seed))
        v = draw(parts.variation, num_samples, v_seed)
        semantic = parts.semantic_given(v)
        return self._densities(x, draw(semantic, None, s_seed), v, parts, semantic)

    def densities(self, x: Any, s: tf.Tensor, v: tf.Tensor) -> CausalTerms:
        """The densities at given latents, `[K, B, S]` and `[K, B, V]`."""
        x = self.check_data(x)
        parts = self.posterior_parts(x)
        return self._densities(x, s, v, parts, parts.semantic_given(v))

    def _densities(
        self, x: tf.Tensor, s: tf.Tensor, v: tf.Tensor, parts: Posterior, semantic: Any
    ) -> CausalTerms:
        z = tf.concat([s, v], axis=-1)
        log_prior = self.training_block.log_prob(z)
        return CausalTerms(
            s=s,
            v=v,
            log_px=self.likelihood(z).log_prob(self._float(x)),
            log_py=self.label_log_probs(s),
            log_prior=log_prior,
            log_test_prior=self._log_test_prior(z, log_prior),
            log_q=parts.variation.log_prob(v) + semantic.log_prob(s),
        )

    def test_log_prob(self, x: Any, seed: Any = None, num_samples: int = 10) -> tf.Tensor:
        """Lower bound of log p_t(x), the likelihood of the test domain, `[B]`."""
        draws = self.causal_terms(x, num_samples, seed)
        return log_mean(draws.log_test_prior + draws.log_px - draws.log_q)

    # ------------------------------------------------------------------ prediction

    def predict(self, x: Any, num_samples: int | None = None, seed: Any = None) -> tf.Tensor:
        """p_t(y | x) of the test domain, E_q[p(y | s)], `[B, C]`.

        At the mean of q, as in the authors' code, or the mean over `num_samples` draws. (It takes
        the place of Keras's `predict`.)
        """
        return tf.exp(self._log_predict(x, num_samples, seed))

    def predict_training(self, x: Any, num_samples: int = 32, seed: Any = None) -> tf.Tensor:
        """p(y | x) of the training domain, E_q[r p(y | s)] normalised over y, `[B, C]`."""
        return self._predict_training(x, None, num_samples, seed)

    def _log_predict(self, x: Any, num_samples: int | None, seed: Any) -> tf.Tensor:
        parts = self.posterior_parts(self.check_data(x))
        if num_samples is None:
            s = parts.semantic_given(parts.variation.mean()).mean()
            return self.label_log_probs(s)
        v_seed, s_seed = seeds.split(self.next_seed(seed))
        v = draw(parts.variation, num_samples, v_seed)
        return log_mean(self.label_log_probs(draw(parts.semantic_given(v), None, s_seed)))

    # ------------------------------------------------------------------ protocol

    def encode(self, x: Any, y: Any = None) -> tf.Tensor:
        """(s, v) at the mean of q(v | x) and the mean of q(s | v, x) there, `[B, S + V]`."""
        parts = self.posterior_parts(self.check_data(x))
        v = parts.variation.mean()
        return tf.concat([parts.semantic_given(v).mean(), v], axis=-1)

    def condition(self, y: Any, batch_size: Any) -> None:
        """Checks the labels: nothing is conditioned on them."""
        if y is not None:
            self.one_hot(y)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """The mixin's, and `predict_training`."""
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        return {
            **super().signatures(),
            "predict_training": (
                lambda x: {"probabilities": self.predict_training(x, seed=EVALUATION_SEED)},
                [x],
            ),
        }
