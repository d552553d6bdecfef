"""CSG against exact values of linear-Gaussian models, and its protocol."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import (
    check_likelihood,
    check_samples,
    check_save_and_load,
    check_training,
    randomize,
)
from tests.models.csg_toy import COVARIANCE, NODES, WEIGHTS, Toy, quadrature, set_block
from tfgen.models import CSG
from tfgen.objectives import CausalELBO
from tfgen.objectives.causal import causal_bound

X = np.array([[0.7]])
BOTH = np.eye(2)[:, None]  # one-hot labels 0 and 1, each a batch of one
INDEPENDENT = Toy(covariance=np.eye(2))  # the marginals of the toy prior, side by side
LOG_JOINT = [-2.383941, -1.852054]


def bounds(model, x=X):
    """L(x, y) of both labels by quadrature over q."""
    terms, log_weights = quadrature(model, x)
    found = [causal_bound(terms, one_hot, log_weights) for one_hot in BOTH]
    return [float((b.log_pi + b.generative)[0]) for b in found], found[0].log_pi_of_labels[0]


def test_oracle():
    """The toy's closed forms against a grid over (s, v)."""
    toy, grid = Toy(), np.linspace(-8, 8, 801)
    s, v = np.meshgrid(grid, grid, indexing="ij")
    precision = np.linalg.inv(COVARIANCE)
    log_p = -0.5 * (precision[0, 0] * s**2 + 2 * precision[0, 1] * s * v + precision[1, 1] * v**2)
    log_p -= np.log(2 * np.pi) + 0.5 * np.log(np.linalg.det(COVARIANCE))
    log_p -= 0.5 * ((0.7 - s - 0.5 * v) / 0.4) ** 2 + np.log(0.4 * np.sqrt(2 * np.pi))
    p_one = 1 / (1 + np.exp(0.3 - 2 * s))
    mass = [(np.exp(log_p) * p).sum() * (grid[1] - grid[0]) ** 2 for p in (1 - p_one, p_one)]
    np.testing.assert_allclose(np.log(mass), toy.log_joint(0.7), atol=1e-9)
    np.testing.assert_allclose(toy.log_joint(0.7), LOG_JOINT, atol=1e-6)


