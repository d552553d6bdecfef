"""MADE on binarised MNIST: the best run of the paper, two layers of 8,000 units and 32 masks.

python -m apps.train --config=configs/made_binarized_mnist.py --workdir=runs/made_binarized_mnist

No number is given here to compare with: none was verified. Not run here: it wants a GPU. AdaGrad,
learning rate 0.01, batches of 100, orthogonal initial weights and direct connections are those of
the authors' code (github.com/mgermain/MADE), as are the 32 masks with new orders and
connectivities. Theirs stops when 30 epochs bring no better validation; here the best of a fixed
number of steps is kept. They average 300 masks in the evaluation, here it is the 32 of training.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 250_000
    config.batch_size = 100
    config.data = dict(name="binarized_mnist")
    config.model = dict(
        type="MADE",
        hidden=(8000, 8000),
        order="random",
        degrees="random",
        num_masks=32,
        direct=True,
        kernel_initializer="orthogonal",
    )
    config.optimizer = dict(class_name="Adagrad", config=dict(learning_rate=0.01))
    config.log_every_steps = 500
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 100
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        hidden=(16, 16),
        num_masks=3,
    )
