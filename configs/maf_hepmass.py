"""MAF on HEPMASS (particle collisions): five layers of two hidden layers of 512 units each.

python -m apps.train --config=configs/maf_hepmass.py --workdir=runs/maf_hepmass \
    --config.data.path=FOLDER

Published: a mean log-likelihood of -17.70 nats on the test set (arXiv:1705.07057, table 1, MAF
(5)). Not run here: it needs the file, see `tfgen.data.uci`. Order, batch
normalisation, batches of 100 and Adam with learning rate 1e-4 are the paper's, which gives a choice
of 1 or 2 hidden layers and does not say which was best. It stops when 30 epochs bring no better
validation and has an L2 penalty of 1e-6; here the best of 50 epochs is kept, without a penalty.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 157_500
    config.batch_size = 100
    config.data = dict(name="hepmass", path="data/hepmass")
    config.model = dict(type="MAF", num_layers=5, hidden=(512, 512), normalization="batch_norm")
    config.optimizer = dict(class_name="Adam", config=dict(learning_rate=1e-4))
    config.log_every_steps = 500
    config.validate_every_steps = 3_150
    config.checkpoint_every_steps = 3_150
    config.evaluation.batch_size = 1000
    return common.smoke(
        config, mode, data=dict(name="random_table", num_columns=3), num_layers=1, hidden=(4,)
    )
