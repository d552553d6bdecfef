"""Importance sampling in bounded memory."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_integer


def importance_log_prob(
    log_weights: Callable[[int, tf.Tensor], tf.Tensor],
    num_samples: int,
    chunk_size: int,
    seed: tf.Tensor,
    batch_size: Any,
    dtype: Any = "float32",
) -> dict[str, tf.Tensor]:
    """log (1/K) sum_k w_k and the effective sample size, from K draws taken in chunks.

    The chunks' log-sums are combined by a running log-sum-exp; averaging the chunks' log-means
    instead would give the bound of the chunk's size, not of K.

    Args:
        log_weights: `(num, seed) -> [num, B]`, log importance weights of fresh draws.
        num_samples: K.
        chunk_size: number of draws in memory at once.
        seed: int32[2].
        batch_size: B.
        dtype: of the weights.

    Returns:
        `log_prob` and `effective_sample_size` = (sum w)^2 / sum w^2 (from 1 to K), each `[B]`.

    [1] Burda, Grosse, Salakhutdinov. Importance weighted autoencoders. ICLR 2016. arXiv:1509.00519
    """
    check_integer("num_samples", num_samples, minimum=1)
    check_integer("chunk_size", chunk_size, minimum=1)
    if num_samples <= chunk_size:
        # The seed goes through unchanged: these are the draws of one call.
        log_w = log_weights(num_samples, seed)
        log_sum, log_sum_of_squares = (tf.reduce_logsumexp(c * log_w, axis=0) for c in (1.0, 2.0))
    else:
        num_chunks = math.ceil(num_samples / chunk_size)

        def add_chunk(chunk: tf.Tensor, log_sum: tf.Tensor, log_sum_of_squares: tf.Tensor) -> Any:
            log_w = log_weights(chunk_size, seeds.fold_in(seed, chunk))
            # The last chunk's draws beyond K count for nothing.
            counts = chunk * chunk_size + tf.range(chunk_size) < num_samples
            log_w = tf.where(counts[:, None], log_w, tf.cast(-math.inf, log_w.dtype))
            return (
                chunk + 1,
                tf.reduce_logsumexp(tf.concat([log_sum[None], log_w], 0), axis=0),
                tf.reduce_logsumexp(tf.concat([log_sum_of_squares[None], 2.0 * log_w], 0), axis=0),
            )

        # The sums start empty rather than with the first chunk: the model is compiled once.
        empty = tf.fill([batch_size], tf.cast(-math.inf, dtype))
        _, log_sum, log_sum_of_squares = tf.while_loop(
            lambda chunk, *_: chunk < num_chunks,
            add_chunk,
            (tf.constant(0), empty, empty),
            parallel_iterations=1,
            maximum_iterations=num_chunks,
        )
    return {
        "log_prob": log_sum - tf.math.log(tf.cast(num_samples, log_sum.dtype)),
        "effective_sample_size": tf.exp(2.0 * log_sum - log_sum_of_squares),
    }
