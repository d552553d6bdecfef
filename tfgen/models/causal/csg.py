"""The causal semantic generative model."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import layers, seeds
from tfgen.build import build
from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.models.causal.gaussian_prior import GaussianPrior
from tfgen.models.causal.labels import one_hot
from tfgen.models.causal.networks import FanInMLP, SemanticDecoder, fan_in_dense
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import LatentVariableModel, Terms

tfd = tfp.distributions

MINIMUM_SCALE = 1e-4  # of the posterior
# Prior draws among which one with a given label is chosen.
NUM_CANDIDATES = 64


class CausalTerms(NamedTuple):
    """Densities at K draws (s, v) ~ q(s, v | x), in nats.

    Attributes:
        s: `[K, B, S]`.
        v: `[K, B, V]`.
        log_px: log p(x | s, v), `[K, B]`.
        log_py: log p(y | s) for every label y, `[K, B, C]`.
        log_prior: log p(s, v) of the training domain, `[K, B]`.
        log_test_prior: log p_t(s, v) of the test domain, `[K, B]`.
        log_q: log q(s, v | x), `[K, B]`.
    """

    s: tf.Tensor
    v: tf.Tensor
    log_px: tf.Tensor
    log_py: tf.Tensor
    log_prior: tf.Tensor
    log_test_prior: tf.Tensor
    log_q: tf.Tensor

    @property
    def log_ratio(self) -> tf.Tensor:
        """log r = log p(s, v) - log p_t(s, v), `[K, B]`."""
        return self.log_prior - self.log_test_prior


class Posterior(NamedTuple):
    """q(s, v | x) = q(v | x) q(s | v, x), as the functions that its two factors need."""

    variation: tfd.Distribution
    semantic_given: Callable[[tf.Tensor], tfd.Distribution]


class CSG(LatentVariableModel):
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

    p(x | s, v) is Gaussian with a fixed standard deviation. Of integer data, log p is the density
    in units of one level, which is the probability of the level as long as `noise_scale` is more
    than half a level wide; the values then sum to at most one.

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
        check_integer("num_classes", num_classes, minimum=2)
        check_integer("semantic_size", semantic_size, minimum=1)
        check_integer("variation_size", variation_size, minimum=0)
        check_integer("context_size", context_size, minimum=1)
        check_argument(noise_scale > 0, "noise_scale", "positive", noise_scale)
        check_one_of("test_prior", test_prior, ("training", "independent", "adapted"))
        is_possible = variation_size > 0 or test_prior != "independent"
        check_argument(is_possible, "test_prior", "another where variation_size is 0", test_prior)
        self.semantic_size, self.variation_size = semantic_size, variation_size
        self.latent_shape = (semantic_size + variation_size,)
        self.kind_of_test_prior = test_prior
        self.noise_scale = float(noise_scale)

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
        self.classifier_mlp = FanInMLP(classifier_units, "relu")
        self.logits = fan_in_dense(1 if num_classes == 2 else num_classes)
        shape = list(self.event_shape)
        self.decoder = (
            SemanticDecoder(
                semantic_size=semantic_size, semantic_units=context_size, output_shape=shape
            )
            if decoder is None
            else build(layers, decoder, output_shape=shape)
        )

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
        h = self.encoder(self._scaled(x), training=self.is_training)
        h = tf.reshape(h, [-1, math.prod(h.shape[1:])])
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
            return _diagonal(tf.reshape(loc, shape), tf.reshape(scale, shape))

        return Posterior(_diagonal(v_loc, v_scale), semantic_given)

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """q(v | x) q(s | v, x), a joint distribution of pairs (v, s)."""
        parts = self.posterior_parts(x)
        return tfd.JointDistributionSequential(
            [parts.variation, parts.semantic_given], batch_ndims=1
        )

    def likelihood(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(x | s, v) in data units, for z = (s, v) `[..., S + V]`."""
        flat = tf.reshape(z, [-1, *self.latent_shape])
        mean = self._float(self.decoder(flat, training=self.is_training))
        fits = math.prod(mean.shape[1:]) == self.num_dims
        check_argument(fits, "decoder", f"one with outputs {self.event_shape}", mean.shape[1:])
        mean = tf.reshape(mean, tf.concat([tf.shape(z)[:-1], self.event_shape], axis=0))
        unit = 1.0
        if self.num_levels is not None:
            mean, unit = tf.sigmoid(mean), self.num_levels - 1.0
        normal = tfd.Normal(unit * mean, tf.cast(unit * self.noise_scale, mean.dtype))
        return tfd.Independent(normal, len(self.event_shape))

    def label_log_probs(self, s: tf.Tensor) -> tf.Tensor:
        """log p(y | s) for every y, `[..., C]` for s `[..., S]`."""
        logits = self._float(self.logits(self.classifier_mlp(tf.reshape(s, [-1, s.shape[-1]]))))
        if self.num_classes == 2:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        shape = tf.concat([tf.shape(s)[:-1], [self.num_classes]], axis=0)
        return tf.reshape(tf.nn.log_softmax(logits), shape)

    def _scaled(self, x: tf.Tensor) -> tf.Tensor:
        """Data as networks see them: integer levels on [0, 1]."""
        x = tf.cast(x, self.float_dtype)
        return x if self.num_levels is None else x / (self.num_levels - 1)

    def _float(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, self.float_dtype)

    def _scale(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(self._float(raw)) + MINIMUM_SCALE

    # ------------------------------------------------------------------ draws and bounds

    def causal_terms(
        self, x: Any, num_samples: int = 1, seed: Any = None, mean_path: bool = False
    ) -> CausalTerms:
        """The densities at `num_samples` draws of q(s, v | x).

        With `mean_path` the one "draw" is the mean of q(v | x) and the mean of q(s | v, x) there,
        whatever `num_samples`. No expectation is estimated by it: log q at its mean falls without
        bound as q widens and nothing else depends on the width, so no standard deviation of q and
        no likelihood may be read from a model trained so.
        """
        x = self.check_data(x)
        parts = self.posterior_parts(x)
        if mean_path:
            v = parts.variation.mean()[None]
            semantic = parts.semantic_given(v)
            return self._densities(x, semantic.mean(), v, parts, semantic)
        v_seed, s_seed = seeds.split(self.next_seed(seed))
        v = _draw(parts.variation, num_samples, v_seed)
        semantic = parts.semantic_given(v)
        return self._densities(x, _draw(semantic, None, s_seed), v, parts, semantic)

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

    def terms(self, x: Any, y: Any = None, num_samples: int = 1, seed: Any = None) -> Terms:
        """The parts of the bound of log p(x), or with y of log p(x, y), under the training prior;
        `log_px` is then log p(x | s, v) + log p(y | s)."""
        draws = self.causal_terms(x, num_samples, seed)
        log_px = draws.log_px
        if y is not None:
            log_px += tf.reduce_sum(self.one_hot(y) * draws.log_py, axis=-1)
        kl = tf.reduce_mean(draws.log_q - draws.log_prior, axis=0)
        z = tf.concat([draws.s, draws.v], axis=-1)
        return Terms(z, log_px, draws.log_prior, draws.log_q, kl[None])

    def test_log_prob(self, x: Any, seed: Any = None, num_samples: int = 10) -> tf.Tensor:
        """Lower bound of log p_t(x), the likelihood of the test domain, `[B]`."""
        draws = self.causal_terms(x, num_samples, seed)
        return _log_mean(draws.log_test_prior + draws.log_px - draws.log_q)

    # ------------------------------------------------------------------ prediction

    def predict(self, x: Any, num_samples: int | None = None, seed: Any = None) -> tf.Tensor:
        """p_t(y | x) of the test domain, E_q[p(y | s)], `[B, C]`.

        At the mean of q, as in the authors' code, or the mean over `num_samples` draws. (It takes
        the place of Keras's `predict`.)
        """
        return tf.exp(self._log_predict(x, num_samples, seed))

    def predict_training(self, x: Any, num_samples: int = 32, seed: Any = None) -> tf.Tensor:
        """p(y | x) of the training domain, E_q[r p(y | s)] normalised over y, `[B, C]`."""
        draws = self.causal_terms(x, num_samples, seed)
        return tf.nn.softmax(_log_mean(draws.log_ratio[..., None] + draws.log_py))

    def _log_predict(self, x: Any, num_samples: int | None, seed: Any) -> tf.Tensor:
        parts = self.posterior_parts(self.check_data(x))
        if num_samples is None:
            s = parts.semantic_given(parts.variation.mean()).mean()
            return self.label_log_probs(s)
        v_seed, s_seed = seeds.split(self.next_seed(seed))
        v = _draw(parts.variation, num_samples, v_seed)
        return _log_mean(self.label_log_probs(_draw(parts.semantic_given(v), None, s_seed)))

    def report(
        self, x: Any, y: Any = None, seed: Any = None, num_samples: int = 1, chunk_size: int = 10
    ) -> dict[str, tf.Tensor]:
        """As the family's, of log p(x, y) where labels are given, with the accuracies of `predict`
        and `predict_training`."""
        report = super().report(x, y, seed, num_samples, chunk_size)
        if y is None:
            return report
        seed = self.next_seed(seed)
        predictions = {
            "accuracy": self.predict(x),
            "accuracy_training_prior": self.predict_training(x, seed=seeds.fold_in(seed, 1)),
        }
        labels = tf.cast(y, tf.int64)
        for name, probabilities in predictions.items():
            hits = tf.argmax(probabilities, axis=-1) == labels
            report[name] = tf.cast(hits, self.float_dtype)
        return report

    # ------------------------------------------------------------------ samples and codes

    def sample_labelled(self, num_samples: Any, seed: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws (x, y) of the training domain: images in data units and labels, int32."""
        latent_seed, label_seed, data_seed = seeds.split(self.next_seed(seed), 3)
        z = _draw(self.prior(), num_samples, latent_seed)
        y = _choose(self.label_log_probs(z[:, : self.semantic_size]), label_seed)
        return self._observe(z, data_seed), y

    def sample(self, num_samples: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """Draws of the training domain in data units; with labels y, of p(x | y).

        For a label, (s, v) is one of 64 draws of the prior, chosen with the weights p(y | s); exact
        in the limit of many.
        """
        if y is None:
            return self.sample_labelled(num_samples, seed)[0]
        labels = tf.broadcast_to(self.one_hot(y), [num_samples, self.num_classes])
        latent_seed, choice_seed, data_seed = seeds.split(self.next_seed(seed), 3)
        candidates = _draw(self.prior(), num_samples * NUM_CANDIDATES, latent_seed)
        candidates = tf.reshape(candidates, [num_samples, NUM_CANDIDATES, *self.latent_shape])
        log_py = self.label_log_probs(candidates[..., : self.semantic_size])
        chosen = _choose(tf.reduce_sum(log_py * labels[:, None], axis=-1), choice_seed)
        return self._observe(tf.gather(candidates, chosen, batch_dims=1), data_seed)

    def _observe(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        x = _draw(self.likelihood(z).distribution, None, seed)
        if self.num_levels is not None:
            x = tf.clip_by_value(tf.round(x), 0.0, self.num_levels - 1.0)
        return tf.cast(x, self.event_dtype)

    def encode(self, x: Any, y: Any = None) -> tf.Tensor:
        """(s, v) at the mean of q(v | x) and the mean of q(s | v, x) there, `[B, S + V]`."""
        parts = self.posterior_parts(self.check_data(x))
        v = parts.variation.mean()
        return tf.concat([parts.semantic_given(v).mean(), v], axis=-1)

    def recombine(self, x_semantic: Any, x_variation: Any) -> tf.Tensor:
        """Mean images with the s of the first images and the v of the second, data units, float."""
        size = self.semantic_size
        s, v = self.encode(x_semantic)[:, :size], self.encode(x_variation)[:, size:]
        return self.decode(tf.concat([s, v], axis=-1))

    # ------------------------------------------------------------------ protocol

    def one_hot(self, y: Any) -> tf.Tensor:
        """`[B, C]`; a ValueError for labels outside 0..C-1. Without a label (-1) all zeros."""
        return one_hot(y, int(self.num_classes or 0), self.float_dtype)

    def condition(self, y: Any, batch_size: Any) -> None:
        """Checks the labels: nothing is conditioned on them."""
        if y is not None:
            self.one_hot(y)

    def default_objective(self) -> Any:
        return {"type": "CausalELBO"}

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """`predict`, `predict_training`, `log_prob(x)`, `joint_log_prob(x, y)`, `sample` with
        labels, `encode` and `decode`."""
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        y = tf.TensorSpec([None], tf.int32, name="y")
        z = tf.TensorSpec([None, *self.latent_shape], "float32", name="z")
        num_samples = tf.TensorSpec([], tf.int32, name="num_samples")
        seed = tf.TensorSpec([2], tf.int32, name="seed")
        fixed = EVALUATION_SEED
        return {
            "predict": (lambda x: {"probabilities": self.predict(x)}, [x]),
            "predict_training": (
                lambda x: {"probabilities": self.predict_training(x, seed=fixed)},
                [x],
            ),
            "log_prob": (lambda x: {"log_prob": self.log_prob(x, seed=fixed)}, [x]),
            "joint_log_prob": (
                lambda x, y: {"log_prob": self.log_prob(x, y, seed=fixed)},
                [x, y],
            ),
            "sample": (
                lambda num_samples, seed: dict(
                    zip("xy", self.sample_labelled(num_samples, seed), strict=True)
                ),
                [num_samples, seed],
            ),
            "encode": (lambda x: {"z": self.encode(x)}, [x]),
            "decode": (lambda z: {"x": self.decode(z)}, [z]),
        }


def _diagonal(loc: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(loc, scale), 1)


def _draw(distribution: Any, num_samples: Any, seed: tf.Tensor) -> tf.Tensor:
    """Reparameterised draws of a Gaussian; one for each of its batch with `num_samples` None."""
    shape = distribution.batch_shape_tensor()
    if num_samples is not None:
        shape = tf.concat([[num_samples], shape], axis=0)
    shape = tf.concat([shape, distribution.event_shape_tensor()], axis=0)
    if isinstance(distribution, tfd.Independent):
        distribution = distribution.distribution
    eps = seeds.normal(shape, seed, distribution.dtype)
    if isinstance(distribution, tfd.Normal):
        return distribution.loc + distribution.scale * eps
    return distribution.bijector.forward(eps)  # of a multivariate normal: loc + L eps


def _choose(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One position of the last axis for each row, with the probabilities softmax(logits)."""
    cumulative = tf.cumsum(tf.nn.softmax(logits), axis=-1)[..., :-1]
    u = seeds.uniform(tf.shape(logits)[:-1], seed, logits.dtype)[..., None]
    return tf.reduce_sum(tf.cast(u >= cumulative, tf.int32), axis=-1)


def _log_mean(values: tf.Tensor) -> tf.Tensor:
    """log of the mean of the exponentials over the first axis."""
    log_num = tf.math.log(tf.cast(tf.shape(values)[0], values.dtype))
    return tf.reduce_logsumexp(values, axis=0) - log_num
