"""The README's Python example does what it shows."""

import pathlib
import re

import numpy as np

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def test_six_lines_from_a_data_set_to_likelihoods_and_samples():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = [line for line in block.splitlines() if line.strip() and not line.startswith("import")]
    assert len(lines) <= 6
    variables: dict = {}
    exec(block, variables)
    model, data = variables["model"], variables["data"]
    bits = -np.mean(variables["log_prob"]) / (model.num_dims * np.log(2))
    assert variables["log_prob"].shape == (len(data.test.x),)
    assert variables["samples"].shape == (16, *data.info.event_shape)
    # The example learns something: far below log2(17) = 4.09 bits/dim, where it starts.
    assert bits < 3.0


def test_every_number_in_the_results_table_has_a_command_and_a_commit():
    rows = [line for line in README.splitlines() if line.startswith("| [`")]
    assert rows, "the README has a results table"
    for row in rows:
        assert re.search(r"`[0-9a-f]{7,}`", row), f"no commit in {row}"
        config = re.search(r"\(configs/(\w+)\.py\)", row)
        assert config, f"no config in {row}"
        assert (pathlib.Path(__file__).parent.parent / "configs" / f"{config[1]}.py").exists()
