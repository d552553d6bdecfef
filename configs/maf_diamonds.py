"""MAF on `diamonds`, sizes and prices of diamonds, `[N, 7]`.

python -m apps.train --config=configs/maf_diamonds.py --workdir=runs/maf_diamonds

The paper has no number for this table. Affine steps down to mixtures of Gaussians ("MAF MoG"), for
the gaps and peaks of recorded numbers, and averaged weights.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 5_000
    config.batch_size = 512
    config.data = dict(name="diamonds")
    config.model = dict(
        type="MAF",
        num_layers=5,
        hidden=(128, 128),
        num_mixtures=10,
    )
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=1e-3, global_clipnorm=10.0, use_ema=True, ema_momentum=0.999),
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 200
    config.validate_every_steps = 1000
    config.checkpoint_every_steps = 1000
    config.evaluation.batch_size = 1000
    return common.smoke(
        config, mode, data=dict(name="random_table", num_columns=3), num_layers=1, hidden=(4,)
    )
