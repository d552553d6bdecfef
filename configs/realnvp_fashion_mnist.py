"""Real NVP on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/realnvp_fashion_mnist.py --workdir=runs/realnvp_fashion

The paper has no number for this set. A small model, sized like the other flows
on this set for about ten minutes on two quiet cores: its networks see 2x2 patches (`patch_size`),
at a quarter of the positions.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 8_000
    config.batch_size = 32
    config.data = dict(name="fashion_mnist")
    config.model = dict(type="RealNVP", num_scales=2, filters=24, num_blocks=1, patch_size=2)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=2e-3, global_clipnorm=100.0, use_ema=True, ema_momentum=0.999),
    )
    config.warmup_steps = 500
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 2000
    config.checkpoint_every_steps = 1000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(8, 8, 1), num_levels=256),
        num_couplings=1,
        filters=4,
    )
