"""A PixelCNN likelihood in someone else's autoencoder.

A plain Keras autoencoder of digits decodes its code to a map of features, and a PixelCNN that reads
them gives log p(x | code) in place of a squared error: each pixel is predicted from the code and
from the pixels before it. The yardstick is the same autoencoder with independent pixels.

    python -m apps.examples.pixelcnn_autoencoder

The numbers are the length of x given its code, which is no density of x: the code is not counted.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import tfgen

NUM_LEVELS = 17


def autoencoder(code_size: int, outputs: int) -> tuple[Any, Any]:
    """Images `[B, 8, 8, 1]` and what their codes decode to, `[B, 8, 8, outputs]`."""
    images = keras.Input([8, 8, 1])
    h = layers.Flatten()(images / (NUM_LEVELS - 1))
    code = layers.Dense(code_size)(layers.Dense(128, "swish")(h))
    h = layers.Reshape([4, 4, 16])(layers.Dense(256, "swish")(code))
    h = layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="swish")(h)
    return images, layers.Conv2D(outputs, 3, padding="same")(h)


def main(epochs: int = 10, code_size: int = 4) -> dict[str, Any]:
    data = tfgen.data.load("digits")
    train, test = (part.x.astype("float32") for part in (data.train, data.test))
    models, log_probs = {}, {}
    for name in ("PixelCNN", "independent pixels"):
        keras.utils.set_random_seed(0)
        if name == "PixelCNN":
            images, features = autoencoder(code_size, 16)
            network = {"type": "PixelCNN", "filters": 16, "num_blocks": 1, "top_filters": 32}
            likelihood = tfgen.distributions.AutoregressiveLikelihood(
                (8, 8, 1), NUM_LEVELS, network, features_shape=(8, 8, 16)
            )
            log_prob = likelihood(images, features)
        else:
            images, logits = autoencoder(code_size, NUM_LEVELS)
            levels = ops.one_hot(ops.cast(images[..., 0], "int32"), NUM_LEVELS)
            log_prob = ops.sum(levels * ops.log_softmax(logits), axis=(1, 2, 3))
        model = keras.Model(images, log_prob)
        model.compile(keras.optimizers.Adam(2e-3), loss=lambda _, log_prob: -log_prob)
        model.fit(train, np.zeros(len(train)), batch_size=64, epochs=epochs, verbose=0)
        models[name], log_probs[name] = model, model.predict(test, verbose=0)
        bits = -log_probs[name].mean() / (64 * math.log(2.0))
        print(f"{name}: {bits:.3f} bits/dim of 300 held-out digits given codes of {code_size}")
    return {"models": models, "log_probs": log_probs, "test": test}


if __name__ == "__main__":
    main()
