"""NICE on 32x32 colour patches of the photographs in Debian's mate-backgrounds.

apt-get install mate-backgrounds
python -m apps.train --config=configs/nice_photographs.py --workdir=runs/nice_photographs

The paper has no number for this set. A small model, sized like the other flows on this
set for about five minutes on two quiet cores; the data are those of `pixelcnn_pp_photographs`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 2_800
    config.batch_size = 64
    config.data = dict(
        name="image_patches", path="/usr/share/backgrounds/mate/nature", test_fraction=0.2
    )
    config.augmentations = (dict(type="HorizontalFlip"),)
    config.model = dict(type="NICE", num_couplings=4, units=1000, num_layers=3)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=1e-3, global_clipnorm=1000.0, use_ema=True, ema_momentum=0.99),
    )
    config.warmup_steps = 500
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 700
    config.checkpoint_every_steps = 700
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        units=8,
        num_layers=1,
    )
