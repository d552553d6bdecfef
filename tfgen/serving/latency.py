"""How long an exported model takes to answer, and to start."""

import pathlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from tfgen.models.generative_model import GenerativeModel
from tfgen.serving import warmup
from tfgen.serving.comparison import answer
from tfgen.serving.session import ServedModel


def latency(
    model: GenerativeModel,
    version: pathlib.Path,
    batch_sizes: Sequence[int] = (1, 8, 64),
    num_repeats: int = 200,
    budget_seconds: float = 30.0,
) -> list[tuple]:
    """(signature, batch size, milliseconds served, the same in one thread, milliseconds live,
    examples a second served) for each signature.

    Served is the version in a TensorFlow session, "in one thread" in one that starts operations one
    after another (`ServedModel`), live the model's own signature as a
    `tf.function` of a free batch size, in this process, in turn; inputs and outputs are arrays. The
    best of at most `num_repeats`, of which none starts once `budget_seconds` are spent; batch sizes
    after one that took as long are left out. A loop gets faster, served and live, over its first
    tens of calls: ten of them rank the two by chance. Live for one batch size alone can be faster
    than either: noise of a fixed seed is then a constant.
    """
    sessions = [ServedModel(version), ServedModel(version, one_thread=True)]
    rows = []
    for signature, (function, specs) in model.signatures().items():
        live = tf.function(function, input_signature=specs, autograph=False)
        for batch_size in batch_sizes:
            _, inputs = warmup.example_request(model, signature, batch_size)
            calls = [partial(session, signature, inputs) for session in sessions]
            seconds = _best_of([*calls, partial(_call, live, inputs)], num_repeats, budget_seconds)
            milliseconds = [1e3 * value for value in seconds]
            rows.append((signature, batch_size, *milliseconds, round(batch_size / seconds[0])))
            if sum(seconds) > budget_seconds:
                break
    for session in sessions:
        session.close()
    return rows


def _call(function: Callable[..., Any], inputs: dict[str, Any]) -> None:
    for value in function(*map(tf.constant, inputs.values())).values():
        value.numpy()


def cold_start(model: GenerativeModel, version: pathlib.Path) -> list[tuple]:
    """(how, seconds until ready, milliseconds of the first `log_prob` of one example), each in a
    process of its own, without and, if the version holds records, with warm-up.

    Importing TensorFlow, which a server does not, is not counted.
    """
    first = warmup.example_request(model, "log_prob", 1)
    answers = answer(version, [first])
    rows = [("without warm-up", answers.load_seconds, 1e3 * float(answers.seconds[0]))]
    if (version / warmup.FILE).exists():
        answers = answer(version, [first], version / warmup.FILE)
        replayed = float(sum(answers.seconds[:-1]))
        rows.append(
            ("with warm-up", answers.load_seconds + replayed, 1e3 * float(answers.seconds[-1]))
        )
    return rows


def _best_of(
    functions: Sequence[Callable[[], Any]], num_repeats: int, budget_seconds: float
) -> list[float]:
    start = time.perf_counter()
    for function in functions:
        function()  # what each sets up, once
    best = [float("inf")] * len(functions)
    for _ in range(num_repeats):
        best = [min(b, _seconds(f)) for b, f in zip(best, functions, strict=True)]
        if time.perf_counter() - start > budget_seconds:
            break
    return best


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
