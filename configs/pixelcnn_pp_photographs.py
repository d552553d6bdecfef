"""PixelCNN++ on 32x32 colour patches of the photographs in Debian's mate-backgrounds.

apt-get install mate-backgrounds
python -m apps.train --config=configs/pixelcnn_pp_photographs.py --workdir=runs/photographs
python -m apps.train --config=configs/pixelcnn_pp_photographs.py --workdir=DIR \\
    --config.data.path=FOLDER

The paper has no number for this set. A small model, trained in half an hour on two cores: one and a
half passes over 29,000 patches, too few to need dropout. Of the twelve photographs one validates
and two test; patches are mirrored at random. `data.path` may be any folder of photographs.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 2800
    config.batch_size = 16
    config.data = dict(
        name="image_patches", path="/usr/share/backgrounds/mate/nature", test_fraction=0.2
    )
    config.augmentations = (dict(type="HorizontalFlip"),)
    config.model = dict(type="PixelCNNPP", filters=24, num_blocks=1, num_mixtures=10, dropout=0.0)
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=3e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1400
    config.checkpoint_every_steps = 300
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        filters=3,
        num_mixtures=2,
        num_scales=1,
    )
