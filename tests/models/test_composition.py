"""Posterior x prior x likelihood x objective x condition: what is offered works together.

Every combination is a `slow` test; the default run holds a covering design, in which every pair of
parts that can be combined occurs. What cannot be is refused with a reason.
"""

import copy
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import randomize
from tests.export_checks import check_export
from tfgen.models import VAE
from tfgen.objectives import ELBO, IWAE, MutualPosterior

# One entry a part: how to make it, in toy size. To add one is to have it tested with all others.
PARTS = {
    "posterior": {
        "DiagonalPosterior": {},
        "FullCovariancePosterior": {},
        "IAFPosterior": {"num_flows": 1, "hidden": [4], "context_size": 2},
        "LaplacePosterior": {"num_updates": 1},
    },
    "prior": {
        "StandardNormalPrior": {},
        "AutoregressiveFlowPrior": {"num_flows": 1, "hidden": [4]},
        "CouplingFlowPrior": {"num_flows": 2, "filters": 4, "num_blocks": 0},
        "GaussianMixturePrior": {"num_components": 2},
        "VampPrior": {"num_components": 3},
    },
    "likelihood": {
        "Bernoulli": {"event_shape": [2, 3, 1], "num_levels": 2},
        "Gaussian": {"event_shape": [4]},
        "DiscretizedLogisticMixture": {"event_shape": [2, 1, 2], "num_levels": 8},
        "PixelCNN": {
            "event_shape": [2, 2, 1],
            "num_levels": 2,
            "network": {"window": [3, 1], "filters": 2, "num_blocks": 1, "top_filters": 2},
        },
        "PixelCNNPP": {
            "event_shape": [2, 2, 1],
            "num_levels": 2,
            "network": {"filters": 2, "num_blocks": 1, "num_scales": 1, "num_mixtures": 1},
        },
    },
    "objective": {
        "ELBO": ELBO(beta=2.0, free_bits=0.01, warmup_steps=3, num_samples=2),
        "IWAE": IWAE(3),
        "doubly_reparameterized": IWAE(2, doubly_reparameterized=True),
        "MutualPosterior": MutualPosterior(free_bits=0.01),
    },
    "condition": {"unconditional": {}, "labels": {"num_classes": 2}},
}
FACTORS = tuple(PARTS)

# Pairs that are refused, with the sentence that says why.
REFUSED = {
    ("LaplacePosterior", "DiscretizedLogisticMixture"): "which needs its second derivatives",
    ("LaplacePosterior", "PixelCNN"): "which needs its second derivatives",
    ("LaplacePosterior", "PixelCNNPP"): "which needs its second derivatives",
    ("IAFPosterior", "VampPrior"): "one with a density in parallel for a VampPrior",
    ("VampPrior", "labels"): "needs a y for each pseudo-input",
    ("FullCovariancePosterior", "MutualPosterior"): "whose divergences it compares",
    ("LaplacePosterior", "MutualPosterior"): "whose divergences it compares",
}


def pairs_of(case):
    return set(itertools.combinations(case, 2))


ALL = [case for case in itertools.product(*PARTS.values()) if not pairs_of(case) & set(REFUSED)]


def covering_design():
    """Cases that hold every pair, found greedily."""
    missing = set().union(*(pairs_of(case) for case in ALL))
    design = []
    while missing:
        best = max(ALL, key=lambda case: len(pairs_of(case) & missing))
        missing -= pairs_of(best)
        design.append(best)
    return design


DESIGN = covering_design()
EXPORTED = [
    ("IAFPosterior", "AutoregressiveFlowPrior", "Bernoulli", "ELBO", "labels"),
    ("LaplacePosterior", "GaussianMixturePrior", "Gaussian", "ELBO", "unconditional"),
    ("FullCovariancePosterior", "VampPrior", "DiscretizedLogisticMixture", "ELBO", "unconditional"),
    ("DiagonalPosterior", "AutoregressiveFlowPrior", "PixelCNN", "ELBO", "unconditional"),
]


