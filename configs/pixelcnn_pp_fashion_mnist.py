"""PixelCNN++ on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/pixelcnn_pp_fashion_mnist.py --workdir=runs/pixelcnn_pp

The paper has no number for this set. A small model, for about 25 minutes on two cores: one pass
over the 55,000 training images, too few to need dropout.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3600
    config.batch_size = 16
    config.data = dict(name="fashion_mnist")
    config.model = dict(type="PixelCNNPP", filters=24, num_blocks=1, num_mixtures=10, dropout=0.0)
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=3e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1800
    config.checkpoint_every_steps = 300
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=256),
        filters=4,
        num_mixtures=2,
        num_scales=1,
    )
