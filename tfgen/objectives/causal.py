"""The objective of causal semantic generative models."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.objectives.objective import Objective


class Bound(NamedTuple):
    """The two terms of the bound, each `[B]`, and log pi of every label, `[B, C]`."""

    log_pi: tf.Tensor
    generative: tf.Tensor
    log_pi_of_labels: tf.Tensor


def causal_bound(terms: Any, one_hot: tf.Tensor, log_weights: Any = None) -> Bound:
    """The terms of L(x, y) from K nodes (s_k, v_k) of q(s, v | x), see `CausalELBO`.

    Args:
        terms: `tfgen.models.causal.mechanisms.CausalTerms`.
        one_hot: labels, `[B, C]`.
        log_weights: of the nodes, `[K, 1]`; by default -log K, those of draws from q.
    """
    if log_weights is None:
        log_weights = -tf.math.log(tf.cast(tf.shape(terms.log_q)[0], terms.log_q.dtype))
    weighted_ratio = terms.log_ratio + log_weights
    log_pi_of_labels = tf.reduce_logsumexp(weighted_ratio[..., None] + terms.log_py, axis=0)
    log_py = tf.reduce_sum(one_hot * terms.log_py, axis=-1)
    share = tf.nn.softmax(weighted_ratio + log_py, axis=0)  # r p(y | s) / pi
    log_generative = terms.log_test_prior + terms.log_px - terms.log_q
    return Bound(
        log_pi=tf.reduce_sum(one_hot * log_pi_of_labels, axis=-1),
        generative=tf.reduce_sum(share * log_generative, axis=0),
        log_pi_of_labels=log_pi_of_labels,
    )


class CausalELBO(Objective):
    """Negative bound of log p(x, y) with one posterior, that of the test domain [1, eqs. 2-5].

        L(x, y) = log pi(y|x) + E_q[ r p(y|s) (log p_t(s, v) + log p(x|s, v) - log q(s, v|x)) ]
                                / pi(y|x),
        pi(y|x) = E_q[ r p(y|s) ],    r = p(s, v) / p_t(s, v)

        loss = - pi_weight log pi - generative_weight (second term of L)
               - supervision_weight (log-probability of the label by `supervision`)

    and, for an image x of the test domain that has no label (y = -1),

        loss = - adaptation_weight E_q[log p_t(s, v) + log p(x|s, v) - log q(s, v|x)].

    Labelled and unlabelled examples are averaged apart: the loss of a batch is the mean of the one
    plus the mean of the other, however many there are of each.

    The expectations are over `num_samples` draws, with all gradients, and with weights in log space
    (the ratio r of hundreds of dimensions overflows otherwise). For p_t = p the bound is one: its
    gap is KL(q(s, v|x) p(y|s) / pi || p(s, v|x, y)). For other p_t, L is log p(x, y) where q is the
    exact posterior of the test domain, and no bound elsewhere. **With one draw, or the mean path,
    and equal weights of both terms, p_t cancels**: the loss of all three test priors is the same
    on labelled examples, and an independent prior does nothing. Hence two draws at least unless
    asked otherwise.

    Reports `log_prob`, the importance-weighted lower bound of log p(x, y) under the training prior,
    `bound` = L, `cross_entropy` and `accuracy` of the supervised prediction, all of the labelled
    examples, and `adaptation_elbo` of the others.

    In the authors' released settings all expectations are at the mean of q (`mean_path=True`), both
    weights are 1e-4 and the supervision is that of the test predictor: there their losses for CSG
    and CSG-ind are identical. In the paper log pi is the supervision.

    Of a `LaCIM`, y is (label, domain), p and q are the domain's, and p_t = p: the bound is the one
    of its own paper, averaged over the examples of all domains.

    Args:
        num_samples: K.
        mean_path: the mean of q in place of draws; parity with the authors' code only, see
            `CSG.causal_terms`.
        generative_weight: of the second term. It is small because log p(x|s, v) sums over pixels.
        pi_weight: of log pi; None is `generative_weight`.
        supervision: "pi", the label's probability under pi normalised over the labels (for
            p_t = p that is pi itself; without the normalisation, r would grow without bound);
            "predictor", under E_q[p(y|s)], the prediction for the test domain.
        supervision_weight: of the supervision.
        adaptation_weight: of unlabelled examples.
        l2_weight: adds the gradient `l2_weight` w to every weight w, as PyTorch's `weight_decay`.

    Raises:
        ValueError: a weight below zero, or another argument outside its range.

    [1] Liu, Sun, Wang, Tang, Li, Qin, Chen, Liu. Learning causal semantic representation for
        out-of-distribution prediction. NeurIPS 2021. arXiv:2011.01681
    """

    def __init__(
        self,
        num_samples: int = 2,
        mean_path: bool = False,
        generative_weight: float = 1e-4,
        pi_weight: float | None = None,
        supervision: str = "pi",
        supervision_weight: float = 1.0,
        adaptation_weight: float = 0.0,
        l2_weight: float = 0.0,
    ):
        check_integer("num_samples", num_samples, minimum=1)
        check_one_of("supervision", supervision, ("pi", "predictor"))
        self.num_samples = num_samples
        self.mean_path = mean_path
        self.generative_weight = generative_weight
        self.pi_weight = generative_weight if pi_weight is None else pi_weight
        self.supervision = supervision
        self.supervision_weight = supervision_weight
        self.adaptation_weight = adaptation_weight
        self.l2_weight = l2_weight
        for name in ("generative", "pi", "supervision", "adaptation", "l2"):
            weight = getattr(self, f"{name}_weight")
            check_argument(weight >= 0, f"{name}_weight", "non-negative", weight)

    def __call__(self, model: Any, x: Any, y: Any = None) -> dict[str, tf.Tensor]:
        check_argument(y is not None, "y", "given: the objective needs labels", None)
        condition = model.condition(y, tf.shape(x)[0])
        terms = model.causal_terms(
            x, self.num_samples, mean_path=self.mean_path, condition=condition
        )
        one_hot = model.one_hot(y)
        labelled, unlabelled = shares(one_hot)
        bound = causal_bound(terms, one_hot)
        if self.supervision == "pi":
            log_predictions = tf.nn.log_softmax(bound.log_pi_of_labels)
        else:
            log_predictions = _log_mean(terms.log_py)
        supervised = tf.reduce_sum(one_hot * log_predictions, axis=-1)
        hits = tf.argmax(log_predictions, axis=-1) == tf.argmax(one_hot, axis=-1)
        elbo = tf.reduce_mean(terms.log_test_prior + terms.log_px - terms.log_q, axis=0)
        log_py = tf.reduce_sum(one_hot * terms.log_py, axis=-1)
        log_weights = terms.log_prior + terms.log_px - terms.log_q + log_py
        source_loss = -(
            self.generative_weight * bound.generative
            + self.pi_weight * bound.log_pi
            + self.supervision_weight * supervised
        )
        loss = labelled * source_loss - unlabelled * self.adaptation_weight * elbo
        return {
            "loss": loss + l2_penalty(model, self.l2_weight, loss.dtype),
            "log_prob": labelled * _log_mean(log_weights),
            "bound": labelled * (bound.log_pi + bound.generative),
            "cross_entropy": -labelled * supervised,
            "accuracy": labelled * tf.cast(hits, loss.dtype),
            "adaptation_elbo": unlabelled * elbo,
        }


def shares(one_hot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Factors `[B]` of labelled and of unlabelled (all zeros) examples: a batch mean with such a
    factor is the mean over the examples of the kind, or zero without any."""
    labelled = tf.reduce_sum(one_hot, axis=-1)
    num = tf.cast(tf.size(labelled), labelled.dtype)

    def share(mask: tf.Tensor) -> tf.Tensor:
        return mask * num / tf.maximum(tf.reduce_sum(mask), 1.0)

    return share(labelled), share(1.0 - labelled)


def l2_penalty(model: Any, weight: float, dtype: Any) -> tf.Tensor:
    """weight / 2 times the sum of the squares of all trainable weights, `[]`."""
    if not weight:
        return tf.zeros([], dtype)
    squares = [tf.reduce_sum(tf.square(tf.cast(v.value, dtype))) for v in model.trainable_variables]
    return 0.5 * weight * tf.add_n(squares)


def _log_mean(values: tf.Tensor) -> tf.Tensor:
    """log of the mean of the exponentials over the draws, the first axis."""
    log_num = tf.math.log(tf.cast(tf.shape(values)[0], values.dtype))
    return tf.reduce_logsumexp(values, axis=0) - log_num
