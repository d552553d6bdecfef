"""MAF on MNIST, 28x28, all 256 grey levels: five layers of one hidden layer of 1,024 units.

python -m apps.train --config=configs/maf_mnist.py --workdir=runs/maf_mnist

Published: a mean log-likelihood of -1300.5 nats on the test set without labels (arXiv:1705.07057,
table 2, MAF (5)), a density in logit space, of y with sigmoid(y) = alpha + (1 - 2 alpha) x and
alpha 1e-6. A run reports bits/dim of the integers; they differ by the Jacobian of the logit, which
depends on the image. Not run here: it wants a GPU. Preprocessing, order, batch normalisation,
batches of 100 and Adam with learning rate 1e-4 are the paper's; its L2 penalty of 1e-6 and its
stopping after 30 epochs without improvement are not here. `--config.data.labels` gives the
conditional model.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 50_000
    config.batch_size = 100
    config.data = dict(name="mnist", labels=False)
    config.model = dict(
        type="MAF", num_layers=5, hidden=(1024,), normalization="batch_norm", alpha=1e-6
    )
    config.optimizer = dict(class_name="Adam", config=dict(learning_rate=1e-4))
    config.log_every_steps = 100
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 2500
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(2, 2, 1), num_levels=256),
        num_layers=1,
        hidden=(4,),
    )
