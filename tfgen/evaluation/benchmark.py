"""How fast a model trains, evaluates and samples."""

import contextlib
import ctypes
import math
import pathlib
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgen.checks import check_argument, check_integer
from tfgen.evaluation.cost_analysis import product_flop
from tfgen.models.generative_model import EVALUATION_SEED, GenerativeModel

MATMUL_SIZE = 2048
PROCESS = pathlib.Path("/proc/self")


def benchmark(
    model: GenerativeModel, x: Any, y: Any = None, num_repeats: int = 10, budget_seconds: float = 20
) -> dict[str, Any]:
    """Times a compiled model on one batch: its own training step, `log_prob` and `sample`.

    The model trains while it is timed. Times are medians of at most `num_repeats`; no repetition
    starts once `budget_seconds` are spent.

    A model made in the scope of a `tf.distribute` strategy is timed on all its replicas. All
    workers call this together, each with its own part of the batch, and the budget is no limit:
    their numbers of steps must agree.

    Args:
        model: compiled with the objective and the optimizer that it trains with.
        x: one batch of data; with several workers, this worker's part of it.
        y: its condition, for a conditional model.
        num_repeats: how often each thing is timed, if the budget allows.
        budget_seconds: for each thing; what takes longer is timed once.

    Returns:
        A dict: `num_parameters`, `num_replicas`, `batch_size` of all of them; `compile_seconds`,
        of the first training step with XLA, less an ordinary one; `step_seconds` and
        `step_seconds_without_xla`; `examples_per_second` of training with XLA;
        `matmul_flop_per_second`, the rate of a product of two 2048x2048 float32 matrices;
        `log_prob_examples_per_second` and `sample_examples_per_second`, compiled, one batch of this
        process at a time; `sample_passes`, what a batch of samples costs in evaluations of
        `log_prob`: sampling an autoregressive model of n positions without its caches costs n of
        them; `peak_memory_bytes` of this process while it trains with XLA, compilation not counted
        on Linux (elsewhere it is).

        On one replica also `flop_per_step`, of matrix products and convolutions by the compiler's
        own cost analysis (`product_flop`), and `share_of_matmul`, the training step's rate as a
        share of the product's. On several, whose step is more than one program, instead
        `collective_seconds`, the part of a step in which they average a gradient.

    Raises:
        ValueError: a model that is not compiled, or data that the model refuses.
    """
    check_argument(model.compiled, "model", "compiled", "a model without an optimizer")
    check_integer("num_repeats", num_repeats, minimum=1)
    x = model.check_data(x)
    batch_size = int(x.shape[0])
    model.condition(y, batch_size)
    y = None if y is None else tf.convert_to_tensor(y)
    model.initialize(x, y)
    num_replicas, num_workers = model.strategy.num_replicas_in_sync, 1
    if num_replicas > 1:
        num_workers = num_replicas // len(model.strategy.extended.worker_devices)
        budget_seconds = math.inf

    def time_of(*functions: Callable[[], Any]) -> list[float]:
        return _median_seconds(functions, num_repeats, budget_seconds)

    # In turn with the training step, so that whatever else keeps the machine busy slows both.
    a, b = (tf.random.stateless_normal([MATMUL_SIZE] * 2, [0, seed]) for seed in (1, 2))
    multiply = _compiled(tf.linalg.matmul, a, b)
    with _training(model, x, y, jit_compile=True) as train:
        first = _seconds(train)
        _forget_peak_memory()
        execution, matmul = time_of(train, multiply)
        peak_memory = _peak_memory_bytes()
    with _training(model, x, y, jit_compile=False) as train:
        train()
        (execution_without_xla,) = time_of(train)
    step = execution / model.steps_per_execution
    matmul_rate = 2 * MATMUL_SIZE**3 / matmul
    work: dict[str, float] = {}
    if num_replicas == 1:
        train_step = tf.function(model.train_step, jit_compile=True, reduce_retracing=True)
        flop = product_flop(train_step, keras.utils.pack_x_y_sample_weight(x, y))
        work = {"flop_per_step": flop, "share_of_matmul": flop / step / matmul_rate}
    else:
        num_values = sum(math.prod(v.shape) for v in model.trainable_variables)
        work = {"collective_seconds": collective_seconds(model.strategy, num_values, num_repeats)}

    seed = tf.constant([0, EVALUATION_SEED])
    log_prob, sample = time_of(
        _compiled(model.log_prob, x, y, seed),
        _compiled(lambda y, seed: model.sample(batch_size, y, seed), y, seed),
    )
    return {
        "num_parameters": int(model.count_params()),
        "num_replicas": num_replicas,
        "batch_size": num_workers * batch_size,
        "compile_seconds": max(first - execution, 0.0),
        "step_seconds": step,
        "step_seconds_without_xla": execution_without_xla / model.steps_per_execution,
        "examples_per_second": num_workers * batch_size / step,
        "matmul_flop_per_second": matmul_rate,
        **work,
        "log_prob_examples_per_second": batch_size / log_prob,
        "sample_examples_per_second": batch_size / sample,
        "sample_passes": sample / log_prob,
        "peak_memory_bytes": peak_memory,
    }


