"""What a config may hold, checked before anything is written, and what it builds."""

from collections.abc import Mapping
from typing import Any

import keras

import tfgen.data
import tfgen.data.augment
from tfgen import models, objectives
from tfgen.build import build
from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.models.generative_model import GenerativeModel
from tfgen.training.devices import STRATEGIES

REQUIRED = {
    "seed": 0,
    "num_steps": 1,
    "batch_size": 1,
    "num_micro_batches": 1,
    "steps_per_execution": 1,
    "prefetch_batches": 0,
    "log_every_steps": 1,
    "validate_every_steps": 1,
    "checkpoint_every_steps": 1,
    "keep_checkpoints": 1,
    "max_skipped_steps": 1,
    "sample_every_steps": 0,
    "num_sample_images": 1,
    "warmup_steps": 0,
}


def check_config(config: Mapping[str, Any]) -> None:
    """Raises `ValueError` for a missing section or an impossible value."""
    for key, minimum in REQUIRED.items():
        check_argument(key in config, "config", f"a config with the key {key!r}", list(config))
        check_integer(f"config.{key}", config[key], minimum)
    for key in ("data", "model", "objective", "optimizer", "evaluation"):
        is_section = isinstance(config.get(key), Mapping)
        check_argument(is_section, f"config.{key}", "a section (a mapping)", config.get(key))
    check_one_of("config.learning_rate_decay", config["learning_rate_decay"], ("none", "cosine"))
    check_one_of("config.strategy", config["strategy"], STRATEGIES)
    check_one_of(
        "config.dtype_policy",
        config["dtype_policy"],
        ("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )
    learning_rate = config["optimizer"].get("config", {}).get("learning_rate", 1e-3)
    is_positive = isinstance(learning_rate, float | int) and learning_rate > 0
    check_argument(
        is_positive, "config.optimizer.config.learning_rate", "a positive number", learning_rate
    )


def load_data(config: Mapping[str, Any]) -> Any:
    """The config's data set: `tfgen.data.DataSplits`."""
    options = dict(config["data"])
    check_argument("name" in options, "config.data", "a section with the key 'name'", options)
    return tfgen.data.load(options.pop("name"), **options)


def load_labelled_data(config: Mapping[str, Any]) -> Any:
    """The config's data set with its labels, which metrics may need of an unconditional model too.

    Raises:
        ValueError: it has none.
    """
    return load_data({**config, "data": {**config["data"], "labels": True}})


def resolve_model(config: Mapping[str, Any], data: Any) -> dict[str, Any]:
    """The model section with the shape, levels and labels that the data decide filled in."""
    spec = dict(config["model"])
    spec.setdefault("event_shape", tuple(data.info.event_shape))
    # With dynamic binarisation the data are grey, and the model sees their binary samples.
    spec.setdefault("num_levels", data.info.num_levels)
    if config["data"].get("labels"):
        spec.setdefault("num_classes", data.info.num_classes)
    if data.info.num_domains is not None:
        spec.setdefault("num_domains", data.info.num_domains)
    return spec


def build_model(config: Mapping[str, Any], spec: Mapping[str, Any]) -> GenerativeModel:
    """The model, not compiled; all its random initial values follow from `config.seed`."""
    keras.utils.set_random_seed(config["seed"])
    arguments = {"dtype": config["dtype_policy"], **spec}
    model = build(models, arguments)
    check_argument(
        isinstance(model, GenerativeModel), "config.model", "a GenerativeModel", type(model)
    )
    return model


def compile_model(model: GenerativeModel, config: Mapping[str, Any], info: Any) -> None:
    """`model.compile` with the config's objective, optimizer, schedule and augmentations.

    Where the training images are grey and the model binary (`binarize="dynamic"`), each step draws
    a new binary sample of its batch.
    """
    augmentations = list(config["augmentations"])
    if info.train_num_levels != info.num_levels:
        augmentations.append({"type": "DynamicBinarization", "num_levels": info.train_num_levels})
    optimizer = config["optimizer"]
    arguments = dict(optimizer.get("config", {}))
    peak = arguments.get("learning_rate", 1e-3)
    warmup = config["warmup_steps"]
    check_argument(
        warmup < config["num_steps"], "config.warmup_steps", "less than num_steps", warmup
    )
    if config["learning_rate_decay"] == "cosine":
        arguments["learning_rate"] = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else peak,
            decay_steps=config["num_steps"] - warmup,
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    try:
        made = keras.optimizers.get({"class_name": optimizer["class_name"], "config": {}})
        made = type(made)(**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "config.optimizer must be a Keras optimizer, e.g. dict(class_name='Adam', "
            f"config=dict(learning_rate=1e-3)); received: {optimizer} ({error})."
        ) from error
    model.compile(
        objective=build(objectives, config["objective"]),
        optimizer=made,
        jit_compile=config["jit_compile"],
        steps_per_execution=config["steps_per_execution"],
        augmentations=[build(tfgen.data.augment, spec) for spec in augmentations],
        skip_gradient_norm=config["skip_gradient_norm"],
        num_micro_batches=config["num_micro_batches"],
    )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys such as `optimizer.config.learning_rate`."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else key)
    return flat
