"""Writes one HTML file about one or several runs: results, curves, pictures, config differences.

python -m apps.report runs/vae_digits runs/realnvp_digits --out=report.html

The file needs nothing else, no network either. Runs of different data have axes of their own.
"""

import pathlib

from absl import flags

from apps.common import run

_OUT = flags.DEFINE_string("out", "report.html", "File to write, .html.")
USAGE = "python -m apps.report DIR [DIR ...] --out=report.html"


def main(workdirs: list[str]) -> None:
    if not workdirs:
        raise ValueError(f"folders of runs must be given; received: none. {USAGE}")
    out = pathlib.Path(_OUT.value)
    if out.suffix != ".html":
        raise ValueError(f"--out must end in .html; received: {_OUT.value!r}.")
    from tfgen.training.files import write_atomically
    from tfgen.training.report import report

    write_atomically(out, report(workdirs).encode())
    print(out)


if __name__ == "__main__":
    run(main, USAGE, takes_arguments=True)
