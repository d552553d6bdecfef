"""The likelihood of a split: nats, bits/dim and their standard error."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfgen import seeds
from tfgen.models.generative_model import EVALUATION_SEED, GenerativeModel

# What `Likelihood` finds of any model; the rest is what the model itself reports.
OF_EVERY_MODEL = ("metric", "kind", "nats", "bits_per_dim", "standard_error", "num_examples")


class Likelihood:
    """Evaluates `model.report` over a split, compiled once for a fixed batch size.

    Args:
        model: evaluated with the weights it holds.
        batch_size: examples at a time; the last batch is filled up and the filling dropped.
        jit_compile: compile with XLA.
        **options: arguments of the model's `report`, e.g. the number of importance samples.
    """

    def __init__(
        self, model: GenerativeModel, batch_size: int, jit_compile: bool = True, **options: Any
    ):
        self.model = model
        self.batch_size = batch_size

        @tf.function(jit_compile=jit_compile)
        def report(x: tf.Tensor, y: Any, index: tf.Tensor) -> dict[str, tf.Tensor]:
            seed = seeds.fold_in(seeds.as_seed(EVALUATION_SEED), index)
            return model.report(x, y, seed=seed, **options)

        self._report = report

    def per_example(self, split: Any) -> dict[str, np.ndarray]:
        """Each quantity of `model.report` for every example, `[N]` or `[N, G]`."""
        columns: dict[str, list[np.ndarray]] = {}
        for index, start in enumerate(range(0, len(split), self.batch_size)):
            rows = np.arange(start, start + self.batch_size) % len(split)
            kept = min(self.batch_size, len(split) - start)
            y = None
            if self.model.is_conditional and split.targets is not None:
                y = tf.convert_to_tensor(split.targets[rows])
            batch = self._report(tf.convert_to_tensor(split.x[rows]), y, tf.constant(index))
            for name, values in batch.items():
                columns.setdefault(name, []).append(values.numpy()[:kept])
        return {name: np.concatenate(parts) for name, parts in columns.items()}

    def __call__(self, split: Any) -> dict[str, Any]:
        """Averages over the split.

        Returns a dict: `metric` ("bits_per_dim" for integer data, else "nats"), `kind` (exact or
        bound), `nats` (mean negative log-likelihood), `bits_per_dim` (None for real data, whose
        density has no such unit), `standard_error` (of the mean, in the metric's unit),
        `num_examples`, and the mean of whatever else the model reports, in nats; of `[N, G]` a
        list.
        """
        columns = self.per_example(split)
        nats = -columns.pop("log_prob").astype("float64")
        is_discrete = self.model.num_levels is not None
        unit = self.model.num_dims * math.log(2.0) if is_discrete else 1.0
        return {
            "metric": "bits_per_dim" if is_discrete else "nats",
            "kind": self.model.likelihood_kind,
            "nats": float(nats.mean()),
            "bits_per_dim": float(nats.mean() / unit) if is_discrete else None,
            "standard_error": float(nats.std(ddof=1) / math.sqrt(len(nats)) / unit),
            "num_examples": len(nats),
            **summarize(columns),
        }


def summarize(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means; for the effective sample size the median too, which one bad example cannot hide."""
    result = {
        name: values.mean(axis=0, dtype="float64").tolist() for name, values in columns.items()
    }
    for name, values in columns.items():
        if name == "effective_sample_size":
            result[f"{name}_median"] = float(np.median(values))
    return result
