"""VAE on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/vae_fashion_mnist.py --workdir=runs/vae_fashion

The paper has no number for this set. Discretised logistic mixtures for every pixel over a small
fully connected network, for some 15 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 12_000
    config.batch_size = 100
    config.data = dict(name="fashion_mnist")
    config.model = dict(
        type="VAE",
        latent_shape=(64,),
        likelihood=dict(type="DiscretizedLogisticMixture", num_mixtures=5),
        encoder=dict(type="MLPEncoder", units=(400, 400)),
        decoder=dict(type="MLPDecoder", units=(400, 400)),
    )
    config.objective = dict(type="ELBO")
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=1e-3, use_ema=True, ema_momentum=0.999)
    )
    config.warmup_steps = 200
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 3000
    config.checkpoint_every_steps = 1000
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=100, chunk_size=10)
    config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(28, 28, 1), num_levels=256),
        latent_shape=(2,),
        encoder=dict(type="MLPEncoder", units=(8,)),
        decoder=dict(type="MLPDecoder", units=(8,)),
    )
