"""Killed twenty times at random moments, a run ends with the bits of an undisturbed one."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.training.test_run import lines_of, small_config
from tests.training.test_survival import ROOT, RUN, events_of, state_of
from tfgen.objectives import ELBO, Objective, Player

NUM_KILLS = 20  # of each kind of model
TRAIN = """
import json, sys
from tfgen import objectives
from tests.training.test_kills import TwoPlayers
from tfgen.training import train
objectives.TwoPlayers = TwoPlayers
train(json.loads(sys.argv[1]), sys.argv[2])
"""
AVERAGED = {
    "class_name": "Adam",
    "config": {"learning_rate": 1e-3, "use_ema": True, "ema_momentum": 0.9},
}
KINDS = {
    "VAE of binary samples, with dropout": {},
    "flow of dequantised integers": {
        "data": {"name": "digits"},
        "model": {"type": "NICE", "units": 8, "num_layers": 1, "num_couplings": 2},
        "objective": {"type": "NegativeLogProb"},
    },
    "autoregressive network with dropout and averaged weights": {
        "data": {"name": "digits"},
        "model": {
            "type": "PixelCNN",
            "filters": 2,
            "num_blocks": 1,
            "top_filters": 4,
            "dropout": 0.5,
        },
        "objective": {"type": "NegativeLogProb"},
        "optimizer": AVERAGED,
    },
    "two players": {"objective": {"type": "TwoPlayers"}},
}


class TwoPlayers(Objective):
    """The encoder and the decoder of a VAE in turn, each with its own weight on the divergence."""

    def players(self, model):
        names = {id(v) for part in (model.encoder, model.posterior_part) for v in part.variables}
        of_encoder = [v for v in model.trainable_variables if id(v) in names]
        of_decoder = [v for v in model.trainable_variables if id(v) not in names]
        losses = (ELBO(beta=2.0), ELBO(beta=0.5))
        return [
            Player("encoder", lambda x, y: losses[0](model, x, y), of_encoder),
            Player("decoder", lambda x, y: losses[1](model, x, y), of_decoder),
        ]


def start(config, workdir):
    command = [sys.executable, "-c", TRAIN, json.dumps(config), str(workdir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True)


def is_saving(workdir):
    return any((workdir / "checkpoints").glob("*/.writing-*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_kills_change_no_bit(kind, tmp_path, monkeypatch):
    """Every second kill comes while a checkpoint is being written, the others at any moment."""
    monkeypatch.setattr("tfgen.objectives.TwoPlayers", TwoPlayers, raising=False)
    moments = random.Random(kind)
    config = small_config(**{**RUN, "num_steps": 1500, "checkpoint_every_steps": 5, **KINDS[kind]})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(config, whole)
    assert process.wait(timeout=3000) == 0, process.communicate()[1][-2000:]

    while_saving, steps = 0, []
    for kill in range(NUM_KILLS):
        process = start(config, cut)
        # Not before the run is on its way again: each life gets some steps further.
        before = lines_of(cut)[-1]["step"] if (cut / "metrics.jsonl").exists() else 0
        wait_for_progress(process, cut, before)
        time.sleep(moments.uniform(0.0, 0.5))
        if kill % 2:
            while not is_saving(cut) and process.poll() is None:
                pass
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
        while_saving += is_saving(cut)
        steps.append(lines_of(cut)[-1]["step"])
    assert while_saving >= 3
    assert len(set(steps)) > NUM_KILLS // 2

    process = start(config, cut)
    assert process.wait(timeout=3000) == 0, process.communicate()[1][-2000:]
    (step, expected), (_, received) = state_of(config, whole), state_of(config, cut)
    assert step == config["num_steps"]
    for (name, value), other in zip(expected.items(), received.values(), strict=True):
        np.testing.assert_array_equal(other, value, err_msg=str(name))
    timing = {"examples_per_second"}
    lines = [
        [{k: v for k, v in x.items() if k not in timing} for x in lines_of(w)] for w in (cut, whole)
    ]
    assert lines[0] == lines[1]
    assert events_of(cut) == events_of(whole)


def wait_for_progress(process, workdir, before):
    """Until the run has written a line of metrics of a later step than `before`."""
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        if lines and lines[-1]["step"] > before:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate()[1][-2000:])
