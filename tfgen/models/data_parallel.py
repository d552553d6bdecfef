"""The gradient of a batch from its parts: on several devices at once, or one after another.

The loss is a mean over examples and the parts are equal: the mean of the parts' means is that of
the batch, and so are the gradients, up to the order of float32 sums. What is not a mean over
examples (free bits, which act on the mean of a batch; objectives that compare its examples) then
acts on each part.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfgen import seeds
from tfgen.checks import check_argument


class Derivative(NamedTuple):
    """Terms of an objective by name, each `[B]` or their mean; the loss; its gradients."""

    terms: dict[str, tf.Tensor]
    loss: tf.Tensor
    gradients: list[Any]


Differentiate = Callable[[Any, Any], Derivative]


def in_micro_batches(differentiate: Differentiate, num: int, x: Any, y: Any) -> Derivative:
    """The derivative of a batch in the memory of one of its `num` parts; terms are means."""
    size = _part_size(x, num, "num_micro_batches")

    def part(index: Any) -> list[tf.Tensor]:
        x_part, y_part = (_slice(v, index * size, size) for v in (x, y))
        derivative = differentiate(x_part, y_part)
        layout.of(derivative)
        return layout.pack(derivative)

    layout = _Layout()
    # Only traced: the sums' shapes must be known before the loop.
    shapes = tf.function(part, autograph=False).get_concrete_function(tf.TensorSpec([], tf.int32))
    zeros = [tf.zeros(o.shape, o.dtype) for o in shapes.structured_outputs]

    def body(index: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return index + 1, *(s + value for s, value in zip(sums, part(index), strict=True))

    _, *sums = tf.while_loop(
        lambda index, *_: index < num,
        body,
        [tf.constant(0), *zeros],
        maximum_iterations=num,
        parallel_iterations=1,
    )
    return layout.unpack([s / tf.cast(num, s.dtype) for s in sums])


def on_replicas(
    strategy: tf.distribute.Strategy,
    differentiate: Differentiate,
    variables: Sequence[keras.Variable],
    jit_compile: bool,
    x: Any,
    y: Any,
) -> Derivative:
    """The derivative of a batch, a part of it on each replica; called in a cross-replica context.

    `x` and `y` are this worker's share of the batch, the same number of examples for each of its
    replicas. Replica r draws its noise from the states of the seed generators with r folded in.
    Loss and gradients are one XLA program; terms, loss and gradients then travel as one vector,
    outside of it.

    Args:
        strategy: whose replicas.
        differentiate: the derivative of a part; its variables were made in the strategy's scope.
        variables: the model's. The states of its seed generators move on by one; no others may
            change.
        jit_compile: compile with XLA.
        x: examples.
        y: their conditions, or None.

    Raises:
        ValueError: parts of different sizes, or a layer that changes a variable in its call, as
            Keras's `BatchNormalization` does: what the replicas store would be lost.
    """
    generators = [v for v in variables if v.name == "seed_generator_state"]
    variables = [v for v in variables if v.name != "seed_generator_state"]
    local_devices = strategy.extended.worker_devices
    size = _part_size(x, len(local_devices), "batch_size")
    states = [tf.identity(state.value) for state in generators]
    for state in generators:
        state.assign(state.value + tf.constant([0, 1], state.dtype))
    layout = _Layout()

    @tf.function(jit_compile=jit_compile, autograph=False)
    def differentiate_part(x: Any, y: Any, replica: tf.Tensor, *states: tf.Tensor) -> tf.Tensor:
        folded = [
            tf.cast(seeds.fold_in(tf.cast(state, tf.int32), replica), state.dtype)
            for state in states
        ]
        # What the part changes (the seed generators) stays in the scope: a pure function.
        with keras.StatelessScope(list(zip(generators, folded, strict=True))) as scope:
            derivative = differentiate(x, y)
        changed = [v.path for v in variables if scope.get_current_value(v) is not None]
        check_argument(
            not changed,
            "strategy",
            "one of one device for layers that store what they see while they train",
            f"replicas, and changes of {', '.join(changed)}",
        )
        layout.of(derivative)
        return tf.concat([tf.reshape(v, [-1]) for v in layout.pack(derivative)], 0)

    def on_replica() -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = (replica % len(local_devices)) * size
        x_part, y_part = (_slice(v, first, size) for v in (x, y))
        return differentiate_part(x_part, y_part, tf.cast(replica, tf.int32), *states)

    vector = strategy.extended.reduce_to(
        tf.distribute.ReduceOp.MEAN, strategy.run(on_replica), local_devices[0]
    )
    values = tf.split(vector, [shape.num_elements() for shape in layout.shapes])
    return layout.unpack(
        [tf.reshape(v, shape) for v, shape in zip(values, layout.shapes, strict=True)]
    )


def prepare_for_replicas(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes `optimizer.apply` what it is on one device, for `apply_on_replicas`.

    Keras's own is called on every replica with the replica's gradient, sums them after it has
    clipped them, and cannot be under a condition. Of a `LossScaleOptimizer` the scaled mean decides
    whether all replicas move or the scale is halved.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        object.__setattr__(optimizer, "_tf_apply", optimizer._common_apply)
        optimizer = optimizer.inner_optimizer

    def update_step(gradients: Any, variables: Any, learning_rate: Any) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            optimizer.update_step(gradient, variable, learning_rate)

    def apply_weight_decay(variables: Any) -> None:
        if optimizer.weight_decay is None:
            return
        for variable in filter(optimizer._use_weight_decay, variables):
            factor = tf.cast(optimizer.learning_rate * optimizer.weight_decay, variable.dtype)
            variable.assign_sub(variable.value * factor)

    object.__setattr__(optimizer, "_backend_update_step", update_step)
    object.__setattr__(optimizer, "_apply_weight_decay", apply_weight_decay)


def apply_on_replicas(
    strategy: tf.distribute.Strategy,
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Any],
    variables: Sequence[keras.Variable],
    jit_compile: bool,
) -> None:
    """Moves every replica's copy of the variables by the mean gradient, in a program of its own;
    called in a cross-replica context with a prepared optimizer."""
    is_given = [gradient is not None for gradient in gradients]

    def on_device(_: Any, *given: tf.Tensor) -> None:
        # Not one function for all devices: each holds on to its device's variables.
        @tf.function(jit_compile=jit_compile, autograph=False)
        def apply(*given: tf.Tensor) -> None:
            rest = iter(given)
            optimizer.apply([next(rest) if g else None for g in is_given], variables)

        apply(*given)

    # Inside, variables of the strategy are the device's; the first one only says which devices.
    given = tuple(gradient for gradient in gradients if gradient is not None)
    strategy.extended.update(variables[0].value, on_device, args=given, group=False)


class _Layout:
    """A derivative as a list of tensors of one type: mean terms, loss, gradients."""

    def of(self, derivative: Derivative) -> None:
        """Remembers the structure."""
        self.names = list(derivative.terms)
        self.is_given = [gradient is not None for gradient in derivative.gradients]
        self.dtype = derivative.loss.dtype
        self.shapes = [value.shape for value in self.pack(derivative)]

    def pack(self, derivative: Derivative) -> list[tf.Tensor]:
        means = [tf.reduce_mean(value) for value in derivative.terms.values()]
        given = [tf.convert_to_tensor(g) for g in derivative.gradients if g is not None]
        return [tf.cast(v, self.dtype) for v in (*means, derivative.loss, *given)]

    def unpack(self, values: Sequence[tf.Tensor]) -> Derivative:
        number = len(self.names)
        terms = dict(zip(self.names, values[:number], strict=True))
        gradients = iter(values[number + 1 :])
        return Derivative(
            terms,
            values[number],
            [next(gradients) if is_given else None for is_given in self.is_given],
        )


def _slice(values: Any, first: Any, size: int) -> Any:
    return None if values is None else values[first : first + size]


def _part_size(x: tf.Tensor, num: int, name: str) -> int:
    batch_size = x.shape[0]
    fits = batch_size is not None and batch_size % num == 0
    check_argument(fits, name, f"such that a batch has {num} equal parts", f"{batch_size} examples")
    return batch_size // num
