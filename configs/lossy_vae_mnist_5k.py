"""Variational lossy autoencoder (arXiv:1611.02731) on 5,000 digits of MNIST.

python -m apps.train --config=configs/lossy_vae_mnist_5k.py --workdir=runs/lossy_vae_mnist_5k
    --config.model.likelihood.network.window='(28, 27)'   the whole of x_<i: what is left to z?
    --config.model.likelihood.network.window='(1, 0)'     nothing of x: all is left to z

The networks of `vae_mnist_5k`, whose decoder here gives a map of features to a PixelCNN with a
window of 5 columns and 3 rows: strokes are its business, their arrangement is that of z. The prior
is an autoregressive flow; each latent has 0.1 nats that cost nothing. Window, widths and free bits
are our choice. A new binary sample of the images at every step.
"""

from ml_collections import ConfigDict

from configs import vae_mnist_5k


def get_config(mode: str | None = None) -> ConfigDict:
    config = vae_mnist_5k.get_config(mode)
    height, width, num_features = (4, 4, 2) if mode else (28, 28, 4)
    filters = 2 if mode else 16
    config.model.prior = dict(
        type="AutoregressiveFlowPrior", num_flows=2, hidden=(8,) if mode else (320,)
    )
    config.model.likelihood = dict(
        type="AutoregressiveLikelihood",
        features_shape=(height, width, num_features),
        network=dict(
            type="PixelCNN", window=(5, 3), filters=filters, num_blocks=2, top_filters=filters
        ),
    )
    config.objective.free_bits = 0.1
    config.evaluation.report.num_samples = 1000
    config.evaluation.batch_size = 100
    return config
