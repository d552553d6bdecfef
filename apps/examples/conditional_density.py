"""Conditional density estimation: a coupling flow as the head of a Keras regression model.

p(y | x) of two error measurements of a tumour image given its ten mean measurements. A network maps
x to features, and three coupling layers that read the features map y to a standard normal z, so
that log p(y | x) = log N(z; 0, I) + log|det dz/dy|, exact. Linear regression with the full
covariance of its residuals is the yardstick.

    python -m apps.examples.conditional_density

[1] Wolberg, Mangasarian, Street, Street. Breast cancer Wisconsin (diagnostic). UCI Machine Learning
    Repository. 1993. doi:10.24432/C5DW2B
"""

import math
from typing import Any

import keras
import numpy as np
import sklearn.datasets
import sklearn.linear_model
from keras import ops

from tfgen.bijectors import Chain, LocationScaleTransformer, VectorCoupling
from tfgen.layers import ResidualNetwork


def density_model(num_inputs: int, num_outputs: int) -> keras.Model:
    """log p(y | x), `[B]`, as a functional model of x and y."""
    x, y = keras.Input([num_inputs]), keras.Input([num_outputs])
    features = keras.layers.Dropout(0.1)(keras.layers.Dense(32, "swish")(x))
    couplings = [
        VectorCoupling(ResidualNetwork(2 * num_outputs, 32, 1), i % 2, LocationScaleTransformer())
        for i in range(4)
    ]
    z, log_det = Chain(couplings)(y, features)
    log_normal = -0.5 * ops.sum(z**2, axis=-1) - 0.5 * num_outputs * math.log(2.0 * math.pi)
    return keras.Model([x, y], log_normal + log_det)


def main(epochs: int = 30) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    table = sklearn.datasets.load_breast_cancer().data[np.random.default_rng(0).permutation(569)]
    table = ((table - table[:400].mean(0)) / table[:400].std(0)).astype("float32")
    x, y = table[:, :10], table[:, [12, 16]]  # errors of perimeter and concavity

    model = density_model(x.shape[1], y.shape[1])
    model.compile(keras.optimizers.AdamW(1e-3, 1e-2), loss=lambda _, log_prob: -log_prob)
    model.fit([x[:400], y[:400]], np.zeros(400), batch_size=50, epochs=epochs, verbose=0)
    log_prob = model.predict([x[400:], y[400:]], verbose=0)

    linear = sklearn.linear_model.LinearRegression().fit(x[:400], y[:400])
    covariance = np.cov((y[:400] - linear.predict(x[:400])).T)
    residuals = y[400:] - linear.predict(x[400:])
    squares = np.einsum("bi,ij,bj->b", residuals, np.linalg.inv(covariance), residuals)
    gaussian = -0.5 * (squares + np.linalg.slogdet(2.0 * math.pi * covariance)[1])
    print(
        f"log p(y | x) of 169 held-out tumours, nats: coupling flow {log_prob.mean():.3f}, "
        f"linear Gaussian regression {gaussian.mean():.3f}"
    )
    return {"model": model, "x": x, "y": y, "log_prob": log_prob, "gaussian": gaussian}


if __name__ == "__main__":
    main()
