"""The benchmark's arithmetic on work of known size, and that it times what `fit` runs."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgen.evaluation import benchmark as module
from tfgen.evaluation.benchmark import benchmark, predicted_step_seconds
from tfgen.evaluation.cost_analysis import product_flop
from tfgen.models import GenerativeModel


class TestProductFlop:
    def flop(self, function, *shapes):
        arguments = [tf.random.stateless_normal(shape, [0, i]) for i, shape in enumerate(shapes)]
        return product_flop(tf.function(function, jit_compile=True), *arguments)

    def test_matrix_product_and_nothing_elementwise(self):
        flop = self.flop(lambda a, b: tf.exp(tf.nn.relu(a @ b + 1.0)), [24, 56], [56, 40])
        assert flop == 2 * 24 * 56 * 40

    def test_convolution_and_its_gradients(self):
        def gradients(x, kernel):
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
            return tf.gradients(tf.reduce_sum(tf.sin(y)), [x, kernel])

        # Along each axis, 3 taps at 10 places, of which one at each end meets the padding.
        one = 2 * 4 * (3 * 10 - 2) * (3 * 12 - 2) * 8 * 16
        assert self.flop(gradients, [4, 10, 12, 8], [3, 3, 8, 16]) == 3 * one

    def test_strided_convolution(self):
        flop = self.flop(lambda x, k: tf.nn.conv2d(x, k, 2, "VALID"), [2, 17, 17, 4], [3, 3, 4, 64])
        assert flop == 2 * 2 * 8 * 8 * 3 * 3 * 4 * 64

    def test_loop_counts_as_often_as_it_runs(self):
        def power(a, b):
            loop = tf.while_loop(
                lambda i, x: i < 7, lambda i, x: (i + 1, tf.nn.relu(x @ a)), (tf.constant(0), b)
            )
            return loop[1] @ b

        assert self.flop(power, [32, 32], [32, 32]) == 8 * 2 * 32**3

    def test_no_product(self):
        assert self.flop(lambda x: tf.sin(x), [8, 8]) == 0


BATCH, DATA, HIDDEN, CLASSES = 20, 64, 32, 8


class Reconstruction(GenerativeModel):
    """Products of known size around few other operations; notes how its steps are compiled."""

    def __init__(self, event_shape, **kwargs):
        super().__init__(event_shape, num_classes=CLASSES, **kwargs)
        self.label = keras.layers.Dense(HIDDEN, use_bias=False)
        self.inner = keras.layers.Dense(HIDDEN)
        self.outer = keras.layers.Dense(event_shape[-1])
        object.__setattr__(self, "traced", [])

    def log_prob(self, x, y=None, seed=None):
        x = self.check_data(x)
        hidden = self.inner(x) + self.label(self.condition(y, tf.shape(x)[0]))
        return -tf.reduce_sum(tf.square(x - self.outer(tf.nn.relu(hidden))), axis=-1)

    def sample(self, num_samples, y=None, seed=None):
        noise = tf.random.stateless_normal([num_samples, HIDDEN], self.next_seed(seed))
        return self.outer(noise + self.label(self.condition(y, num_samples)))

    def train_step(self, data):
        self.traced.append(self.jit_compile)
        return super().train_step(data)


@pytest.fixture(scope="module")
def model():
    model = Reconstruction((DATA,))
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    return model


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(BATCH, DATA)).astype("float32")
    return x, np.arange(BATCH, dtype="int32") % CLASSES


@pytest.fixture(scope="module")
def figures(model, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MATMUL_SIZE", 512)
        return benchmark(model, *data, num_repeats=2)


def test_flop_of_a_whole_training_step(figures):
    # Of x, forward two products, backward two for the kernels and one for the hidden layer; of the
    # labels, one each.
    expected = 5 * 2 * BATCH * DATA * HIDDEN + 2 * 2 * BATCH * CLASSES * HIDDEN
    assert figures["flop_per_step"] == expected


def test_steps_are_training_steps_with_and_without_xla(model, figures):
    # One trace each, and a third for the cost analysis.
    assert model.traced == [True, False, True]
    # The first step and two repetitions, both ways; the analysis runs none.
    assert int(model.optimizer.iterations) == 2 * (1 + 2)


def test_model_is_left_ready_to_train(model, data, figures):
    assert model.jit_compile is True
    model.traced.clear()
    model.fit(*data, batch_size=BATCH, verbose=0)
    assert model.traced == [True]
    assert int(model.optimizer.iterations) == 7


def test_figures_are_consistent(model, figures):
    sizes = [np.prod(v.shape) for v in model.weights]
    assert figures["num_parameters"] == sum(sizes)
    assert figures["examples_per_second"] == pytest.approx(BATCH / figures["step_seconds"])
    rate = figures["flop_per_step"] / figures["step_seconds"]
    share = rate / figures["matmul_flop_per_second"]
    assert figures["share_of_matmul"] == pytest.approx(share)
    assert 0 < share < 1.2
    assert figures["compile_seconds"] > figures["step_seconds"]
    weights = 4 * figures["num_parameters"]
    assert weights < figures["peak_memory_bytes"] < 2**40


@pytest.mark.parametrize(
    ("budget", "medians", "rounds"),
    [(1e9, [3.0, 0.5], 5), (2.5, [1.5, 0.35], 2), (0.5, [1.0, 0.5], 1)],
)
def test_medians_of_two_in_turn_within_a_budget(monkeypatch, budget, medians, rounds):
    durations = [1.0, 0.5, 2.0, 0.2, 30.0, 0.5, 4.0, 0.6, 3.0, 7.0]
    ticks = itertools.chain.from_iterable((0.0, duration) for duration in durations)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    made = []
    functions = [lambda: made.append("train"), lambda: made.append("multiply")]
    assert module._median_seconds(functions, 5, budget) == pytest.approx(medians)
    assert made == rounds * ["train", "multiply"]


def test_input_of_a_step_is_the_median_batch(monkeypatch):
    """The first batch, which starts the pipeline, is not counted."""
    now, costs = [0.0], iter([100.0, 3.0, 1.0, 2.0, 50.0, 2.5])
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def batches():
        for cost in costs:
            now[0] += cost
            yield np.zeros(2)

    assert module.input_seconds(batches(), num_batches=5) == 2.5


def test_step_on_paper():
    """A ring of four sends each quarter of 400 bytes six times, at 50 bytes a second."""
    link = {"link_bytes_per_second": 50.0, "link_latency_seconds": 0.1}
    step, collective = predicted_step_seconds(4, 3.0, 1.0, 400, **link)
    assert collective == pytest.approx(6 * (100 / 50 + 0.1))
    assert step == pytest.approx(3.0 + collective)
    assert predicted_step_seconds(1, 3.0, 5.0, 400, **link) == (5.0, 0.0)  # waits for its data
    with pytest.raises(ValueError, match="num_replicas must be an integer >= 1; received: 0"):
        predicted_step_seconds(0, 3.0, 1.0, 400, **link)
    with pytest.raises(ValueError, match="link_bytes_per_second must be positive"):
        predicted_step_seconds(2, 3.0, 1.0, 400, 0.0, 0.1)


def test_collective_of_one_replica_is_the_vector(monkeypatch):
    """The first reduction, which is traced, is not timed."""
    waited = []
    monkeypatch.setattr(module, "_wait", waited.append)
    ticks = iter([0.0, 5.0, 10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert module.collective_seconds(strategy, 7, num_repeats=3) == 3.0
    assert len(waited) == 4
    for vector in waited:
        np.testing.assert_array_equal(vector, np.ones(7))


def test_refusals(data):
    model = Reconstruction((DATA,))
    with pytest.raises(ValueError, match="model must be compiled"):
        benchmark(model, *data)
    model.compile()
    with pytest.raises(ValueError, match=r"x must be of shape \('B', 64\)"):
        benchmark(model, data[0][:, :3], data[1])
    with pytest.raises(ValueError, match="y must be given"):
        benchmark(model, data[0])
    with pytest.raises(ValueError, match="num_repeats must be an integer >= 1; received: 0"):
        benchmark(model, *data, num_repeats=0)
