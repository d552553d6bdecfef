"""A process with two virtual CPU devices: `train CONFIG WORKDIR`, and a step's draws; or `step`
of every family, into an `.npz` file."""

import faulthandler
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from tests.models.test_generative_model import AffineFlow, data
from tests.training.families import FAMILIES, made
from tests.training.test_options import losses, momentum_model
from tfgen import seeds
from tfgen.evaluation.benchmark import benchmark
from tfgen.objectives import Objective
from tfgen.training import train
from tfgen.training.devices import devices


class Draws(Objective):
    """Two numbers of a replica's noise, which nothing learns from."""

    def __call__(self, model, x, y=None):
        return {
            "loss": -model.log_prob(x),
            "first": seeds.uniform([], model.next_seed()),
            "second": seeds.uniform([], model.next_seed()),
            "position": tf.reduce_max(x),
        }


def drawn():
    """The means over the replicas after one step, and the generator's state before and after."""
    with devices("mirrored").strategy.scope():
        model = AffineFlow((3,))
        model.compile(objective=Draws(), optimizer=keras.optimizers.SGD(0.0))
    before = model.seeds.state.numpy().tolist()
    batch = tf.data.Dataset.from_tensors(data(8))
    history = model.fit(batch, verbose=0, shuffle=False).history
    after = model.seeds.state.numpy().tolist()
    return {name: values[0] for name, values in history.items()} | {"states": [before, after]}


def scaled_losses():
    """The losses of 20 steps whose first overflow, the loss scale and the weights after them."""
    with devices("mirrored").strategy.scope():
        model = momentum_model(initial_scale=2.0**127)
    curve = losses(model, 20)
    weights = [v.numpy().tolist() for v in model.trainable_variables]
    return {
        "losses": curve.tolist(),
        "scale": float(model.optimizer.dynamic_scale.numpy()),
        "weights": weights,
    }


def benchmarked():
    """What a benchmark of two repetitions says of two replicas, and the weights it leaves."""
    with devices("mirrored").strategy.scope():
        model = momentum_model()
    figures = benchmark(model, data(8), num_repeats=2)
    return figures | {"weights": [v.numpy().tolist() for v in model.trainable_variables]}


def steps_of_families(path):
    """Terms and weights after one step of each family."""
    found = {}
    for name in FAMILIES:
        with devices("mirrored").strategy.scope():
            model, x, y = made(name)
        history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
        found |= {f"{name}/{term}": values[0] for term, values in history.items()}
        weights = [v.numpy().ravel() for v in model.trainable_variables]
        found[f"{name}/weights"] = np.concatenate(weights)
    np.savez(path, **found)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(500, exit=True)  # if it hangs: where
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    if sys.argv[1] == "step":
        steps_of_families(sys.argv[2])
    else:
        train(json.loads(sys.argv[2]), sys.argv[3])
        print(json.dumps({**drawn(), "scaled": scaled_losses(), "benchmark": benchmarked()}))
