"""A MADE in a functional model: p(x | class) of small binary images.

`MaskedMLP` maps an image and an embedded label to the logit of every pixel given the pixels before
it, so that Keras's cross-entropy, summed over the pixels, is -log p(x | class), exact. The
yardstick has independent pixels for each class, the model of naive Bayes.

    python -m apps.examples.conditional_made
"""

from typing import Any

import keras
import numpy as np
import sklearn.naive_bayes
from keras import layers, ops

import tfgen

NUM_PIXELS = 16


def conditional_made() -> keras.Model:
    """log p(x | label), `[B]`, of binary x `[B, 16]` and label `[B]`, as a functional model."""
    x, label = keras.Input([NUM_PIXELS]), keras.Input([], dtype="int32")
    condition = layers.Embedding(10, 16)(label)
    made = tfgen.layers.MaskedMLP(NUM_PIXELS, 1, [128, 128], condition_size=16, dropout=0.2)
    logits = made(x, condition)[..., 0]
    cross_entropy = ops.binary_crossentropy(x, logits, from_logits=True)
    return keras.Model([x, label], -ops.sum(cross_entropy, axis=-1))


def main(epochs: int = 60) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    data = tfgen.data.load("digits", labels=True)

    def binary(images: np.ndarray) -> np.ndarray:
        means = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))  # 8x8 to 4x4
        return (means > 8.0).reshape(-1, NUM_PIXELS).astype("float32")

    train, test = binary(data.train.x), binary(data.test.x)
    model = conditional_made()
    model.compile(keras.optimizers.Adam(1e-3), loss=lambda _, log_prob: -log_prob)
    labels = data.train.y
    model.fit([train, labels], np.zeros(len(train)), batch_size=64, epochs=epochs, verbose=0)
    log_prob = model.predict([test, data.test.y], verbose=0)

    naive = sklearn.naive_bayes.BernoulliNB(fit_prior=False).fit(train, labels)
    joint = naive.predict_joint_log_proba(test)[np.arange(len(test)), data.test.y]
    independent = joint + np.log(10.0)  # the classes' prior is uniform
    print(
        f"log p(x | class) of 300 held-out digits, nats: MADE {log_prob.mean():.3f}, "
        f"independent pixels {independent.mean():.3f}"
    )
    return {"model": model, "log_prob": log_prob, "independent": independent}


if __name__ == "__main__":
    main()
