"""Anomaly scores: -log p(x) of a flow, computed inside a `tf.data` pipeline.

A masked autoregressive flow learns the density of benign tumours; malignant ones, which it never
sees, should be improbable. The area under the ROC curve of -log p(x) in nats, beside that of a
Gaussian with independent columns.

    python -m apps.examples.anomaly_scores

[1] Wolberg, Mangasarian, Street, Street. Breast cancer Wisconsin (diagnostic). UCI Machine Learning
    Repository. 1993. doi:10.24432/C5DW2B
"""

from typing import Any

import keras
import numpy as np
import sklearn.datasets
import sklearn.metrics
import tensorflow as tf

import tfgen


def main(epochs: int = 30) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    x, is_benign = sklearn.datasets.load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    benign, malignant = (rng.permutation(x[is_benign == v]) for v in (1, 0))
    train, test = benign[:250], np.concatenate([benign[250:], malignant])
    is_anomaly = np.arange(len(test)) >= len(benign) - 250
    loc, scale = train.mean(axis=0), train.std(axis=0)
    train, test = (((v - loc) / scale).astype("float32") for v in (train, test))

    model = tfgen.models.MAF([x.shape[1]], num_layers=3, hidden=[64])
    model.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    model.fit(train, batch_size=50, epochs=epochs, verbose=0)

    dataset = tf.data.Dataset.from_tensor_slices(test).batch(64)
    scored = dataset.map(lambda batch: (batch, -model.log_prob(batch))).prefetch(1)
    scores = np.concatenate([score for _, score in scored.as_numpy_iterator()])
    auc = {
        "flow": sklearn.metrics.roc_auc_score(is_anomaly, scores),
        "independent Gaussians": sklearn.metrics.roc_auc_score(is_anomaly, (test**2).sum(axis=1)),
    }
    for name, value in auc.items():
        print(
            f"{name}: area under the ROC curve {value:.4f}, "
            f"{is_anomaly.sum()} anomalies among {len(test)}"
        )
    return {"model": model, "test": test, "scores": scores, "auc": auc}


if __name__ == "__main__":
    main()
