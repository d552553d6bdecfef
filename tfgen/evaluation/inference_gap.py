"""What a bound loses, and to whom: the family of posteriors or the network that chooses in it."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfgen import seeds
from tfgen.checks import check_argument, check_integer
from tfgen.evaluation.codes import check_has_posterior, first_examples
from tfgen.models.generative_model import EVALUATION_SEED

tfd = tfp.distributions

_NUM_START_DRAWS = 100


def inference_gap(
    model: Any,
    split: Any,
    num_examples: int = 100,
    num_steps: int = 500,
    num_draws: int = 10,
    learning_rate: float = 0.1,
    num_samples: int = 5000,
    chunk_size: int = 10,
    jit_compile: bool = True,
) -> dict[str, float]:
    """The two parts of log p(x) - ELBO, means over the first examples of a split, in nats [1].

        log p(x) - ELBO[q] = (log p(x) - ELBO[q*]) + (ELBO[q*] - ELBO[q])
                                approximation gap       amortization gap

    q is the model's posterior, and q* the diagonal Gaussian with the highest bound for that one
    example, found by Adam from q's mean and scale; its gradient is that of [2], in which log q is
    differentiated with respect to z alone, and its learning rate falls to zero along a cosine.
    Steps are in units of q's scale. For posteriors outside that family, flows and mixtures, the
    amortization gap compares with the best diagonal Gaussian all the same and may be negative.

    log p(x) is the importance-weighted bound with q or with q* as the proposal, whichever has the
    larger effective sample size on average; what it lacks, the approximation gap lacks too.

    Args:
        model: a latent-variable model with one posterior over real latents.
        split: at least two examples.
        num_examples: or fewer if the split has fewer; all are in memory at once.
        num_steps: of Adam.
        num_draws: draws of z for each gradient.
        learning_rate: of the first step.
        num_samples: draws of z for the bounds and for log p(x), rounded up to whole chunks.
        chunk_size: draws in memory at once.
        jit_compile: compile with XLA.

    Returns:
        `approximation_gap` and `amortization_gap`, each with its `..._standard_error` (over the
        examples), and `num_gap_examples`.

    Raises:
        ValueError: another model, impossible numbers, or fewer than two examples.

    [1] Cremer, Li, Duvenaud. Inference suboptimality in variational autoencoders. ICML 2018.
        arXiv:1801.03558
    [2] Roeder, Wu, Duvenaud. Sticking the landing: simple, lower-variance gradient estimators for
        variational inference. NIPS 2017. arXiv:1703.09194
    """
    check_has_posterior(model)
    check_integer("num_examples", num_examples, 2)
    for name, value in (
        ("num_steps", num_steps),
        ("num_draws", num_draws),
        ("num_samples", num_samples),
        ("chunk_size", chunk_size),
    ):
        check_integer(name, value, 1)
    check_argument(learning_rate > 0, "learning_rate", "positive", learning_rate)
    x, y = first_examples(model, split, num_examples)
    num = int(x.shape[0])
    seed_of_start, seed_of_steps, seed_of_bounds = seeds.split(seeds.as_seed(EVALUATION_SEED), 3)
    compiled = tf.function(jit_compile=jit_compile)

    def log_joint(x: tf.Tensor, y: Any, z: tf.Tensor) -> tf.Tensor:
        condition = model.condition(y, num)
        # A bijector remembers its inverse of a tensor, one in another loop's body: hence a new one.
        x = tf.identity(tf.cast(x, model.float_dtype))
        log_px = model.likelihood(z, condition).log_prob(x)
        return log_px + model.prior(condition).log_prob(z)

    @compiled
    def start(x: tf.Tensor, y: Any) -> tuple[tf.Tensor, tf.Tensor]:
        posterior = model.posterior(x, model.condition(y, num))
        z = posterior.sample(_NUM_START_DRAWS, seed=seed_of_start)
        return tf.reduce_mean(z, axis=0), tf.math.reduce_std(z, axis=0)

    loc, scale = start(x, y)
    shift, log_ratio = (
        keras.Variable(tf.zeros_like(loc), dtype=model.float_dtype, name=name)
        for name in ("shift", "log_ratio")
    )

    def optimal(shift: tf.Tensor, log_ratio: tf.Tensor) -> tfd.Distribution:
        return tfd.Independent(
            tfd.Normal(loc + scale * shift, scale * tf.exp(log_ratio)), loc.shape.rank - 1
        )

    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build([shift, log_ratio])

    @compiled
    def step(x: tf.Tensor, y: Any, index: tf.Tensor) -> None:
        parameters = [shift.value, log_ratio.value]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            seed = seeds.fold_in(seed_of_steps, index)
            z = optimal(*parameters).sample(num_draws, seed=seed)
            log_q = optimal(*map(tf.stop_gradient, parameters)).log_prob(z)
            # The sum over examples: each has its own parameters.
            loss = tf.reduce_sum(tf.reduce_mean(log_q - log_joint(x, y, z), axis=0))
        optimizer.apply(tape.gradient(loss, parameters), [shift, log_ratio])

    for index in range(num_steps):
        step(x, y, tf.constant(index))

    @compiled
    def bounds(x: tf.Tensor, y: Any) -> tf.Tensor:
        def optimal_weights(seed: tf.Tensor) -> tf.Tensor:
            best = optimal(shift.value, log_ratio.value)
            z, log_q = best.experimental_sample_and_log_prob(chunk_size, seed=seed)
            return log_joint(x, y, z) - log_q

        def amortized_weights(seed: tf.Tensor) -> tf.Tensor:
            return model.terms(tf.identity(x), y, chunk_size, seed).log_weights

        num_chunks = math.ceil(num_samples / chunk_size)
        pairs = [
            _bounds(log_weights, num_chunks, seed_of_bounds, model.float_dtype)
            for log_weights in (optimal_weights, amortized_weights)
        ]
        return tf.stack(pairs)

    # Each [q* or q, N].
    (optimal_elbo, amortized_elbo), log_probs, effective_sample_sizes = (
        bounds(x, y).numpy().astype("float64").swapaxes(0, 1)
    )
    log_prob = log_probs[effective_sample_sizes.mean(axis=1).argmax()]
    gaps = {
        "approximation_gap": log_prob - optimal_elbo,
        "amortization_gap": optimal_elbo - amortized_elbo,
    }
    result: dict[str, float] = {}
    for name, gap in gaps.items():
        result[name] = float(gap.mean())
        result[f"{name}_standard_error"] = float(gap.std(ddof=1) / math.sqrt(num))
    return {**result, "num_gap_examples": num}


def _bounds(
    log_weights: Callable[[tf.Tensor], tf.Tensor], num_chunks: int, seed: tf.Tensor, dtype: str
) -> tf.Tensor:
    """Mean of log w, log of the mean of w and effective sample size of all draws: `[3, N]`."""
    log_w = tf.map_fn(
        lambda chunk: log_weights(seeds.fold_in(seed, chunk)),
        tf.range(num_chunks),
        fn_output_signature=dtype,
    )
    log_w = tf.reshape(log_w, [-1, log_w.shape[-1]])
    log_sum, log_sum_of_squares = (tf.reduce_logsumexp(c * log_w, axis=0) for c in (1.0, 2.0))
    return tf.stack(
        [
            tf.reduce_mean(log_w, axis=0),
            log_sum - math.log(log_w.shape[0]),
            tf.exp(2.0 * log_sum - log_sum_of_squares),
        ]
    )
