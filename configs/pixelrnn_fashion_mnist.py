"""PixelRNN with Row LSTM on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/pixelrnn_fashion_mnist.py --workdir=runs/pixelrnn_fashion

The paper has no number for this set. A small model, for 20 to 25 minutes on two cores: about one
pass over the 55,000 training images. A layer of Row LSTM costs a third of one of Diagonal BiLSTM,
which computes two directions, and on the skewed image twice as many pixels.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3500
    config.batch_size = 16
    config.data = dict(name="fashion_mnist")
    config.model = dict(
        type="PixelRNN",
        recurrence=dict(type="RowLSTM"),
        filters=24,
        num_layers=4,
        top_filters=64,
    )
    # Gradients are 300 to 900 long after the first 50 steps; only what sticks out is cut.
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=4e-3, global_clipnorm=1000.0, use_ema=True, ema_momentum=0.999),
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1750
    config.checkpoint_every_steps = 500
    config.evaluation.batch_size = 64
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(28, 28, 1), num_levels=256),
        filters=4,
        num_layers=1,
        top_filters=8,
    )
