"""Two-dimensional densities whose differential entropy is known.

The expected negative log-likelihood of a model is the entropy plus KL(true || model), so on these
sets the distance of a model from the truth can be read off in nats.
"""

import abc
import functools
import math
from collections.abc import Mapping

import numpy as np

from tfgen.checks import check_integer
from tfgen.data.splits import DataInfo, DataSplits, Split

_EVALUATION_SHARE = 4  # validation and test have a quarter of the training examples each


class ToyDensity(abc.ABC):
    """A density on the plane: exact samples, log-density and entropy."""

    @abc.abstractmethod
    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        """Draws, float64 `[N, 2]`."""

    @abc.abstractmethod
    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-density in nats, `[N]`, at `x` `[N, 2]`."""

    @property
    @abc.abstractmethod
    def entropy(self) -> float:
        """Differential entropy in nats."""


def _normal_log_prob(x: np.ndarray, loc: float | np.ndarray, scale: float) -> np.ndarray:
    return -0.5 * ((x - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def _log_mean_exp(terms: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    highest = terms.max(axis=-1, keepdims=True)
    # Points outside every component's support keep log 0.
    shift = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(terms - shift).mean(axis=-1)) + shift[..., 0]


def _rotate(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack(
        [cosine * x[..., 0] - sine * x[..., 1], sine * x[..., 0] + cosine * x[..., 1]], axis=-1
    )


class CorrelatedGaussian(ToyDensity):
    """N(0, [[1, rho], [rho, 1]]); entropy log(2 pi e) + log(1 - rho^2) / 2."""

    def __init__(self, correlation: float = 0.9) -> None:
        self.correlation = correlation
        self.conditional_scale = math.sqrt(1 - correlation**2)

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        eps = random.standard_normal((num_examples, 2))
        second = self.correlation * eps[:, 0] + self.conditional_scale * eps[:, 1]
        return np.stack([eps[:, 0], second], axis=1)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return _normal_log_prob(x[:, 0], 0.0, 1.0) + _normal_log_prob(
            x[:, 1], self.correlation * x[:, 0], self.conditional_scale
        )

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi * math.e) + math.log(self.conditional_scale)


class Banana(ToyDensity):
    """x = (s z_1, z_2 + b (s^2 z_1^2 - s^2)), z ~ N(0, I): a Gaussian bent without changing areas.

    Entropy log(2 pi e) + log s.
    """

    def __init__(self, scale: float = 2.0, bend: float = 0.25) -> None:
        self.scale, self.bend = scale, bend

    def _shift(self, first: np.ndarray) -> np.ndarray:
        return self.bend * (first**2 - self.scale**2)

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        z = random.standard_normal((num_examples, 2))
        first = self.scale * z[:, 0]
        return np.stack([first, z[:, 1] + self._shift(first)], axis=1)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return _normal_log_prob(x[:, 0], 0.0, self.scale) + _normal_log_prob(
            x[:, 1], self._shift(x[:, 0]), 1.0
        )

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi * math.e) + math.log(self.scale)


class _GaussianRing(ToyDensity):
    """Equal mixture of K Gaussians on a circle, radial and tangential scales apart.

    The entropy is a trapezoidal sum on a grid. The integrand is analytic and vanishes at the grid's
    edges, so the error falls faster than any power of the spacing; at a quarter of the smallest
    scale it is below float64 rounding.
    """

    def __init__(
        self, num_components: int, radius: float, radial_scale: float, tangential_scale: float
    ) -> None:
        self.num_components, self.radius = num_components, radius
        self.radial_scale, self.tangential_scale = radial_scale, tangential_scale
        self.angles = 2 * math.pi * np.arange(num_components) / num_components

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        angle = self.angles[random.randint(self.num_components, size=num_examples)]
        eps = random.standard_normal((num_examples, 2))
        local = eps * [self.radial_scale, self.tangential_scale] + [self.radius, 0.0]
        return _rotate(local, angle)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        local = _rotate(x[:, None, :], -self.angles)
        return _log_mean_exp(
            _normal_log_prob(local[..., 0], self.radius, self.radial_scale)
            + _normal_log_prob(local[..., 1], 0.0, self.tangential_scale)
        )

    @functools.cached_property
    def entropy(self) -> float:  # type: ignore[override]
        spacing = min(self.radial_scale, self.tangential_scale) / 4
        extent = self.radius + 10 * max(self.radial_scale, self.tangential_scale)
        grid = np.arange(-extent, extent, spacing)
        total = 0.0
        for first in grid:
            row = np.stack([np.full_like(grid, first), grid], axis=1)
            log_prob = _GaussianRing.log_prob(self, row)
            total -= float(np.sum(np.exp(log_prob) * log_prob))
        return total * spacing**2


class EightGaussians(_GaussianRing):
    """Eight equal round Gaussians of standard deviation 0.2 on a circle of radius 2."""

    def __init__(self) -> None:
        super().__init__(num_components=8, radius=2.0, radial_scale=0.2, tangential_scale=0.2)


class Pinwheel(_GaussianRing):
    """Five long Gaussians on a circle, wound up: points at radius r turn by the angle `twist` r.

    The usual pinwheel turns by an angle that depends on the unwound coordinate. Here it depends on
    the distance from the origin, which the turn keeps: the map is invertible and keeps areas, so
    the density is known in closed form and the entropy is that of the unwound mixture.
    """

    def __init__(self, twist: float = 0.6) -> None:
        super().__init__(num_components=5, radius=2.0, radial_scale=0.6, tangential_scale=0.15)
        self.twist = twist

    def _wind(self, x: np.ndarray, direction: float) -> np.ndarray:
        return _rotate(x, direction * self.twist * np.linalg.norm(x, axis=-1))

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        return self._wind(super().sample(num_examples, random), 1.0)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        return super().log_prob(self._wind(x, -1.0))


class Checkerboard(ToyDensity):
    """Uniform on the eight dark squares (side 2) of a 4 by 4 board on [-4, 4)^2; entropy log 32."""

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        column, row = random.randint(4, size=num_examples), random.randint(2, size=num_examples)
        corner = np.stack([column, 2 * row + column % 2], axis=1)
        return 2 * (corner + random.random_sample((num_examples, 2))) - 4

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        square = np.floor((x + 4) / 2)
        inside = ((square >= 0) & (square < 4)).all(axis=1)
        dark = (square.sum(axis=1) % 2) == 0
        return np.where(inside & dark, -self.entropy, -np.inf)

    @property
    def entropy(self) -> float:
        return math.log(32.0)


class TwoMoons(ToyDensity):
    """Two interleaving half circles of radius 1: angle uniform, radius N(1, 0.1^2).

    In polar coordinates about a moon's centre p(x) = N(r; 1, 0.1^2) / (pi r) on its half plane.
    The mass at r < 0, below 1e-22, is ignored. The usual moons add round noise to the arc instead,
    which leaves no closed form. The entropy is a sum over the two polar grids.
    """

    scale = 0.1
    centres = np.array([[0.0, 0.0], [1.0, 0.5]])
    sides = np.array([1.0, -1.0])  # the upper half of one circle, the lower half of the other

    def _from_polar(self, moon: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
        first = self.centres[moon, 0] + radius * np.cos(angle)
        second = self.centres[moon, 1] + self.sides[moon] * radius * np.sin(angle)
        return np.stack([first, second], axis=-1)

    def sample(self, num_examples: int, random: np.random.RandomState) -> np.ndarray:
        moon = random.randint(2, size=num_examples)
        angle = math.pi * random.random_sample(num_examples)
        radius = 1 + self.scale * random.standard_normal(num_examples)
        return self._from_polar(moon, radius, angle)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        local = x[:, None, :] - self.centres
        radius = np.linalg.norm(local, axis=-1)
        with np.errstate(divide="ignore"):
            log_prob = _normal_log_prob(radius, 1.0, self.scale) - np.log(math.pi * radius)
        log_prob = np.where(self.sides * local[..., 1] >= 0, log_prob, -np.inf)
        return _log_mean_exp(log_prob)

    @functools.cached_property
    def entropy(self) -> float:  # type: ignore[override]
        num_angles, num_radii = 512, 256
        angles = math.pi * (np.arange(num_angles) + 0.5) / num_angles
        radii = np.linspace(1 - 9 * self.scale, 1 + 9 * self.scale, num_radii)
        weights = np.exp(_normal_log_prob(radii, 1.0, self.scale)) * (radii[1] - radii[0])
        radius, angle = np.meshgrid(radii, angles, indexing="ij")
        total = 0.0
        for moon in (0, 1):
            x = self._from_polar(np.full(radius.shape, moon), radius, angle).reshape(-1, 2)
            mean_over_angles = self.log_prob(x).reshape(radius.shape).mean(axis=1)
            total -= 0.5 * float(np.sum(weights * mean_over_angles))
        return total


TOY_DENSITIES: Mapping[str, type[ToyDensity]] = {
    "banana": Banana,
    "checkerboard": Checkerboard,
    "correlated_gaussian": CorrelatedGaussian,
    "eight_gaussians": EightGaussians,
    "pinwheel": Pinwheel,
    "two_moons": TwoMoons,
}


def load_toy(name: str, num_examples: int = 20_000, seed: int = 0) -> DataSplits:
    """Independent draws of a toy density.

    Args:
        name: one of `TOY_DENSITIES`.
        num_examples: training examples; validation and test have a quarter of it each, at least 1.
        seed: seed of the draws.
    """
    check_integer("num_examples", num_examples, 1)
    check_integer("seed", seed, 0)
    density = TOY_DENSITIES[name]()
    random = np.random.RandomState(seed)
    num_evaluation = max(1, num_examples // _EVALUATION_SHARE)
    train, validation, test = (
        Split(density.sample(count, random).astype(np.float32))
        for count in (num_examples, num_evaluation, num_evaluation)
    )
    info = DataInfo(
        name=name,
        event_shape=(2,),
        entropy=density.entropy,
        preprocessing=(
            f"Drawn from the true density with seed {seed}: {num_examples} examples to train on, "
            f"{num_evaluation} each to validate and to test.",
        ),
    )
    return DataSplits(train, validation, test, info)
