"""PixelRNN on CIFAR-10 at the paper's full size: Diagonal BiLSTM of 12 layers, h = 128.

python -m apps.train --config=configs/pixelrnn_cifar10.py --workdir=runs/pixelrnn_cifar10

Published: 3.00 bits/dim on the test set (van den Oord, Kalchbrenner, Kavukcuoglu, 2016,
arXiv:1601.06759, as quoted in table 1 of arXiv:1701.05517). Not run here: it wants a GPU for days.
h = 128 does not divide by three colours; their groups are 43, 43 and 42 feature maps. Optimizer,
averaged weights and number of steps are ours.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 16
    config.data = dict(name="cifar10")
    config.model = dict(
        type="PixelRNN",
        recurrence=dict(type="DiagonalBiLSTM"),
        filters=128,
        num_layers=12,
        top_filters=1024,
    )
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=4e-4, use_ema=True, ema_momentum=0.9995)
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
        num_layers=1,
        top_filters=6,
    )