def test_bound_is_exact_with_the_exact_posterior():
    """Eq. 2 with q and eq. 3 with the posterior of the independent prior both give log p(x, y)."""
    found, _ = bounds(Toy().model())
    np.testing.assert_allclose(found, LOG_JOINT, atol=1e-6)
    found, log_pi = bounds(Toy().model("independent", INDEPENDENT))
    np.testing.assert_allclose(found, LOG_JOINT, atol=1e-6)
    pi = np.exp(log_pi)
    np.testing.assert_allclose(pi, [0.326460, 0.555680], atol=1e-6)
    np.testing.assert_allclose(pi.sum(), 0.882140, atol=1e-6)
    expected = np.exp(Toy().log_prob(0.7) - INDEPENDENT.log_prob(0.7))  # p(x) / p_t(x)
    np.testing.assert_allclose(pi.sum(), expected, atol=1e-9)
    np.testing.assert_allclose(pi / pi.sum(), Toy().predict(0.7), atol=1e-9)
    np.testing.assert_allclose((pi / pi.sum())[1], 0.629923, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bound_is_exact_for_any_adapted_prior(seed):
    """The unknown p_t(x) / p(x) cancels; also away from the paper's table."""
    rng = np.random.default_rng(seed)
    # Not wider than p by far, or r would be an integrand with long tails.
    factor = np.tril(rng.uniform(-0.5, 0.5, (2, 2)), -1) + np.diag(rng.uniform(0.9, 1.3, 2))
    test = Toy(mean=rng.uniform(-0.5, 0.5, 2), covariance=factor @ factor.T)
    found, _ = bounds(Toy().model("adapted", test), np.array([[0.2]]))
    np.testing.assert_allclose(found, Toy().log_joint(0.2), atol=1e-6)


def test_gap_is_the_divergence_of_the_implied_posterior():
    """Eq. 2 with q off the posterior, and KL(q(s, v | x, y) || p(s, v | x, y)) on a grid."""
    model = Toy().model(shift=(0.2, -0.1), widen=1.3)
    found, _ = bounds(model)
    np.testing.assert_allclose(found, [-2.475860, -2.032523], atol=1e-6)
    mean, covariance, _ = Toy().posterior(0.7)
    mean_q, precision_q = mean + np.array([0.2, -0.1]), np.linalg.inv(1.3 * covariance)
    grid = np.linspace(-5, 5, 601)
    z = np.stack(np.meshgrid(grid + mean[0], grid + mean[1], indexing="ij"), -1)
    p_one = 1 / (1 + np.exp(0.3 - 2 * z[..., 0]))
    for label, expected in enumerate((0.091919, 0.180469)):
        densities = []
        for centre, precision in ((mean_q, precision_q), (mean, np.linalg.inv(covariance))):
            exponent = np.einsum("abi,ij,abj->ab", z - centre, precision, z - centre)
            p = np.exp(-0.5 * exponent) * (p_one if label else 1 - p_one)
            densities.append(p / p.sum())
        q, p = densities
        kl = (q * np.log(np.maximum(q, 1e-300) / np.maximum(p, 1e-300))).sum()
        assert kl == pytest.approx(expected, abs=2e-6)
        assert Toy().log_joint(0.7)[label] - found[label] == pytest.approx(kl, abs=2e-6)


def test_likelihoods_and_predictions_of_the_protocol():
    """With the exact posterior one weight is enough for log p(x), many draws for the labels."""
    model = Toy().model()
    assert float(model.log_prob(X)[0]) == pytest.approx(-1.389896, abs=1e-6)
    many = {"num_samples": 100_000, "seed": 0}
    joint = [model.log_prob(X, [y], chunk_size=100_000, **many)[0] for y in (0, 1)]
    np.testing.assert_allclose(joint, LOG_JOINT, atol=5e-3)
    np.testing.assert_allclose(model.predict(X, **many)[0], Toy().predict(0.7), atol=5e-3)

    model = Toy().model("independent", INDEPENDENT)
    assert float(model.test_log_prob(X)[0]) == pytest.approx(-1.264492, abs=1e-6)
    np.testing.assert_allclose(model.predict(X, **many)[0, 1], 0.636667, atol=5e-3)
    np.testing.assert_allclose(model.predict_training(X, **many)[0, 1], 0.629923, atol=5e-3)
    assert INDEPENDENT.predict(0.7)[1] == pytest.approx(0.636667, abs=1e-6)
    np.testing.assert_allclose(
        model.log_prob(X, chunk_size=100_000, **many)[0], -1.389896, atol=5e-3
    )


def test_exact_test_prior_gives_exact_predictions():
    """Theorem 7: what the test domain's own model predicts, for every x."""
    test = Toy(mean=np.array([0.3, -1.0]), covariance=np.array([[0.8, -0.5], [-0.5, 1.1]]))
    model = Toy().model("adapted", test)
    for value in (-2.0, 0.7, 3.0):
        x = np.array([[value]])
        terms, log_weights = quadrature(model, x)
        p = tf.reduce_sum(tf.exp(terms.log_py + log_weights[..., None]), axis=0)[0]
        np.testing.assert_allclose(p, test.predict(value), atol=1e-9)
        np.testing.assert_allclose(model.test_log_prob(x)[0], test.log_prob(value), atol=1e-9)


def test_draws_estimate_the_quadrature():
    """The estimator of K draws for a q that is not exact, both terms apart."""
    model = Toy().model("independent", INDEPENDENT, shift=(0.3, 0.2), widen=0.8)
    exact_terms, log_weights = quadrature(model, X)
    terms = model.causal_terms(X, num_samples=100_000, seed=1)
    for one_hot in BOTH:
        exact = causal_bound(exact_terms, one_hot, log_weights)
        estimate = causal_bound(terms, one_hot)
        np.testing.assert_allclose(estimate.log_pi, exact.log_pi, atol=5e-3)
        np.testing.assert_allclose(estimate.generative, exact.generative, atol=5e-3)


def test_independent_prior_of_an_uncorrelated_one_is_the_same():
    """M_vs = 0: r is 1 to the bit, and so are the loss and every prediction."""
    toy = Toy(covariance=np.diag([1.44, 0.49]))
    plain, independent = toy.model(), toy.model("independent")
    losses = []
    for model in (plain, independent):
        terms = model.causal_terms(X, 8, seed=3)
        np.testing.assert_array_equal(terms.log_ratio, np.zeros((8, 1)))
        losses.append(causal_bound(terms, BOTH[1]))
    for first, second in zip(*losses, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(*(m.predict_training(X, 8, seed=3) for m in (plain, independent)))


def make(test_prior="training", dtype="float64", **kwargs):
    arguments = {"semantic_size": 2, "variation_size": 1, "context_size": 2, **kwargs}
    model = CSG(
        [3],
        3,
        test_prior=test_prior,
        encoder={"type": "MLPEncoder", "units": [4], "activation": "tanh"},
        decoder={"type": "MLPDecoder", "units": [4], "activation": "tanh"},
        noise_scale=0.7,
        dtype=dtype,
        **arguments,
    )
    randomize(model)
    return model


PARTS = (
    "encoder",
    "first_head",
    "variation_scale",
    "semantic_loc",
    "semantic_norm",
    "semantic_scale",
    "logits",
    "decoder",
    "training_block",
)


def copies(**kwargs):
    """The three models with the same networks and training prior, the adapted one with its own."""
    models = {kind: make(kind, **kwargs) for kind in ("training", "independent", "adapted")}
    for name in PARTS:
        weights = getattr(models["training"], name).get_weights()
        for model in models.values():
            getattr(model, name).set_weights(weights)
    return models


def data(num=5, unlabelled=0):
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.integers(0, 3, num), np.full(unlabelled, -1)]).astype("int32")
    return rng.standard_normal((num + unlabelled, 3)), y