def input_seconds(batches: Iterable[Any], num_batches: int = 200) -> float:
    """Seconds that a batch of the training data takes to make, when nothing waits for it.

    The median over `num_batches` after the first. Where it is shorter than a step and
    `config.prefetch_batches` is not 0, a step does not wait for its data.

    Args:
        batches: at least `num_batches` + 1 of them, e.g. of `Split.training_batches`.
        num_batches: how many are timed.
    """
    check_integer("num_batches", num_batches, minimum=1)
    iterator = iter(batches)
    next(iterator)
    return statistics.median(_seconds(lambda: next(iterator)) for _ in range(num_batches))


def collective_seconds(
    strategy: tf.distribute.Strategy, num_values: int, num_repeats: int = 10
) -> float:
    """Seconds in which the replicas of a strategy average a float32 vector, as a step does.

    The median after the first. All workers call it together.

    Args:
        strategy: whose replicas.
        num_values: length of the vector; a training step's is that of its gradient, and a few more
            for the terms of the objective.
        num_repeats: how often it is timed.
    """
    check_integer("num_values", num_values, minimum=1)
    check_integer("num_repeats", num_repeats, minimum=1)
    vector = tf.Variable(tf.zeros([num_values]))

    @tf.function(autograph=False)
    def average() -> tf.Tensor:
        values = strategy.run(lambda: vector + 1.0)
        first = strategy.extended.worker_devices[0]
        return strategy.extended.reduce_to(tf.distribute.ReduceOp.MEAN, values, first)

    _wait(average())
    return statistics.median(_seconds(lambda: _wait(average())) for _ in range(num_repeats))


def predicted_step_seconds(
    num_replicas: int,
    compute_seconds: float,
    input_seconds: float,
    gradient_bytes: int,
    link_bytes_per_second: float,
    link_latency_seconds: float,
) -> tuple[float, float]:
    """What a step takes on paper, and the collective's part of it, in seconds.

        step(R) = max(compute, input) + collective(R)
        collective(R) = 2 (R - 1) (gradient_bytes / (R link_bytes_per_second)
                                   + link_latency_seconds)

    A ring's all-reduce sends each of R pieces of the gradient R - 1 times to be added up and
    R - 1 times to be handed round, all links busy at once. The next batch is made during the step,
    the collective begins after the last gradient. Not in it: replicas that wait for the slowest,
    switches that are shared.

    Args:
        num_replicas: R; each has the batch of which `compute_seconds` is the time.
        compute_seconds: of a step on one replica.
        input_seconds: of a replica's batch, alone.
        gradient_bytes: four for each trainable parameter.
        link_bytes_per_second: from each replica to the next, each way.
        link_latency_seconds: before the first byte of a piece arrives.

    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", Journal of Parallel and Distributed Computing 69(2), 2009.
    """
    check_integer("num_replicas", num_replicas, minimum=1)
    is_positive = link_bytes_per_second > 0
    check_argument(is_positive, "link_bytes_per_second", "positive", link_bytes_per_second)
    check_argument(
        link_latency_seconds >= 0, "link_latency_seconds", "not negative", link_latency_seconds
    )
    piece = gradient_bytes / num_replicas / link_bytes_per_second + link_latency_seconds
    collective = 2 * (num_replicas - 1) * piece
    return max(compute_seconds, input_seconds) + collective, collective


@contextlib.contextmanager
def _training(
    model: GenerativeModel, x: Any, y: Any, jit_compile: bool
) -> Iterator[Callable[[], None]]:
    """One execution of the function that `fit` runs, `steps_per_execution` steps."""
    before = model.jit_compile
    model.jit_compile = jit_compile
    try:
        model.make_train_function(force=True)
        batch = tf.data.Dataset.from_tensors(keras.utils.pack_x_y_sample_weight(x, y))
        iterator = iter(batch.repeat())
        yield lambda: _wait(model.train_function(iterator))
    finally:
        model.jit_compile = before
        model.train_function = None  # the next `fit` makes its own


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    """A call of the function on these arguments, compiled and once executed."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    _wait(compiled(*arguments))
    return lambda: _wait(compiled(*arguments))


def _wait(values: Any) -> None:
    for value in tf.nest.flatten(values):
        value.numpy()  # returns when the value exists


def _median_seconds(
    functions: Sequence[Callable[[], Any]], num_repeats: int, budget_seconds: float
) -> list[float]:
    rounds: list[list[float]] = []
    while len(rounds) < num_repeats and (not rounds or sum(map(sum, rounds)) < budget_seconds):
        rounds.append([_seconds(function) for function in functions])
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _forget_peak_memory() -> None:
    """Makes the process's present memory its peak, on Linux; elsewhere the peak stays."""
    if not PROCESS.exists():
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library, a locked container
        ctypes.CDLL(None).malloc_trim(0)  # what the compiler has freed goes back to the system
        (PROCESS / "clear_refs").write_text("5")


def _peak_memory_bytes() -> int:
    if PROCESS.exists():
        status = (PROCESS / "status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))
    # macOS counts in bytes, other systems in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
