"""VAE with a PixelCNN++ decoder under mutual posterior-divergence regularisation, on CIFAR-10.

python -m apps.train --config=configs/mae_cifar10.py --workdir=runs/mae_cifar10

After Ma, Zhou, Hovy (ICLR 2019), arXiv:1901.01498: 16 channels of latents on an 8x8 grid, an
autoregressive flow as their prior, a PixelCNN++ of three scales with 96 feature maps, 6 blocks and
dropout 0.5, conditioned on 16 feature maps; log p(x) from 512 draws. The encoder is the residual
network of this package, the authors' a DenseNet; their weights of the two terms are not known,
those here are our choice. No number is given to compare with: none was verified. Not run here: it
wants a GPU. `mae_mnist_5k` and `vae_pixelcnn_pp_digits` were.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 64
    config.data = dict(name="cifar10")
    config.model = dict(
        type="VAE",
        latent_shape=(8, 8, 16),
        prior=dict(type="AutoregressiveFlowPrior", num_flows=4, hidden=(1024,)),
        encoder=dict(type="ResNetEncoder", filters=(64, 128), units=()),
        decoder=dict(type="ResNetDecoder", filters=(128, 64), units=()),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(32, 32, 16),
            network=dict(type="PixelCNNPP", filters=96, num_blocks=6, num_mixtures=10, dropout=0.5),
        ),
    )
    config.objective = dict(type="MutualPosterior", diversity=1.0, smoothness=0.01)
    config.optimizer = dict(
        class_name="Adam",
        config=dict(
            learning_rate=1e-3, global_clipnorm=5.0, use_ema=True, ema_momentum=0.9995, beta_1=0.95
        ),
    )
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 500
    config.validate_every_steps = config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 32
    config.evaluation.report = dict(num_samples=512, chunk_size=4)
    config.evaluation.metrics = ("active_units", "representation")
    if mode:
        config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 3), num_levels=256),
        latent_shape=(2, 2, 2),
        prior=dict(type="AutoregressiveFlowPrior", num_flows=1, hidden=(4,)),
        encoder=dict(type="ResNetEncoder", filters=(2,), num_blocks=1, units=()),
        decoder=dict(type="ResNetDecoder", filters=(2,), num_blocks=1, units=()),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(4, 4, 2),
            network=dict(type="PixelCNNPP", filters=4, num_blocks=1, num_scales=1, num_mixtures=1),
        ),
    )
