"""VAE on 5,000 digits of MNIST, a new binary sample of them at every step.

python -m apps.train --config=configs/vae_mnist_5k.py --workdir=runs/vae_mnist_5k

A small network of rectified linear units, 784-200-200-16 and back. `iwae_5_mnist_5k`,
`iwae_50_mnist_5k`, `iaf_vae_mnist_5k`, `laplace_vae_mnist_5k`, `lossy_vae_mnist_5k` and
`mae_mnist_5k` are this config with one part exchanged. No number on this set compares with one of
MNIST. All of them on binary samples of Fashion-MNIST, complete:

    --config.data.name=fashion_mnist --config.batch_size=100 --config.num_steps=4000
    --config.evaluation.report.num_samples=1000
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 4000
    config.batch_size = 50
    config.data = dict(name="mnist_5k", binarize="dynamic")
    config.model = dict(
        type="VAE",
        latent_shape=(16,),
        encoder=dict(type="MLPEncoder", units=(200, 200)),
        decoder=dict(type="MLPDecoder", units=(200, 200)),
    )
    config.objective = dict(type="ELBO")
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=1e-3, use_ema=True, ema_momentum=0.998)
    )
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 1000
    config.evaluation.batch_size = 250
    config.evaluation.report = dict(num_samples=5000, chunk_size=100)
    config.evaluation.metrics = ("active_units",) if mode else ("active_units", "representation")
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        latent_shape=(2,),
        encoder=dict(type="MLPEncoder", units=(8,)),
        decoder=dict(type="MLPDecoder", units=(8,)),
    )
