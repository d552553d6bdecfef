"""Weights of a PyTorch port of PixelCNN++, `pclucas14/pixel-cnn-pp` on GitHub, in our model.

    port                                  ours
    u_init                                u_first
    ul_init.0, ul_init.1                  ul_first_above, ul_first_left
    up_layers.S.u_stream.I                u[S].up[I], a block
    up_layers.S.ul_stream.I               ul[S].up[I]
    down_layers.S.u_stream.I              u[lowest - S].down[I]: the port counts from the lowest
    down_layers.S.ul_stream.I             ul[lowest - S].down[I]
    downsize_u_stream.S                   u[S].shrink, as well as downsize_ul_stream.S, ul[S].shrink
    upsize_u_stream.S                     u[lowest - 1 - S].grow, as well as upsize_ul_stream.S
    nin_out                               head
    of a block: conv_input                input_layer
                nin_skip                  aux_layer
                conv_out                  output_layer

Each layer has a bias and a kernel g V / ||V||. The port's kernels are `[out, in, rows, columns]`,
those of transposed convolutions `[in, out, rows, columns]`; the length g belongs to the first axis,
and so to the inputs of a transposed convolution where ours belongs to its outputs. As all of these
have as many inputs as outputs, both count the same number of parameters. The kernel itself goes
over: ours takes it as its direction, and its norm as its length. The head's outputs are ordered
by `parameter_order`.

As a script, by a Python that has PyTorch: `pixelcnn_pp_port.py CLONE RESULTS.npz NR_RESNET
NR_FILTERS NR_LOGISTIC_MIX` writes random weights, images `x` and the port's loss of each.
"""

import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np


def layer_names(model: Any) -> Iterator[tuple[str, Any]]:
    """The port's name of each weight-normalised layer of ours."""
    yield "u_init.conv", model.u_first
    yield "ul_init.0.conv", model.ul_first_above
    yield "ul_init.1.conv", model.ul_first_left
    lowest = len(model.u) - 1
    for stream, levels in (("u_stream", model.u), ("ul_stream", model.ul)):
        for level, part in enumerate(levels):
            for index, block in enumerate(part.up):
                yield from _of_block(f"up_layers.{level}.{stream}.{index}", block)
            for index, block in enumerate(part.down):
                yield from _of_block(f"down_layers.{lowest - level}.{stream}.{index}", block)
            if level < lowest:
                yield f"downsize_{stream}.{level}.conv", part.shrink
                yield f"upsize_{stream}.{lowest - 1 - level}.deconv", part.grow
    yield "nin_out.lin_a", model.head


def _of_block(name: str, block: Any) -> Iterator[tuple[str, Any]]:
    yield f"{name}.conv_input.conv", block.input_layer
    if block.aux_layer is not None:
        yield f"{name}.nin_skip.lin_a", block.aux_layer
    yield f"{name}.conv_out.conv", block.output_layer


def effective_kernel(name: str, state: dict[str, np.ndarray]) -> np.ndarray:
    """g V / ||V|| of a layer of the port, `[rows, columns, in, out]`, or `[in, out]` if dense."""
    length, direction = state[f"{name}.weight_g"], state[f"{name}.weight_v"]
    axes = tuple(range(1, direction.ndim))
    kernel = length * direction / np.sqrt(np.square(direction).sum(axis=axes, keepdims=True))
    if direction.ndim == 2:
        return kernel.T
    return kernel.transpose([2, 3, 0, 1] if name.endswith(".deconv") else [2, 3, 1, 0])


def parameter_order(num_mixtures: int, num_channels: int) -> np.ndarray:
    """For each of our head's outputs, its place among the port's.

    The port's: M logits, then for each colour M means, M log scales and M coefficients, those of
    the colours being (2 on 1), (3 on 1) and (3 on 2). With one colour there are no coefficients.
    """
    num_kinds = 2 if num_channels == 1 else 3
    places = np.arange(num_mixtures * num_channels * num_kinds) + num_mixtures
    by_kind = places.reshape(num_channels, num_kinds, num_mixtures).transpose(1, 2, 0)
    return np.concatenate([np.arange(num_mixtures), by_kind.ravel()])


