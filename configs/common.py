"""The sections that every config has, and how a config shrinks to a smoke test."""

from typing import Any

from ml_collections import ConfigDict, config_dict


def default() -> ConfigDict:
    """A run of 1,000 steps; every config starts from it and states the difference."""
    config = ConfigDict()
    config.seed = 0
    config.num_steps = 1000
    config.batch_size = 64
    config.num_micro_batches = 1  # gradient accumulation: a batch in so many parts, one at a time
    # Steps between two returns to Python: what is due at one of them happens at the last.
    config.steps_per_execution = 1
    config.prefetch_batches = 2  # made ready while a step runs; 0: one after the other
    config.strategy = "none"  # or "mirrored", all GPUs of a machine, or "multi_worker"
    config.dtype_policy = "float32"
    config.jit_compile = True
    # The same bits from every run and every resumed run; Keras then trains without XLA.
    config.deterministic = False

    config.data = ConfigDict({"name": "digits"})
    config.model = ConfigDict({"type": "RealNVP"})
    config.objective = ConfigDict({"type": "NegativeLogProb"})
    config.augmentations = ()
    config.optimizer = ConfigDict({"class_name": "Adam", "config": {"learning_rate": 1e-3}})
    config.warmup_steps = 0
    config.learning_rate_decay = "none"  # or "cosine", to zero at the last step

    config.log_every_steps = 50
    config.validate_every_steps = 200
    config.checkpoint_every_steps = 200
    config.keep_checkpoints = 2
    config.max_skipped_steps = 20  # in a row, for a loss or gradient that is not finite
    # Steps with a longer gradient are skipped too. Clipping is the optimizer's: global_clipnorm.
    config.skip_gradient_norm = config_dict.placeholder(float)
    config.sample_every_steps = 0  # 0: after the last step only
    config.num_sample_images = 64
    # `report` goes to the model's `report`; `metrics` are names of tfgen.evaluation.metrics, or
    # dict(type=NAME, ...) with options.
    config.evaluation = ConfigDict({"batch_size": 256, "report": {}, "metrics": ()})
    return config


def smoke(
    config: ConfigDict, mode: str | None, data: dict[str, Any] | None = None, **model: Any
) -> ConfigDict:
    """With mode "smoke": two steps of a shrunken model, offline.

    Args:
        config: the full config.
        mode: what follows the colon of `--config=configs/NAME.py:smoke`, or None.
        data: a data section to use instead, for sets that are not embedded, e.g.
            `dict(name="random_images", event_shape=(28, 28, 1), num_levels=256)`.
        **model: the arguments that make the model small.

    Raises:
        ValueError: another mode.
    """
    if not mode:
        return config
    if mode != "smoke":
        raise ValueError(f"the config's mode must be 'smoke' or absent; received: {mode!r}.")
    config.num_steps = 2
    config.warmup_steps = 0
    config.batch_size = 8
    config.validate_every_steps = config.checkpoint_every_steps = config.log_every_steps = 1
    config.num_sample_images = 4
    config.evaluation.batch_size = 8
    if data is not None:
        config.data = ConfigDict({"num_examples": 64, **data})
    config.model.update(model)
    return config
