"""WaveNet on a corpus of many speakers (VCTK) at the sizes of a public reference, by speaker.

python -m apps.train --config=configs/wavenet_vctk.py --workdir=runs/wavenet_vctk \
    --config.data.path=FOLDER

FOLDER holds one subfolder of mono 16-bit WAV files at 16 kHz for each speaker (VCTK as published
has 48 kHz); the speaker is the global condition. The paper gives neither sizes nor a likelihood, so
there is no number to compare with. Sizes, optimizer and number of steps are those of
github.com/ibab/tensorflow-wavenet: 5 stacks of dilations 1 to 512, 32 channels, 512 skip channels,
a receptive field of 5,117 samples (320 ms). Its step is one piece of 100,000 samples, ours three
chunks of 2 s; it trims silence and leaves out the targets without a whole receptive field, here
zeros stand before a chunk. Not run here: it wants a GPU for days.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 100_000
    config.batch_size = 3
    config.data = dict(
        name="audio_folder",
        path="data/vctk_16khz",
        labels=True,
        sample_rate_hz=16_000,
        chunk_length=32_000,
    )
    config.model = dict(
        type="WaveNet",
        dilations=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        num_stacks=5,
        residual_channels=32,
        dilation_channels=32,
        skip_channels=512,
    )
    config.optimizer = dict(class_name="Adam", config=dict(learning_rate=1e-3, epsilon=1e-4))
    config.log_every_steps = 200
    config.validate_every_steps = 10_000
    config.checkpoint_every_steps = 2000
    config.num_sample_images = 4
    config.evaluation.batch_size = 4
    return common.smoke(
        config,
        mode,
        data=dict(
            name="random_images", event_shape=(64,), num_levels=32, num_classes=3, labels=True
        ),
        dilations=(1, 2),
        num_stacks=2,
        residual_channels=4,
        dilation_channels=4,
        skip_channels=8,
    )
