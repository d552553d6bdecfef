"""Latent-variable models: one joint of data and latents, one approximate posterior."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.inference.importance import importance_log_prob
from tfgen.latents.posterior import is_diagonal_gaussian
from tfgen.models.generative_model import EVALUATION_SEED, GenerativeModel

tfd = tfp.distributions


class Terms(NamedTuple):
    """The parts of the bound for K draws of the latents, in nats.

    Attributes:
        z: latents, any structure of `[K, B, ...]`, z ~ q(z | x).
        log_px: log p(x | z), `[K, B]`.
        log_pz: log p(z), `[K, B]`.
        log_qz: log q(z | x), `[K, B]`.
        kl: KL(q(z | x) || p(z)), `[G, B]`, one row for each group of latents that free bits act
            on; in closed form where there is one, else the mean of log q - log p over the draws.
        posterior: q(z | x), of models in which it is one distribution.
    """

    z: Any
    log_px: tf.Tensor
    log_pz: tf.Tensor
    log_qz: tf.Tensor
    kl: tf.Tensor
    posterior: Any = None

    @property
    def log_weights(self) -> tf.Tensor:
        """log w = log p(x | z) + log p(z) - log q(z | x), `[K, B]`."""
        return self.log_px + self.log_pz - self.log_qz


class LatentVariableModel(GenerativeModel):
    """log p(x) >= E_q[log p(x | z) + log p(z) - log q(z | x)].

    A subclass gives three distributions, `prior`, `posterior` and `likelihood`, each with the whole
    latent or the whole example as its event; or, for deep hierarchies, `terms` itself. From them
    follow the evidence lower bound, the importance-weighted bound, samples and codes.

    [1] Kingma, Welling. Auto-encoding variational Bayes. ICLR 2014. arXiv:1312.6114
    [2] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """

    likelihood_kind = "bound"
    has_reconstructions = True
    latent_shape: tuple[int, ...]

    def prior(self, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z) or p(z | y)."""
        raise NotImplementedError

    def posterior(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """q(z | x), batch shape `[B]`."""
        raise NotImplementedError

    def likelihood(self, z: tf.Tensor, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(x | z) for latents with any leading dimensions `[..., *latent_shape]`."""
        raise NotImplementedError

    def terms(self, x: Any, y: Any = None, num_samples: int = 1, seed: Any = None) -> Terms:
        """The parts of the bound from `num_samples` draws of q(z | x)."""
        x = self.check_data(x)
        condition = self.condition(y, tf.shape(x)[0])
        prior, posterior = self.prior(condition), self.posterior(x, condition)
        z, log_qz, log_factors = _sample(posterior, num_samples, self.next_seed(seed))
        log_pz = prior.log_prob(z)
        return Terms(
            z=z,
            log_px=self.likelihood(z, condition).log_prob(tf.cast(x, self.float_dtype)),
            log_pz=log_pz,
            log_qz=log_qz,
            kl=_kl(posterior, prior, z, log_factors, log_qz - log_pz),
            posterior=posterior,
        )

    def log_prob(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 1,
        chunk_size: int = 10,
    ) -> tf.Tensor:
        """Lower bound of log p(x), `[B]`: log of the mean importance weight over `num_samples`.

        One draw is a sample of the evidence lower bound; the bound rises with the number of draws.
        At most `chunk_size` draws are in memory at once.
        """
        return self.importance(x, y, seed, num_samples, chunk_size)["log_prob"]

    def importance(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 5000,
        chunk_size: int = 10,
    ) -> dict[str, tf.Tensor]:
        """`log_prob`, and `effective_sample_size` = (sum w)^2 / sum w^2, each `[B]`.

        An effective sample size below 2 says that the estimate rests on one draw.
        """

        def log_weights(num: int, seed: tf.Tensor) -> tf.Tensor:
            return self.terms(x, y, num, seed).log_weights

        batch_size = tf.shape(tf.convert_to_tensor(x))[0]
        seed = self.next_seed(seed)
        return importance_log_prob(
            log_weights, num_samples, chunk_size, seed, batch_size, self.float_dtype
        )

    def report(
        self,
        x: Any,
        y: Any = None,
        seed: Any = None,
        num_samples: int = 1,
        chunk_size: int = 10,
    ) -> dict[str, tf.Tensor]:
        """The importance bound of `num_samples` draws as `log_prob`, of several with its effective
        sample size; the evidence lower bound of one draw and its KL divergence, each `[B]`.

        Models of several layers of latents add `kl_layer/1`, ..., the KL divergence of each; where
        free bits act on several groups of latents, `kl_per_group` is that of each, `[B, G]`.
        """
        terms = self.terms(x, y, 1, self.next_seed(seed))
        kl = tf.reduce_sum(terms.kl, axis=0)
        report = self.importance(x, y, seed, num_samples, chunk_size)
        if num_samples == 1:
            del report["effective_sample_size"]
        report |= {"elbo": terms.log_px[0] - kl, "kl": kl}
        layers = self.layers_of(terms.kl)
        if len(layers) > 1:
            for number, rows in enumerate(layers, 1):
                report[f"kl_layer/{number}"] = tf.reduce_sum(rows, axis=0)
        if terms.kl.shape[0] > 1:
            report["kl_per_group"] = tf.transpose(terms.kl)
        return report

    def layers_of(self, kl: tf.Tensor) -> list[tf.Tensor]:
        """`Terms.kl`, `[G, B]`, as the rows of each layer of latents, in the order in which the
        model draws them; here there is one."""
        return [kl]

    def sample(self, num_samples: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """Draws in data units: z ~ p(z), x ~ p(x | z)."""
        condition = self.condition(y, num_samples)
        latent_seed, data_seed = seeds.split(self.next_seed(seed))
        prior = self.prior(condition)
        z = prior.sample([] if prior.batch_shape.rank else num_samples, seed=latent_seed)
        x = self.likelihood(z, condition).sample(seed=data_seed)
        # A flow prior's draws leave the shape of an example unknown in a graph.
        return tf.ensure_shape(tf.cast(x, self.event_dtype), [None, *self.event_shape])

    def encode(self, x: Any, y: Any = None) -> tf.Tensor:
        """Posterior mean, `[B, *latent_shape]`; of a flow posterior, the image of its base's."""
        x = self.check_data(x)
        return _centre(self.posterior(x, self.condition(y, tf.shape(x)[0])))

    def decode(self, z: Any, y: Any = None) -> tf.Tensor:
        """Mean of p(x | z) in data units, float."""
        z = tf.cast(z, self.float_dtype)
        return self.likelihood(z, self.condition(y, tf.shape(z)[0])).mean()

    def decode_or_draw(self, z: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """`decode`; where p(x | z) has a mean in no closed form (an autoregressive likelihood), a
        draw of it."""
        try:
            return self.decode(z, y)
        except NotImplementedError:
            z = tf.cast(z, self.float_dtype)
            likelihood = self.likelihood(z, self.condition(y, tf.shape(z)[0]))
            return likelihood.sample(seed=self.next_seed(seed))

    def reconstruct(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """`decode_or_draw` at `encode(x)`, the posterior's centre, in data units."""
        return self.decode_or_draw(self.encode(x, y), y, seed)

    def default_objective(self) -> Any:
        return {"type": "ELBO"}

    def distribution(self, y: Any = None) -> tfd.Distribution:
        """p(z) p(x | z) as one `tfd.Distribution` whose values are pairs (z, x).

        With `y` of shape `[B]` the joint has batch shape `[B]`.
        """
        condition = None if y is None else self.condition(y, tf.shape(y)[0])
        prior = self.prior(condition)
        if condition is not None and not prior.batch_shape.rank:
            prior = tfd.BatchBroadcast(prior, condition.shape[:1])
        return tfd.JointDistributionSequential(
            [prior, lambda z: self.likelihood(z, condition)], batch_ndims=prior.batch_shape.rank
        )

    def build(self, input_shape: Any) -> None:
        with tf.init_scope():
            x, y = self.example_batch(1)
            self.terms(x, y, seed=EVALUATION_SEED)

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        z = tf.TensorSpec([None, *self.latent_shape], "float32", name="z")
        y = self.condition_spec()
        signatures = super().signatures()
        if y is None:
            signatures["encode"] = (lambda x: {"z": self.encode(x)}, [x])
            signatures["decode"] = (lambda z: {"x": self.decode(z)}, [z])
            signatures["reconstruct"] = (lambda x: {"x": self.reconstruct(x)}, [x])
        else:
            signatures["encode"] = (lambda x, y: {"z": self.encode(x, y)}, [x, y])
            signatures["decode"] = (lambda z, y: {"x": self.decode(z, y)}, [z, y])
            signatures["reconstruct"] = (lambda x, y: {"x": self.reconstruct(x, y)}, [x, y])
        return signatures


def _sample(
    posterior: Any, num_samples: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """z ~ q, `[K, B, ...]`, log q(z), `[K, B]`, and its summands of each latent where it has such,
    in one pass: the density of a foreign z takes some flows as many passes as z has entries."""
    if hasattr(posterior, "sample_and_log_factors"):
        z, log_factors = posterior.sample_and_log_factors(num_samples, seed)
        return z, tf.reduce_sum(log_factors, axis=list(range(2, z.shape.rank))), log_factors
    return *posterior.experimental_sample_and_log_prob(num_samples, seed=seed), None


def _kl(
    posterior: Any, prior: Any, z: tf.Tensor, log_factors: tf.Tensor | None, log_ratios: tf.Tensor
) -> tf.Tensor:
    """KL(q || p), `[G, B]`.

    One row for each latent where log q and log p are sums over the latents, in closed form if both
    are diagonal Gaussians; else one row, in closed form where TFP knows one.
    """
    if is_diagonal_gaussian(posterior) and is_diagonal_gaussian(prior):
        return _rows(tfd.kl_divergence(posterior.distribution, prior.distribution))
    if log_factors is not None and isinstance(prior, tfd.Independent):
        log_ratios_of_each = log_factors - prior.distribution.log_prob(z)
        return _rows(tf.reduce_mean(log_ratios_of_each, axis=0))
    try:
        return tfd.kl_divergence(_multivariate(posterior), _multivariate(prior))[None]
    except NotImplementedError:
        return tf.reduce_mean(log_ratios, axis=0)[None]


def _multivariate(distribution: Any) -> Any:
    """A diagonal Gaussian in the form for which TFP knows the divergence of a full covariance."""
    if is_diagonal_gaussian(distribution) and distribution.event_shape.rank == 1:
        values = distribution.distribution
        scale = tf.broadcast_to(values.scale, tf.shape(values.loc))
        return tfd.MultivariateNormalDiag(values.loc, scale)
    return distribution


def _rows(kl: tf.Tensor) -> tf.Tensor:
    """`[B, *latent_shape]` -> `[J, B]`."""
    return tf.transpose(tf.reshape(kl, [-1, math.prod(kl.shape[1:])]))


def _centre(distribution: tfd.Distribution) -> tf.Tensor:
    """The mean; where a bijector leaves it without closed form, the image of the base's."""
    try:
        return distribution.mean()
    except NotImplementedError:
        return distribution.bijector.forward(_centre(distribution.distribution))
