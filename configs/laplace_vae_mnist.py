"""Variational Laplace autoencoder on MNIST, a new binary sample of it at every step.

python -m apps.train --config=configs/laplace_vae_mnist.py --workdir=runs/laplace_vae_mnist
    --config.model.posterior.num_updates=T   1, 2, 4 or 8

Park, Kim, Kim. Variational Laplace autoencoders. ICML 2019: 784-500-500-50 rectified linear units,
batches of 128, Adam at 5e-4, 2,000 epochs, log p(x) from 5,000 draws. The authors' poster has
83.7, 83.8, 83.7 and 83.6 nats for 1, 2, 4 and 8 updates, 85.4 without, read off its bars to about
0.05. The pictures of MNIST are binarised anew at every access here, and the learning rate falls to
zero. Not run here in full: a step takes half a second on two cores. `laplace_vae_mnist_5k` was.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 850_000
    config.batch_size = 128
    config.data = dict(name="mnist", binarize="dynamic")
    config.model = dict(
        type="VAE",
        latent_shape=(50,),
        posterior=dict(type="LaplacePosterior", num_updates=4, damping=0.5),
        encoder=dict(type="MLPEncoder", units=(500, 500)),
        decoder=dict(type="MLPDecoder", units=(500, 500)),
    )
    config.objective = dict(type="ELBO")
    config.optimizer = dict(class_name="Adam", config=dict(learning_rate=5e-4))
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 500
    config.validate_every_steps = config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=5000, chunk_size=50)
    config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        latent_shape=(2,),
        encoder=dict(type="MLPEncoder", units=(8,)),
        decoder=dict(type="MLPDecoder", units=(8,)),
    )
