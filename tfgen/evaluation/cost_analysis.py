"""Floating-point operations of a compiled function, by XLA's own cost analysis."""

import json
import os
import tempfile
from collections import Counter
from typing import Any

from tensorflow.compiler.xla.service import hlo_pb2
from tensorflow.python.profiler.internal import _pywrap_profiler_plugin
from tensorflow.tsl.profiler.protobuf import xplane_pb2

PRODUCTS = {"dot", "convolution", "custom-call"}  # libraries' products are custom calls on a GPU
DURATION_PS = 10**12  # of the events: rates per second are then counts
MODULE_ID = 1


def product_flop(function: Any, *arguments: Any) -> int:
    """FLOP of all matrix products and convolutions in one call of a compiled function.

    A multiplication and an addition are two; a convolution's multiplications with its zero padding
    are none. Loops count as often as they run if the compiler knows how often that is, else once.
    Elementwise functions are left out: this compiler's analysis weighs them by clock cycles of one
    particular GPU (an exponential as 86), which is no count of operations.

    TensorFlow's Python package offers the analysis only through its profiler, which applies it to
    whatever compiled operations a profile names. So this writes a profile in which each product of
    the optimised program takes one second, and reads the rates.

    Args:
        function: a `tf.function` with `jit_compile=True`; it is compiled once more, and not run.
        *arguments: of the call to analyse.

    Raises:
        RuntimeError: the profiler left out a product.
    """
    ir = function.experimental_get_compiler_ir(*arguments)
    module = hlo_pb2.HloModuleProto.FromString(ir(stage="optimized_hlo_serialized"))
    module.id = MODULE_ID
    counts = _counts(module)
    if not counts:
        return 0
    flop = _flop(module, list(counts))
    missing = counts.keys() - flop.keys()
    if missing:
        raise RuntimeError(f"TensorFlow's profiler gives no cost of {sorted(missing)}.")
    return sum(counts[name] * flop[name] for name in counts)


def _counts(module: Any) -> Counter[str]:
    """How often each product runs, following calls, fusions and loops from the entry."""
    computations = {computation.id: computation for computation in module.computations}
    counts: Counter[str] = Counter()

    def visit(computation: Any, times: int) -> None:
        for instruction in computation.instructions:
            if instruction.opcode in PRODUCTS:
                counts[instruction.name] += times
            inner = times * (_trip_count(instruction) if instruction.opcode == "while" else 1)
            for called in instruction.called_computation_ids:
                visit(computations[called], inner)

    visit(computations[module.entry_computation_id], 1)
    return counts


def _trip_count(loop: Any) -> int:
    try:
        return int(json.loads(loop.backend_config)["known_trip_count"]["n"])
    except (ValueError, KeyError):
        return 1


def _flop(module: Any, names: list[str]) -> dict[str, int]:
    """FLOP of one run of each named instruction."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "step.xplane.pb")
        with open(path, "wb") as file:
            file.write(_profile(module, names).SerializeToString())
        content, is_complete = _pywrap_profiler_plugin.xspace_to_tools_data([path], "hlo_stats", {})
    if not is_complete:
        raise RuntimeError(f"TensorFlow's profiler failed: {content!r}")
    table = json.loads(content)
    columns = [column["id"] for column in table["cols"]]
    name, rate = columns.index("hlo_op_name"), columns.index("model_flop_rate")
    rows = [[cell["v"] for cell in row["c"]] for row in table["rows"]]
    return {row[name]: round(row[rate] * 1e9) for row in rows}


def _profile(module: Any, names: list[str]) -> Any:
    """A profile of one device that ran the named instructions of a module, one after the other."""
    space = xplane_pb2.XSpace()
    programs = space.planes.add(name="/host:metadata")
    kind = _named(programs.stat_metadata, 1, "Hlo Proto")
    program = _named(programs.event_metadata, 1, f"{module.name}({MODULE_ID})")
    content = hlo_pb2.HloProto(hlo_module=module).SerializeToString()
    program.stats.add(metadata_id=kind.id, bytes_value=content)

    device = space.planes.add(name="/device:GPU:0", id=1)
    texts = ["hlo_op", "hlo_module", "program_id", module.name, *names]
    ids = {text: _named(device.stat_metadata, i, text).id for i, text in enumerate(texts, 1)}
    line = device.lines.add(id=1, name="XLA Ops")
    for index, name in enumerate(names):
        operation = _named(device.event_metadata, index + 1, name)
        event = line.events.add(
            metadata_id=operation.id, offset_ps=index * DURATION_PS, duration_ps=DURATION_PS
        )
        event.stats.add(metadata_id=ids["hlo_op"], ref_value=ids[name])
        event.stats.add(metadata_id=ids["hlo_module"], ref_value=ids[module.name])
        event.stats.add(metadata_id=ids["program_id"], uint64_value=MODULE_ID)
    return space


def _named(metadata: Any, number: int, name: str) -> Any:
    metadata[number].id = number
    metadata[number].name = name
    return metadata[number]
