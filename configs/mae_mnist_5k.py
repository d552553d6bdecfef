"""`vae_mnist_5k` with mutual posterior-divergence regularisation (arXiv:1901.01498).

python -m apps.train --config=configs/mae_mnist_5k.py --workdir=runs/mae_mnist_5k

The objective of the paper, not its network, whose decoder is a PixelCNN. Both weights are our
choice.
"""

from ml_collections import ConfigDict

from configs import vae_mnist_5k


def get_config(mode: str | None = None) -> ConfigDict:
    config = vae_mnist_5k.get_config(mode)
    config.objective = dict(type="MutualPosterior", diversity=1.0, smoothness=0.01)
    return config
