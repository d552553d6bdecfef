"""`vae_mnist_5k` trained on the importance-weighted bound of 5 draws (arXiv:1509.00519).

python -m apps.train --config=configs/iwae_5_mnist_5k.py --workdir=runs/iwae_5_mnist_5k
"""

from ml_collections import ConfigDict

from configs import vae_mnist_5k


def get_config(mode: str | None = None) -> ConfigDict:
    config = vae_mnist_5k.get_config(mode)
    config.objective = dict(type="IWAE", num_samples=5)
    return config
