"""`vae_mnist_5k` with inverse autoregressive flow in its posterior (arXiv:1606.04934).

python -m apps.train --config=configs/iaf_vae_mnist_5k.py --workdir=runs/iaf_vae_mnist_5k
"""

from ml_collections import ConfigDict

from configs import vae_mnist_5k


def get_config(mode: str | None = None) -> ConfigDict:
    config = vae_mnist_5k.get_config(mode)
    hidden = (8,) if mode else (320,)
    config.model.posterior = dict(type="IAFPosterior", num_flows=2, hidden=hidden)
    return config
