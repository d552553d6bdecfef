"""Gated PixelCNN on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/gated_pixelcnn_fashion_mnist.py --workdir=runs/gated_fashion

The paper has no number for this set. A small model, for about 20 minutes on two cores: about two
passes over the 55,000 training images.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 7000
    config.batch_size = 16
    config.data = dict(name="fashion_mnist")
    config.model = dict(
        type="GatedPixelCNN", filters=32, num_layers=6, kernel_size=3, top_filters=64
    )
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=4e-3, use_ema=True, ema_momentum=0.999)
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 3500
    config.checkpoint_every_steps = 500
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(28, 28, 1), num_levels=256),
        filters=4,
        num_layers=2,
        top_filters=8,
    )
