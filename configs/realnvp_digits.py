"""Real NVP on scikit-learn's 8x8 digits (17 grey levels; 1,297 training images).

python -m apps.train --config=configs/realnvp_digits.py --workdir=runs/realnvp_digits

The paper has no number for this set. Small networks, averaged weights and the best checkpoint by
validation keep a small data set from being learned by heart.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 1200
    config.batch_size = 64
    config.data = dict(name="digits")
    config.model = dict(
        type="RealNVP", num_scales=2, num_couplings=2, filters=32, num_blocks=1, patch_size=2
    )
    config.optimizer = dict(
        class_name="AdamW",
        config=dict(
            learning_rate=2e-3,
            weight_decay=0.0,
            global_clipnorm=100.0,
            use_ema=True,
            ema_momentum=0.99,
        ),
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 200
    config.checkpoint_every_steps = 400
    return common.smoke(config, mode, num_scales=1, num_couplings=1, filters=4, num_blocks=1)
