"""The evidence lower bound, with a weight and a floor on its rate."""

from typing import Any

import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.objectives.objective import Objective


class ELBO(Objective):
    """Negative evidence lower bound, beta-weighted.

        loss = -E_q[log p(x | z)] + beta_t sum_g max(free_bits, KL_g)

    with KL_g the batch mean of the KL divergence of group g of latents, in nats, in closed form
    where there is one; beta_t rises linearly from 0 to `beta` over `warmup_steps` optimizer steps.
    Evaluation uses the beta_t that training has reached.

    Reports `log_prob`, always the true bound (beta 1, no floor), so that runs compare; `kl`, in
    nats, and `reconstruction` = -E_q[log p(x | z)].

    Free bits act on the batch mean, as in [2]; the loss is then not a bound.

    Args:
        beta: weight of the KL divergence [1].
        free_bits: nats of each group that cost nothing (the literature's "bits" are nats).
        warmup_steps: steps over which the weight rises.
        num_samples: draws of z for each x.

    [1] Higgins et al. beta-VAE: learning basic visual concepts with a constrained variational
        framework. ICLR 2017.
    [2] Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling. Improving variational inference with
        inverse autoregressive flow. NeurIPS 2016. arXiv:1606.04934
    """

    def __init__(
        self,
        beta: float = 1.0,
        free_bits: float = 0.0,
        warmup_steps: int = 0,
        num_samples: int = 1,
    ):
        check_argument(beta > 0, "beta", "positive", beta)
        check_argument(free_bits >= 0, "free_bits", "non-negative", free_bits)
        check_integer("warmup_steps", warmup_steps, minimum=0)
        check_integer("num_samples", num_samples, minimum=1)
        self.beta = beta
        self.free_bits = free_bits
        self.warmup_steps = warmup_steps
        self.num_samples = num_samples

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        terms = model.terms(x, y, self.num_samples)
        reconstruction = -tf.reduce_mean(terms.log_px, axis=0)
        kl = tf.reduce_sum(terms.kl, axis=0)
        rate = kl
        if self.free_bits > 0:
            group_means = tf.reduce_mean(terms.kl, axis=1)
            rate = tf.reduce_sum(tf.maximum(group_means, self.free_bits))
        return {
            "loss": reconstruction + self.weight(model, kl.dtype) * rate,
            "log_prob": -reconstruction - kl,
            "kl": kl,
            "reconstruction": reconstruction,
        }

    def weight(self, model: Any, dtype: Any = "float32") -> tf.Tensor:
        """beta_t at the model's current optimizer step."""
        optimizer = getattr(model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # under loss scaling
        if not self.warmup_steps or optimizer is None:
            return tf.constant(self.beta, dtype)
        step = tf.cast(tf.convert_to_tensor(optimizer.iterations), dtype)
        return self.beta * tf.minimum(step / self.warmup_steps, 1.0)
