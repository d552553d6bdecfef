"""Real NVP on CIFAR-10 at the paper's full size: 8 residual blocks, 64 filters, two scales.

python -m apps.train --config=configs/realnvp_cifar10.py --workdir=runs/realnvp_cifar10

Published: 3.49 bits/dim on the test set (table 1 of arXiv:1605.08803). Not run here: it needs
accelerators and days. Batches of 64 and horizontal flips are the paper's; its training length is
not stated. See `RealNVP` for where the model departs from the paper.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 64
    config.data = dict(name="cifar10")
    config.augmentations = (dict(type="HorizontalFlip"),)
    config.model = dict(type="RealNVP", num_scales=2, num_couplings=3, filters=64, num_blocks=8)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=1e-3, global_clipnorm=100.0, use_ema=True, ema_momentum=0.9995),
    )
    config.warmup_steps = 2000
    config.validate_every_steps = 10_000
    config.checkpoint_every_steps = 5_000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(8, 8, 3), num_levels=256),
        num_couplings=1,
        filters=4,
        num_blocks=1,
    )
