"""Glow on CIFAR-10 at the paper's full size: 3 levels of 32 steps, 512 filters, affine couplings.

python -m apps.train --config=configs/glow_cifar10.py --workdir=runs/glow_cifar10

Published: 3.35 bits/dim on the test set (arXiv:1807.03039). Not run here: it needs accelerators and
days. Batches of 64, Adamax with a learning rate of 0.001 and a linear warm-up over ten epochs are
those of the released code, which uses 64 images on each of several devices and stops by hand. It
shifts training images by up to a tenth, here they are mirrored.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 1_000_000
    config.batch_size = 64
    config.data = dict(name="cifar10")
    config.augmentations = (dict(type="HorizontalFlip"),)
    config.model = dict(type="Glow", num_scales=3, num_steps=32, filters=512, recompute=True)
    config.optimizer = dict(class_name="Adamax", config=dict(learning_rate=1e-3))
    config.warmup_steps = 7000
    config.log_every_steps = 500
    config.validate_every_steps = 20_000
    config.checkpoint_every_steps = 5_000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        num_scales=1,
        num_steps=1,
        filters=4,
    )
