"""Coupling layers: one part of the input decides how the other part is changed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen.bijectors.bijector import Bijector
from tfgen.bijectors.transformer import AffineTransformer, Transformer
from tfgen.checks import check_argument, check_one_of


class Coupling(Bijector):
    """x_a = z_a,    x_b = f(z_b; network(z_a, condition)),    log|det| = sum of log f' over b.

    Subclasses partition the input into the kept part a and the changed part b [1, section 3.2].

    Args:
        network: maps the kept part to the parameters of the changed part,
            `transformer.num_parameters` channels for each of its channels; called with the
            condition too where there is one. A network with a data-dependent start has a method
            `initialize` of the same arguments.
        transformer: the elementwise map f; affine by default.

    Raises:
        ValueError: nothing to keep or nothing to change; a network of other output channels.

    [1] Dinh, Sohl-Dickstein, Bengio. Density estimation using Real NVP. ICLR 2017. arXiv:1605.08803
    """

    def __init__(self, network: Any, transformer: Transformer | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.network = network
        self.transformer = AffineTransformer() if transformer is None else transformer

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        x = self._prepare(x, condition)
        if hasattr(self.network, "initialize"):
            self.network.initialize(self._kept(x), condition)
        return self.inverse_and_log_det(x, condition)[0]

    def _kept(self, x: tf.Tensor) -> tf.Tensor:
        """What the network sees of the input, the same from both sides."""
        raise NotImplementedError

    def _parameters(self, kept: tf.Tensor, condition: Any, channels: int) -> tf.Tensor:
        parameters = self.network(kept) if condition is None else self.network(kept, condition)
        expected = channels * self.transformer.num_parameters
        received = parameters.shape[-1]
        check_argument(received == expected, "network", f"of {expected} outputs", received)
        return tf.cast(parameters, self.float_dtype)


class MaskedCoupling(Coupling):
    """Coupling in place: a mask b, 1 at the kept entries, is applied to the network's input, and
    its complement to the parameters, as zero parameters are the identity of most transformers."""

    def _mask(self, event_shape: tuple[int, ...]) -> np.ndarray:
        """1 at the kept entries, 0 at the changed ones; broadcasts against `event_shape`."""
        raise NotImplementedError

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        mask = self._mask(event_shape)
        both = 0.0 < mask.mean() < 1.0
        check_argument(both, "event_shape", "of at least two places to partition", event_shape)
        self.mask = np.broadcast_to(mask, event_shape).astype(self.float_dtype)
        self.parameter_mask = np.concatenate(
            [1.0 - self.mask] * self.transformer.num_parameters, -1
        ).astype(self.float_dtype)
        self.transformer.build((None, *event_shape))

    def _masked_parameters(self, x: tf.Tensor, condition: Any) -> tf.Tensor:
        return self.parameter_mask * self._parameters(self._kept(x), condition, x.shape[-1])

    def _kept(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.mask

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        x, log_det = self.transformer.forward(z, self._masked_parameters(z, condition))
        return self._with_kept(z, x, log_det)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z, log_det = self.transformer.inverse(x, self._masked_parameters(x, condition))
        return self._with_kept(x, z, log_det)

    def _with_kept(
        self, before: tf.Tensor, after: tf.Tensor, log_det: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if not self.transformer.zeros_are_identity:
            after = tf.where(self.mask > 0.0, before, after)
            log_det = (1.0 - self.mask) * log_det
        return after, _sum_over_event(log_det)


class CheckerboardCoupling(MaskedCoupling):
    """Changes the pixels (i, j) of `[B, H, W, C]` with (i + j) mod 2 = `parity`.

    The network sees the masked image and the mask, `[B, H, W, C + 1]`.
    """

    def __init__(
        self, network: Any, parity: int, transformer: Transformer | None = None, **kwargs: Any
    ):
        super().__init__(network, transformer, **kwargs)
        check_one_of("parity", parity, (0, 1))
        self.parity = parity

    def _mask(self, event_shape: tuple[int, ...]) -> np.ndarray:
        rows, columns = np.indices(event_shape[:2])
        return ((rows + columns) % 2 != self.parity)[..., np.newaxis]

    def _kept(self, x: tf.Tensor) -> tf.Tensor:
        mask = tf.broadcast_to(self.mask[..., :1], [*tf.unstack(tf.shape(x)[:3]), 1])
        return tf.concat([super()._kept(x), mask], -1)


class VectorCoupling(MaskedCoupling):
    """Changes the entries i of `[B, D]` with i mod 2 = `parity`."""

    def __init__(
        self, network: Any, parity: int, transformer: Transformer | None = None, **kwargs: Any
    ):
        super().__init__(network, transformer, **kwargs)
        check_one_of("parity", parity, (0, 1))
        self.parity = parity

    def _mask(self, event_shape: tuple[int, ...]) -> np.ndarray:
        return np.arange(event_shape[0]) % 2 != self.parity


class ChannelCoupling(Coupling):
    """Changes one half of the channels, the first (`changed_half` 0) or the second (1).

    Of an odd number the first half has one more. Vectors `[B, D]` have D channels.
    """

    def __init__(
        self, network: Any, changed_half: int, transformer: Transformer | None = None, **kwargs: Any
    ):
        super().__init__(network, transformer, **kwargs)
        check_one_of("changed_half", changed_half, (0, 1))
        self.changed_half = changed_half

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        channels = event_shape[-1]
        check_argument(channels >= 2, "event_shape", "of at least two channels", channels)
        self.sizes = (channels - channels // 2, channels // 2)
        self.transformer.build((None, *event_shape[:-1], self.sizes[self.changed_half]))

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self._split(z)
        parameters = self._parameters(kept, condition, changed.shape[-1])
        changed, log_det = self.transformer.forward(changed, parameters)
        return self._join(kept, changed), _sum_over_event(log_det)

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self._split(x)
        parameters = self._parameters(kept, condition, changed.shape[-1])
        changed, log_det = self.transformer.inverse(changed, parameters)
        return self._join(kept, changed), _sum_over_event(log_det)

    def _split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        halves = tf.split(x, self.sizes, -1)
        return halves[1 - self.changed_half], halves[self.changed_half]

    def _kept(self, x: tf.Tensor) -> tf.Tensor:
        return self._split(x)[0]

    def _join(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([kept, changed] if self.changed_half else [changed, kept], -1)


class OnFirstHalf(Bijector):
    """Applies a shape-preserving bijector to the first half of the channels, keeps the second.

    This is how a multi-scale flow factors out variables: what the inner bijector does not touch
    has reached its latent [1, section 3.6]. It is a bijection, so the whole flow is one.
    """

    def __init__(self, bijector: Bijector, **kwargs: Any):
        super().__init__(**kwargs)
        self.bijector = bijector

    def _create_variables(self, event_shape: tuple[int, ...]) -> None:
        channels = event_shape[-1]
        check_argument(channels % 2 == 0, "event_shape", "of an even number of channels", channels)

    def _forward(self, z: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = tf.split(z, 2, -1)
        first, log_det = self.bijector.forward_and_log_det(first, condition)
        return tf.concat([first, second], -1), log_det

    def _inverse(self, x: tf.Tensor, condition: Any) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = tf.split(x, 2, -1)
        first, log_det = self.bijector.inverse_and_log_det(first, condition)
        return tf.concat([first, second], -1), log_det

    def initialize(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        x = self._prepare(x, condition)
        first, second = tf.split(x, 2, -1)
        return tf.concat([self.bijector.initialize(first, condition), second], -1)

    def recalibrate(self, batches: Sequence[tf.Tensor], conditions: Sequence[Any]) -> list[Any]:
        halves = [tf.split(x, 2, -1) for x in batches]
        firsts = self.bijector.recalibrate([first for first, _ in halves], conditions)
        return [
            tf.concat([first, second], -1)
            for first, (_, second) in zip(firsts, halves, strict=True)
        ]


def _sum_over_event(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, list(range(1, x.shape.rank)))
