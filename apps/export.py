"""Writes a run's model as a SavedModel for TensorFlow Serving: OUT/1, then OUT/2, ...

python -m apps.export --workdir=runs/digits --out=saved_models/digits
python -m apps.export --workdir=runs/digits --out=saved_models/digits --latency
"""

from absl import flags

from apps.common import run

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_OUT = flags.DEFINE_string("out", None, "Folder of the model's versions.")
_NOTES = flags.DEFINE_string("notes", None, "For the model card: the data's licence, for example.")
_BATCH_SIZES = flags.DEFINE_list(
    "warmup_batch_sizes", ["1", "8"], "Batch sizes of the warm-up records and of the check."
)
_SIGNATURES = flags.DEFINE_list(
    "warmup_signatures",
    None,
    "Signatures with warm-up records; all standard ones without. For a server that batches: those "
    "without a seed.",
)
_LATENCY = flags.DEFINE_boolean(
    "latency", False, "Time each signature, served and live, and the cold start; takes minutes."
)


def main() -> None:
    for name, flag in (("--workdir", _WORKDIR), ("--out", _OUT)):
        if flag.value is None:
            raise ValueError(f"{name} must be given; received: nothing.")
    if not all(size.isdecimal() and int(size) > 0 for size in _BATCH_SIZES.value):
        raise ValueError(
            f"--warmup_batch_sizes must be positive integers; received: {_BATCH_SIZES.value}."
        )
    batch_sizes = [int(size) for size in _BATCH_SIZES.value]
    import tfgen
    from tfgen.serving import warmup
    from tfgen.serving.graph import signature_table
    from tfgen.serving.model_card import card_of_run, signature_rows
    from tfgen.serving.session import read_warmup

    card = card_of_run(_WORKDIR.value)
    if _NOTES.value is not None:
        card["notes"] = _NOTES.value
    model = tfgen.load(_WORKDIR.value)
    version = tfgen.export(model, _OUT.value, card, batch_sizes, _SIGNATURES.value)
    _print([("signature", "", "name", "dtype", "shape"), *signature_rows(signature_table(version))])
    if warmup.is_available():
        records = [signature for signature, _ in read_warmup(version / warmup.FILE)]
        names = ", ".join(dict.fromkeys(records))
        sizes = ", ".join(map(str, batch_sizes))
        print(f"\n  {len(records)} warm-up records, replayed: {names}; batch sizes {sizes}")
    else:
        print("\n  no warm-up records: they need the extra serving, pip install 'tfgen[serving]'")
    if _LATENCY.value:
        import logging

        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # the session loader is deprecated
        from tfgen.serving.latency import cold_start, latency

        print("\n  milliseconds an answer, the best of several")
        header = ("signature", "batch", "served", "in one thread", "live", "examples a second")
        _print([header, *latency(model, version)])
        print("\n  cold start, one example")
        _print([("", "ready, s", "first log_prob, ms"), *cold_start(model, version)])
    print(f"\n  {version}")


def _print(rows: list) -> None:
    texts = [[f"{c:.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join(cells).rstrip())


if __name__ == "__main__":
    run(main, "python -m apps.export --workdir=DIR --out=saved_models/NAME")
