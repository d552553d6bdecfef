"""PixelCNN on scikit-learn's 8x8 digits (17 grey levels; 1,297 training images).

python -m apps.train --config=configs/pixelcnn_digits.py --workdir=runs/pixelcnn_digits

The paper has no number for this set. Dropout, averaged weights and the best checkpoint by
validation keep a small data set from being learned by heart.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3000
    config.batch_size = 64
    config.data = dict(name="digits")
    config.model = dict(type="PixelCNN", filters=32, num_blocks=4, top_filters=64, dropout=0.3)
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.99)
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 250
    config.checkpoint_every_steps = 500
    return common.smoke(config, mode, filters=4, num_blocks=1, top_filters=8)
