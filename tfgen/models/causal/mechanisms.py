"""What causal models keep in every domain: how latents make images and labels."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import layers, seeds
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.models.causal.labels import one_hot
from tfgen.models.causal.networks import FanInMLP, SemanticDecoder, fan_in_dense
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import Terms

tfd = tfp.distributions

MINIMUM_SCALE = 1e-4  # of a posterior
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
        log_test_prior: log p_t(s, v) of the domain whose posterior q is, `[K, B]`.
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


class Mechanisms:
    """Mixin of models with latents s, what causes the label, and v, the rest of the image.

        p(x, y | s, v) = p(x | s, v) p(y | s)

    is the same in every domain; domains differ in the prior of (s, v). p(x | s, v) is Gaussian with
    a fixed standard deviation. Of integer data, log p is the density in units of one level, which
    is the probability of the level as long as `noise_scale` is more than half a level wide; the
    values then sum to at most one.

    A model adds priors and a posterior, by `causal_terms` and `draw_prior`, and its predictions,
    by `predict` and `predict_training`. What they are conditioned on, if anything, `condition`
    makes from the labels.
    """

    def create_mechanisms(
        self,
        semantic_size: int,
        variation_size: int,
        noise_scale: float,
        classifier_units: Sequence[int],
        decoder: Any,
        semantic_units: int,
    ) -> None:
        """Checks the sizes and makes the networks of p(x | s, v) and p(y | s).

        `semantic_units` is of the default decoder.
        """
        check_integer("num_classes", self.num_classes, minimum=2)
        check_integer("semantic_size", semantic_size, minimum=1)
        check_integer("variation_size", variation_size, minimum=0)
        check_argument(noise_scale > 0, "noise_scale", "positive", noise_scale)
        self.semantic_size, self.variation_size = semantic_size, variation_size
        self.latent_shape = (semantic_size + variation_size,)
        self.noise_scale = float(noise_scale)
        self.classifier_mlp = FanInMLP(classifier_units, "relu")
        self.logits = fan_in_dense(1 if self.num_classes == 2 else self.num_classes)
        shape = list(self.event_shape)
        self.decoder = (
            SemanticDecoder(shape, semantic_size, semantic_units)
            if decoder is None
            else build(layers, decoder, output_shape=shape)
        )

    # ------------------------------------------------------------------ the mechanisms

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

    def features(self, encoder: Any, x: tf.Tensor) -> tf.Tensor:
        """The encoder's output of data with integer levels scaled to [0, 1], `[B, F]`."""
        x = tf.cast(x, self.float_dtype)
        if self.num_levels is not None:
            x /= self.num_levels - 1
        h = encoder(x, training=self.is_training)
        return tf.reshape(h, [-1, math.prod(h.shape[1:])])

    def _float(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, self.float_dtype)

    def _scale(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.nn.softplus(self._float(raw)) + MINIMUM_SCALE

    # ------------------------------------------------------------------ what a model adds

    def causal_terms(
        self,
        x: Any,
        num_samples: int = 1,
        seed: Any = None,
        mean_path: bool = False,
        condition: tf.Tensor | None = None,
    ) -> CausalTerms:
        """The densities at `num_samples` draws of q(s, v | x).

        With `mean_path` the one "draw" is the mean of q, whatever `num_samples`. No expectation is
        estimated by it: log q at its mean falls without bound as q widens and nothing else depends
        on the width, so no standard deviation of q and no likelihood may be read from a model
        trained so.
        """
        raise NotImplementedError

    def draw_prior(
        self, num_samples: Any, seed: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Draws of (s, v) of the training domain, `[num_samples, S + V]`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ bounds and reports

    def terms(self, x: Any, y: Any = None, num_samples: int = 1, seed: Any = None) -> Terms:
        """The parts of the bound of log p(x), or with y of log p(x, y), under the training prior;
        `log_px` is then log p(x | s, v) + log p(y | s)."""
        x = self.check_data(x)
        condition = self.condition(y, tf.shape(x)[0])
        draws = self.causal_terms(x, num_samples, seed, condition=condition)
        log_px = draws.log_px
        if y is not None:
            log_px += tf.reduce_sum(self.one_hot(y) * draws.log_py, axis=-1)
        kl = tf.reduce_mean(draws.log_q - draws.log_prior, axis=0)
        z = tf.concat([draws.s, draws.v], axis=-1)
        return Terms(z, log_px, draws.log_prior, draws.log_q, kl[None])

    def report(
        self, x: Any, y: Any = None, seed: Any = None, num_samples: int = 1, chunk_size: int = 10
    ) -> dict[str, tf.Tensor]:
        """As the family's, of log p(x, y) where labels are given, with the accuracies of `predict`
        and `predict_training`."""
        report = super().report(x, y, seed, num_samples, chunk_size)
        if y is None:
            return report
        condition = self.condition(y, tf.shape(x)[0])
        seed = seeds.fold_in(self.next_seed(seed), 1)
        labels = tf.argmax(self.one_hot(y), axis=-1)
        for name, probabilities in (
            ("accuracy", self.predict(x)),
            ("accuracy_training_prior", self._predict_training(x, condition, seed=seed)),
        ):
            hits = tf.argmax(probabilities, axis=-1) == labels
            report[name] = tf.cast(hits, self.float_dtype)
        return report

    def _predict_training(
        self, x: Any, condition: tf.Tensor | None, num_samples: int = 32, seed: Any = None
    ) -> tf.Tensor:
        """E_q[r p(y | s)] normalised over y, `[B, C]`."""
        draws = self.causal_terms(x, num_samples, seed, condition=condition)
        return tf.nn.softmax(log_mean(draws.log_ratio[..., None] + draws.log_py))

    # ------------------------------------------------------------------ samples and codes

    def sample_labelled(
        self, num_samples: Any, seed: Any = None, condition: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws (x, y) of the training domain: images in data units and labels, int32."""
        latent_seed, label_seed, data_seed = seeds.split(self.next_seed(seed), 3)
        z = self.draw_prior(num_samples, latent_seed, condition)
        y = choose(self.label_log_probs(z[:, : self.semantic_size]), label_seed)
        return self._observe(z, data_seed), y

    def sample(self, num_samples: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """Draws of the training domain in data units; with labels y, of p(x | y).

        For a label, (s, v) is one of 64 draws of the prior, chosen with the weights p(y | s); exact
        in the limit of many.
        """
        condition = self.condition(y, num_samples)
        if y is None:
            return self.sample_labelled(num_samples, seed, condition)[0]
        labels = tf.broadcast_to(self.one_hot(y), [num_samples, self.num_classes])
        latent_seed, choice_seed, data_seed = seeds.split(self.next_seed(seed), 3)
        if condition is not None:
            condition = tf.repeat(condition, NUM_CANDIDATES, axis=0)
        candidates = self.draw_prior(num_samples * NUM_CANDIDATES, latent_seed, condition)
        candidates = tf.reshape(candidates, [num_samples, NUM_CANDIDATES, *self.latent_shape])
        log_py = self.label_log_probs(candidates[..., : self.semantic_size])
        chosen = choose(tf.reduce_sum(log_py * labels[:, None], axis=-1), choice_seed)
        return self._observe(tf.gather(candidates, chosen, batch_dims=1), data_seed)

    def _observe(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        x = draw(self.likelihood(z).distribution, None, seed)
        if self.num_levels is not None:
            x = tf.clip_by_value(tf.round(x), 0.0, self.num_levels - 1.0)
        # A draw of the prior leaves the shape of an example unknown in a graph.
        return tf.ensure_shape(tf.cast(x, self.event_dtype), [None, *self.event_shape])

    def recombine(self, x_semantic: Any, x_variation: Any) -> tf.Tensor:
        """Mean images with the s of the first images and the v of the second, data units, float."""
        size = self.semantic_size
        s, v = self.encode(x_semantic)[:, :size], self.encode(x_variation)[:, size:]
        return self.decode(tf.concat([s, v], axis=-1))

    # ------------------------------------------------------------------ protocol

    def one_hot(self, y: Any) -> tf.Tensor:
        """`[B, C]`; a ValueError for labels outside 0..C-1. Without a label (-1) all zeros."""
        return one_hot(y, int(self.num_classes or 0), self.float_dtype)

    def default_objective(self) -> Any:
        return {"type": "CausalELBO"}

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """`predict`, `log_prob(x)`, `joint_log_prob(x, y)`, `sample` with labels, `encode` and
        `decode`."""
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        y = tf.TensorSpec([None], tf.int32, name="y")
        z = tf.TensorSpec([None, *self.latent_shape], "float32", name="z")
        num_samples = tf.TensorSpec([], tf.int32, name="num_samples")
        seed = tf.TensorSpec([2], tf.int32, name="seed")
        fixed = EVALUATION_SEED
        return {
            "predict": (lambda x: {"probabilities": self.predict(x)}, [x]),
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


def diagonal(loc: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
    """N(loc, diag(scale)^2), the last axis being the event."""
    return tfd.Independent(tfd.Normal(loc, scale), 1)


def draw(distribution: Any, num_samples: Any, seed: tf.Tensor) -> tf.Tensor:
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


def choose(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One position of the last axis for each row, with the probabilities softmax(logits)."""
    cumulative = tf.cumsum(tf.nn.softmax(logits), axis=-1)[..., :-1]
    u = seeds.uniform(tf.shape(logits)[:-1], seed, logits.dtype)[..., None]
    return tf.reduce_sum(tf.cast(u >= cumulative, tf.int32), axis=-1)


def log_mean(values: tf.Tensor) -> tf.Tensor:
    """log of the mean of the exponentials over the first axis."""
    log_num = tf.math.log(tf.cast(tf.shape(values)[0], values.dtype))
    return tf.reduce_logsumexp(values, axis=0) - log_num
