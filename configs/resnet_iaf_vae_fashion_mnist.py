"""A small ResNet VAE with IAF on Fashion-MNIST, 28x28, all 256 grey levels.

python -m apps.train --config=configs/resnet_iaf_vae_fashion_mnist.py --workdir=runs/resnet_iaf_vae

The paper has no number for this set. Two layers at 14x14 and two at 7x7, and a mixture of logistics
for each pixel, for about ten minutes on two quiet cores: two passes over the 55,000 images.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 4000
    config.batch_size = 32
    config.data = dict(name="fashion_mnist")
    config.model = dict(
        type="ResNetIAFVAE",
        depths=(2, 2),
        filters=32,
        latent_channels=8,
        num_flows=1,
        flow_depth=1,
        likelihood=dict(type="DiscretizedLogisticMixture", num_mixtures=5),
    )
    config.objective = dict(type="ELBO", free_bits=0.1)
    config.optimizer = dict(
        class_name="Adamax", config=dict(learning_rate=4e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1000
    config.checkpoint_every_steps = 500
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=10, chunk_size=10)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=256),
        depths=(1,),
        filters=4,
        latent_channels=2,
        likelihood=dict(type="DiscretizedLogisticMixture", num_mixtures=2),
    )
