"""The programs of `apps.examples`, small; each is held to a fact of its mathematics."""

import keras
import numpy as np
from scipy.special import logsumexp

from apps.examples import (
    anomaly_scores,
    conditional_density,
    conditional_made,
    iaf_posterior,
    pixelcnn_autoencoder,
)


def test_conditional_density_integrates_to_one_and_beats_gaussian_regression():
    results = conditional_density.main()
    step = 0.1
    line = np.arange(-15.0, 25.0, step, dtype="float32")
    y = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    for row in (0, 1):
        x = np.repeat(results["x"][row : row + 1], len(y), axis=0)
        log_prob = results["model"].predict([x, y], batch_size=40_000, verbose=0)
        mass = np.exp(log_prob.astype("float64")).sum() * step**2
        np.testing.assert_allclose(mass, 1.0, atol=2e-3)
    assert results["log_prob"].mean() > results["gaussian"].mean()


def test_pixelcnn_likelihood_is_normalised_and_beats_independent_pixels():
    results = pixelcnn_autoencoder.main()
    log_probs = {name: values.mean() for name, values in results["log_probs"].items()}
    assert log_probs["PixelCNN"] > log_probs["independent pixels"]
    # Summed over the values of the last pixel, the probability is that of the pixels before it.
    model, x = results["models"]["PixelCNN"], results["test"][:2]
    every = np.repeat(x[:, None], pixelcnn_autoencoder.NUM_LEVELS, axis=1)
    every[:, :, -1, -1, 0] = np.arange(pixelcnn_autoencoder.NUM_LEVELS)
    features = keras.Model(model.inputs, model.layers[-1].input[1])(x)
    likelihood = model.layers[-1]
    repeated = np.repeat(features, pixelcnn_autoencoder.NUM_LEVELS, axis=0)
    joint = likelihood(every.reshape(-1, 8, 8, 1), repeated).numpy().reshape(2, -1)
    conditionals = likelihood.network.conditionals(x.astype("uint8"), features).log_prob(x)
    before = np.sum(conditionals.numpy().reshape(2, -1)[:, :-1], axis=1)
    np.testing.assert_allclose(logsumexp(joint, axis=1), before, atol=1e-3)


def test_conditional_made_sums_to_one_and_beats_independent_pixels():
    results = conditional_made.main(epochs=30)
    every = (np.arange(2**16)[:, None] >> np.arange(16) & 1).astype("float32")
    label = np.full(len(every), 3)
    log_prob = results["model"].predict([every, label], batch_size=2**13, verbose=0)
    np.testing.assert_allclose(np.exp(log_prob.astype("float64")).sum(), 1.0, atol=1e-4)
    assert results["log_prob"].mean() > results["independent"].mean()


def test_iaf_is_closer_to_the_evidence_than_the_best_diagonal_gaussian():
    results = iaf_posterior.main(num_steps=600)
    evidence = results["evidence"]
    assert results["mean_field"] < results["iaf"] < evidence + 0.05
    assert evidence - results["iaf"] < 0.5 * (evidence - results["mean_field"])


def test_scores_of_the_pipeline_are_the_models_and_find_anomalies():
    results = anomaly_scores.main()
    expected = -results["model"].log_prob(results["test"])
    np.testing.assert_allclose(results["scores"], expected, rtol=1e-4, atol=1e-3)
    assert results["auc"]["flow"] > results["auc"]["independent Gaussians"]
