"""MADE on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/made_fashion_mnist.py --workdir=runs/made_fashion_mnist

The paper has no number for this set. For 20 minutes on two cores: a mixture of five discretised
logistics for each pixel, as 256 logits would make 200,000 outputs; both hidden layers wider than
the number of pixels, so that the masks lose no dependence. No direct connections, which would
nearly double the weights: 784 x 784 x 15.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3000
    config.batch_size = 100
    config.data = dict(name="fashion_mnist")
    config.model = dict(
        type="MADE",
        hidden=(800, 800),
        direct=False,
        likelihood=dict(type="DiscretizedLogisticMixture", num_mixtures=5),
    )
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1000
    config.checkpoint_every_steps = 1000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=256),
        hidden=(16, 16),
    )
