"""The pages of the reference: examples that hold, commands that exist, nothing public left out."""

import importlib
import importlib.util
import pathlib
import re
import shlex
import types

import numpy as np
import pytest
import tensorflow as tf

import tfgen

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / ".docs" / "pages"
HOOKS = importlib.util.spec_from_file_location("hooks", ROOT / ".docs" / "hooks.py")
hooks = importlib.util.module_from_spec(HOOKS)
HOOKS.loader.exec_module(hooks)
PAGES = {p.stem: hooks.on_page_markdown(p.read_text()) for p in sorted(FOLDER.glob("*.md"))}
FAMILIES = ("autoregressive", "flows", "latent", "causal")


def run_example(page):
    """The names that the page's one example has defined."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    names: dict = {}
    exec(block, names)
    return names


def test_example_of_autoregressive_models():
    names = run_example("autoregressive")
    x, model = names["x"], names["model"]
    of_pixels = names["conditionals"].log_prob(tf.cast(x, "float32"))
    np.testing.assert_allclose(tf.reduce_sum(of_pixels, [1, 2, 3]), names["log_prob"], rtol=1e-5)
    assert names["log_prob"].shape == (8,)
    np.testing.assert_array_equal(names["completions"][:, :4], x[:, :4])
    assert model.likelihood_kind == "exact"


def test_example_of_flows():
    names = run_example("flows")
    x, z = names["x"], names["z"]
    np.testing.assert_allclose(names["same_x"], x, atol=1e-4)
    np.testing.assert_allclose(names["bijector"].inverse(x), z, atol=1e-5)
    np.testing.assert_allclose(names["density"].log_prob(x), names["log_prob"], atol=1e-4)
    assert names["model"].likelihood_kind == "exact"


def test_example_of_latent_variable_models():
    names = run_example("latent")
    model, x = names["model"], names["x"]
    np.testing.assert_array_equal(names["mean"], model.reconstruct(x))
    assert names["z"].shape == (8, 4)
    assert names["bound"].shape == (8,)
    with pytest.raises(ValueError, match="one with a density in parallel for a VampPrior"):
        tfgen.models.VAE([4], posterior={"type": "IAFPosterior"}, prior={"type": "VampPrior"})


def test_example_of_causal_models():
    names = run_example("causal")
    model, x = names["model"], names["x"]
    np.testing.assert_allclose(tf.reduce_sum(names["probabilities"], -1), np.ones(8), rtol=1e-6)
    assert names["bound"].shape == (8,)
    size = model.semantic_size
    z = np.concatenate([model.encode(x[:4])[:, :size], model.encode(x[4:])[:, size:]], axis=1)
    np.testing.assert_allclose(names["mixed"], model.decode(z), rtol=1e-6)


def test_example_of_layers():
    layer = run_example("layers")["layer"]
    x = tf.random.stateless_normal([1, 8, 8, 1], [0, 1])
    changed = np.array(x)
    changed[:, 3, 4:] += 1.0  # a pixel, what is to its right and all below
    changed[:, 4:] += 1.0
    difference = np.abs(layer(x) - layer(changed)).max(axis=(0, 3))
    assert difference[:3].max() == 0.0
    assert difference[3, :5].max() == 0.0
    assert difference[3, 5] > 0.0


def test_example_of_bijectors():
    names = run_example("bijectors")
    expected = names["base"].log_prob(names["z"]) + names["log_det"]
    np.testing.assert_allclose(names["flow"].log_prob(names["x"]), expected, atol=1e-5)


def public(name, thing):
    """The public names of a module and what they stand for; a function or class itself."""
    if not isinstance(thing, types.ModuleType):
        return {name: thing}
    return {f"{name}.{part}": getattr(thing, part) for part in getattr(thing, "__all__", ())}


def test_every_public_name_is_in_the_reference():
    documented = {}
    for name in re.findall(r"^::: (\S+)$", "\n".join(PAGES.values()), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        thing = getattr(importlib.import_module(module), attribute)
        documented |= public(name, thing)
    offered = {}
    for name in tfgen.__all__:
        offered |= public(f"tfgen.{name}", getattr(tfgen, name))
    shown = set(map(id, documented.values()))
    assert [name for name, thing in offered.items() if id(thing) not in shown] == []


@pytest.mark.parametrize("page", FAMILIES)
def test_a_family_has_formula_picture_command_and_result(page):
    text = PAGES[page]
    assert re.match(r"# [\w -]+\n\n    log p|# [\w -]+\n\n    p\(", text)
    assert text.count("```shell") >= len(re.findall(r"^!\[", text, re.M)) >= 1
    assert "\n## Results\n" in text
    assert "{{" not in text


def test_pictures_are_small_and_all_shown():
    shown = {name for text in PAGES.values() for name in re.findall(r"\]\((pictures/\S+)\)", text)}
    files = {f"pictures/{path.name}" for path in (FOLDER / "pictures").iterdir()}
    assert shown == files
    assert all((FOLDER / name).stat().st_size < 60_000 for name in files)


def commands():
    blocks = [b for text in PAGES.values() for b in re.findall(r"```shell\n(.*?)```", text, re.S)]
    lines = re.split(r"\n| && ", "\n".join(blocks).replace("\\\n", " "))
    return [line for line in lines if " -m apps." in line]


@pytest.mark.parametrize("command", commands())
def test_command_names_an_app_its_flags_and_a_config(command):
    _, _, app, *arguments = shlex.split(command)
    source = (ROOT / (app.replace(".", "/") + ".py")).read_text()
    defined = set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source))
    config = None
    for argument in arguments:
        if not argument.startswith("--"):
            assert "takes_arguments" in source, argument
            continue
        name, _, value = argument.removeprefix("--").partition("=")
        if name == "config":
            module = importlib.import_module(f"configs.{pathlib.Path(value).stem}")
            config = module.get_config()
        if name.startswith("config."):
            part = config
            for key in name.split(".")[1:]:
                part = part[key]
        assert name.split(".")[0] in defined, argument
