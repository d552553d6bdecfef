"""What every bijector and every model owes its users, as checks that a test calls once."""

import json
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf


def randomize(layer: Any, seed: int = 0, scale: float = 0.3) -> None:
    """Gaussian noise on every trainable variable: zero-initialised layers would hide errors."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        noise = scale * rng.standard_normal(variable.shape)
        variable.assign(variable.numpy() + noise.astype(variable.dtype))


def autodiff_log_det(function: Any, x: tf.Tensor) -> np.ndarray:
    """log|det| of the Jacobian of `function`, `[B]`, by automatic differentiation."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
    jacobian = tape.batch_jacobian(y, x, experimental_use_pfor=False).numpy()
    size = int(np.prod(x.shape[1:]))
    return np.linalg.slogdet(jacobian.reshape(-1, size, size))[1]


def check_bijector(bijector: Any, z: Any, condition: Any = None, tolerance: float = 1e-8) -> None:
    """Inverse both ways and log-determinants against autodiff, in float64, per example.

    `bijector` must have been made under dtype="float64"; `z` holds at least two examples.
    """
    z = tf.convert_to_tensor(z, tf.float64)
    assert z.shape[0] >= 2, "one example cannot show that log-determinants are per example"
    assert bijector.float_dtype == "float64"

    x, forward_log_det = bijector.forward_and_log_det(z, condition)
    z_again, inverse_log_det = bijector.inverse_and_log_det(x, condition)
    assert forward_log_det.shape == inverse_log_det.shape == z.shape[:1]
    np.testing.assert_allclose(z_again, z, atol=tolerance)
    np.testing.assert_allclose(forward_log_det + inverse_log_det, 0.0, atol=tolerance)
    np.testing.assert_allclose(
        bijector.forward_and_log_det(z_again, condition)[0], x, atol=tolerance
    )
    dims = int(np.prod(z.shape[1:]))
    expected = autodiff_log_det(lambda t: bijector.forward_and_log_det(t, condition)[0], z)
    np.testing.assert_allclose(forward_log_det, expected, atol=1e-8 * dims)
    expected = autodiff_log_det(lambda t: bijector.inverse_and_log_det(t, condition)[0], x)
    np.testing.assert_allclose(inverse_log_det, expected, atol=1e-8 * dims)


def check_model(model: Any, x: Any, y: Any = None) -> None:
    """The protocol of `GenerativeModel`, for a model with non-default arguments and a batch."""
    check_likelihood(model, x, y)
    check_samples(model, y)
    check_refusals(model, x, y)
    check_training(model, x, y)
    check_save_and_load(model, x, y)


def check_likelihood(model: Any, x: Any, y: Any = None) -> None:
    """`[B]`, finite, float32; an exact model's rows do not see each other."""
    log_prob = model.log_prob(x, y, seed=1)
    assert log_prob.shape == (len(x),)
    assert log_prob.dtype == model.float_dtype
    assert np.isfinite(log_prob).all()
    np.testing.assert_array_equal(log_prob, model.log_prob(x, y, seed=1))
    assert model.likelihood_kind in ("exact", "bound")
    if model.likelihood_kind == "exact":
        rows = [
            model.log_prob(x[i : i + 1], None if y is None else y[i : i + 1])[0]
            for i in range(len(x))
        ]
        np.testing.assert_allclose(log_prob, rows, rtol=1e-4, atol=1e-3)


def check_samples(model: Any, y: Any = None, num: int = 3) -> None:
    """Shape, type and range of samples; the seed decides them."""
    y = None if y is None else y[:num]
    first, again, other = (model.sample(num, y, seed=seed) for seed in (5, 5, 6))
    assert first.shape == (num, *model.event_shape)
    assert first.dtype == model.event_dtype
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    if model.num_levels is not None:
        assert int(tf.reduce_max(first)) < model.num_levels
    assert np.isfinite(first.numpy().astype("float64")).all()


def check_refusals(model: Any, x: Any, y: Any = None) -> None:
    """Data of another shape, type or range, and labels where none belong."""
    with pytest.raises(ValueError, match=r"x must be of shape \('B'"):
        model.log_prob(np.zeros((2, 3, 3, 3, 3), x.dtype), y)
    if model.num_levels is not None:
        with pytest.raises(ValueError, match="x must be integers"):
            model.log_prob(x.astype("float32") / 255.0, y)
        if model.num_levels < 256:
            with pytest.raises(ValueError, match=f"0..{model.num_levels - 1}"):
                model.log_prob(np.full_like(x, model.num_levels), y)
    else:
        with pytest.raises(ValueError, match="x must be finite"):
            model.log_prob(np.full_like(x, np.nan), y)
    if y is None:
        with pytest.raises(ValueError, match="y must be None"):
            model.log_prob(x, np.zeros(len(x), "int32"))
    else:
        with pytest.raises(ValueError, match="y must be given"):
            model.log_prob(x)


def check_training(model: Any, x: Any, y: Any = None) -> None:
    """A gradient reaches every variable; a few compiled steps lower the loss of the batch."""
    randomize(model, scale=0.05)
    model.initialize(tf.convert_to_tensor(x), y)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.objective(model, x, y)["loss"])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, f"no gradient reaches {variable.path}"
        assert np.isfinite(gradient).all(), f"gradient of {variable.path} is not finite"
        assert np.any(gradient != 0), f"gradient of {variable.path} is zero"

    def loss_of_batch() -> float:
        return np.mean([model.objective(model, x, y)["loss"] for _ in range(8)])

    before = loss_of_batch()
    model.fit(x, y, batch_size=len(x), epochs=8, verbose=0)
    assert loss_of_batch() < before


def check_save_and_load(model: Any, x: Any, y: Any = None) -> None:
    """A `.keras` file holds the arguments, the weights and the optimizer's state."""
    expected = model.log_prob(x, y, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    assert type(loaded) is type(model)
    as_json = [json.dumps(m.get_config(), sort_keys=True) for m in (loaded, model)]
    assert as_json[0] == as_json[1]
    np.testing.assert_allclose(loaded.log_prob(x, y, seed=3), expected, rtol=1e-6)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)


def all_images(shape: tuple[int, ...], num_levels: int) -> np.ndarray:
    """Every image of a shape, `[num_levels^D, *shape]`, uint8."""
    num_dims = int(np.prod(shape))
    grid = np.indices((num_levels,) * num_dims).reshape(num_dims, -1).T
    return grid.reshape(-1, *shape).astype("uint8")


def check_sums_to_one(model: Any, y: Any = None) -> None:
    """sum over all x of p(x | y) = 1, for a discrete model of a tiny image."""
    x = all_images(model.event_shape, model.num_levels)
    labels = None if y is None else np.full(len(x), y, "int32")
    log_prob = model.log_prob(x, labels).numpy().astype("float64")
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1.0, atol=1e-5)
