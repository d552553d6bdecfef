"""CSG-DA: a prior for the test domain learned from its images without labels; 0s and 1s.

python -m apps.select --config=configs/csg_da_shifted_digits.py --workdir=runs/csg_da \
    --parameters=generative_weight,adaptation_weight
python -m apps.select --config=configs/csg_da_shifted_digits.py --workdir=runs/csg_da_noisy \
    --config.data.test=noisy --parameters=generative_weight,adaptation_weight

Paper (arXiv:2011.01681), on MNIST, in %: centred 97.6 +- 4.0, noisy 72.0 +- 9.2. As there, the
target images are those of the test set, and the learning rate is 3e-4. Data and further variants:
`csg_shifted_digits.py`; CSGz-DA has `variation_size` 0 and `context_size` 200.
"""

from ml_collections import ConfigDict

from configs import csg_shifted_digits


def get_config(mode: str | None = None) -> ConfigDict:
    config = csg_shifted_digits.get_config(mode)
    config.data.adapt = True
    config.model.test_prior = "adapted"
    config.objective.adaptation_weight = 1e-4
    config.optimizer.config.learning_rate = 3e-4
    return config
