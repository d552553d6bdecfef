"""Times a config's model: training step with and without XLA, log_prob, sample; FLOP and memory.

python -m apps.benchmark --config=configs/realnvp_digits.py
python -m apps.benchmark --config=configs/realnvp_digits.py --config.batch_size=256 --json=b.json
"""

from absl import flags
from ml_collections import config_flags

from apps.common import run, table

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.", lock_config=True)
_JSON = flags.DEFINE_string("json", None, "File to write the figures to.")


def main() -> None:
    if _CONFIG.value is None:
        raise ValueError("--config must be given; received: nothing.")
    import json
    import os

    if _JSON.value is not None and os.path.isdir(_JSON.value):
        raise ValueError(f"--json must be a file; received the folder {_JSON.value}.")

    from tfgen.evaluation.benchmark import benchmark, input_seconds
    from tfgen.training import config as configuration
    from tfgen.training.files import write_json
    from tfgen.training.run import provenance

    config = json.loads(json.dumps(_CONFIG.value.to_dict()))
    configuration.check_config(config)
    data = configuration.load_data(config)
    spec = configuration.resolve_model(config, data)
    model = configuration.build_model(config, spec)
    configuration.compile_model(model, config, data.info)
    batch = next(iter(data.train.training_batches(config["batch_size"], config["seed"], 0, 1)))
    x, y = batch if isinstance(batch, tuple) else (batch, None)
    if model.augmentations:
        x = model.augment(x, model.next_seed(config["seed"]))

    figures = benchmark(model, x, y)
    figures["input_seconds"] = input_seconds(
        data.train.training_batches(config["batch_size"], config["seed"])
    )
    about = {"model": spec["type"], "data": config["data"]["name"], "dtype": config["dtype_policy"]}
    origin = provenance()
    rows = {
        "parameters": f"{figures['num_parameters']:,}",
        "batch size": figures["batch_size"],
        "compile time": f"{figures['compile_seconds']:.1f} s",
        "step, with XLA": f"{1e3 * figures['step_seconds']:.1f} ms",
        "step, without XLA": f"{1e3 * figures['step_seconds_without_xla']:.1f} ms",
        "input of a step, alone": f"{1e3 * figures['input_seconds']:.2f} ms",
        "training": f"{figures['examples_per_second']:,.0f} examples/s",
        "work of a step": f"{figures['flop_per_step'] / 1e9:.3f} GFLOP in products",
        "rate of a step": f"{figures['flop_per_step'] / figures['step_seconds'] / 1e9:.1f} GFLOP/s",
        "2048x2048 product": f"{figures['matmul_flop_per_second'] / 1e9:.1f} GFLOP/s",
        "share of the latter": f"{100 * figures['share_of_matmul']:.1f} %",
        "log_prob": f"{figures['log_prob_examples_per_second']:,.0f} examples/s",
        "sample": f"{figures['sample_examples_per_second']:,.1f} examples/s",
        "a sample costs": f"{figures['sample_passes']:,.2f} evaluations of log_prob",
        "peak memory, training": f"{figures['peak_memory_bytes'] / 2**20:,.0f} MiB",
        "hardware": origin["hardware"],
    }
    print(f"{about['model']} on {about['data']}, {about['dtype']}\n{table(rows)}")
    if _JSON.value is not None:
        write_json(_JSON.value, {**about, **figures, **origin})
        print(f"\n  {_JSON.value}")


if __name__ == "__main__":
    run(main, "python -m apps.benchmark --config=configs/NAME.py [--json=FILE]")
