"""Variational lossy autoencoder on statically binarised MNIST, after arXiv:1611.02731.

python -m apps.train --config=configs/lossy_vae_binarized_mnist.py --workdir=runs/lossy_vae_mnist

Paper: 79.03 nats, 4,096 draws of z; the posterior's divergence from the prior is 19.2 bits a digit.
PixelRNN, without latents, has 79.20 there. A residual encoder and decoder, an autoregressive flow
as the prior, six masked 3x3 convolutions (here one window of 13 columns and 6 rows, without their
blind spot), Adamax at 2e-3 and free bits are what others report of the paper, not verified; widths,
free bits and the number of steps are our choice. Not run here: it wants a GPU. `lossy_vae_mnist_5k`
was.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 100
    config.data = dict(name="binarized_mnist")
    config.model = dict(
        type="VAE",
        latent_shape=(32,),
        prior=dict(type="AutoregressiveFlowPrior", num_flows=4, hidden=(640,)),
        encoder=dict(type="ResNetEncoder", filters=(32, 64, 64), units=(450,)),
        decoder=dict(type="ResNetDecoder", filters=(64, 64, 32), units=(450,)),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(28, 28, 4),
            network=dict(type="PixelCNN", window=(13, 6), filters=32, num_blocks=6, top_filters=64),
        ),
    )
    config.objective = dict(type="ELBO", free_bits=0.1)
    config.optimizer = dict(
        class_name="Adamax", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.999)
    )
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 500
    config.validate_every_steps = config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=4096, chunk_size=16)
    config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        latent_shape=(2,),
        prior=dict(type="AutoregressiveFlowPrior", num_flows=1, hidden=(4,)),
        encoder=dict(type="ResNetEncoder", filters=(2,), num_blocks=1, units=(4,)),
        decoder=dict(type="ResNetDecoder", filters=(2,), num_blocks=1, units=(4,)),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(4, 4, 2),
            network=dict(type="PixelCNN", window=(3, 2), filters=2, num_blocks=1, top_filters=2),
        ),
    )
