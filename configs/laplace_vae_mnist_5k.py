"""`vae_mnist_5k` with the Laplace posterior (Park, Kim, Kim. Variational Laplace autoencoders. ICML
2019): full covariances around modes that four damped Newton steps find.

python -m apps.train --config=configs/laplace_vae_mnist_5k.py --workdir=runs/laplace_vae_mnist_5k
    --config.model.posterior.num_updates=1   or 8
"""

from ml_collections import ConfigDict

from configs import vae_mnist_5k


def get_config(mode: str | None = None) -> ConfigDict:
    config = vae_mnist_5k.get_config(mode)
    config.model.posterior = dict(type="LaplacePosterior", num_updates=4, damping=0.5)
    return config
