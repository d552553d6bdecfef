"""The evidence lower bound with mutual posterior-divergence regularisation."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfgen.checks import check_argument, check_integer
from tfgen.latents.posterior import is_diagonal_gaussian
from tfgen.objectives.objective import Objective

tfd = tfp.distributions


class MutualPosterior(Objective):
    """Negative evidence lower bound that keeps the posteriors of different examples apart [1].

        loss = -E_q[log p(x | z)] + max(free_bits, KL)
               + diversity sum_d softplus(-D_d) + smoothness S

    over the ordered pairs i != j of a minibatch's B posteriors, diagonal Gaussians,

        D_d = mean_ij KL_d(i || j)    for each latent d
        S   = standard deviation over the pairs of sum_d KL_d(i || j), of the sample (B (B-1) - 1)

    KL is the batch mean of the whole divergence from the prior. The first term, bounded, falls as
    the posteriors of a latent move apart; the second evens out their distances. Of a flow posterior
    the pairs are those of the Gaussian that it pushes forward, as in the released code of [1]. With
    one example there are no pairs, and both are as if all posteriors were the same.

    Reports `log_prob`, the true bound, `kl`, `reconstruction`, `mutual_divergence` = sum_d D_d and
    `mutual_divergence_std` = S. The loss is not a bound.

    The pairs take B^2 J numbers. S depends on B: compare it at equal batch sizes.

    Args:
        diversity: eta of [1].
        smoothness: gamma of [1].
        free_bits: nats of the whole divergence that cost nothing.
        num_samples: draws of z for each x.

    Raises:
        ValueError: a posterior that has no diagonal Gaussian (when called).

    [1] Ma, Zhou, Hovy. MAE: Mutual posterior-divergence regularization for variational
        autoencoders. ICLR 2019. arXiv:1901.01498
    """

    def __init__(
        self,
        diversity: float = 1.0,
        smoothness: float = 0.01,
        free_bits: float = 0.0,
        num_samples: int = 1,
    ):
        check_argument(diversity >= 0, "diversity", "non-negative", diversity)
        check_argument(smoothness >= 0, "smoothness", "non-negative", smoothness)
        check_argument(free_bits >= 0, "free_bits", "non-negative", free_bits)
        check_integer("num_samples", num_samples, minimum=1)
        self.diversity = diversity
        self.smoothness = smoothness
        self.free_bits = free_bits
        self.num_samples = num_samples

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        terms = model.terms(x, y, self.num_samples)
        reconstruction = -tf.reduce_mean(terms.log_px, axis=0)
        kl = tf.reduce_sum(terms.kl, axis=0)
        rate = tf.maximum(tf.reduce_mean(kl), self.free_bits) if self.free_bits > 0 else kl
        divergences, std = mutual_divergence(_gaussian(terms.posterior))
        diversity = tf.reduce_sum(tf.math.softplus(-divergences))
        zeros = tf.zeros_like(kl)
        return {
            "loss": reconstruction + rate + self.diversity * diversity + self.smoothness * std,
            "log_prob": -reconstruction - kl,
            "kl": kl,
            "reconstruction": reconstruction,
            "mutual_divergence": zeros + tf.reduce_sum(divergences),
            "mutual_divergence_std": zeros + std,
        }


def mutual_divergence(posterior: tfd.Normal) -> tuple[tf.Tensor, tf.Tensor]:
    """Of the ordered pairs of a batch of Gaussians `[B, ...]`: the mean divergence of each latent,
    `[J]`, and the sample standard deviation of the whole divergence, a scalar."""
    loc, scale = (
        tf.reshape(values, [tf.shape(values)[0], -1]) for values in (posterior.loc, posterior.scale)
    )
    pairs = tfd.kl_divergence(
        tfd.Normal(loc[:, None], scale[:, None]), tfd.Normal(loc[None], scale[None])
    )  # [B, B, J], zero for i = j
    size = tf.cast(tf.shape(loc)[0], loc.dtype)
    num_pairs = size * (size - 1.0)
    means = tf.math.divide_no_nan(tf.reduce_sum(pairs, axis=[0, 1]), num_pairs)
    rows = tf.range(tf.shape(loc)[0])
    is_pair = tf.cast(rows[:, None] != rows, loc.dtype)
    deviations = is_pair * (tf.reduce_sum(pairs, axis=2) - tf.reduce_sum(means))
    variance = tf.math.divide_no_nan(tf.reduce_sum(deviations**2), num_pairs - 1.0)
    # The gradient of a square root at 0 is not finite.
    return means, tf.sqrt(variance + 1e-12)


def _gaussian(posterior: Any) -> tfd.Normal:
    """The diagonal Gaussian that the posterior is or pushes forward."""
    base = posterior
    while hasattr(base, "bijector"):
        base = base.distribution
    allowed = "one with a diagonal Gaussian for MutualPosterior, whose divergences it compares"
    check_argument(is_diagonal_gaussian(base), "posterior", allowed, type(posterior).__name__)
    return base.distribution
