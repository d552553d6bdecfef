"""Importance sampling in bounded memory."""

from collections.abc import Callable

import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_integer


def importance_log_prob(
    log_weights: Callable[[int, tf.Tensor], tf.Tensor],
    num_samples: int,
    chunk_size: int,
    seed: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """log (1/K) sum_k w_k and the effective sample size, from K draws taken in chunks.

    The chunks' log-sums are combined by a running log-sum-exp; averaging the chunks' log-means
    instead would give the bound of the chunk's size, not of K.

    Args:
        log_weights: `(num, seed) -> [num, B]`, log importance weights of fresh draws.
        num_samples: K.
        chunk_size: number of draws in memory at once.
        seed: int32[2].

    Returns:
        `log_prob` and `effective_sample_size` = (sum w)^2 / sum w^2 (from 1 to K), each `[B]`.

    [1] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """
    check_integer("num_samples", num_samples, minimum=1)
    check_integer("chunk_size", chunk_size, minimum=1)
    chunk_size = min(chunk_size, num_samples)
    num_chunks, rest = divmod(num_samples, chunk_size)

    def log_sums(num: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_w = log_weights(num, seed)
        return tf.reduce_logsumexp(log_w, 0), tf.reduce_logsumexp(2 * log_w, 0)

    def add(left: tuple[tf.Tensor, tf.Tensor], right: tuple[tf.Tensor, tf.Tensor]):
        return tuple(
            tf.reduce_logsumexp(tf.stack(pair), 0) for pair in zip(left, right, strict=True)
        )

    # With one chunk the seed goes through unchanged: the draws are then those of one call.
    first_seed = seed if num_samples == chunk_size else seeds.fold_in(seed, 0)
    sums = log_sums(chunk_size, first_seed)
    if num_chunks > 1:
        _, *sums = tf.while_loop(
            lambda chunk, *_: chunk < num_chunks,
            lambda chunk, *sums: (
                chunk + 1,
                *add(sums, log_sums(chunk_size, seeds.fold_in(seed, chunk))),
            ),
            (tf.constant(1), *sums),
            parallel_iterations=1,
            maximum_iterations=num_chunks - 1,
        )
    if rest:
        sums = add(tuple(sums), log_sums(rest, seeds.fold_in(seed, num_chunks)))
    log_sum, log_sum_of_squares = sums
    log_k = tf.math.log(tf.cast(num_samples, log_sum.dtype))
    return {
        "log_prob": log_sum - log_k,
        "effective_sample_size": tf.exp(2 * log_sum - log_sum_of_squares),
    }
