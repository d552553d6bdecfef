"""Two processes: one saves a model of every family, the other has only `import tfgen`."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conformance import randomize
from tfgen.models import VAE, PixelCNN, RealNVP

LOADER = """
import sys, json, numpy as np, keras
import tfgen
x = np.load(sys.argv[1])["x"]
values = {}
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    values[path] = [model.log_prob(x, seed=7).numpy().tolist(), model.dtype_policy.name]
    values[path].append(int(model.optimizer.iterations))
print(json.dumps(values))
"""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 5, (4, 4, 4, 1)).astype("uint8")


def models():
    shape = (4, 4, 1)
    return [
        RealNVP(shape, num_levels=5, num_scales=2, num_couplings=1, filters=4, num_blocks=1),
        PixelCNN(shape, num_levels=5, filters=4, num_blocks=1, top_filters=8),
        VAE(shape, num_levels=5, latent_shape=[3]),
        RealNVP(
            shape, num_levels=5, num_scales=1, num_couplings=1, filters=4, dtype="mixed_bfloat16"
        ),
    ]


def test_a_fresh_process_loads_what_another_saved(images, tmp_path):
    np.savez(tmp_path / "x.npz", x=images)
    expected = {}
    for index, model in enumerate(models()):
        randomize(model, scale=0.1)
        model.compile(optimizer=keras.optimizers.Adam(1e-3, use_ema=True), jit_compile=False)
        model.fit(images, batch_size=4, epochs=2, verbose=0)
        path = str(tmp_path / f"{index}.keras")
        model.save(path)
        expected[path] = [model.log_prob(images, seed=7).numpy(), model.dtype_policy.name]
    command = [sys.executable, "-c", LOADER, str(tmp_path / "x.npz"), *expected]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    loaded = json.loads(run.stdout.splitlines()[-1])
    for path, (log_prob, policy) in expected.items():
        np.testing.assert_allclose(loaded[path][0], log_prob, rtol=1e-5)
        assert loaded[path][1] == policy
        assert loaded[path][2] == 2
