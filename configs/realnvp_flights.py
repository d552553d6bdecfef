"""Real NVP on `flights`, flights from New York in 2013, `[N, 7]`.

python -m apps.train --config=configs/realnvp_flights.py --workdir=runs/realnvp_flights

The paper has no number for this table. Ten affine couplings and averaged weights. Its length is
not tried yet.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 20_000
    config.batch_size = 512
    config.data = dict(name="flights")
    config.model = dict(type="RealNVP", num_couplings=9, filters=64, num_blocks=2)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=1e-3, global_clipnorm=10.0, use_ema=True, ema_momentum=0.999),
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 200
    config.validate_every_steps = 2000
    config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 1000
    return common.smoke(
        config,
        mode,
        data=dict(name="random_table", num_columns=3),
        num_couplings=1,
        filters=4,
        num_blocks=1,
    )
