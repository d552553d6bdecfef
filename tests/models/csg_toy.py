"""Linear-Gaussian causal models, whose likelihood and posterior are known."""

import dataclasses
import math

import keras
import numpy as np

from tfgen.models import CSG
from tfgen.models.causal.mechanisms import MINIMUM_SCALE

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
COVARIANCE = np.array([[1.0, 0.6], [0.6, 1.0]])


@dataclasses.dataclass(frozen=True)
class Toy:
    """z = (s, v) ~ N(mean, covariance), x = weights z + offset + N(0, noise^2), all real numbers,
    p(y = 1 | s) = sigmoid(slope s + intercept)."""

    mean: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    covariance: np.ndarray = dataclasses.field(default_factory=lambda: COVARIANCE)
    weights: np.ndarray = dataclasses.field(default_factory=lambda: np.array([1.0, 0.5]))
    offset: float = 0.0
    noise: float = 0.4
    slope: float = 2.0
    intercept: float = -0.3

    def posterior(self, x):
        """Mean and covariance of z given x, and the slope of the mean."""
        variance = self.weights @ self.covariance @ self.weights + self.noise**2
        gain = self.covariance @ self.weights / variance
        mean = self.mean + gain * (x - self.offset - self.weights @ self.mean)
        return mean, self.covariance - np.outer(gain, gain) * variance, gain

    def log_prob(self, x):
        mean = self.weights @ self.mean + self.offset
        variance = self.weights @ self.covariance @ self.weights + self.noise**2
        return -0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    def predict(self, x):
        """p(y | x) of both labels, by quadrature over s."""
        mean, covariance, _ = self.posterior(x)
        s = mean[0] + math.sqrt(covariance[0, 0]) * NODES
        p = (WEIGHTS / (1 + np.exp(-self.slope * s - self.intercept))).sum()
        return np.array([1 - p, p])

    def log_joint(self, x):
        """log p(x, y) of both labels."""
        return self.log_prob(x) + np.log(self.predict(x))

    def transformed(self, matrix, shift):
        """The same p(x | z) for the latents matrix z + shift; p(y | s) is left as it is."""
        inverse = np.linalg.inv(matrix)
        weights = self.weights @ inverse
        return dataclasses.replace(
            self,
            mean=matrix @ self.mean + shift,
            covariance=matrix @ self.covariance @ matrix.T,
            weights=weights,
            offset=self.offset - weights @ shift,
        )

    def model(self, test_prior="training", test=None, shift=(0.0, 0.0), widen=1.0):
        """This as a `CSG`, with the posterior of the domain `test`, another `Toy`.

        The posterior is exact but for `shift` of its mean and the factor `widen` on its covariance.
        """
        model = CSG(
            [1],
            2,
            semantic_size=1,
            variation_size=1,
            context_size=1,
            latent_activation="linear",
            test_prior=test_prior,
            noise_scale=self.noise,
            encoder=keras.layers.Identity(),
            decoder=keras.layers.Dense(1, dtype="float64"),
            dtype="float64",
        )
        set_block(model.training_block, self.mean, self.covariance)
        if model.adapted_block is not None:
            domain = self if test is None else test
            set_block(model.adapted_block, domain.mean, domain.covariance)
        model.decoder.set_weights([self.weights[:, None], np.array([self.offset])])
        model.logits.set_weights([np.array([[self.slope]]), np.array([self.intercept])])
        target = self if test is None else test
        start, covariance, gain = target.posterior(0.0)
        start, covariance = start + shift, widen * covariance
        slope = covariance[0, 1] / covariance[1, 1]  # of E[s | v, x] in v
        rest = covariance[0, 0] - slope * covariance[0, 1]
        model.first_head.set_weights([np.array([[gain[1], 1.0]]), np.array([start[1], 0.0])])
        model.semantic_loc.set_weights(
            [
                np.array([[slope], [gain[0] - slope * gain[1]]]),
                np.array([start[0] - slope * start[1]]),
            ]
        )
        for layer, variance in (
            (model.variation_scale, covariance[1, 1]),
            (model.semantic_scale, rest),
        ):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
            layer.bias.assign([math.log(math.expm1(math.sqrt(variance) - MINIMUM_SCALE))])
        return model


def set_block(block, mean, covariance):
    """A `GaussianPrior` with this mean and covariance."""
    factor = np.linalg.cholesky(covariance)
    np.fill_diagonal(factor, np.log(np.diag(factor)))
    block.set_weights([mean, factor])


def quadrature(model, x):
    """The terms of a toy model at Gauss-Hermite nodes of q(s, v | x), and their log weights."""
    parts = model.posterior_parts(model.check_data(x))
    first, second = (nodes.reshape(-1, 1, 1) for nodes in np.meshgrid(NODES, NODES))
    q_v = parts.variation.distribution
    v = q_v.loc + q_v.scale * first
    q_s = parts.semantic_given(v).distribution
    log_weights = np.log(np.outer(WEIGHTS, WEIGHTS)).reshape(-1, 1)
    return model.densities(x, q_s.loc + q_s.scale * second, v), log_weights
