"""Objectives of classifiers under a shift of domain: what CSG is compared with.

All take batches in which examples of the test domain have the label -1, see
`tfgen.data.domains.AdaptationSplit`; without any, the terms about the test domain are zero. The
weights are those of Liu et al. (2021), arXiv:2011.01681, on shifted MNIST.
"""

from typing import Any

import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.objectives.causal import l2_penalty, shares
from tfgen.objectives.objective import Objective


class CrossEntropy(Objective):
    """loss = -log p(y | x) over the labelled examples.

    Reports `log_prob` = log p(y | x), `accuracy` and, where a method adds one, its `penalty`.

    Args:
        l2_weight: adds the gradient `l2_weight` w to every weight w, as PyTorch's `weight_decay`.
    """

    def __init__(self, l2_weight: float = 0.0):
        check_argument(l2_weight >= 0, "l2_weight", "non-negative", l2_weight)
        self.l2_weight = l2_weight

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        one_hot = model.one_hot(y)
        features = model.features(x)
        log_probs = model.label_log_probs(features)
        labelled, unlabelled = shares(one_hot)
        log_prob = tf.reduce_sum(one_hot * log_probs, axis=-1)
        hits = tf.argmax(log_probs, axis=-1) == tf.argmax(one_hot, axis=-1)
        num = tf.cast(tf.size(labelled), log_probs.dtype)
        # Weights that sum to one over the examples of a kind, or to zero without any.
        source, target = labelled / num, unlabelled / num
        weights = self.example_weights(features, source)
        penalty = self.penalty(model, features, log_probs, source, target)
        loss = -num * weights * log_prob + penalty
        return {
            "loss": loss + l2_penalty(model, self.l2_weight, loss.dtype),
            "log_prob": labelled * log_prob,
            "accuracy": labelled * tf.cast(hits, loss.dtype),
            "penalty": tf.fill(tf.shape(loss), penalty),
        }

    def example_weights(self, features: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
        """Of the labelled examples in the loss, `[B]`, with the sum one."""
        return source

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        """What is added to the loss, `[]`, given weights `[B]` of the two kinds of examples."""
        return tf.zeros([], log_probs.dtype)


class CNBB(CrossEntropy):
    """Batch balancing [1]: example weights under which each feature is independent of the others.

    The weights w lie on the simplex and are moved by `num_steps` projected gradient steps on

        sum_j sum_{i != j} (sum_n f_ni (w_n t_nj / sum w t_j - w_n (1 - t_nj) / sum w (1 - t_j)))^2
        + weight_penalty ||w||^2,          t = f > 1/2

    from equal ones; no gradient goes through them. The loss is their mean of -log p(y | x) minus
    `feature_penalty` ||f - 1/2||^2 over the batch, which drives the features f, of a sigmoid, to
    0 or 1.

    Args:
        weight_penalty, feature_penalty: see above.
        step_size: of the inner steps.
        num_steps: inner steps.
        l2_weight: as for `CrossEntropy`.

    [1] He, Shen, Cui. Towards non-i.i.d. image classification: a dataset and baselines. Pattern
        Recognition 2021. arXiv:1906.02899
    """

    def __init__(
        self,
        weight_penalty: float = 1e-4,
        feature_penalty: float = 3e-6,
        step_size: float = 1e-3,
        num_steps: int = 4,
        l2_weight: float = 0.0,
    ):
        super().__init__(l2_weight)
        check_integer("num_steps", num_steps, minimum=0)
        self.weight_penalty = weight_penalty
        self.feature_penalty = feature_penalty
        self.step_size = step_size
        self.num_steps = num_steps

    def imbalance(self, weights: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """The function of the weights that the inner steps lower, `[]`."""
        treated = tf.cast(features > 0.5, features.dtype)

        def mean_where(mask: tf.Tensor) -> tf.Tensor:
            """Weighted means of all features where each is treated, or not, `[F, F]`."""
            masked = weights[:, None] * mask
            total = tf.maximum(tf.reduce_sum(masked, axis=0), 1e-12)
            return tf.matmul(features, masked / total, transpose_a=True)

        difference = mean_where(treated) - mean_where(1.0 - treated)
        others = difference - tf.linalg.diag(tf.linalg.diag_part(difference))
        squares = tf.reduce_sum(tf.square(weights))
        return tf.reduce_sum(tf.square(others)) + self.weight_penalty * squares

    def example_weights(self, features: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
        features, weights = tf.stop_gradient(features), source
        for _ in range(self.num_steps):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                value = self.imbalance(weights, features)
            gradient = tape.gradient(value, weights)
            gradient -= tf.reduce_sum(source * gradient)  # along the simplex
            weights = tf.abs(weights - self.step_size * gradient) * tf.cast(
                source > 0, source.dtype
            )
            weights /= tf.maximum(tf.reduce_sum(weights), 1e-12)
        return tf.stop_gradient(weights)

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        labelled = tf.cast(source > 0, features.dtype)[:, None]
        return -self.feature_penalty * tf.reduce_sum(labelled * tf.square(features - 0.5))


class DAN(CrossEntropy):
    """Deep adaptation network [1]: adds the squared maximum mean discrepancy of the features.

        MMD^2 = mean k(source, source) + mean k(target, target) - 2 mean k(source, target),
        k(a, b) = sum over factors of exp(-||a - b||^2 / (2 factor mean ||a - b||^2))

    Means of one kind are over pairs of two examples (unbiased); the mean distance is over all pairs
    of the batch, without gradient. On the features alone, where [1] sums over several layers.

    Args:
        weight: of MMD^2.
        factors: of the kernels' widths.
        l2_weight: as for `CrossEntropy`.

    [1] Long, Cao, Wang, Jordan. Learning transferable features with deep adaptation networks. ICML
        2015. arXiv:1502.02791
    """

    def __init__(
        self,
        weight: float = 1e-8,
        factors: tuple[float, ...] = (0.5, 1.0, 2.0),
        l2_weight: float = 0.0,
    ):
        super().__init__(l2_weight)
        self.weight = weight
        self.factors = tuple(factors)

    def discrepancy(self, features: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """MMD^2, `[]`; zero without examples of one kind."""
        norms = tf.reduce_sum(tf.square(features), axis=-1)
        products = tf.matmul(features, features, transpose_b=True)
        distances = tf.maximum(norms[:, None] + norms[None] - 2.0 * products, 0.0)
        width = tf.stop_gradient(tf.reduce_mean(distances)) + 1e-12
        kernel = tf.add_n([tf.exp(-distances / (2.0 * f * width)) for f in self.factors])

        def mean_within(weights: tf.Tensor) -> tf.Tensor:
            pairs = weights[:, None] * weights[None]
            pairs -= tf.linalg.diag(tf.linalg.diag_part(pairs))
            return tf.reduce_sum(pairs * kernel) / tf.maximum(tf.reduce_sum(pairs), 1e-12)

        across = tf.reduce_sum(source[:, None] * target[None] * kernel)
        both = tf.reduce_sum(source) * tf.reduce_sum(target)  # 1, or 0 if there is one kind only
        return both * (mean_within(source) + mean_within(target) - 2.0 * across)

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        return self.weight * self.discrepancy(features, source, target)


class BNM(CrossEntropy):
    """Batch nuclear-norm maximisation [1]: subtracts the mean singular value of the matrix of
    predicted probabilities of the target examples.

    Args:
        weight: of the mean.
        l2_weight: as for `CrossEntropy`.

    [1] Cui, Wang, Zhuo, Li, Huang, Tian. Towards discriminability and diversity: batch nuclear-norm
        maximization under label insufficient situations. CVPR 2020. arXiv:2003.12237
    """

    def __init__(self, weight: float = 1e-7, l2_weight: float = 0.0):
        super().__init__(l2_weight)
        self.weight = weight

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        p = tf.exp(log_probs) * tf.cast(target > 0, log_probs.dtype)[:, None]
        # The squares of the singular values; rows of zeros do not change them.
        squares = tf.linalg.eigvalsh(tf.matmul(p, p, transpose_a=True))
        values = tf.sqrt(tf.maximum(squares, 1e-12))
        num_target = tf.reduce_sum(tf.cast(target > 0, p.dtype))
        num_values = tf.clip_by_value(num_target, 1.0, tf.cast(tf.shape(p)[1], p.dtype))
        return -self.weight * tf.reduce_sum(values) / num_values


def reverse_gradient(x: tf.Tensor, factor: Any) -> tf.Tensor:
    """x, with its gradient times -factor."""

    @tf.custom_gradient
    def reversed_identity(x: tf.Tensor) -> Any:
        return tf.identity(x), lambda upstream: -factor * upstream

    return reversed_identity(x)


class Adversarial(CrossEntropy):
    """What methods with an adversary share: one descent, with a reversed gradient at the features.

    The adversary's own gradient is that of `weight` times its loss; the features get it times
    -c, with c = 2 / (1 + exp(-step / ramp_steps)) - 1 rising from 0 to 1.

    Args:
        weight: of the adversary's loss.
        ramp_steps: optimizer steps after which c is 0.46; 0 is c = 1 throughout.
        l2_weight: as for `CrossEntropy`.
    """

    def __init__(self, weight: float, ramp_steps: int = 1000, l2_weight: float = 0.0):
        super().__init__(l2_weight)
        check_integer("ramp_steps", ramp_steps, minimum=0)
        self.weight = weight
        self.ramp_steps = ramp_steps

    def ramp(self, model: Any, dtype: Any) -> tf.Tensor:
        """c at the model's current optimizer step."""
        optimizer = getattr(model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # under loss scaling
        if not self.ramp_steps or optimizer is None:
            return tf.ones([], dtype)
        step = tf.cast(tf.convert_to_tensor(optimizer.iterations), dtype)
        return tf.tanh(0.5 * step / self.ramp_steps)  # the same function

    def adversary_outputs(self, model: Any, features: tf.Tensor, log_probs: tf.Tensor) -> tf.Tensor:
        """The adversary's logits, `[B, ...]`, from features with the reversed gradient."""
        has_adversary = getattr(model, "adversary", None) is not None
        check_argument(has_adversary, "model", "a Classifier with an adversary", type(model))
        inputs = model.adversary.inputs(features, log_probs)
        outputs = model.adversary(reverse_gradient(inputs, self.ramp(model, inputs.dtype)))
        return tf.cast(outputs, log_probs.dtype)


class DomainAdversarial(Adversarial):
    """Domain-adversarial training: DANN with a `DomainAdversary`, CDAN with a
    `ConditionalAdversary`.

    The adversary minimises half the sum of its two mean cross-entropies of telling the domains
    apart; the features maximise it. CDAN without its entropy weights.

    Args:
        weight: 1e-4 of DANN, 1e-6 of CDAN.
        ramp_steps, l2_weight: as for `Adversarial`.

    Raises:
        ValueError: a model without an adversary.
    """

    def __init__(self, weight: float = 1e-4, ramp_steps: int = 1000, l2_weight: float = 0.0):
        super().__init__(weight, ramp_steps, l2_weight)

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        logits = self.adversary_outputs(model, features, log_probs)[:, 0]
        loss = source * tf.nn.softplus(-logits) + target * tf.nn.softplus(logits)
        return 0.5 * self.weight * tf.reduce_sum(loss)


class MarginDisparity(Adversarial):
    """Margin disparity discrepancy [1], with an adversary of one logit a class.

    With h the predicted label and f'_h the adversary's probability of it, the adversary maximises

        margin E_source[log f'_h] + E_target[log(1 - f'_h)]

    and the features minimise it. In the authors' code of CSG the adversary reads the image, so
    that nothing reaches the features; here it reads the features, as in [1].

    Args:
        weight: of the discrepancy.
        margin: of the source term; exp of the margin in [1].
        ramp_steps, l2_weight: as for `Adversarial`.

    Raises:
        ValueError: a model without an adversary.

    [1] Zhang, Liu, Long, Jordan. Bridging theory and algorithm for domain adaptation. ICML 2019.
        arXiv:1904.05801
    """

    def __init__(
        self,
        weight: float = 1e-6,
        margin: float = 4.0,
        ramp_steps: int = 1000,
        l2_weight: float = 0.0,
    ):
        super().__init__(weight, ramp_steps, l2_weight)
        self.margin = margin

    def penalty(
        self,
        model: Any,
        features: tf.Tensor,
        log_probs: tf.Tensor,
        source: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        logits = self.adversary_outputs(model, features, log_probs)
        num_classes = log_probs.shape[1]
        fits = logits.shape[1] == num_classes
        check_argument(fits, "adversary", f"of {num_classes} outputs", logits.shape[1])
        predicted = tf.one_hot(tf.argmax(log_probs, axis=-1), num_classes, dtype=logits.dtype)
        log_p = tf.reduce_sum(predicted * tf.nn.log_softmax(logits), axis=-1)
        # log(1 - p) = log of the sum over the other classes, finite for p near 1.
        others = tf.where(predicted > 0, tf.constant(-1e30, logits.dtype), logits)
        log_rest = tf.reduce_logsumexp(others, axis=-1) - tf.reduce_logsumexp(logits, axis=-1)
        gain = self.margin * source * log_p + target * log_rest
        return -self.weight * tf.reduce_sum(gain)
