"""The methods that CSG is compared with, against their formulas written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import check_save_and_load, check_training, randomize
from tfgen.models import Classifier
from tfgen.models.causal.adversaries import ConditionalAdversary, DomainAdversary
from tfgen.objectives import (
    BNM,
    CNBB,
    DAN,
    CrossEntropy,
    DomainAdversarial,
    MarginDisparity,
)

Y = np.array([0, -1, 1, 2, -1, -1, 0], "int32")  # the two kinds of examples in any order
X = np.random.default_rng(0).standard_normal((7, 5))
SOURCE, TARGET = (Y >= 0) / 4, (Y < 0) / 3


def make(**kwargs):
    model = Classifier(
        [5], 3, feature_units=[4], encoder={"type": "MLPEncoder", "units": [6]}, dtype="float64",
        **kwargs,
    )  # fmt: skip
    randomize(model, scale=1.0)
    return model


def outputs(model):
    features = model.features(X)
    return features, model.label_log_probs(features)


def penalty(objective, model):
    return objective.penalty(model, *outputs(model), tf.constant(SOURCE), tf.constant(TARGET))


def test_cross_entropy_is_of_the_labelled_examples():
    model = make()
    terms = CrossEntropy()(model, X, Y)
    known = Y >= 0
    expected = -np.log(model.predict(X).numpy()[known, Y[known]])
    assert float(tf.reduce_mean(terms["loss"])) == pytest.approx(expected.mean(), rel=1e-12)
    assert float(tf.reduce_mean(terms["log_prob"])) == pytest.approx(-expected.mean(), rel=1e-12)
    np.testing.assert_allclose(tf.reduce_sum(model.predict(X), axis=-1), 1.0)
    np.testing.assert_allclose(model.log_prob(X[known], Y[known]), -expected)


def test_l2_adds_the_weights_to_the_gradient():
    model = make()
    gradients = []
    for objective in (CrossEntropy(), CrossEntropy(l2_weight=0.1)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(model, X, Y)["loss"])
        gradients.append(tape.gradient(loss, [v.value for v in model.trainable_variables]))
    for plain, decayed, variable in zip(*gradients, model.trainable_variables, strict=True):
        np.testing.assert_allclose(decayed - plain, 0.1 * variable.numpy(), atol=1e-12)


def test_mmd_is_the_sum_over_pairs():
    """The unbiased estimate, pair by pair; its mean is zero where both kinds are alike."""
    model = make()
    f = outputs(model)[0].numpy()
    distances = ((f[:, None] - f[None]) ** 2).sum(-1)
    kernel = sum(np.exp(-distances / (2 * a * distances.mean())) for a in (0.5, 1.0, 2.0))
    kinds = [np.flatnonzero(Y >= 0), np.flatnonzero(Y < 0)]
    within = [np.mean([kernel[i, j] for i in k for j in k if i != j]) for k in kinds]
    expected = sum(within) - 2 * kernel[np.ix_(*kinds)].mean()
    assert float(penalty(DAN(weight=2.0), model)) == pytest.approx(2 * expected, rel=1e-9)

    rng = np.random.default_rng(1)
    weights = [tf.constant(np.repeat(w, 6) / 6) for w in ([1.0, 0.0], [0.0, 1.0])]
    alike, apart = (
        np.mean(
            [DAN().discrepancy(rng.standard_normal((12, 2)) + shift, *weights) for _ in range(60)]
        )
        for shift in (np.zeros((12, 1)), np.repeat([[0.0], [2.0]], 6, axis=0))
    )
    assert abs(alike) < 0.04 < 0.3 < apart


def test_bnm_is_the_mean_singular_value_of_the_target():
    model = make()
    p = np.exp(outputs(model)[1].numpy()[Y < 0])
    expected = -np.linalg.svd(p, compute_uv=False).mean()
    assert float(penalty(BNM(weight=1.0), model)) == pytest.approx(expected, rel=1e-6)


def test_cnbb_takes_projected_gradient_steps():
    """Two steps against a NumPy loop with numerical derivatives; only labelled examples count."""
    model, known = make(), Y >= 0
    objective = CNBB(step_size=0.3, num_steps=2, weight_penalty=0.05)
    features = outputs(model)[0]
    f = features.numpy()[known]

    def imbalance(w):
        treated = f > 0.5
        total = 0.05 * (w**2).sum()
        for j in range(f.shape[1]):
            on, off = w * treated[:, j], w * ~treated[:, j]
            on, off = (v / max(v.sum(), 1e-12) for v in (on, off))
            for i in range(f.shape[1]):
                if i != j:
                    total += (f[:, i] @ (on - off)) ** 2
        return total

    w = np.full(known.sum(), 1 / known.sum())
    for _ in range(2):
        eye = 1e-6 * np.eye(len(w))
        gradient = np.array([imbalance(w + e) - imbalance(w - e) for e in eye]) / 2e-6
        w = np.abs(w - 0.3 * (gradient - gradient.mean()))
        w /= w.sum()
    assert np.ptp(w) > 1e-3
    found = objective.example_weights(features, tf.constant(SOURCE)).numpy()
    np.testing.assert_allclose(found[known], w, atol=1e-7)
    assert not found[~known].any()
    expected = (
        w @ -np.log(model.predict(X).numpy()[known, Y[known]]) - 3e-6 * ((f - 0.5) ** 2).sum()
    )
    loss = tf.reduce_mean(objective(model, X, Y)["loss"])
    assert float(loss) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [DomainAdversary, ConditionalAdversary])
def test_adversary_descends_and_features_ascend(kind):
    """The value is half the two mean cross-entropies; features get the reversed gradient."""
    model = make(adversary=kind(units=[3], dtype="float64"))
    features, log_probs = outputs(model)
    inputs = features.numpy()
    if kind is ConditionalAdversary:
        inputs = np.einsum("bf,bc->bfc", inputs, np.exp(log_probs)).reshape(7, -1)
    weights = [v.value for v in model.adversary.trainable_variables]

    def plain(inputs):
        logits = model.adversary(inputs)[:, 0]
        losses = tf.nn.softplus(tf.where(Y >= 0, -logits, logits))
        return 0.5 * tf.reduce_sum((SOURCE + TARGET) * losses)

    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected = plain(inputs)
    of_weights, of_inputs = tape.gradient(expected, [weights, inputs])
    objective = DomainAdversarial(weight=2.0, ramp_steps=0)
    with tf.GradientTape() as tape:
        tape.watch(features)
        found = objective.penalty(
            model, features, log_probs, tf.constant(SOURCE), tf.constant(TARGET)
        )
    mine, of_features = tape.gradient(found, [weights, features])
    assert float(found) == pytest.approx(2 * float(expected), rel=1e-12)
    for first, second in zip(mine, of_weights, strict=True):
        np.testing.assert_allclose(first, 2 * second, rtol=1e-9)
    if kind is ConditionalAdversary:
        of_inputs = tf.einsum("bfc,bc->bf", tf.reshape(of_inputs, [7, 4, 3]), tf.exp(log_probs))
    np.testing.assert_allclose(of_features, -2 * of_inputs, rtol=1e-9)


def test_margin_disparity():
    """-(margin E_source[log p] + E_target[log(1 - p)]), p of the label that is predicted."""
    model = make(adversary=DomainAdversary(units=[3], num_outputs=3, dtype="float64"))
    features, log_probs = outputs(model)
    p = tf.nn.softmax(model.adversary(features)).numpy()
    p = p[range(7), np.argmax(log_probs, axis=-1)]
    expected = -(4.0 * SOURCE @ np.log(p) + TARGET @ np.log1p(-p))
    found = penalty(MarginDisparity(weight=1.0), model)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_ramp_of_the_reversal():
    model = make(adversary=DomainAdversary(units=[3], dtype="float64"))
    objective = DomainAdversarial()
    assert float(objective.ramp(model, "float64")) == 1.0  # no optimizer yet
    model.compile(objective, keras.optimizers.SGD(0.0))
    for step in (0, 1000, 5000):
        model.optimizer.iterations.assign(step)
        expected = 2 / (1 + np.exp(-step / 1000)) - 1
        assert float(objective.ramp(model, "float64")) == pytest.approx(expected, abs=1e-12)


def test_without_target_examples_only_the_cross_entropy_is_left():
    """As in an evaluation; values stay finite."""
    known = Y >= 0
    for objective, kwargs in (
        (DAN(1.0), {}),
        (BNM(0.0), {}),
        (CNBB(feature_penalty=0.0, num_steps=0), {}),
    ):
        model = make(**kwargs)
        found = tf.reduce_mean(objective(model, X[known], Y[known])["loss"])
        plain = tf.reduce_mean(CrossEntropy()(model, X[known], Y[known])["loss"])
        assert float(found) == pytest.approx(float(plain), rel=1e-12)


def test_protocol():
    model = Classifier([4, 4, 3], 3, num_levels=8, feature_units=[5], encoder=None)
    rng = np.random.default_rng(0)
    y = np.array([0, 1, 2, 0, 1, 2], "int32")
    x = (rng.integers(0, 3, (6, 4, 4, 3)) + 2 * y[:, None, None, None]).astype("uint8")
    check_training(model, x, y)
    check_save_and_load(model, x, y)
    assert model.num_dims == 1
    assert model.report(x, y)["accuracy"].shape == (6,)
    with pytest.raises(ValueError, match="y must be given: the model is one of labels"):
        model.log_prob(x)
    with pytest.raises(ValueError, match=r"y must be labels 0\.\.2"):
        model.log_prob(x, y + 1)
    with pytest.raises(ValueError, match="model must be a Classifier with an adversary"):
        DomainAdversarial()(model, x, y)


def test_default_sizes_are_the_papers():
    model = Classifier([28, 28, 1], 2, num_levels=256)
    assert model.count_params() == 785 * 600 + 601 * 300 + 301 * 75 + 76