def transplant(state: dict[str, np.ndarray], model: Any) -> None:
    """Sets every weight of our model from the port's `state_dict`, as arrays."""
    for name, layer in layer_names(model):
        kernel, bias = effective_kernel(name, state), state[f"{name}.bias"]
        if layer is model.head:
            order = parameter_order(model.likelihood.num_mixtures, model.event_shape[-1])
            kernel, bias = kernel[:, order], bias[order]
        layer.direction.assign(kernel)
        layer.length.assign(np.sqrt(np.square(kernel).reshape(-1, layer.units).sum(axis=0)))
        layer.bias.assign(bias)


def state_shapes(
    nr_resnet: int, nr_filters: int, nr_logistic_mix: int, input_channels: int = 3
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the port's `state_dict`."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, kernel: tuple[int, ...], num_outputs: int) -> None:
        shapes[f"{name}.bias"] = (num_outputs,)
        shapes[f"{name}.weight_g"] = (kernel[0], *[1] * (len(kernel) - 1))
        shapes[f"{name}.weight_v"] = kernel

    def convolution(name: str, num_inputs: int, num_outputs: int, size: tuple[int, int]) -> None:
        layer(f"{name}.conv", (num_outputs, num_inputs, *size), num_outputs)

    filters, sizes = nr_filters, {"u_stream": (2, 3), "ul_stream": (2, 2)}
    convolution("u_init", input_channels + 1, filters, (2, 3))
    convolution("ul_init.0", input_channels + 1, filters, (1, 3))
    convolution("ul_init.1", input_channels + 1, filters, (2, 1))
    for which, short_cuts, num_blocks in (
        ("up_layers", 0, [nr_resnet] * 3),
        ("down_layers", 1, [nr_resnet, nr_resnet + 1, nr_resnet + 1]),
    ):
        for scale, number in enumerate(num_blocks):
            for stream, size in sizes.items():
                seen = short_cuts + (stream == "ul_stream")
                for index in range(number):
                    name = f"{which}.{scale}.{stream}.{index}"
                    convolution(f"{name}.conv_input", 2 * filters, filters, size)
                    if seen:
                        layer(f"{name}.nin_skip.lin_a", (filters, 2 * seen * filters), filters)
                    convolution(f"{name}.conv_out", 2 * filters, 2 * filters, size)
    for scale in range(2):
        for stream, size in sizes.items():
            convolution(f"downsize_{stream}.{scale}", filters, filters, size)
            layer(f"upsize_{stream}.{scale}.deconv", (filters, filters, *size), filters)
    num_parameters = (3 if input_channels == 1 else 10) * nr_logistic_mix
    layer("nin_out.lin_a", (num_parameters, filters), num_parameters)
    return shapes


def _load(folder: pathlib.Path) -> tuple[Any, Any]:
    """The port's modules `model` and `utils`, as it stands: Python 2, and a loss on a GPU."""
    import torch

    torch.Tensor.cuda = lambda self: self
    modules = {}
    for name in ("utils", "layers", "model"):
        module = sys.modules[name] = modules[name] = types.ModuleType(name)
        source = (folder / f"{name}.py").read_text().replace("print e\n", "print(e)\n")
        exec(compile(source, name, "exec"), module.__dict__)
    return modules["model"], modules["utils"]


def main(folder: str, results: str, *sizes: str) -> None:
    import torch

    model_module, utils = _load(pathlib.Path(folder))
    torch.manual_seed(0)
    model = model_module.PixelCNN(*map(int, sizes)).eval()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (4, 3, 32, 32)).astype("uint8")
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith("bias"):
                values.copy_(0.3 * torch.randn(values.shape))
            elif name.endswith("weight_g"):
                values.mul_(0.5 + 1.5 * torch.rand(values.shape))
        model.nin_out.lin_a.weight_g.mul_(3.0)  # parameters that differ from pixel to pixel
        scaled = torch.tensor(x / 127.5 - 1.0, dtype=torch.float32)
        outputs = model(scaled)
        loss = [
            float(utils.discretized_mix_logistic_loss(scaled[i : i + 1], outputs[i : i + 1]))
            for i in range(len(x))
        ]
    state = {name: values.numpy() for name, values in model.state_dict().items()}
    np.savez(results, x=x.transpose(0, 2, 3, 1), loss=np.array(loss), **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
