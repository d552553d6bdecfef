"""The devices that a run trains on, and which of its processes writes."""

import dataclasses
import json
import os

import tensorflow as tf

from tfgen.checks import check_argument
from tfgen.models.generative_model import ONE_REPLICA

STRATEGIES = ("none", "mirrored", "multi_worker")


@dataclasses.dataclass(frozen=True)
class Devices:
    """A strategy of `tf.distribute`, and the place of this process among its workers.

    Attributes:
        strategy: in whose scope the model is made.
        worker: number of this process; worker 0, the chief, alone validates and writes files.
        num_workers: number of processes.
    """

    strategy: tf.distribute.Strategy
    worker: int = 0
    num_workers: int = 1

    @property
    def is_chief(self) -> bool:
        return self.worker == 0

    @property
    def num_replicas(self) -> int:
        return self.strategy.num_replicas_in_sync

    def check_same(self, name: str, value: int) -> None:
        """Raises `ValueError` unless all workers have the same value; all of them must ask."""
        if self.num_workers == 1:
            return
        number = tf.constant(value, tf.float64)
        total = self.strategy.reduce("SUM", self.strategy.run(lambda: number), axis=None)
        mean = float(total) / self.num_replicas
        check_argument(mean == value, name, f"the same on all workers (mean {mean:g})", value)


def devices(name: str) -> Devices:
    """The devices of `config.strategy`; to be called before TensorFlow is used otherwise.

    Args:
        name: "none", one device; "mirrored", all GPUs of this machine, or without any its logical
            CPUs; "multi_worker", several processes, each with all GPUs that it sees, which the
            environment variable `TF_CONFIG` names.

    Raises:
        ValueError: another name, or "multi_worker" without a `TF_CONFIG` that holds a list of
            workers and this one's index.
    """
    check_argument(name in STRATEGIES, "config.strategy", f"one of {STRATEGIES}", name)
    if name == "mirrored":
        local = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(local) > 1:
            return Devices(tf.distribute.MirroredStrategy([device.name for device in local]))
    if name == "multi_worker":
        given = os.environ.get("TF_CONFIG", "nothing")
        try:
            parsed = json.loads(given)
            workers, worker = list(parsed["cluster"]["worker"]), int(parsed["task"]["index"])
            is_right = set(parsed["cluster"]) == {"worker"} and 0 <= worker < len(workers)
        except (ValueError, KeyError, TypeError):
            is_right = False
        form = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
        check_argument(is_right, "the environment variable TF_CONFIG", form, given)
        if len(workers) > 1 or len(tf.config.list_physical_devices("GPU")) > 1:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
            return Devices(strategy, worker, len(workers))
    return Devices(ONE_REPLICA)
