"""Gated PixelCNN on CIFAR-10.

python -m apps.train --config=configs/gated_pixelcnn_cifar10.py --workdir=runs/gated_cifar10

Published: 3.03 bits/dim on the test set (van den Oord et al., 2016, arXiv:1606.05328, as quoted in
table 1 of arXiv:2006.11239). Not run here: it wants a GPU for days. The paper does not print this
model's size; layers, feature maps, optimizer, averaged weights and number of steps are ours.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 64
    config.data = dict(name="cifar10")
    config.model = dict(
        type="GatedPixelCNN", filters=126, num_layers=15, kernel_size=5, top_filters=1024
    )
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=5e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9995),
    )
    config.warmup_steps = 1000
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 200
    config.validate_every_steps = 10_000
    config.checkpoint_every_steps = 2000
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(8, 8, 3), num_levels=256),
        filters=6,
        num_layers=2,
        kernel_size=3,
        top_filters=6,
    )