def make(case):
    """A model and its objective."""
    chosen = {
        factor: copy.copy(PARTS[factor].get(name))
        for factor, name in zip(FACTORS, case, strict=True)
    }
    posterior, prior, likelihood, _, _ = case
    observation = {"type": likelihood}
    if network := chosen["likelihood"].pop("network", None):
        height, width, _ = chosen["likelihood"]["event_shape"]
        observation = {
            "type": "AutoregressiveLikelihood",
            "features_shape": [height, width, 2],
            "network": {"type": likelihood, **network},
        }
    arguments = {
        "latent_shape": [2],
        "encoder": {"type": "MLPEncoder", "units": [5]},
        "decoder": {"type": "MLPDecoder", "units": [5]},
        "posterior": {"type": posterior, **chosen["posterior"]},
        "prior": {"type": prior, **chosen["prior"]},
        "likelihood": observation,
    }
    return VAE(**{**arguments, **chosen["likelihood"], **chosen["condition"]}), chosen["objective"]


def data(model, num=4):
    rng = np.random.default_rng(0)
    shape = (num, *model.event_shape)
    x = rng.standard_normal(shape).astype("float32")
    if model.num_levels is not None:
        x = rng.integers(0, model.num_levels, shape).astype("uint8")
    return x, np.arange(num, dtype="int32") % 2 if model.is_conditional else None


def check(case, folder):
    """Two steps move the weights; reports are finite; a saved model is the same model."""
    keras.utils.set_random_seed(0)
    model, objective = make(case)
    free_bits = getattr(objective, "free_bits", -np.inf)
    x, y = data(model)
    randomize(model)
    model.initialize(x, y)
    model.compile(objective, keras.optimizers.Adam(1e-2), jit_compile=False)
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    for _ in range(2):
        with tf.GradientTape() as tape, model._training():
            terms = model.objective(model, x, y)
            loss = tf.reduce_mean(terms["loss"])
        gradients = tape.gradient(loss, [v.value for v in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            assert gradient is not None, f"no gradient reaches {variable.path}"
            assert np.isfinite(gradient).all(), variable.path
        assert all(np.isfinite(value).all() and value.shape == (4,) for value in terms.values())
        model.optimizer.apply(gradients, variables)
    # At the first step of a warm-up beta is 0; a divergence below the free bits is a constant.
    reaches_prior = tf.reduce_mean(terms.get("kl", np.inf)) > free_bits
    moved = {v.path for v, b in zip(variables, before, strict=True) if np.any(v.numpy() != b)}
    parts = [model.encoder, model.decoder, model.posterior_part]
    for part in [*parts, model.prior_part] if reaches_prior else parts:
        of_part = {variable.path for variable in part.trainable_variables}
        assert moved & of_part or not of_part, part.name

    options = {"seed": 1, "num_samples": 3, "chunk_size": 3}
    report = model.report(x, y, **options)
    assert {"log_prob", "effective_sample_size", "elbo", "kl"} <= set(report)
    assert all(np.isfinite(value).all() for value in report.values())
    samples = model.sample(2, None if y is None else y[:2], seed=1)
    assert samples.shape == (2, *model.event_shape)
    assert samples.dtype == model.event_dtype

    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    np.testing.assert_allclose(loaded.log_prob(x, y, **options), report["log_prob"], rtol=1e-6)


def check_exports(case, folder):
    """A clean process serves the numbers of the live model."""
    model, _ = make(case)
    x, y = data(model, 3)
    check_export(model, x, folder, y)


def test_the_design_covers_every_pair_that_is_not_refused():
    assert set().union(*map(pairs_of, DESIGN)) == set().union(*map(pairs_of, ALL))
    factors = itertools.combinations(FACTORS, 2)
    everything = {p for a, b in factors for p in itertools.product(PARTS[a], PARTS[b])}
    assert everything - set().union(*map(pairs_of, ALL)) == set(REFUSED)
    assert len(DESIGN) < 30


@pytest.mark.parametrize("case", DESIGN, ids="-".join)
def test_pairs(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids="-".join)
def test_everything(case, tmp_path):
    check(case, tmp_path)
    if "ELBO" in case:  # an export holds no objective: one of the four, which refuses nothing
        check_exports(case, tmp_path / "export")


@pytest.mark.parametrize(("pair", "reason"), REFUSED.items(), ids="-".join)
def test_refusals(pair, reason):
    """Where everything else fits, the pair alone is what is refused."""
    others = [p for p in REFUSED if p != pair]
    case = next(
        case
        for case in itertools.product(*PARTS.values())
        if pair in pairs_of(case) and not pairs_of(case) & set(others)
    )
    with pytest.raises(ValueError, match=reason):
        model, objective = make(case)
        x, y = data(model)
        objective(model, x, y)


@pytest.mark.parametrize("case", EXPORTED, ids="-".join)
def test_exports(case, tmp_path):
    check_exports(case, tmp_path)
