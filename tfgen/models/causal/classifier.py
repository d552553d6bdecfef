"""A classifier: what causal models and methods of domain adaptation are measured against."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfgen import layers
from tfgen.build import build
from tfgen.checks import check_integer
from tfgen.models.causal import adversaries
from tfgen.models.causal.labels import one_hot
from tfgen.models.causal.networks import FanInMLP, fan_in_dense
from tfgen.models.generative_model import GenerativeModel


class Classifier(GenerativeModel):
    """p(y | x), with the training loop, reports and files of the generative models.

        features = act(W ... act(W encoder(x))),   p(y | x) = softmax(logits(features))

    `log_prob(x, y)` is log p(y | x), in nats; its event is one label, which is what "bits per
    dimension" of a report is about. There are no samples of x. Which method it is trained by is the
    objective: `CrossEntropy`, `CNBB`, `DAN`, `BNM`, or, with an adversary, `DomainAdversarial`
    (DANN, CDAN) and `MarginDisparity` (MDD).

    The default sizes, 784-600-300-75-1 on shifted MNIST, are those that [1] compares CSG with.

    Args:
        event_shape: shape of one example.
        num_classes: number of labels.
        num_levels: number of integer levels of discrete data, or None for real data.
        feature_units: of the layers between the encoder and the logits.
        activation: of these, a Keras activation.
        encoder: a Keras layer from scaled data to features of any shape, or the specification of
            one of `tfgen.layers`.
        adversary: None, a layer of `tfgen.models.causal.adversaries`, or its specification.
        **kwargs: `name`, `dtype`.

    [1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
        out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
    """

    has_samples = False
    num_dims = 1  # type: ignore[assignment]  # one label

    def __init__(
        self,
        event_shape: Sequence[int],
        num_classes: int,
        num_levels: int | None = None,
        feature_units: Sequence[int] = (300, 75),
        activation: str = "sigmoid",
        encoder: Any = None,
        adversary: Any = None,
        **kwargs: Any,
    ):
        super().__init__(event_shape, num_levels=num_levels, num_classes=num_classes, **kwargs)
        check_integer("num_classes", num_classes, minimum=2)
        self.encoder = FanInMLP([600]) if encoder is None else build(layers, encoder)
        self.feature_mlp = FanInMLP(feature_units, activation)
        self.logits = fan_in_dense(1 if num_classes == 2 else num_classes)
        self.adversary = None if adversary is None else build(adversaries, adversary)

    def features(self, x: Any) -> tf.Tensor:
        """What adaptation acts on, `[B, F]`."""
        x = tf.cast(self.check_data(x), self.float_dtype)
        if self.num_levels is not None:
            x /= self.num_levels - 1
        h = self.encoder(x, training=self.is_training)
        h = self.feature_mlp(tf.reshape(h, [-1, math.prod(h.shape[1:])]))
        return tf.cast(h, self.float_dtype)

    def label_log_probs(self, features: tf.Tensor) -> tf.Tensor:
        """log p(y | x) for every y, `[B, C]`, from the features."""
        logits = tf.cast(self.logits(features), self.float_dtype)
        if self.num_classes == 2:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        return tf.nn.log_softmax(logits)

    def predict(self, x: Any) -> tf.Tensor:
        """p(y | x), `[B, C]`. (It takes the place of Keras's `predict`.)"""
        return tf.exp(self.label_log_probs(self.features(x)))

    def predict_training(self, x: Any) -> tf.Tensor:
        """`predict`: the domains have one prediction."""
        return self.predict(x)

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """log p(y | x), `[B]`."""
        log_probs = self.label_log_probs(self.features(x))
        return tf.reduce_sum(self.one_hot(y) * log_probs, axis=-1)

    def report(self, x: Any, y: Any = None, seed: Any = None) -> dict[str, tf.Tensor]:
        """`log_prob` and `accuracy`."""
        hits = tf.argmax(self.predict(x), axis=-1) == tf.cast(y, tf.int64)
        return {"log_prob": self.log_prob(x, y), "accuracy": tf.cast(hits, self.float_dtype)}

    def one_hot(self, y: Any) -> tf.Tensor:
        """`[B, C]`; a ValueError for labels outside 0..C-1. Without a label (-1) all zeros."""
        if y is None:
            raise ValueError("y must be given: the model is one of labels; received: None.")
        return one_hot(y, int(self.num_classes or 0), self.float_dtype)

    def condition(self, y: Any, batch_size: Any) -> None:
        """Checks the labels: nothing is conditioned on them."""
        self.one_hot(y)

    def build(self, input_shape: Any) -> None:
        with tf.init_scope():
            x, _ = self.example_batch(1)
            features = self.features(x)
            log_probs = self.label_log_probs(features)
            if self.adversary is not None:
                self.adversary(self.adversary.inputs(features, log_probs))

    def default_objective(self) -> Any:
        return {"type": "CrossEntropy"}

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """`predict(x)`, and `log_prob(x, y)`, which is log p(y | x)."""
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        y = tf.TensorSpec([None], tf.int32, name="y")
        return {
            "predict": (lambda x: {"probabilities": self.predict(x)}, [x]),
            "log_prob": (lambda x, y: {"log_prob": self.log_prob(x, y)}, [x, y]),
        }