def loss_of(model, objective, x, y):
    model.seeds.state.assign([1, 2])  # the same draws every time
    return tf.reduce_mean(objective(model, x, y)["loss"])


@pytest.mark.parametrize("objective", [CausalELBO(1), CausalELBO(mean_path=True)])
def test_one_draw_knows_no_test_prior(objective):
    """K <= 1 and equal weights: p_t cancels, whatever it is; so CSG-ind is CSG."""
    losses = {kind: float(loss_of(m, objective, *data())) for kind, m in copies().items()}
    assert losses["independent"] == pytest.approx(losses["training"], abs=1e-9)
    assert losses["adapted"] == pytest.approx(losses["training"], abs=1e-9)


@pytest.mark.parametrize(
    "objective", [CausalELBO(8, generative_weight=1.0), CausalELBO(1, pi_weight=1.0)]
)
def test_several_draws_or_other_weights_know_it(objective):
    losses = [float(loss_of(m, objective, *data())) for m in copies().values()]
    assert min(abs(losses[i] - losses[j]) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3


def test_adapted_prior_equal_to_the_training_prior_is_csg():
    models = copies()
    models["adapted"].adapted_block.set_weights(models["training"].training_block.get_weights())
    objective = CausalELBO(4, generative_weight=0.3)
    losses = [loss_of(models[kind], objective, *data()) for kind in ("training", "adapted")]
    np.testing.assert_array_equal(*losses)


def test_adapted_prior_starts_as_the_training_prior():
    model = CSG([3], 2, semantic_size=2, variation_size=3, test_prior="adapted")
    for first, second in zip(
        model.training_block.get_weights(), model.adapted_block.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["training", "independent", "adapted"])
def test_gradient_of_the_whole_loss(kind):
    """Autodiff against a central difference along a random direction of all weights."""
    model = make(kind)
    objective = CausalELBO(
        3, generative_weight=0.5, pi_weight=0.2, adaptation_weight=0.3, l2_weight=0.01
    )
    x, y = data(unlabelled=3)
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        loss = loss_of(model, objective, x, y)
    gradients = tape.gradient(loss, [v.value for v in variables])
    rng = np.random.default_rng(1)
    steps = [rng.standard_normal(v.shape) for v in variables]
    slope = sum(float(tf.reduce_sum(g * s)) for g, s in zip(gradients, steps, strict=True))
    values = []
    for sign in (1.0, -2.0):
        for variable, step in zip(variables, steps, strict=True):
            variable.assign_add(sign * 1e-5 * step)
        values.append(float(loss_of(model, objective, x, y)))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_mean_path_pushes_every_width_without_bound():
    """The derivative of the loss with respect to a width of q is -1 / width, exactly."""
    model, (x, y) = make(), data(num=1)
    objective = CausalELBO(mean_path=True, generative_weight=1.0)
    for layer in (model.variation_scale, model.semantic_scale):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    biases = [model.variation_scale.bias.value, model.semantic_scale.bias.value]
    with tf.GradientTape() as tape:
        loss = loss_of(model, objective, x, y)
    for gradient, bias in zip(tape.gradient(loss, biases), biases, strict=True):
        width = np.log1p(np.exp(bias)) + 1e-4
        np.testing.assert_allclose(gradient, -1 / (1 + np.exp(-bias)) / width, rtol=1e-9)


def test_labelled_and_unlabelled_examples_are_averaged_apart():
    """The loss of a mixed batch is the sum of the two parts' own means."""
    model, (x, y) = make("adapted"), data(num=5, unlabelled=3)
    # At the mean of q there are no draws, which would differ from batch to batch.
    objective = CausalELBO(
        mean_path=True, generative_weight=0.3, supervision="predictor", adaptation_weight=0.2
    )
    parts = [loss_of(model, objective, x[rows], y[rows]) for rows in (slice(5), slice(5, None))]
    assert float(loss_of(model, objective, x, y)) == pytest.approx(float(sum(parts)), rel=1e-9)
    terms = model.causal_terms(x[5:], mean_path=True)
    elbo = tf.reduce_mean(terms.log_test_prior + terms.log_px - terms.log_q)
    assert float(parts[1]) == pytest.approx(-0.2 * float(elbo), rel=1e-9)


def test_supervision_by_pi_is_the_training_prediction():
    """Cross-entropies of the normalised pi and of the test predictor."""
    model, (x, y) = make("independent"), data()
    seed = tf.constant([5, 6])
    model.next_seed = lambda given=None: seed if given is None else given
    expected = {
        "pi": model.predict_training(x, 4, seed=seed),
        "predictor": model.predict(x, 4, seed=seed),
    }
    for kind, probabilities in expected.items():
        np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=-1), 1.0, atol=1e-9)
        found = CausalELBO(4, supervision=kind)(model, x, y)["cross_entropy"]
        np.testing.assert_allclose(found, -np.log(probabilities.numpy()[range(5), y]), rtol=1e-9)


