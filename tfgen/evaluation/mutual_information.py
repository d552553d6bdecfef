"""How much codes say about the data."""

import math
from typing import Any

import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_integer
from tfgen.evaluation.codes import check_has_posterior, first_examples
from tfgen.models.generative_model import EVALUATION_SEED


def mutual_information(
    model: Any, split: Any, num_examples: int = 1000, jit_compile: bool = True
) -> dict[str, float]:
    """Information between examples and their codes under the posterior, in nats [1].

        I_q = E[log q(z | x) - log q(z)],    q(z) = (1/N) sum_n q(z | x_n),    z ~ q(z | x)
        E[KL(q(z | x) || p(z))] = I_q + KL(q(z) || p(z))

    over the first N examples of the split, with one draw of z for each. This is the information
    about which of the N examples a code came from: it never exceeds log N, and from a posterior
    that tells most of them apart one learns nothing but that (log 1000 = 6.9). Values near log N
    are lower bounds of the information under all data, and estimates of KL(q(z) || p(z)) then are
    too large; compare models at the same N only.

    Departs from [2], where the term log q(z | x) is the entropy in closed form: taken at the same
    draw as q(z) its noise cancels, equal posteriors give 0 and separate ones log N exactly, and any
    posterior with a density will do.

    Args:
        model: a latent-variable model with one posterior.
        split: at least two examples.
        num_examples: N, or fewer if the split has fewer.
        jit_compile: compile with XLA.

    Returns:
        `mutual_information`; `mutual_information_limit`, log N; and, unless the prior is
        conditional, `aggregate_posterior_kl`, the estimate of KL(q(z) || p(z)).

    Raises:
        ValueError: another model, or fewer than two examples.

    [1] Hoffman, Johnson. ELBO surgery: yet another way to carve up the variational evidence lower
        bound. NIPS 2016, workshop on advances in approximate Bayesian inference.
    [2] He, Spokoyny, Neubig, Berg-Kirkpatrick. Lagging inference networks and posterior collapse in
        variational autoencoders. ICLR 2019. arXiv:1901.05534
    """
    check_has_posterior(model)
    check_integer("num_examples", num_examples, 2)
    x, y = first_examples(model, split, num_examples)
    num = int(x.shape[0])

    @tf.function(jit_compile=jit_compile)
    def densities(x: tf.Tensor, y: Any, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """log q(z_n | x_n), log q(z_n) and log p(z_n), each `[N]`."""
        condition = model.condition(y, num)
        posterior = model.posterior(x, condition)
        z, log_q = posterior.experimental_sample_and_log_prob(seed=seed)

        def log_aggregate(code: tf.Tensor) -> tf.Tensor:
            of_all = posterior.log_prob(tf.broadcast_to(code, tf.shape(z)))
            return tf.reduce_logsumexp(of_all) - math.log(num)

        return log_q, tf.map_fn(log_aggregate, z), model.prior(condition).log_prob(z)

    values = densities(x, y, seeds.as_seed(EVALUATION_SEED))
    log_q, log_aggregate, log_prior = (value.numpy().astype("float64") for value in values)
    result = {
        "mutual_information": float((log_q - log_aggregate).mean()),
        "mutual_information_limit": math.log(num),
    }
    is_shared = model.prior(model.condition(y, num)).batch_shape.rank == 0
    if is_shared:
        result["aggregate_posterior_kl"] = float((log_aggregate - log_prior).mean())
    return result
