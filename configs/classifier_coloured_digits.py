"""Cross-entropy (ERM) with a convolutional network on coloured digits, for LaCIM and CSG to beat.

python -m apps.select --config=configs/classifier_coloured_digits.py --workdir=runs/ce_coloured

The data are those of `lacim_coloured_digits.py`, both training domains pooled. Paper (Sun et al.
2021, arXiv:2011.02203), on MNIST in full, in %: 91.9 +- 0.9.
"""

from ml_collections import ConfigDict

from configs import common, csg_coloured_digits


def get_config(mode: str | None = None) -> ConfigDict:
    config = csg_coloured_digits.get_config(mode)
    config.data.update(agreement=(0.95, 0.99), test_agreement=0.1)
    config.model = ConfigDict(
        dict(
            type="Classifier",
            feature_units=(64,),
            activation="relu",
            encoder=dict(type="ConvEncoder", filters=(16, 32)),
        )
    )
    config.objective = ConfigDict(dict(type="CrossEntropy", l2_weight=1e-5))
    config.evaluation.report = ConfigDict()
    return common.smoke(
        config,
        mode,
        feature_units=(3,),
        encoder=dict(type="ConvEncoder", filters=(2,), num_blocks=0),
    )
