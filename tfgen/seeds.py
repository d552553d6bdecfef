"""Stateless seeds: every random number is a function of an int32[2] seed."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument


def as_seed(seed: Any, generator: keras.random.SeedGenerator | None = None) -> tf.Tensor:
    """An int32[2] seed from an integer, a pair, or (for None) the next one of `generator`."""
    if seed is None:
        check_argument(generator is not None, "seed", "an integer or a pair of integers", seed)
        return tf.cast(generator.next(), tf.int32)  # type: ignore[union-attr]
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
    if seed.shape.rank == 0:
        seed = tf.stack([tf.zeros_like(seed), seed])
    check_argument(seed.shape == (2,), "seed", "an integer or a pair of integers", seed)
    return seed


def split(seed: tf.Tensor, num: int = 2) -> list[tf.Tensor]:
    """`num` independent seeds."""
    return tf.unstack(tf.random.split(seed, num, alg="philox"), num=num)


def fold_in(seed: tf.Tensor, data: Any) -> tf.Tensor:
    """A seed that depends on `seed` and on an integer (a step, a position)."""
    return tf.random.fold_in(seed, data, alg="philox")


def uniform(shape: Any, seed: tf.Tensor, dtype: Any = "float32") -> tf.Tensor:
    """U[0, 1), the same numbers eagerly, in a graph and under XLA.

    The default algorithm of `tf.random.stateless_*` differs between XLA and plain graphs, and so
    does the step from random bits to a float (lowest bits here, highest there); naming the one and
    doing the other makes a compiled sampler and an exported plain one draw the same.
    """
    dtype = tf.as_dtype(dtype)
    integers, num_bits, precision = (
        (tf.uint64, 64, 53) if dtype == tf.float64 else (tf.uint32, 32, 24)
    )
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=integers, alg="philox"
    )
    bits = tf.bitwise.right_shift(bits, tf.constant(num_bits - precision, integers))
    return tf.cast(bits, dtype) * tf.cast(2.0**-precision, dtype)


def normal(shape: Any, seed: tf.Tensor, dtype: Any = "float32") -> tf.Tensor:
    """N(0, 1) from `uniform`, the same numbers eagerly, in a graph and under XLA (Box-Muller)."""
    radius_seed, angle_seed = split(seed)
    u, angle = uniform(shape, radius_seed, dtype), uniform(shape, angle_seed, dtype)
    return tf.sqrt(-2.0 * tf.math.log1p(-u)) * tf.cos(2.0 * math.pi * angle)


def bernoulli(shape: Any, probability: float, seed: tf.Tensor) -> tf.Tensor:
    """Booleans, each true with `probability` (to 2^-24); for masks, of which there are many.

    A hash of each entry's index under a key from the seed, elementwise integer arithmetic, which a
    compiler fuses with what the mask is for. TensorFlow's generators are block ciphers whose blocks
    XLA's CPU compiler computes again for each entry.

    Source of the hash's mixing steps: Appleby, MurmurHash3, 32-bit finaliser, in each of two
    rounds.
    """

    def constant(value: int) -> tf.Tensor:
        return tf.constant(value, tf.uint32)

    keys = tf.bitcast(fold_in(seed, 0), tf.uint32)
    size = tf.reduce_prod(shape)
    bits = tf.cast(tf.range(size), tf.uint32) * constant(0x9E3779B9)
    for key in tf.unstack(keys):
        bits = tf.bitwise.bitwise_xor(bits, key)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            shifted = tf.bitwise.right_shift(bits, constant(shift))
            bits = tf.bitwise.bitwise_xor(bits, shifted) * constant(factor)
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, constant(16)))
    threshold = constant(round(probability * 2**24))
    return tf.reshape(tf.bitwise.right_shift(bits, constant(8)) < threshold, shape)
