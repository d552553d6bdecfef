"""VAE on scikit-learn's digits, 8x8, 17 grey levels.

python -m apps.train --config=configs/vae_digits.py --workdir=runs/vae_digits

1,297 training images: a small network with dropout, averaged weights, and the best of them by
validation.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 6000
    config.batch_size = 100
    config.data = dict(name="digits")
    config.model = dict(
        type="VAE",
        latent_shape=(16,),
        likelihood=dict(type="DiscretizedLogisticMixture", num_mixtures=3),
        encoder=dict(type="MLPEncoder", units=(200, 200), dropout=0.2),
        decoder=dict(type="MLPDecoder", units=(200, 200), dropout=0.2),
    )
    config.objective = dict(type="ELBO")
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.evaluation.report = dict(num_samples=1000)
    config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        latent_shape=(2,),
        encoder=dict(type="MLPEncoder", units=(8,)),
        decoder=dict(type="MLPDecoder", units=(8,)),
    )
