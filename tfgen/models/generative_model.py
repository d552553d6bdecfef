"""The one base class: trains, evaluates, saves and serves a model of p(x) or p(x | y)."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_argument, check_integer
from tfgen.configurable import Configurable
from tfgen.models.data_parallel import (
    Derivative,
    apply_on_replicas,
    in_micro_batches,
    on_replicas,
    prepare_for_replicas,
)
from tfgen.objectives.objective import Objective, Player

# Outside of every scope: one replica.
ONE_REPLICA = tf.distribute.get_strategy()

# Seed of the noise inside an exported `log_prob`: serving the same request twice gives one answer.
EVALUATION_SEED = 0


class GenerativeModel(Configurable, keras.Model):
    """A model of p(x), or of p(x | y). Subclasses state the mathematics.

    Data are in native units: with `num_levels` they are integers 0..num_levels-1 (uint8), without
    it real numbers (float32). Scaling and dequantisation belong to the model, so that every
    likelihood is one of the data as they came, in nats, shape `[B]`.

    Conditioning is an argument of the same methods: with `num_classes`, `y` holds integer labels
    `[B]`; with `num_features`, real features `[B, num_features]`.

    A model is built when its constructor returns: all variables exist, it can be summarised,
    saved, or evaluated at once. Randomness (dequantisation, latent draws, dropout) comes from the
    `seed` argument; without one, from the model's own seed generator.

    Subclasses of a family give `likelihood_kind`, "exact" or "bound": how reports are labelled.

    Args:
        event_shape: shape of one example, `[H, W, C]` or `[D]`.
        num_levels: number of integer levels of discrete data (2 to 256), or None for real data.
        num_classes: number of labels to condition on.
        num_features: number of real features to condition on.

    Raises:
        ValueError: an argument outside its range; data of another shape, type or range.
    """

    train_function: Any  # what one execution of `fit` calls
    likelihood_kind = "exact"
    has_samples = True  # else it is a model of labels alone, and a run draws none
    has_reconstructions = False  # else there is `reconstruct(x, y, seed)`, in data units

    def __init__(
        self,
        event_shape: Sequence[int],
        num_levels: int | None = None,
        num_classes: int | None = None,
        num_features: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        shape = list(event_shape)
        positive = all(isinstance(d, int) and d > 0 for d in shape)
        check_argument(shape and positive, "event_shape", "a list of positive integers", shape)
        if num_levels is not None:
            check_integer("num_levels", num_levels, minimum=2)
            check_argument(num_levels <= 256, "num_levels", "at most 256", num_levels)
        if num_classes is not None:
            check_integer("num_classes", num_classes, minimum=2)
        if num_features is not None:
            check_integer("num_features", num_features, minimum=1)
        both = num_classes is not None and num_features is not None
        check_argument(not both, "num_classes", "None where num_features is given", num_classes)
        self.event_shape = tuple(shape)
        self.num_levels = num_levels
        self.num_classes = num_classes
        self.num_features = num_features
        self.seeds = keras.random.SeedGenerator()
        self.objective: Objective | None = None
        self.augmentations: tuple[Callable[..., tf.Tensor], ...] = ()
        self.is_training = False
        # Inputs keep their own precision; each network casts its own inputs.
        self.autocast = False

    # ------------------------------------------------------------------ the protocol

    def log_prob(self, x: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """log p(x) or log p(x | y) in nats, `[B]`; exact or a lower bound (`likelihood_kind`)."""
        raise NotImplementedError

    def sample(self, num_samples: Any, y: Any = None, seed: Any = None) -> tf.Tensor:
        """Draws `[num_samples, *event_shape]` in data units; `y` is one per sample, or one."""
        raise NotImplementedError

    def report(self, x: Any, y: Any = None, seed: Any = None) -> dict[str, tf.Tensor]:
        """What an evaluation averages over a split: `log_prob` and more, in nats, each `[B]`, or
        `[B, G]` for what each of G groups of latents has."""
        return {"log_prob": self.log_prob(x, y, seed)}

    def call(self, x: Any, y: Any = None) -> tf.Tensor:
        """`log_prob`: what Keras traces, summarises and calls in `predict`."""
        return self.log_prob(x, y)

    def initialize(self, x: Any, y: Any = None) -> None:
        """Data-dependent initialisation on one batch, eagerly; does nothing the second time."""

    def recalibrate(self, x: Any, y: Any = None) -> None:
        """Statistics of the training set that an evaluation uses, for the weights as they are."""

    @property
    def event_dtype(self) -> str:
        return "float32" if self.num_levels is None else "uint8"

    @property
    def num_dims(self) -> int:
        """Number of dimensions of one example, the D of bits/dim."""
        return int(np.prod(self.event_shape))

    @property
    def float_dtype(self) -> str:
        """Of likelihoods and log-determinants: float32 under any policy, or float64."""
        return "float64" if self.variable_dtype == "float64" else "float32"

    @property
    def is_conditional(self) -> bool:
        return self.num_classes is not None or self.num_features is not None

    # ------------------------------------------------------------------ inputs

    def check_data(self, x: Any) -> tf.Tensor:
        """`x` as a tensor of `event_dtype`-like values, or a ValueError that says what is wrong."""
        x = tf.convert_to_tensor(x)
        expected = ("B", *self.event_shape)
        fits = x.shape.rank == len(expected) and x.shape[1:].is_compatible_with(self.event_shape)
        check_argument(fits, "x", f"of shape {expected}", tuple(x.shape))
        if self.num_levels is None:
            check_argument(not x.dtype.is_bool, "x", "of a real type", x.dtype.name)
            x = tf.cast(x, self.float_dtype)
            self._check_values(tf.reduce_all(tf.math.is_finite(x)), "finite", x)
            return x
        highest = int(self.num_levels) - 1
        allowed = f"integers 0..{highest} (dtype uint8)"
        check_argument(x.dtype.is_integer, "x", allowed, f"dtype {x.dtype.name}")
        if highest < x.dtype.max or x.dtype.min < 0:
            lowest = tf.zeros([], x.dtype)
            self._check_values(
                tf.reduce_all((x >= lowest) & (x <= tf.cast(highest, x.dtype))), allowed, x
            )
        return x

    @staticmethod
    def _check_values(condition: tf.Tensor, allowed: str, x: tf.Tensor) -> None:
        if tf.executing_eagerly() and not bool(condition):
            values = x.numpy()
            received = f"values from {values.min()} to {values.max()}"
            check_argument(False, "x", allowed, received)

    def condition(self, y: Any, batch_size: Any) -> tf.Tensor | None:
        """What networks are conditioned on: one-hot labels or features, `[B, C]`, or None."""
        if not self.is_conditional:
            given = None if y is None else "y given"
            check_argument(y is None, "y", "None (num_classes or num_features not set)", given)
            return None
        check_argument(y is not None, "y", "given: this model is conditional", None)
        y = tf.convert_to_tensor(y)
        if self.num_features is not None:
            check_argument(
                y.shape.rank in (1, 2) and y.shape[-1] == self.num_features,
                "y",
                f"features of shape ['B', {self.num_features}]",
                tuple(y.shape),
            )
            features = tf.cast(y, self.float_dtype)
            return tf.broadcast_to(features, [batch_size, self.num_features])
        integer = y.dtype.is_integer and y.shape.rank in (0, 1)
        check_argument(integer, "y", "integer labels of shape ['B']", f"{y.dtype.name} {y.shape}")
        num_classes = int(self.num_classes or 0)
        if tf.executing_eagerly():
            inside = bool(tf.reduce_all((y >= 0) & (tf.cast(y, tf.int64) < num_classes)))
            check_argument(inside, "y", f"labels 0..{num_classes - 1}", y.numpy())
        return tf.one_hot(tf.broadcast_to(y, [batch_size]), num_classes, dtype=self.float_dtype)

    def next_seed(self, seed: Any = None) -> tf.Tensor:
        """`seed` as int32[2]; for None the next one of the model's own generator."""
        return seeds.as_seed(seed, self.seeds)

    def example_batch(self, batch_size: int = 2) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Data of the right shapes and types, all zeros."""
        x = tf.zeros([batch_size, *self.event_shape], self.event_dtype)
        if self.num_classes is not None:
            return x, tf.zeros([batch_size], tf.int32)
        if self.num_features is not None:
            return x, tf.zeros([batch_size, self.num_features], tf.float32)
        return x, None

    # ------------------------------------------------------------------ building

    def _constructed(self) -> None:
        if not self.built:
            self.build((None, *self.event_shape))

    def build(self, input_shape: Any) -> None:
        """Creates all variables by evaluating one example."""
        with tf.init_scope():
            x, y = self.example_batch(1)
            self.log_prob(x, y, seed=0)

    # ------------------------------------------------------------------ training

    def compile(
        self,
        objective: Any = None,
        optimizer: Any = "adam",
        jit_compile: bool = True,
        augmentations: Sequence[Callable[..., tf.Tensor]] = (),
        skip_gradient_norm: float | None = None,
        num_micro_batches: int = 1,
        **kwargs: Any,
    ) -> None:
        """Keras's `compile` with an `Objective` in place of a loss.

        A step whose loss or gradient is not finite moves nothing: it is skipped and counted in
        `skipped_steps`. (Under loss scaling, infinite gradients are the optimizer's own business.)

        A model made, and compiled, in the scope of a `tf.distribute` strategy trains on all its
        replicas, each with an equal part of every batch; XLA then compiles loss and gradients of a
        replica. Terms are means over all of the batch. With several workers, `fit` is given the
        worker's own part.

        Args:
            objective: a `tfgen.objectives.Objective`; by default the family's own.
            optimizer: a Keras optimizer or its name. With `use_ema=True` the averaged weights are
                what `evaluate` uses, and what remains in the model when `fit` has ended.
            jit_compile: compile the whole step with XLA.
            augmentations: functions `(x, seed) -> x` applied to each training batch.
            skip_gradient_norm: steps with a longer gradient are skipped and counted too.
            num_micro_batches: gradient accumulation: a step computes the gradient of its batch in
                so many equal parts, one after another, in the memory of one.
            **kwargs: `steps_per_execution`, `run_eagerly`, `auto_scale_loss`.
        """
        from tfgen import objectives
        from tfgen.build import build

        objective = build(objectives, self.default_objective() if objective is None else objective)
        check_argument(
            isinstance(objective, Objective), "objective", "an Objective", type(objective).__name__
        )
        if skip_gradient_norm is not None:
            is_positive = skip_gradient_norm > 0
            check_argument(is_positive, "skip_gradient_norm", "positive", skip_gradient_norm)
        check_integer("num_micro_batches", num_micro_batches, minimum=1)
        self.objective = objective
        self.augmentations = tuple(augmentations)
        self.skip_gradient_norm = skip_gradient_norm
        self.num_micro_batches = num_micro_batches
        # Neither is a weight of the model: they belong to the training, not to what is saved.
        object.__setattr__(self, "_means", {})
        object.__setattr__(self, "skipped_steps", tf.Variable(0, dtype=tf.int64, trainable=False))
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        self._compile_arguments = {
            "jit_compile": jit_compile,
            "skip_gradient_norm": skip_gradient_norm,
            "num_micro_batches": num_micro_batches,
            **kwargs,
        }
        # Keras's counts each part as a step: of the averaged weights, and of each player.
        accumulates = getattr(self.optimizer, "gradient_accumulation_steps", None)
        allowed = "None (the option num_micro_batches is instead of it)"
        check_argument(
            accumulates is None, "optimizer.gradient_accumulation_steps", allowed, accumulates
        )
        if self._is_distributed:
            prepare_for_replicas(self.optimizer)
        self.optimizer.build(self.trainable_variables)

    def default_objective(self) -> Any:
        """The objective of `compile()` without arguments."""
        return {"type": "NegativeLogProb"}

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled or self.objective is None:
            return None
        serialize = keras.saving.serialize_keras_object
        return {
            "objective": serialize(self.objective),
            "optimizer": serialize(self.optimizer),
            "augmentations": serialize(list(self.augmentations)),
            **self._compile_arguments,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def augment(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Applies the training-time augmentations to a batch."""
        for index, augmentation in enumerate(self.augmentations):
            x = augmentation(x, seeds.fold_in(seed, index))
        return x

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if self.augmentations:
            x = self.augment(x, self.next_seed())
        terms: dict[str, tf.Tensor] = {}
        weights: dict[str, tf.Tensor] = {}
        for player in self._players():
            mine, loss, gradients = self._derivative(player, x, y)
            norm, moved = self._apply(loss, gradients, player.variables)
            for name, value in player.named({**mine, "gradient_norm": norm}).items():
                terms[name], weights[name] = value, moved
        return self._track(terms, weights)

    def _derivative(self, player: Player, x: Any, y: Any) -> Derivative:
        def whole(x: Any, y: Any) -> Derivative:
            with tf.GradientTape() as tape, self._training():
                terms = player.loss(x, y)
                loss = tf.reduce_mean(terms["loss"])
                scaled_loss = self.optimizer.scale_loss(loss)
            return Derivative(terms, loss, tape.gradient(scaled_loss, player.variables))

        def in_parts(x: Any, y: Any) -> Derivative:
            return in_micro_batches(whole, self.num_micro_batches, x, y)

        differentiate = whole if self.num_micro_batches == 1 else in_parts
        if not self._is_distributed:
            return differentiate(x, y)
        return on_replicas(self.strategy, differentiate, self.variables, self.jit_compile, x, y)

    def _apply(
        self, loss: tf.Tensor, gradients: Sequence[Any], variables: Sequence[Any]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Moves the variables, unless the step is to be skipped; the gradient's length, and
        whether they moved."""
        scale = tf.cast(self.optimizer.scale_loss(1.0), "float32")
        norm = tf.linalg.global_norm([tf.cast(g, "float32") for g in gradients if g is not None])
        norm /= scale
        moves = tf.math.is_finite(loss)
        if not isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            moves &= tf.math.is_finite(norm)
        if self.skip_gradient_norm is not None:
            moves &= norm <= self.skip_gradient_norm

        def move() -> tf.Tensor:
            if self._is_distributed:
                jit_compile = self.jit_compile
                apply_on_replicas(self.strategy, self.optimizer, gradients, variables, jit_compile)
            else:
                self.optimizer.apply(gradients, variables)
            return tf.constant(0, tf.int64)

        self.skipped_steps.assign_add(tf.cond(moves, move, lambda: tf.constant(1, tf.int64)))
        return norm, moves

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        # Networks with dropout read `is_training`: losses call methods of the model, not the model
        # itself, so Keras's own `training` argument does not reach them.
        self.is_training = True
        try:
            yield
        finally:
            self.is_training = False

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self._terms(x, y))

    def _players(self) -> list[Player]:
        if self.objective is None:
            raise ValueError("model must be compiled with an objective; received: none.")
        return self.objective.players(self)

    def _terms(self, x: Any, y: Any) -> dict[str, tf.Tensor]:
        terms: dict[str, tf.Tensor] = {}
        for player in self._players():
            terms |= player.named(player.loss(x, y))
        return terms

    def _track(
        self, terms: dict[str, tf.Tensor], moved: Mapping[str, tf.Tensor] | None = None
    ) -> dict[str, tf.Tensor]:
        for name, value in terms.items():
            if moved is None:
                self._means[name].update_state(value)
            else:  # a skipped step leaves no trace in the means
                value = tf.where(moved[name], value, tf.zeros_like(value))
                weight = tf.fill(tf.shape(value), tf.cast(moved[name], value.dtype))
                self._means[name].update_state(value, weight)
        return {name: self._means[name].result() for name in terms}

    def _create_means(self) -> None:
        # Variables cannot be made inside a compiled step, so the names of the terms come first.
        if not self._means:
            function = tf.function(lambda: self._terms(*self.example_batch()), autograph=False)
            names = list(function.get_concrete_function().structured_outputs)
            for player in self._players():
                names += player.named({"gradient_norm": None})
            for name in names:
                self._means[name] = keras.metrics.Mean(name=name)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.__dict__.get("_means", {}).values())

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """The strategy in whose scope the model was made: it trains on all its replicas."""
        return self._distribute_strategy or ONE_REPLICA

    @property
    def _is_distributed(self) -> bool:
        return self.strategy.num_replicas_in_sync > 1

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        """What Keras's `fit` sees: one replica. The training step itself makes parts of a batch."""
        return ONE_REPLICA

    def _symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do. Under a strategy Keras calls the model on x alone, without its condition,
        to make variables; here the constructor and `compile` have made them."""

    def make_train_function(self, force: bool = False) -> Any:
        self._create_means()
        if not self._is_distributed:
            return super().make_train_function(force)
        if self.train_function is None or force:
            step = tf.function(self.train_step, reduce_retracing=True, autograph=False)

            def execute(iterator: Iterator[Any]) -> dict[str, tf.Tensor]:
                with self.strategy.scope():
                    logs = step(next(iterator))
                    for data in itertools.islice(iterator, self.steps_per_execution - 1):
                        logs = step(data)
                return logs

            self.train_function = execute
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        self._create_means()
        return super().make_test_function(force)

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Keras's `fit`; the first batch is checked and initialises the data-dependent layers."""
        first_x, first_y = self._first_batch(x, y, kwargs.get("batch_size") or 32)
        if first_x is not None:
            if self.augmentations:
                first_x = self.augment(first_x, seeds.as_seed(EVALUATION_SEED))
            first_x = self.check_data(first_x)
            self.condition(first_y, tf.shape(first_x)[0])
            self.initialize(first_x, first_y)
        return super().fit(x, y, **kwargs)

    @staticmethod
    def _first_batch(x: Any, y: Any, batch_size: int) -> tuple[Any, Any]:
        if isinstance(x, tf.data.Dataset):
            batch = next(iter(x.take(1)), None)
            check_argument(batch is not None, "x", "a data set with at least one batch", "none")
        elif isinstance(x, keras.utils.PyDataset):
            batch = x[0]
        elif hasattr(x, "__getitem__") and hasattr(x, "shape"):
            check_argument(len(x) > 0, "x", "an array with at least one example", tuple(x.shape))
            batch = (x[:batch_size], None if y is None else y[:batch_size])
        else:  # a generator cannot be looked into without losing its first batch
            return None, None
        first_x, first_y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        return first_x, first_y

    # ------------------------------------------------------------------ averaged weights

    @property
    def weights_kind(self) -> str:
        """ "ema" if the optimizer keeps averaged weights, else "raw"."""
        return "ema" if self._averages() else "raw"

    def _averages(self) -> list[Any]:
        optimizer = getattr(self, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if optimizer is None or not optimizer.use_ema or int(optimizer.iterations.numpy()) == 0:
            return []
        return list(optimizer._model_variables_moving_average)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the model's weights are the optimizer's averages, where it keeps them."""
        pairs = list(zip(self.trainable_variables, self._averages(), strict=False))

        def swap() -> None:
            for variable, average in pairs:
                value = variable.numpy()
                variable.assign(average)
                average.assign(value)

        swap()
        try:
            yield
        finally:
            swap()

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Keras's `evaluate`, with the averaged weights if the optimizer keeps them."""
        with self.averaged_weights():
            return super().evaluate(*args, **kwargs)

    # ------------------------------------------------------------------ serving

    def signatures(self) -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[Any]]]:
        """name -> (function of named tensors, their specs); exported as they stand.

        `log_prob(x[, y])` and `sample(num_samples, seed)`, or `sample(y, seed)` for a conditional
        model, one sample for each `y`. Noise inside `log_prob` comes from a fixed seed.
        """
        x = tf.TensorSpec([None, *self.event_shape], self.event_dtype, name="x")
        seed = tf.TensorSpec([2], tf.int32, name="seed")
        if not self.is_conditional:
            num_samples = tf.TensorSpec([], tf.int32, name="num_samples")
            return {
                "log_prob": (
                    lambda x: {"log_prob": self.log_prob(x, seed=EVALUATION_SEED)},
                    [x],
                ),
                "sample": (
                    lambda num_samples, seed: {"x": self.sample(num_samples, seed=seed)},
                    [num_samples, seed],
                ),
            }
        y = self.condition_spec()
        return {
            "log_prob": (
                lambda x, y: {"log_prob": self.log_prob(x, y, seed=EVALUATION_SEED)},
                [x, y],
            ),
            "sample": (lambda y, seed: {"x": self.sample(tf.shape(y)[0], y, seed)}, [y, seed]),
        }

    def condition_spec(self) -> tf.TensorSpec | None:
        """The spec of `y`, or None for an unconditional model."""
        if self.num_classes is not None:
            return tf.TensorSpec([None], tf.int32, name="y")
        if self.num_features is not None:
            return tf.TensorSpec([None, self.num_features], tf.float32, name="y")
        return None


def compiled_sampler(signatures: dict[str, tuple[Callable[..., Any], list[Any]]]) -> dict[str, Any]:
    """`sample_xla` and, where there is `complete`, `complete_xla`: the signatures of these names,
    compiled by XLA at a server's first request.

    For samplers with a loop, which takes several times as long as a plain graph. A server compiles
    on a CPU only if it was started so; `sample` runs on any.
    """
    return {
        f"{name}_xla": (tf.function(signatures[name][0], jit_compile=True, autograph=False), specs)
        for name, (_, specs) in signatures.items()
        if name in ("sample", "complete")
    }
