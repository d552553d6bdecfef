"""The latent causal invariant model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import layers, seeds
from tfgen.build import build
from tfgen.checks import check_argument, check_integer
from tfgen.inference.maximization import maximize
from tfgen.models.causal.gaussian_prior import GaussianPrior
from tfgen.models.causal.labels import one_hot, split_domains
from tfgen.models.causal.mechanisms import CausalTerms, Mechanisms, choose
from tfgen.models.causal.networks import FanInMLP, fan_in_dense
from tfgen.models.generative_model import EVALUATION_SEED
from tfgen.models.latent.base import LatentVariableModel

tfd = tfp.distributions


class LaCIM(Mechanisms, LatentVariableModel):
    """Latent causal invariant model [1], trained on several domains to predict labels in another.

        p(x, y | d) = E_p(s, v | d)[p(x | s, v) p(y | s)],    d = 0 .. M-1

    s is what causes the label, v the rest of the image (z in [1]). What generates images and labels
    is the same in every domain d; the prior p(s, v | d) and the posterior q(s, v | x, d) are the
    domain's own. Labels y are those alone, `[B]`, or with the domain, `[B, 2]` = (y, d); either
    entry may be -1, not known. Where the domain is not known, the model is the mixture of the
    training domains in equal parts, whose prior and posterior are the mixtures of theirs:
    `log_prob(x)` is a lower bound of log of the mean of p(x | d).

    The objective is `tfgen.objectives.CausalELBO`, whose bound needs q(s, v | x, d) alone, and
    whose ratio of priors is 1 here.

    In a test domain neither prior nor posterior is known. `predict` finds latents that explain the
    image, by Adam from the best of `num_candidates` draws of N(0, I),

        max over s, v of log p(x | s, v) - semantic_penalty ||s||^2 - variation_penalty ||v||^2,

    and gives p(y | s) there. It is deterministic: all images have the same candidates.
    `predict_training` gives E_q[p(y | s)] with the posterior of the domain, where it is known.

    Departures from [1], its text (T) and the authors' code (C): the posterior's dependence on d is
    a second input beside the encoder's features (C: separate heads for each domain); priors have
    full covariances, a `GaussianPrior` for each domain (C: diagonal); the norms are penalised (T
    prints a plus sign); candidates are draws of N(0, I) as in T (C: of the training posteriors);
    p(x | s, v) is Gaussian with a fixed standard deviation (C: Bernoulli of grey levels); there is
    no batch normalisation, which would make a likelihood depend on the rest of its batch; Adam's
    learning rate falls to zero.

    Args:
        event_shape: shape of one example.
        num_classes: number of labels.
        num_domains: M.
        num_levels: number of integer levels of discrete data, or None for real data.
        semantic_size: dimensions of s.
        variation_size: dimensions of v.
        posterior_units: of layers with ReLU between (features, d) and the posterior.
        classifier_units: of layers with ReLU between s and the logits.
        prior: further arguments of every domain's `GaussianPrior`.
        noise_scale: standard deviation of p(x | s, v), where integer levels are scaled to [0, 1].
        num_candidates, num_steps, learning_rate: of the search that `predict` makes.
        semantic_penalty, variation_penalty: see above; 0.5 is the density of N(0, I).
        encoder: a Keras layer from scaled data to features of any shape, or the specification of
            one of `tfgen.layers`.
        decoder: a Keras layer from `[N, S + V]` to data, or a specification likewise.
        **kwargs: `name`, `dtype`.

    Raises:
        ValueError: an argument outside its range; a decoder whose output is no image.

    [1] Sun, Wu, Zheng, Liu, Qin, Chen, Liu. Recovering latent causal factor for generalization to
        distributional shifts. NeurIPS 2021. arXiv:2011.02203
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int,
        num_domains: int,
        num_levels: int | None = None,
        semantic_size: int = 16,
        variation_size: int = 16,
        posterior_units: Sequence[int] = (256,),
        classifier_units: Sequence[int] = (256,),
        prior: Mapping[str, Any] | None = None,
        noise_scale: float = 0.1,
        num_candidates: int = 32,
        num_steps: int = 100,
        learning_rate: float = 0.1,
        semantic_penalty: float = 0.5,
        variation_penalty: float = 0.5,
        encoder: Any = None,
        decoder: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, num_classes=num_classes, **kwargs)
        check_integer("num_domains", num_domains, minimum=2)
        check_integer("variation_size", variation_size, minimum=1)
        check_integer("num_candidates", num_candidates, minimum=1)
        check_integer("num_steps", num_steps, minimum=0)
        check_argument(learning_rate > 0, "learning_rate", "positive", learning_rate)
        for name, penalty in (
            ("semantic_penalty", semantic_penalty),
            ("variation_penalty", variation_penalty),
        ):
            check_argument(penalty >= 0, name, "non-negative", penalty)
        self.create_mechanisms(
            semantic_size, variation_size, noise_scale, classifier_units, decoder, semantic_size
        )
        self.num_domains = num_domains
        self.num_candidates, self.num_steps = num_candidates, num_steps
        self.learning_rate = float(learning_rate)
        self.penalties = [semantic_penalty] * semantic_size + [variation_penalty] * variation_size

        self.blocks = [
            GaussianPrior(semantic_size, variation_size, **(prior or {}))
            for _ in range(num_domains)
        ]
        self.encoder = FanInMLP() if encoder is None else build(layers, encoder)
        self.posterior_mlp = FanInMLP(posterior_units, "relu")
        self.posterior_loc = fan_in_dense(semantic_size + variation_size)
        narrow = keras.initializers.RandomNormal(stddev=0.01)
        self.posterior_scale = keras.layers.Dense(
            semantic_size + variation_size, kernel_initializer=narrow
        )

    # ------------------------------------------------------------------ the model's distributions

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(s, v | d), or the mixture over d with the weights `condition`, `[B, M]`."""
        loc, factor = self._prior_parameters()
        if condition is None:
            condition = self.condition(None, 1)[0]
        return tfd.MixtureSameFamily(
            tfd.Categorical(probs=condition), tfd.MultivariateNormalTriL(loc, factor)
        )

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """q(s, v | x, d), or the mixture over d with the weights `condition`, `[B, M]`."""
        if condition is None:
            condition = self.condition(None, tf.shape(x)[0])
        return tfd.MixtureSameFamily(
            tfd.Categorical(probs=condition), tfd.MultivariateNormalDiag(*self.posterior_parts(x))
        )

    def posterior_parts(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Means and standard deviations of q(s, v | x, d) for every d, `[B, M, S + V]`."""
        h = self.features(self.encoder, x)
        num, domains = tf.shape(h)[0], tf.eye(self.num_domains, dtype=h.dtype)
        repeated = tf.repeat(h, self.num_domains, axis=0)
        h = self.posterior_mlp(tf.concat([repeated, tf.tile(domains, [num, 1])], axis=-1))
        shape = [num, self.num_domains, *self.latent_shape]
        loc, scale = self._float(self.posterior_loc(h)), self._scale(self.posterior_scale(h))
        return tf.reshape(loc, shape), tf.reshape(scale, shape)

    def _prior_parameters(self) -> tuple[tf.Tensor, tf.Tensor]:
        loc = tf.stack([block.loc.value for block in self.blocks])
        return loc, tf.stack([block.factor() for block in self.blocks])

    def draw_prior(
        self, num_samples: Any, seed: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        if condition is None:
            condition = self.condition(None, num_samples)
        domain_seed, latent_seed = seeds.split(seed)
        picked = self._pick(condition, domain_seed)
        eps = seeds.normal([num_samples, *self.latent_shape], latent_seed, picked.dtype)
        loc, factor = self._prior_parameters()
        draws = loc + tf.einsum("dzk,nk->ndz", factor, eps)
        return tf.reduce_sum(picked[..., None] * draws, axis=1)

    def _pick(self, weights: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """One domain for each row, one-hot `[..., M]`, with the probabilities `weights`."""
        chosen = choose(tf.math.log(weights), seed)
        return tf.one_hot(chosen, self.num_domains, dtype=weights.dtype)

    # ------------------------------------------------------------------ draws

    def causal_terms(
        self,
        x: Any,
        num_samples: int = 1,
        seed: Any = None,
        mean_path: bool = False,
        condition: tf.Tensor | None = None,
    ) -> CausalTerms:
        """As the mixin's, with domains' weights `[B, M]` as the condition."""
        x = self.check_data(x)
        if condition is None:
            condition = self.condition(None, tf.shape(x)[0])
        loc, scale = self.posterior_parts(x)
        if mean_path:
            z = tf.reduce_sum(condition[..., None] * loc, axis=1)[None]
        else:
            domain_seed, latent_seed = seeds.split(self.next_seed(seed))
            repeated = tf.broadcast_to(condition, [num_samples, *tf.unstack(tf.shape(condition))])
            picked = self._pick(repeated, domain_seed)[..., None]
            shape = [num_samples, tf.shape(x)[0], *self.latent_shape]
            eps = seeds.normal(shape, latent_seed, loc.dtype)
            z = tf.reduce_sum(picked * loc, axis=2) + tf.reduce_sum(picked * scale, axis=2) * eps
        return self._densities(x, z, loc, scale, condition)

    def densities(self, x: Any, s: tf.Tensor, v: tf.Tensor, condition: tf.Tensor) -> CausalTerms:
        """The densities at given latents, `[K, B, S]` and `[K, B, V]`."""
        x = self.check_data(x)
        return self._densities(x, tf.concat([s, v], axis=-1), *self.posterior_parts(x), condition)

    def _densities(
        self, x: tf.Tensor, z: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, condition: tf.Tensor
    ) -> CausalTerms:
        log_weights = tf.math.log(condition)  # minus infinity for what is another domain

        def mixture(log_probs: tf.Tensor) -> tf.Tensor:
            return tf.reduce_logsumexp(log_weights + log_probs, axis=-1)

        log_q = tf.reduce_sum(tfd.Normal(loc, scale).log_prob(z[:, :, None]), axis=-1)
        log_prior = mixture(tf.stack([block.log_prob(z) for block in self.blocks], axis=-1))
        s, v = tf.split(z, [self.semantic_size, self.variation_size], axis=-1)
        return CausalTerms(
            s=s,
            v=v,
            log_px=self.likelihood(z).log_prob(self._float(x)),
            log_py=self.label_log_probs(s),
            log_prior=log_prior,
            log_test_prior=log_prior,
            log_q=mixture(log_q),
        )

    # ------------------------------------------------------------------ prediction

    def predict(self, x: Any, seed: Any = EVALUATION_SEED) -> tf.Tensor:
        """p(y | s) at the latents that explain the image of an unknown domain best, `[B, C]`.

        (It takes the place of Keras's `predict`.)
        """
        s = self.explain(x, seed)[:, : self.semantic_size]
        return tf.exp(self.label_log_probs(s))

    def explain(self, x: Any, seed: Any = EVALUATION_SEED) -> tf.Tensor:
        """The maximum of log p(x | s, v) - semantic_penalty ||s||^2 - variation_penalty ||v||^2
        that is found from the best of the candidates, `[B, S + V]`."""
        x = self._float(self.check_data(x))
        penalties = tf.constant(self.penalties, x.dtype)

        def score(z: tf.Tensor) -> tf.Tensor:
            norms = tf.reduce_sum(penalties * tf.square(z), axis=-1)
            return self.likelihood(z).log_prob(x) - norms

        shape = [self.num_candidates, *self.latent_shape]
        candidates = seeds.normal(shape, self.next_seed(seed), x.dtype)
        best = tf.argmax(score(candidates[:, None]), axis=0)
        return maximize(score, tf.gather(candidates, best), self.num_steps, self.learning_rate)

    def predict_training(
        self, x: Any, domain: Any = None, num_samples: int = 32, seed: Any = None
    ) -> tf.Tensor:
        """E_q[p(y | s)] with q(s, v | x, d) of each image's domain, int `[B]`, `[B, C]`."""
        y = None
        if domain is not None:
            domain = tf.convert_to_tensor(domain)
            y = tf.stack([tf.zeros_like(domain), domain], axis=-1)
        condition = self.condition(y, tf.shape(x)[0])
        return self._predict_training(x, condition, num_samples, seed)

    # ------------------------------------------------------------------ protocol

    def encode(self, x: Any, y: Any = None) -> tf.Tensor:
        """The mean of q(s, v | x, d), over the domains where it is not known, `[B, S + V]`."""
        x = self.check_data(x)
        condition = self.condition(y, tf.shape(x)[0])
        return tf.reduce_sum(condition[..., None] * self.posterior_parts(x)[0], axis=1)

    def one_hot(self, y: Any) -> tf.Tensor:
        """The labels of y or (y, d), `[B, C]`. Without a label (-1) all zeros."""
        return super().one_hot(split_domains(y)[0])

    def condition(self, y: Any, batch_size: Any) -> tf.Tensor:
        """The domains' weights, `[B, M]`: one-hot, or equal where the domain is not known."""
        share = tf.cast(1.0 / self.num_domains, self.float_dtype)
        equal = tf.fill([batch_size, self.num_domains], share)
        if y is None:
            return equal
        labels, domain = split_domains(y)
        super().one_hot(labels)
        if domain is None:
            return equal
        known = one_hot(domain, self.num_domains, self.float_dtype, "domains")
        return tf.where(tf.reduce_sum(known, axis=-1, keepdims=True) > 0, known, equal)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """The mixin's, and `predict_training` for images of known domains."""
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        domain = tf.TensorSpec([None], tf.int32, name="domain")
        return {
            **super().signatures(),
            "predict_training": (
                lambda x, domain: {
                    "probabilities": self.predict_training(x, domain, seed=EVALUATION_SEED)
                },
                [x, domain],
            ),
        }
