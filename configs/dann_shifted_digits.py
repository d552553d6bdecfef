"""Domain-adversarial training on shifted 0s and 1s, with images of the test domain.

python -m apps.select --config=configs/dann_shifted_digits.py --workdir=runs/dann

Paper (Liu et al. 2021, arXiv:2011.01681), on MNIST, in %, centred: DANN 40.9 +- 3.0,
CDAN 41.0 +- 0.5, MDD 41.9 +- 0.8; noisy: 46.2, 46.3, 45.8.

CDAN: --config.model.adversary.type=ConditionalAdversary --config.objective.weight=1e-6
MDD:  --config.model.adversary.num_outputs=2 --config.objective.type=MarginDisparity \
      --config.objective.weight=1e-6
"""

from ml_collections import ConfigDict

from configs import classifier_shifted_digits


def get_config(mode: str | None = None) -> ConfigDict:
    config = classifier_shifted_digits.get_config(mode)
    config.data.adapt = True
    config.model.adversary = dict(type="DomainAdversary", units=(1024, 1024), num_outputs=1)
    config.objective = dict(type="DomainAdversarial", weight=1e-4, l2_weight=1e-5)
    config.optimizer.config.learning_rate = 3e-4
    if mode:
        config.model.adversary.units = (4,)
    return config
