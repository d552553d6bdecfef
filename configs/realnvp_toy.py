"""Real NVP on points in the plane of known density: how far from the entropy does it stay?

python -m apps.train --config=configs/realnvp_toy.py --workdir=runs/realnvp_two_moons
python -m apps.train --config=configs/realnvp_toy.py --config.data.name=pinwheel --workdir=runs/b

The test negative log-likelihood exceeds the entropy of the true density, which
`python -m apps.yardsticks --data=two_moons` prints, by the divergence of the model from the truth.
Spline couplings: affine ones cannot cut a density into parts.
Other sets: `banana`, `checkerboard`, `correlated_gaussian`, `eight_gaussians`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3000
    config.batch_size = 512
    config.data = dict(name="two_moons", num_examples=400_000)
    config.model = dict(
        type="RealNVP",
        num_couplings=5,
        filters=32,
        num_blocks=1,
        transformer=dict(type="RationalQuadraticSplineTransformer", num_bins=16, bound=4.0),
    )
    config.optimizer = dict(
        class_name="Adam",
        config=dict(learning_rate=5e-3, global_clipnorm=10.0, use_ema=True, ema_momentum=0.99),
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.log_every_steps = 200
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 1000
    config.num_sample_images = 20_000
    config.evaluation.batch_size = 5000
    return common.smoke(config, mode, data=dict(name="two_moons"), num_couplings=1, filters=4)
