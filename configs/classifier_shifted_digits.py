"""Cross-entropy on shifted 0s and 1s, and methods that need no second network; for CSG to beat.

python -m apps.select --config=configs/classifier_shifted_digits.py --workdir=runs/ce

Paper (Liu et al. 2021, arXiv:2011.01681), on MNIST, in %: centred 42.9 +- 3.1, noisy 47.8 +- 1.5.

CNBB: --config.objective.type=CNBB
DAN:  --config.objective.type=DAN --config.data.adapt=True \
      --config.optimizer.config.learning_rate=3e-4
BNM:  the same with BNM; both with --parameters=weight to choose their weights
"""

from ml_collections import ConfigDict

from configs import common, csg_shifted_digits


def get_config(mode: str | None = None) -> ConfigDict:
    config = csg_shifted_digits.get_config()
    config.data = csg_shifted_digits.shifted_digits(mode)
    config.model = dict(type="Classifier", feature_units=(300, 75))
    config.objective = dict(type="CrossEntropy", l2_weight=1e-5)
    config.evaluation.report = {}
    return common.smoke(config, mode, feature_units=(3,))
