"""What a SavedModel's graph offers and holds."""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# Python functions do not travel, and a server does not compile with XLA on a CPU unless told to;
# the libraries of the Python wheel do both, so that only looking at the graph shows it.
PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
XLA_ATTRIBUTE = "_XlaMustCompile"
XLA_SUFFIX = "_xla"  # of the signatures that may


def signature_table(path: Any) -> dict[str, dict[str, dict[str, tuple[str, tuple]]]]:
    """What a SavedModel offers: signature -> "inputs", "outputs" -> name -> (dtype, shape)."""
    table = {}
    for name, definition in sorted(_meta_graph(path).signature_def.items()):
        if not name.startswith("__"):  # TensorFlow's own
            table[name] = {
                "inputs": _named_types(definition.inputs),
                "outputs": _named_types(definition.outputs),
            }
    return table


def check_graph(folder: Any, signatures: Iterable[str]) -> None:
    """Raises `RuntimeError` for a signature that a server could not run, or not by batches."""
    meta_graph = _meta_graph(folder)
    for signature in signatures:
        definition = meta_graph.signature_def[signature]
        for name, (_, shape) in _named_types(definition.outputs).items():
            if not shape or shape[0] is not None or None in shape[1:]:
                raise RuntimeError(
                    f"Output {name!r} of signature {signature!r} must have a free batch dimension, "
                    f"and no other; its shape is {shape}."
                )
        for op, attributes in _reached(meta_graph, definition):
            fault = None
            if op in PYTHON_OPS:
                fault = f"calls Python (op {op})"
            elif op.startswith("Assign"):
                fault = f"changes a variable (op {op}): a draw in it does not take the seed"
            elif _demands_xla(attributes) and not signature.endswith(XLA_SUFFIX):
                fault = f"demands XLA compilation ({XLA_ATTRIBUTE} of {op})"
            if fault:
                raise RuntimeError(f"Signature {signature!r} cannot be served: it {fault}.")


def _named_types(tensors: Any) -> dict[str, tuple[str, tuple]]:
    return {
        name: (tf.dtypes.as_dtype(info.dtype).name, tuple(tf.TensorShape(info.tensor_shape)))
        for name, info in sorted(tensors.items())
    }


def _meta_graph(folder: Any) -> Any:
    file = pathlib.Path(folder) / "saved_model.pb"
    return saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0]


def _demands_xla(attributes: Any) -> bool:
    return XLA_ATTRIBUTE in attributes and attributes[XLA_ATTRIBUTE].b


def _reached(meta_graph: Any, definition: Any) -> Iterator[tuple[str, Any]]:
    """(op or function name, attributes) of all nodes and functions that a signature runs."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
    waiting = [_node_name(tensor.name) for tensor in definition.outputs.values()]
    seen_nodes, seen_functions = set(waiting), set[str]()
    called: list[Any] = []
    while waiting:
        node = nodes[waiting.pop()]
        called.append(node)
        inputs = {_node_name(name) for name in node.input} - seen_nodes
        seen_nodes |= inputs
        waiting += inputs
    while called:
        node = called.pop()
        yield node.op, node.attr
        for name in _called_functions(node) - seen_functions:
            if name in functions:
                seen_functions.add(name)
                yield name, functions[name].attr
                called += functions[name].node_def


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called_functions(node: Any) -> set[str]:
    names = {node.op}  # a function can be called as an op of its name
    for value in node.attr.values():
        names |= {value.func.name, *(function.name for function in value.list.func)}
    return names
