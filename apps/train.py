r"""Trains a model, evaluates it on the test split and draws samples.

    python -m apps.train --config=configs/realnvp_digits.py --workdir=runs/digits
    python -m apps.train --config=configs/realnvp_digits.py --workdir=runs/b --config.batch_size=64
    python -m apps.train --config=configs/realnvp_digits.py:smoke --workdir=runs/smoke

The same command again continues an interrupted run; a finished one is left as it is. SIGTERM and
Ctrl-C save first; the exit status is then 143 or 130.

All GPUs of one machine share each batch with `--config.strategy=mirrored`. With
`--config.strategy=multi_worker` equal processes do, on one machine or several, with a folder that
all of them see; the environment variable `TF_CONFIG` says who they are. On one machine:

    for i in 0 1; do
      TF_CONFIG='{"cluster": {"worker": ["127.0.0.1:2222", "127.0.0.1:2223"]},
                  "task": {"type": "worker", "index": '$i'}}' \
      python -m apps.train --config=configs/realnvp_digits.py --workdir=runs/two \
        --config.strategy=multi_worker &
    done

When one of them dies the others end too, and all start again from the checkpoint. Under Slurm, in
a file for `sbatch --nodes=8 --ntasks-per-node=1 --gpus-per-node=8 --requeue`:

    export WORKERS=$(scontrol show hostnames | sed 's/.*/"&:2222"/' | paste -sd,)
    for attempt in 1 2 3; do srun --kill-on-bad-exit=1 bash -c '
      export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]},
                         \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
      exec python -m apps.train --config=configs/realnvp_digits.py --workdir=/shared/run \
        --config.strategy=multi_worker' && break; done

Under Kubernetes, a Job with `completionMode: Indexed`, `completions: 8`, `parallelism: 8`,
`restartPolicy: OnFailure`, a headless Service `trainer` as its `subdomain`, and the command

    bash -c 'export TF_CONFIG="{\"cluster\": {\"worker\": [$(seq 0 7 |
        sed "s/.*/\"trainer-&.trainer:2222\"/" | paste -sd,)]},
        \"task\": {\"type\": \"worker\", \"index\": $JOB_COMPLETION_INDEX}}"
      exec python -m apps.train --config=configs/realnvp_digits.py --workdir=/shared/run \
        --config.strategy=multi_worker'
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from apps.common import run, table

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "Go on with the run in workdir although its config was another one."
)


FILES = (
    "samples.*",
    "reconstructions.png",
    "results.json",
    "metrics.jsonl",
    "tensorboard",
    "checkpoints",
)


def main() -> None:
    for name, flag in (("--config", _CONFIG), ("--workdir", _WORKDIR)):
        if flag.value is None:
            raise ValueError(f"{name} must be given; received: nothing.")
    # Only now: TensorFlow takes seconds to import, a wrong flag should not wait for it.
    from tfgen.training import train

    results = train(_CONFIG.value.to_dict(), _WORKDIR.value, _ALLOW_CHANGES.value)
    print(
        f"\n{_CONFIG.value.model.type} on {_CONFIG.value.data.name}, test split\n{table(results)}\n"
    )
    for pattern in FILES:
        for path in pathlib.Path(str(_WORKDIR.value)).glob(pattern):
            print(f"  {path}")


if __name__ == "__main__":
    run(main, "python -m apps.train --config=configs/NAME.py --workdir=DIR")
