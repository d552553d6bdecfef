"""Glow on 32x32 colour patches of the photographs in Debian's mate-backgrounds.

apt-get install mate-backgrounds
python -m apps.train --config=configs/glow_photographs.py --workdir=runs/glow_photographs

The paper has no number for this set. A small model, sized like the other flows on this
set for about five minutes on two quiet cores; the data are those of `pixelcnn_pp_photographs`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 2_000
    config.batch_size = 32
    config.data = dict(
        name="image_patches", path="/usr/share/backgrounds/mate/nature", test_fraction=0.2
    )
    config.augmentations = (dict(type="HorizontalFlip"),)
    config.model = dict(type="Glow", num_scales=3, num_steps=6, filters=64, recompute=False)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=2e-3, global_clipnorm=100.0, use_ema=True, ema_momentum=0.99),
    )
    config.warmup_steps = 500
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 500
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        num_scales=1,
        num_steps=1,
        filters=4,
    )
