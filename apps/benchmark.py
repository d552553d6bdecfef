"""Times a config's model: training step with and without XLA, log_prob, sample; FLOP and memory.

    python -m apps.benchmark --config=configs/realnvp_digits.py
    python -m apps.benchmark --config=configs/vae_digits.py --config.batch_size=256 --json=b.json

With `--config.strategy` on all replicas, each with its part of the batch; with "multi_worker" the
command is started once for each worker of `TF_CONFIG`, as `apps.train` is, and the chief reports.

With `--predict_replicas=8,64` on one replica: what a step would take on so many, each with this
batch, over links of `--link_bytes_per_second` and `--link_latency_seconds`, on paper
(`tfgen.evaluation.benchmark.predicted_step_seconds`).
"""

from typing import Any

from absl import flags
from ml_collections import config_flags

from apps.common import run, table

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.", lock_config=True)
_JSON = flags.DEFINE_string("json", None, "File to write the figures to.")
_PREDICT = flags.DEFINE_list("predict_replicas", [], "Numbers of replicas to calculate a step for.")
# 10 Gbit/s and 50 microseconds: plain Ethernet.
_BANDWIDTH = flags.DEFINE_float("link_bytes_per_second", 1.25e9, "From a replica to the next.")
_LATENCY = flags.DEFINE_float("link_latency_seconds", 5e-5, "Before the first byte arrives.")


def main() -> None:
    if _CONFIG.value is None:
        raise ValueError("--config must be given; received: nothing.")
    import json
    import math
    import os

    if _JSON.value is not None and os.path.isdir(_JSON.value):
        raise ValueError(f"--json must be a file; received the folder {_JSON.value}.")

    from tfgen.evaluation.benchmark import benchmark, input_seconds, predicted_step_seconds
    from tfgen.training import config as configuration
    from tfgen.training.devices import devices
    from tfgen.training.files import write_json
    from tfgen.training.run import provenance

    config = json.loads(json.dumps(_CONFIG.value.to_dict()))
    configuration.check_config(config)
    placed = devices(config["strategy"])
    numbers = _numbers_of_replicas(placed.num_replicas)
    data = configuration.load_data(config)
    spec = configuration.resolve_model(config, data)
    with placed.strategy.scope():
        model = configuration.build_model(config, spec)
        configuration.compile_model(model, config, data.info)
    batches = data.train.training_batches(
        config["batch_size"], config["seed"], 0, None, placed.worker, placed.num_workers
    )
    batch = next(iter(batches))
    x, y = batch if isinstance(batch, tuple) else (batch, None)
    if model.augmentations:
        x = model.augment(x, model.next_seed(config["seed"]))

    figures = benchmark(model, x, y)
    figures["input_seconds"] = input_seconds(batches)
    if not placed.is_chief:
        return
    figures["predictions"] = []
    for number in numbers:
        step, collective = predicted_step_seconds(
            number,
            figures["step_seconds"],
            figures["input_seconds"],
            4 * sum(math.prod(v.shape) for v in model.trainable_variables),
            _BANDWIDTH.value,
            _LATENCY.value,
        )
        prediction = {"num_replicas": number, "step_seconds": step}
        figures["predictions"].append({**prediction, "collective_seconds": collective})
    about = {"model": spec["type"], "data": config["data"]["name"], "dtype": config["dtype_policy"]}
    origin = provenance()
    rows = {
        "parameters": f"{figures['num_parameters']:,}",
        "replicas": figures["num_replicas"],
        "batch size": figures["batch_size"],
        "compile time": f"{figures['compile_seconds']:.1f} s",
        "step, with XLA": f"{1e3 * figures['step_seconds']:.1f} ms",
        "step, without XLA": f"{1e3 * figures['step_seconds_without_xla']:.1f} ms",
        "input of a step, alone": f"{1e3 * figures['input_seconds']:.2f} ms",
        "training": f"{figures['examples_per_second']:,.0f} examples/s",
        "2048x2048 product": f"{figures['matmul_flop_per_second'] / 1e9:.1f} GFLOP/s",
        **_work(figures),
        "log_prob": f"{figures['log_prob_examples_per_second']:,.0f} examples/s",
        "sample": f"{figures['sample_examples_per_second']:,.1f} examples/s",
        "a sample costs": f"{figures['sample_passes']:,.2f} evaluations of log_prob",
        "peak memory, training": f"{figures['peak_memory_bytes'] / 2**20:,.0f} MiB",
        "hardware": origin["hardware"],
    }
    for prediction in figures["predictions"]:
        number, step = prediction["num_replicas"], prediction["step_seconds"]
        rows[f"on {number:,} replicas, on paper"] = (
            f"{1e3 * step:.2f} ms a step, of which collective "
            f"{1e3 * prediction['collective_seconds']:.2f}; "
            f"{number * figures['batch_size'] / step:,.0f} examples/s"
        )
    print(f"{about['model']} on {about['data']}, {about['dtype']}\n{table(rows)}")
    if _JSON.value is not None:
        write_json(_JSON.value, {**about, **figures, **origin})
        print(f"\n  {_JSON.value}")


def _numbers_of_replicas(num_here: int) -> list[int]:
    try:
        numbers = [int(number) for number in _PREDICT.value]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise ValueError(
            f"--predict_replicas must be numbers of 1 and more; received: {_PREDICT.value}."
        )
    if numbers and num_here > 1:
        raise ValueError(
            "--predict_replicas must be given with a config.strategy of one replica, whose step it "
            f"starts from; received: {num_here} replicas."
        )
    return numbers


def _work(figures: dict[str, Any]) -> dict[str, str]:
    if figures["num_replicas"] > 1:
        return {"collective of a step": f"{1e3 * figures['collective_seconds']:.2f} ms"}
    flop = figures["flop_per_step"]
    return {
        "work of a step": f"{flop / 1e9:.3f} GFLOP in products",
        "rate of a step": f"{flop / figures['step_seconds'] / 1e9:.1f} GFLOP/s",
        "share of the product's": f"{100 * figures['share_of_matmul']:.1f} %",
    }


if __name__ == "__main__":
    run(main, "python -m apps.benchmark --config=configs/NAME.py [--json=FILE]")
