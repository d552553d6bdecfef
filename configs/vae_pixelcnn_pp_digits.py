"""VAE with a PixelCNN++ as its decoder on 8x8 digits: who keeps the latents in use?

python -m apps.train --config=configs/vae_pixelcnn_pp_digits.py --workdir=runs/collapse
    --config.objective.free_bits=0.25
    --config.objective.type=MutualPosterior

A decoder that sees all pixels before can model a digit without being told which: the evidence lower
bound alone, as it stands here, lets go of z. The first override holds the divergence of each of the
16 latents up by free bits, the second one keeps the posteriors apart (arXiv:1901.01498). A new
binary sample of the images at every step.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 3000
    config.batch_size = 32
    config.data = dict(name="digits", binarize="dynamic")
    config.model = dict(
        type="VAE",
        latent_shape=(16,),
        encoder=dict(type="MLPEncoder", units=(200, 200), activation="elu"),
        decoder=dict(type="MLPDecoder", units=(200,), activation="elu"),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(8, 8, 4),
            # For two levels one logistic is a Bernoulli.
            network=dict(
                type="PixelCNNPP",
                filters=16,
                num_blocks=1,
                num_scales=2,
                num_mixtures=1,
                dropout=0.0,
            ),
        ),
    )
    config.objective = dict(type="ELBO", free_bits=0.0)
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.998)
    )
    config.warmup_steps = 50
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 500
    config.checkpoint_every_steps = 500
    config.evaluation.batch_size = 100
    config.evaluation.report = dict(num_samples=1000, chunk_size=20)
    config.evaluation.metrics = (
        ("active_units",) if mode else ("active_units", "mutual_information", "representation")
    )
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(4, 4, 1), num_levels=2),
        latent_shape=(2,),
        encoder=dict(type="MLPEncoder", units=(8,)),
        decoder=dict(type="MLPDecoder", units=(8,)),
        likelihood=dict(
            type="AutoregressiveLikelihood",
            features_shape=(4, 4, 2),
            network=dict(type="PixelCNNPP", filters=4, num_blocks=1, num_scales=1, num_mixtures=1),
        ),
    )
