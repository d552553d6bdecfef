"""Networks that training plays against a classifier's features, in methods of domain adaptation."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.configurable import Configurable
from tfgen.models.causal.networks import FanInMLP, fan_in_dense


class DomainAdversary(Configurable, keras.Layer):
    """The logit that features are of the training domain, `[B, F] -> [B, 1]`; that of DANN [1].

    The authors of CSG have batch normalisation after each layer, which is left out here.

    Args:
        units: of the layers before the output, with ReLU.
        num_outputs: logits; one says which domain.

    [1] Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky.
        Domain-adversarial training of neural networks. JMLR 2016. arXiv:1505.07818
    """

    def __init__(self, units: Sequence[int] = (1024, 1024), num_outputs: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.mlp = FanInMLP(units, "relu")
        self.output_layer = fan_in_dense(num_outputs)

    def inputs(self, features: tf.Tensor, log_probs: tf.Tensor) -> tf.Tensor:
        """What the network reads of features `[B, F]` and labels' log-probabilities `[B, C]`."""
        return features

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.output_layer(self.mlp(inputs))


class ConditionalAdversary(DomainAdversary):
    """Reads the outer product of the features and the predicted probabilities: CDAN [1].

    No gradient goes through the probabilities.

    [1] Long, Cao, Wang, Jordan. Conditional adversarial domain adaptation. NeurIPS 2018.
        arXiv:1705.10667
    """

    def inputs(self, features: tf.Tensor, log_probs: tf.Tensor) -> tf.Tensor:
        p = tf.stop_gradient(tf.exp(log_probs))
        product = features[:, :, None] * tf.cast(p, features.dtype)[:, None]
        return tf.reshape(product, [-1, features.shape[1] * p.shape[1]])
