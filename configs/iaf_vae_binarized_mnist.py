"""A convolutional VAE with an IAF posterior on MNIST, a new binary sample of it at every step.

python -m apps.train --config=configs/iaf_vae_binarized_mnist.py --workdir=runs/iaf_vae_mnist

The experiment on MNIST of arXiv:1606.04934: one layer of Gaussian latents, pushed through T steps
of inverse autoregressive flow whose networks have one hidden layer; log p(x) from 128 draws. T and
the width are those of the smallest of the paper's four, 2 and 320; the others are

--config.model.posterior.num_flows=2 --config.model.posterior.hidden='(1920,)'
--config.model.posterior.num_flows=4 --config.model.posterior.hidden='(1920,)'
--config.model.posterior.num_flows=8 --config.model.posterior.hidden='(1920,)'

No number is given here to compare with: none was verified. Nor were the sizes of the residual
encoder and decoder, which the authors did not release; those here are our choice, as are the
learning rate and the number of steps. Not run here: it wants a GPU.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 500_000
    config.batch_size = 100
    config.data = dict(name="mnist", binarize="dynamic")
    config.model = dict(
        type="VAE",
        latent_shape=(32,),
        posterior=dict(type="IAFPosterior", num_flows=2, hidden=(320,)),
        encoder=dict(type="ResNetEncoder", filters=(16, 32, 32), units=(450,)),
        decoder=dict(type="ResNetDecoder", filters=(32, 32, 16), units=(450,)),
    )
    config.objective = dict(type="ELBO")
    config.optimizer = dict(
        class_name="Adamax", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.999)
    )
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 500
    config.validate_every_steps = 5000
    config.checkpoint_every_steps = 5000
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=128, chunk_size=16)
    config.evaluation.metrics = ("active_units",)
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        latent_shape=(2,),
        posterior=dict(type="IAFPosterior", num_flows=2, hidden=(8,), context_size=4),
        encoder=dict(type="ResNetEncoder", filters=(2,), num_blocks=1, units=(4,)),
        decoder=dict(type="ResNetDecoder", filters=(2,), num_blocks=1, units=(4,)),
    )
