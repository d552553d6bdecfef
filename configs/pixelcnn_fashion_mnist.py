"""PixelCNN on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/pixelcnn_fashion_mnist.py --workdir=runs/pixelcnn_fashion

The paper has no number for this set. A small model, for 20 to 25 minutes on two cores: about two
passes over the 55,000 training images, too few to need dropout.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 7000
    config.batch_size = 16
    config.data = dict(name="fashion_mnist")
    config.model = dict(type="PixelCNN", filters=32, num_blocks=6, top_filters=64)
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
        num_blocks=1,
        top_filters=8,
    )
