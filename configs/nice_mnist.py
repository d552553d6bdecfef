"""NICE on MNIST with the paper's network: 4 additive couplings, 5 hidden layers of 1,000 units.

python -m apps.train --config=configs/nice_mnist.py --workdir=runs/nice_mnist

Published: 1980.50 nats on the test set as a density on [0, 1]^784 (arXiv:1410.8516), which is 4.36
bits/dim of the dequantised images. Not run here. 1,500 epochs of Adam with learning rate 0.001,
beta_1 = 0.9, beta_2 = 0.99 and epsilon = 0.0001 are the paper's, batches of 200 those of its code.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 412_500
    config.batch_size = 200
    config.data = dict(name="mnist")
    config.model = dict(type="NICE", num_couplings=4, units=1000, num_layers=5, prior="logistic")
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=1e-3, beta_2=0.99, epsilon=1e-4)
    )
    config.log_every_steps = 500
    config.validate_every_steps = 2750
    config.checkpoint_every_steps = 5500
    config.evaluation.batch_size = 1000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=256),
        units=8,
        num_layers=1,
    )
