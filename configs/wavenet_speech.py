"""WaveNet on 8 kHz speech: the 25 minutes of one speaker in Debian's asterisk-core-sounds-en-wav.

apt-get install asterisk-core-sounds-en-wav
python -m apps.train --config=configs/wavenet_speech.py --workdir=runs/wavenet_speech
python -m apps.train --config=configs/wavenet_speech.py --workdir=DIR --config.data.path=FOLDER

The paper has no number for this set, and no likelihood at all. A small model, for about 15 minutes
on two cores: two stacks of dilations 1 to 256, a receptive field of 1,024 samples (128 ms).
`data.path` may be any folder of mono 16-bit WAV files of one sample rate.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(mode: str | None = None) -> ConfigDict:
    config = common.default()
    config.num_steps = 2800
    config.batch_size = 4
    config.data = dict(
        name="audio_folder",
        path="/usr/share/asterisk/sounds/en_US_f_Allison",
        chunk_length=2048,
    )
    config.model = dict(
        type="WaveNet",
        dilations=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        num_stacks=2,
        residual_channels=32,
        dilation_channels=32,
        skip_channels=128,
    )
    config.optimizer = dict(
        class_name="Adam", config=dict(learning_rate=2e-3, use_ema=True, ema_momentum=0.999)
    )
    config.warmup_steps = 100
    config.learning_rate_decay = "cosine"
    config.validate_every_steps = 1400
    config.checkpoint_every_steps = 400
    config.num_sample_images = 8
    config.evaluation.batch_size = 16
    return common.smoke(
        config,
        mode,
        data=dict(name="random_images", event_shape=(64,), num_levels=32),
        dilations=(1, 2, 4),
        num_stacks=1,
        residual_channels=4,
        dilation_channels=4,
        skip_channels=8,
    )
