"""Models whose likelihood is known in closed form."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow_probability as tfp

from tfgen.latents.posterior import MINIMUM_SCALE
from tfgen.models import VAE

tfd = tfp.distributions


@dataclasses.dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I_J), x | z ~ N(W z + b, s2 I_D): probabilistic PCA.

    With orthogonal columns of W the exact posterior has a diagonal covariance, so a `VAE` can hold
    it; else the best diagonal Gaussian loses `mean_field_gap` nats for every x.
    """

    weights: np.ndarray  # W, [D, J]
    offset: np.ndarray  # b, [D]
    variance: float  # s2

    @classmethod
    def make(cls, orthogonal: bool, seed: int = 0) -> "LinearGaussian":
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((10, 3))
        if orthogonal:
            weights = np.linalg.qr(weights)[0] * np.array([0.5, 1.0, 2.0])
        return cls(weights, rng.standard_normal(10), 0.5)

    def sample(self, num_samples: int, seed: int = 1) -> np.ndarray:
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((num_samples, self.weights.shape[1]))
        noise = math.sqrt(self.variance) * rng.standard_normal((num_samples, len(self.offset)))
        return (z @ self.weights.T + self.offset + noise).astype("float32")

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log N(x; b, W W^T + s2 I), `[B]`."""
        covariance = self.weights @ self.weights.T + self.variance * np.eye(len(self.offset))
        return (
            tfd.MultivariateNormalFullCovariance(self.offset, covariance)
            .log_prob(x.astype("float64"))
            .numpy()
        )

    @property
    def precision(self) -> np.ndarray:
        """Of the posterior: Lambda = W^T W / s2 + I."""
        weights = self.weights
        return weights.T @ weights / self.variance + np.eye(weights.shape[1])

    @property
    def mean_field_gap(self) -> float:
        """KL of the best diagonal Gaussian to the posterior: (sum log L_jj - log det L) / 2."""
        precision = self.precision
        return 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])

    @property
    def gain(self) -> np.ndarray:
        """From x - b to the posterior's mean: Lambda^-1 W^T / s2, `[J, D]`."""
        return np.linalg.solve(self.precision, self.weights.T) / self.variance

    def vae(self, posterior_scale: float = 1.0, model_class: type = VAE, **kwargs) -> VAE:
        """This model as a `VAE`, with the optimal diagonal posterior, its scales times a factor."""
        model = self.generator(model_class, **kwargs)
        latent = self.weights.shape[1]
        scale = posterior_scale / np.sqrt(np.diag(self.precision))
        raw_scale = np.log(np.expm1(scale - MINIMUM_SCALE)) - math.log(math.e - 1.0)
        kernel = np.concatenate([self.gain.T, np.zeros((len(self.offset), latent))], axis=1)
        bias = np.concatenate([-self.gain @ self.offset, raw_scale])
        model.posterior_part.parameters.set_weights([kernel, bias])
        return model

    def generator(self, model_class: type = VAE, **kwargs) -> VAE:
        """p(z) p(x | z) of this model as a `VAE` whose posterior reads x; it is untrained."""
        size, latent = self.weights.shape
        arguments = {
            "event_shape": [size],
            "latent_shape": [latent],
            "likelihood": {"type": "Gaussian", "minimum_scale": 1e-6},
            "encoder": keras.layers.Identity(),
            "decoder": {"type": "MLPDecoder", "units": []},
        }
        model = model_class(**{**arguments, **kwargs})
        model.decoder.linear.set_weights([self.weights.T, self.offset])
        model.output_constant.assign([0.5 * math.log(self.variance)])
        return model
