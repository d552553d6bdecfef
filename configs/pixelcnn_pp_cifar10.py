"""PixelCNN++ on CIFAR-10 at full size: 160 feature maps, 5 blocks a resolution, 10 logistics.

python -m apps.train --config=configs/pixelcnn_pp_cifar10.py --workdir=runs/pixelcnn_pp_cifar10

Published: 2.92 bits/dim on the test set (table 1 of arXiv:1701.05517). Not run here: it wants
several GPUs for days. 160 feature maps are the authors' code's, the paper says 192. Dropout, batch
size (128 over all GPUs), Adam's momenta and the average of weights are theirs too. Their learning
rate falls by a factor of 0.999995 a step for up to 5,000 epochs; ours follows a cosine to zero over
a number of steps of our choice.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 128
    config.data = dict(name="cifar10")
    config.model = dict(type="PixelCNNPP", filters=160, num_blocks=5, num_mixtures=10, dropout=0.5)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(
            learning_rate=1e-3, beta_1=0.95, beta_2=0.9995, use_ema=True, ema_momentum=0.9995
        ),
    )
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 200
    config.validate_every_steps = 10_000
    config.checkpoint_every_steps = 2000
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        filters=3,
        num_blocks=1,
        num_mixtures=2,
        num_scales=1,
    )