def test_weights_stay_in_log_space():
    """A ratio of e^1000 in float32: the loss and all gradients are finite."""
    model = make("adapted", dtype="float32", semantic_size=40, variation_size=60)
    set_block(model.adapted_block, np.full(100, 5.0), np.eye(100))
    set_block(model.training_block, np.zeros(100), np.eye(100))
    x, y = data()
    assert np.abs(model.causal_terms(x, 4, seed=0).log_ratio).max() > 200
    with tf.GradientTape() as tape:
        loss = loss_of(model, CausalELBO(4), x, y)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in gradients)


def test_likelihood_is_a_sum_over_pixels_in_units_of_a_level():
    """Constant images: the density of every level, and over all levels they sum to one."""
    model = CSG([2, 2, 1], 2, num_levels=64, variation_size=0, noise_scale=0.05)
    x = np.repeat(np.arange(64, dtype="uint8"), 4).reshape(64, 2, 2, 1)
    z = tf.random.stateless_normal([1, 50], [0, 1])
    mean = model.decode(z).numpy().ravel()  # near the middle: no mass beyond the levels
    log_p = model.likelihood(z).log_prob(x.astype("float32")).numpy()
    scale = 0.05 * 63
    expected = -0.5 * ((x.reshape(64, 4) - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(log_p, expected.sum(-1), rtol=1e-4)
    assert np.exp(expected).sum(0) == pytest.approx(1.0, abs=1e-5)


def test_samples_of_the_toy():
    """Moments of images and labels, and p(x | y) by choice among candidates."""
    toy = Toy()
    x, y = toy.model().sample_labelled(40_000, seed=0)
    variance = toy.weights @ toy.covariance @ toy.weights + toy.noise**2
    np.testing.assert_allclose([np.mean(x), np.var(x)], [0.0, variance], atol=0.03)
    values = np.linspace(-8, 8, 401)
    p = np.array([np.exp(toy.log_joint(value)) for value in values]) * (values[1] - values[0])
    np.testing.assert_allclose(np.bincount(y) / len(y), p.sum(0), atol=0.01)
    expected = (values[:, None] * p).sum(0) / p.sum(0)
    for label in (0, 1):
        given = toy.model().sample(20_000, label, seed=1)
        assert np.mean(given) == pytest.approx(expected[label], abs=0.04)
        assert np.mean(x[y == label]) == pytest.approx(expected[label], abs=0.04)


def test_codes_can_be_exchanged():
    """`recombine` takes s from the first and v from the second."""
    model = Toy().model()
    first, second = np.array([[0.7]]), np.array([[-2.0]])
    s, v = model.encode(first)[:, :1], model.encode(second)[:, 1:]
    np.testing.assert_allclose(model.recombine(first, second), s + 0.5 * v, atol=1e-12)
    np.testing.assert_allclose(model.encode(first)[0], Toy().posterior(0.7)[0], atol=1e-9)


def test_parameter_count_at_the_papers_sizes():
    """The shifted-MNIST MLP: encoder, decoder, one logit, width branches and two priors."""
    model = CSG([28, 28, 1], 2, num_levels=256, test_prior="adapted")
    dense = lambda *sizes: (sizes[0] + 1) * sizes[1]  # noqa: E731
    encoder = dense(784, 400) + dense(400, 200) + dense(200, 50) + dense(50, 1)
    widths = dense(400, 100) + dense(200, 50) + 2 * 200
    decoder = dense(50, 100) + dense(200, 400) + dense(400, 784)
    assert model.count_params() == encoder + widths + decoder + 2 * (150 + 150**2)


def test_protocol_of_a_convolutional_model():
    """Colour, odd sizes, three labels, latents before the activation, an adapted prior."""
    model = CSG(
        [5, 6, 3],
        3,
        num_levels=16,
        semantic_size=3,
        variation_size=2,
        context_size=4,
        semantic_units=[8],
        classifier_units=[8],
        latent_activation="linear",
        test_prior="adapted",
        prior={"scale": 2.0, "correlation": 0.7},
        noise_scale=0.2,
        encoder={"type": "ConvEncoder", "filters": [4]},
        decoder={"type": "ConvDecoder", "filters": [4]},
    )
    # Narrow draws and plain images: a few steps are seen through the noise of the draws.
    for layer in (model.variation_scale, model.semantic_scale):
        layer.bias.assign(np.full(layer.bias.shape, -4.0))
    y = np.array([0, 1, 2, 0, 1, 2], "int32")
    x = np.random.default_rng(0).integers(0, 6, (6, 5, 6, 3)) + 5 * y[:, None, None, None]
    x = x.astype("uint8")
    check_likelihood(model, x)
    check_likelihood(model, x, y)
    check_samples(model)
    check_samples(model, y)
    check_training(model, x, y)
    check_save_and_load(model, x, y)
    assert model.report(x, y)["accuracy"].shape == (6,)


def test_single_latent_and_bfloat16():
    """CSGz; likelihoods stay float32 under a mixed policy."""
    model = CSG([4, 4, 1], 2, num_levels=256, variation_size=0, dtype="mixed_bfloat16")
    x = np.zeros((2, 4, 4, 1), "uint8")
    terms = CausalELBO()(model, x, np.array([0, 1]))
    assert {value.dtype for value in terms.values()} == {tf.float32}
    assert model.predict(x).shape == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes must be an integer >= 2"),
        ({"test_prior": "learned"}, "test_prior must be one of 'training', 'independent'"),
        ({"test_prior": "independent", "variation_size": 0}, "test_prior must be another"),
        ({"noise_scale": 0.0}, "noise_scale must be positive"),
        ({"decoder": keras.layers.Dense(5)}, r"decoder must be one with outputs \(4,\)"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        CSG(**{"event_shape": [4], "num_classes": 2, **arguments})


def test_labels_outside_the_range_are_refused():
    model, (x, y) = make(), data()
    model.compile(CausalELBO(), jit_compile=False)
    for call in (model.log_prob, model.sample, lambda x, y: model.fit(x, y)):
        with pytest.raises(ValueError, match=r"y must be labels 0\.\.2, or -1 for none"):
            call(5 if call == model.sample else x, y + 2)
    with pytest.raises(ValueError, match="y must be given: the objective needs labels"):
        CausalELBO()(model, x)
    with pytest.raises(ValueError, match="pi_weight must be non-negative"):
        CausalELBO(pi_weight=-1.0)
    with pytest.raises(ValueError, match="num_samples must be an integer >= 1"):
        CausalELBO(num_samples=0)


def test_reparameterisations_of_the_latents():
    """Theory: a map of the latents that keeps s apart from v leaves p(x, y) as it is, where
    p(y | s) follows; one that mixes v into s with p(y | s) kept changes p(x, y)."""
    preserving = Toy().transformed(np.array([[2.0, 0.0], [-1.0, 0.5]]), np.array([1.0, 0.3]))
    # sigmoid(2 s - 0.3) at s = (s' - 1) / 2
    preserving = dataclasses.replace(preserving, slope=1.0, intercept=-1.3)
    found, _ = bounds(preserving.model())
    original, _ = bounds(Toy().model())
    np.testing.assert_allclose(found, original, atol=1e-9)

    mixing = Toy().transformed(np.array([[1.0, 0.5], [0.0, 1.0]]), np.zeros(2))
    np.testing.assert_allclose(mixing.weights, [1.0, 0.0], atol=1e-12)  # f'(s', v') = s'
    assert mixing.log_prob(0.7) == pytest.approx(Toy().log_prob(0.7), abs=1e-9)
    found, _ = bounds(mixing.model())
    assert found[1] == pytest.approx(-1.737290, abs=1e-6)


def test_error_bound_of_a_shifted_prior():
    """Theorem 6: E ||E[y | x] - E_t[y | x]||^2 <= sigma^4 B_f^4 B_g^2 E ||grad log(p_t / p)||^2.

    x = A z + N(0, t^2 I), E[y | s] = tanh(s), unit variances with correlation 0.8 in training and
    -0.3 in the test domain; sigma^2 = 2 t^2, B_f the norm of A^-1, B_g = 1. The error falls as t^4.
    """
    matrix = np.array([[1.0, 0.5], [-0.3, 1.2]])
    train, test = (np.array([[1.0, c], [c, 1.0]]) for c in (0.8, -0.3))

    def divergence(p, q):
        """E_p ||grad log(p / q)||^2 of centred Gaussians."""
        difference = np.linalg.inv(q) - np.linalg.inv(p)
        return np.trace(difference @ p @ difference.T)

    def predictor(covariance, t, x):
        of_x = matrix @ covariance @ matrix.T + t**2 * np.eye(2)
        gain = covariance @ matrix.T @ np.linalg.inv(of_x)
        variance = (covariance - gain @ matrix @ covariance)[0, 0]
        s = (x @ gain[0])[:, None] + np.sqrt(variance) * NODES
        return (WEIGHTS * np.tanh(s)).sum(axis=1), of_x

    def error(t):
        factor = np.linalg.cholesky(predictor(test, t, np.zeros((1, 2)))[1])
        x = np.stack(np.meshgrid(NODES, NODES, indexing="ij"), -1).reshape(-1, 2) @ factor.T
        difference = predictor(train, t, x)[0] - predictor(test, t, x)[0]
        return (np.outer(WEIGHTS, WEIGHTS).ravel() * difference**2).sum()

    assert divergence(test, train) == pytest.approx(23.803, abs=1e-3)
    assert divergence(test, np.eye(2)) == pytest.approx(0.1978, abs=1e-4)  # independence is nearer
    noise = np.array([0.2, 0.1, 0.05, 0.025])
    errors = np.array([error(t) for t in noise])
    np.testing.assert_allclose(errors, [4.1594e-3, 3.1089e-4, 2.0346e-5, 1.2864e-6], rtol=1e-4)
    assert errors[2] / errors[3] == pytest.approx(16, rel=0.02)
    norm = np.linalg.norm(np.linalg.inv(matrix), 2)
    shares = errors / ((2 * noise**2) ** 2 * norm**4 * divergence(test, train))
    assert (shares < 1).all()
    assert shares[-1] == pytest.approx(0.0388, abs=1e-4)
