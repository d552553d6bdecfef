"""The report of runs: its numbers, its axes, what it refuses, and the page in a browser."""

import base64
import html
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from tfgen.evaluation.pictures import png
from tfgen.training.report import report
from tfgen.training.report.charts import MAX_POINTS
from tfgen.training.report.runs import comparable_groups, read_runs

ROOT = pathlib.Path(__file__).parent.parent.parent
HOSTILE = "</script><script>alert('x')</script>\"'&<b>"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def lines(num_steps=40, **terms):
    """Training at every second step, validation at every tenth."""
    terms = {"bits_per_dim": 1.5, "loss": 90.0, "gradient_norm": 2.0, **terms}
    found = []
    for step in range(2, num_steps + 1, 2):
        found.append({"step": step, **{name: value + 8 / step for name, value in terms.items()}})
        if step % 10 == 0:
            found.append({"step": step, "validation/bits_per_dim": 1.75 + 3 / step})
    return found


def write_run(folder, metrics=None, results=(), pictures=("samples", "reconstructions"), **config):
    folder.mkdir(parents=True)
    whole = {
        "seed": 0,
        "data": {"name": "digits"},
        "model": {"type": "VAE", "event_shape": [8, 8, 1], "num_levels": 17},
        "objective": {"type": "ELBO"},
        "evaluation": {"report": {"num_samples": 1000}},
    }
    (folder / "config.json").write_text(json.dumps({**whole, **config}))
    text = "".join(json.dumps(line) + "\n" for line in metrics or lines())
    (folder / "metrics.jsonl").write_text(text)
    if results is not None:
        whole = {
            "metric": "bits_per_dim",
            "kind": "bound",
            "nats": 84.42123456789,
            "bits_per_dim": 1.9030987654321,
            "standard_error": 0.0163456789,
            "num_examples": 300,
            "num_parameters": 219585,
            "training_seconds": 263.4,
            "best_step": 38,
            "num_steps": 40,
            "weights": "ema",
            "kl_per_group": [0.25, 4.0, 1.5],
            "commit": COMMIT,
            "command": "python -m apps.train",
            "hardware": "Some processor, 2 cores, no GPU",
            "data": {"name": "digits", "binarization": None, "preprocessing": ["Split 80/20."]},
        }
        (folder / "results.json").write_text(json.dumps({**whole, **dict(results)}))
    for number, name in enumerate(pictures):
        (folder / f"{name}.png").write_bytes(png(np.full((6, 8, 3), 40 * number, "uint8")))
    return folder


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and all text that is neither style nor script."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.inside, self.data = [], "", [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self.inside and data.startswith("{"):
            self.data.append(json.loads(data))
        elif not {"script", "style"} & set(self.inside):
            self.text += data

    def numbers(self):
        """The whole value of every number shown."""
        return [float(a["value"]) for tag, a in self.elements if tag == "data"]

    def charts(self):
        """Caption-free: label -> (steps, values) of each chart in turn."""
        return [
            {one["label"]: (one["steps"], one["values"]) for one in chart["series"]}
            for chart in self.data
        ]


def page_of(*folders):
    return Page(report(folders))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    vae = write_run(folder / "vae")
    flow = write_run(
        folder / "flow",
        metrics=lines(60, loss=110.0),
        results={"nats": 91.0, "bits_per_dim": 2.05, "standard_error": 0.018, "best_step": 60},
        model={"type": "RealNVP", "event_shape": [8, 8, 1], "num_levels": 17},
        objective={"type": "NegativeLogProb"},
        optimizer={"config": {"learning_rate": 0.002}},
    )
    table = write_run(
        folder / "table",
        metrics=[
            {"step": s, "nats": 5.0 - s / 10, "validation/nats": 5.5 - s / 10} for s in (1, 2)
        ],
        results={"metric": "nats", "kind": "exact", "nats": -4.553, "bits_per_dim": None},
        pictures=(),
        data={"name": "diamonds"},
        model={"type": "MAF", "event_shape": [10], "num_levels": None},
    )
    return vae, flow, table


def test_numbers_are_those_of_the_results(runs):
    page = page_of(*runs)
    shown = page.numbers()
    for folder in runs:
        results = json.loads((folder / "results.json").read_text())
        for name in ("nats", results["metric"], "standard_error", "num_parameters", "best_step"):
            assert results[name] in shown, name
    text = " ".join(page.text.split())
    assert "≤ 1.903 ± 0.016" in text
    assert "-4.553 ± 0.016" in text
    assert "≤ -4.553" not in text  # exact
    assert "bound, num_samples 1000" in text
    assert "219,585" in text
    assert "4.4 min" in text
    assert COMMIT in text
    assert "Some processor, 2 cores, no GPU" in text


def test_curves_are_those_of_the_metrics(runs):
    vae, *_ = runs
    charts = page_of(vae).charts()
    assert len(charts) == 3
    found = [json.loads(line) for line in (vae / "metrics.jsonl").read_text().splitlines()]
    for chart, name in zip(charts, ("bits_per_dim", "loss", "gradient_norm"), strict=True):
        expected = [(line["step"], line[name]) for line in found if name in line]
        assert list(zip(*chart["vae"], strict=True)) == expected
    steps, values = charts[0]["vae, validation"]
    assert steps == [10, 20, 30, 40]
    assert values == [1.75 + 3 / step for step in steps]


def test_pictures_are_in_the_file(runs):
    page = page_of(*runs)
    sources = [a["src"] for tag, a in page.elements if tag == "img"]
    expected = [runs[i] / f"{name}.png" for name in ("samples", "reconstructions") for i in (0, 1)]
    prefix = "data:image/png;base64,"
    assert [base64.b64decode(s.removeprefix(prefix)) for s in sources] == [
        path.read_bytes() for path in expected
    ]


def test_the_file_needs_no_other(runs):
    source = report(runs)
    page = Page(source)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    assert not re.search(r"https?://|@import|url\(", source)
    assert report(runs) == source


def test_likelihoods_of_different_data_have_axes_of_their_own(runs, tmp_path):
    vae, flow, table = runs
    page = page_of(vae, flow, table)
    labels = [set(chart) for chart in page.charts()]
    assert {"vae", "vae, validation", "flow", "flow, validation"} in labels
    assert not any({"vae", "table"} <= chart or {"flow", "table"} <= chart for chart in labels)
    assert "2 different sets of data" in page.text
    assert "different" not in page_of(vae, table.parent / "flow").text.split("losses")[0].lower()

    others = [
        write_run(tmp_path / "binary", data={"name": "digits", "binarize": "fixed"}),
        write_run(tmp_path / "labelled", data={"name": "digits", "labels": True}),
        write_run(
            tmp_path / "levels",
            model={"type": "VAE", "event_shape": [8, 8, 1], "num_levels": 16},
        ),
        write_run(tmp_path / "prepared", results={"data": {"preprocessing": ["Split 70/30."]}}),
    ]
    for other in others:
        assert len(comparable_groups(read_runs([vae, other]))) == 2, other
        assert not any({"vae", other.name} <= set(chart) for chart in page_of(vae, other).charts())
    assert "(prepared differently)" in page_of(vae, others[-1]).text


def test_of_labelled_data_only_one_model_shares_an_axis(tmp_path):
    """Some give the likelihood of x given y, some that of both, some that of y given x."""
    model = {"event_shape": [8, 8, 1], "num_levels": 17}
    folders = [
        write_run(tmp_path / name, data={"name": "digits", "labels": True}, model=model | kind)
        for name, kind in (
            ("a", {"type": "VAE"}),
            ("b", {"type": "VAE", "latent_shape": [2]}),
            ("c", {"type": "Classifier"}),
        )
    ]
    groups = comparable_groups(read_runs(folders))
    assert [[run.name for run in group] for group in groups] == [["a", "b"], ["c"]]


def test_losses_of_different_objectives_have_axes_of_their_own(runs):
    vae, flow, _ = runs
    page = page_of(vae, flow)
    with_loss = [chart for chart in page.charts() if any(v[0] > 50 for _, v in chart.values())]
    assert [set(chart) for chart in with_loss] == [{"vae"}, {"flow"}]
    assert "loss · NegativeLogProb" in page.text
    assert "The losses of different objectives are different quantities" in page.text


def test_layers_share_a_chart_of_their_run(tmp_path):
    terms = {f"validation/kl_layer/{number}": float(number) for number in (1, 2, 10)}
    runs = [write_run(tmp_path / name, metrics=lines(**terms)) for name in "ab"]
    charts = [chart for chart in page_of(*runs).charts() if any("layer" in k for k in chart)]
    names = [f"layer {number}, validation" for number in (1, 2, 10)]
    assert [list(chart) for chart in charts] == [names, names]


def test_hostile_text_stays_text(tmp_path):
    folder = write_run(
        tmp_path / "run <script>",
        metrics=lines(**{HOSTILE: 1.0}),
        results={"hardware": HOSTILE, "command": HOSTILE, "kind": HOSTILE, HOSTILE: 1.5},
        data={"name": HOSTILE, HOSTILE: HOSTILE},
        objective={"type": HOSTILE, HOSTILE: HOSTILE},
        evaluation={"report": {HOSTILE: HOSTILE}},
    )
    other = write_run(tmp_path / "other", **{HOSTILE: 1})
    page = page_of(folder, other)
    assert HOSTILE in page.text
    assert "run <script>" in page.charts()[0]
    tags = [tag for tag, _ in page.elements]
    assert "b" not in tags
    assert tags.count("script") == len(page.data) + 1


def test_config_differences(runs):
    vae, flow, _ = runs
    source = report([vae, flow])
    table = Page(source[source.index("Config differences") :].split("</section>")[0]).text
    assert '"VAE"' in table
    assert "optimizer.config.learning_rate—0.002" in table.replace("\n", "")
    assert "seed" not in table
    assert "Config differences" not in report([vae])


def test_a_run_that_goes_on_has_curves_and_no_results(tmp_path):
    folder = write_run(tmp_path / "run", results=None, pictures=())
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 42, "bits_per')
    page = page_of(folder)
    assert "run: no results yet; the run has not ended." in page.text
    assert "run: the last line of metrics.jsonl is incomplete and left out." in page.text
    assert page.charts()[0]["run"][0][-1] == 40


def test_values_that_are_not_finite_are_left_out_and_counted(tmp_path):
    broken = [{**line, "loss": float("nan")} if line["step"] == 8 else line for line in lines()]
    page = page_of(write_run(tmp_path / "run", metrics=broken))
    assert "run: 1 values of loss are not finite and left out." in page.text
    assert 8 not in page.charts()[1]["run"][0]


def test_long_curves_are_thinned(tmp_path):
    page = page_of(write_run(tmp_path / "run", metrics=lines(4000)))
    steps, values = page.charts()[0]["run"]
    assert len(steps) == MAX_POINTS
    assert (steps[0], steps[-1]) == (2, 4000)
    assert values == [1.5 + 8 / step for step in steps]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", None, "metrics.jsonl must be a file of metrics .*received: 'no file'"),
        ("metrics.jsonl", "", "must be a file with a line of metrics"),
        ("metrics.jsonl", '{"step": 1, "loss": 2}\nno\n', r"line 2, must be a JSON object of numb"),
        ("metrics.jsonl", '{"loss": 2}\n', "line 1, must be a JSON object of numbers with a .step"),
        ("metrics.jsonl", '{"step": 1, "loss": "2"}\n', "line 1, must be a JSON object of numbers"),
        (
            "metrics.jsonl",
            '{"step": 2, "loss": 2}\n{"step": 2, "loss": 1}\n',
            "line 2, must have a step above .* received: 2 after 2",
        ),
        ("metrics.jsonl", b"\xff\xfe\x00\n", "metrics.jsonl must be a file of metrics"),
        ("results.json", '{"nats": ', "results.json must be JSON as the run wrote it"),
        ("results.json", '{"nats": "1"}', "must be results with a number as 'nats'; received: '1'"),
        ("results.json", '{"nats": 1.0}', r"must be results with \['bits_per_dim', 'kind', 'nats'"),
        ("config.json", "[]", "config.json must be a JSON object"),
        ("config.json", "{}", "must be a config with the section 'data'"),
        (
            "config.json",
            '{"data": {}, "model": {}, "objective": {}}',
            "with data.name and model.ev",
        ),
        ("config.json", None, "workdir must be a folder with a run"),
    ],
)
def test_damaged_files_are_named(file, content, message, tmp_path):
    folder = write_run(tmp_path / "run")
    path = folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        report([folder])


def test_impossible_runs_are_refused(runs, tmp_path):
    vae, *_ = runs
    with pytest.raises(ValueError, match="workdirs must be all different"):
        report([vae, vae.parent / "flow" / ".." / "vae"])
    with pytest.raises(ValueError, match="a folder with a run"):
        report([tmp_path])


def test_the_app_writes_the_report_or_says_what_it_needs(runs, tmp_path):
    vae, *_ = runs

    def app(*arguments):
        # A process of its own: two apps in one would define a flag twice.
        command = [sys.executable, "-m", "apps.report", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    for arguments, message in (
        ([], "folders of runs must be given"),
        ([vae, f"--out={tmp_path}/a.pdf"], "--out must end in .html; received: '"),
    ):
        run = app(*arguments)
        assert run.returncode == 2
        assert message in run.stderr
        assert not list(tmp_path.iterdir())
    run = app(vae, f"--out={tmp_path}/a.html")
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / "a.html").read_text() == report([vae])


# ---------------------------------------------------------------------------- in a browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
PHONE = 390  # the width of a phone's page


def in_browser(source, script, width):
    """What `script`, an expression run in the page at this width, gives; and the page's errors.

    The page stands in a frame: a window has a least width, a frame has none.
    """
    watcher = "<script>var errors = []; onerror = (message) => { errors.push(message); };</script>"
    source = source.replace("<head>", f"<head>{watcher}", 1)
    frame = f'<iframe style="width:{width}px;height:800px" srcdoc="{html.escape(source)}"></iframe>'
    # A text node, so that what comes out of the dump is JSON escaped once.
    harness = f"""<!doctype html><body>{frame}<pre id="out"></pre><script>
    onload = () => {{
      const page = document.querySelector("iframe").contentWindow;
      const result = page.eval({json.dumps(script)});
      document.querySelector("#out").textContent =
        JSON.stringify({{result, errors: page.eval("errors")}});
    }};
    </script>"""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "page.html"
        path.write_text(harness)
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        command += [f"--user-data-dir={folder}/user", "--window-size=1400,900", "--dump-dom"]
        process = subprocess.run(
            [*command, path.as_uri()], capture_output=True, text=True, timeout=120
        )
    found = re.search(r'<pre id="out">(.*?)</pre>', process.stdout, re.DOTALL)
    assert found, process.stderr[-2000:]
    answer = json.loads(html.unescape(found[1]))
    return answer["result"], answer["errors"]


LOOK = """
(() => {
  const $ = (selector) => [...document.querySelectorAll(selector)];
  const shown = (element) => element.getClientRects().length > 0;
  const area = $("figure.chart .area")[0];
  const box = area.getBoundingClientRect();
  const point = (share) => {
    const clientX = box.left + share * box.width;
    area.dispatchEvent(new PointerEvent("pointermove", { clientX }));
  };
  point(0.5);
  const halfway = $(".readout")[0].innerText;
  const cursor = shown($(".cursor")[0]);
  area.dispatchEvent(new PointerEvent("pointerleave", {}));
  const left = $(".readout")[0].innerText;
  const rows = () => $("table.results tbody tr").filter(shown).length;
  const before = rows();
  $("nav.runs input")[0].click();
  const after = rows();
  const hidden = $(".of-run-0").filter(shown).length;
  point(1.0);
  const end = $(".readout")[0].innerText;
  $("nav.runs input")[0].click();
  const text = $("table.results td, .down span, .across span, figcaption").filter(shown);
  return {
    halfway, cursor, left, end, before, after, hidden,
    back: rows(),
    pageWidth: document.documentElement.scrollWidth,
    roomWidth: document.documentElement.clientWidth,
    innerWidth,
    pictures: $("img").map((image) => image.naturalWidth),
    lines: $("svg .line").filter((line) => line.getBoundingClientRect().width > 0).length,
    columns: getComputedStyle($(".charts")[0]).gridTemplateColumns.split(" ").length,
    smallest: Math.min(...text.map((e) => parseFloat(getComputedStyle(e).fontSize))),
    scrolls: $(".scroll").some((e) => e.scrollWidth > e.clientWidth),
    ink: getComputedStyle(document.body).color,
  };
})()
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (PHONE, 1)])
def test_page_in_a_browser(width, columns, runs):
    seen, errors = in_browser(report(runs), LOOK, width)
    assert errors == []
    assert seen["innerWidth"] == width
    assert seen["pageWidth"] == seen["roomWidth"]  # no sideways scrolling of the page
    assert seen["columns"] == columns
    assert seen["smallest"] >= 12
    assert seen["scrolls"] or width != PHONE  # wide tables in boxes of their own
    assert seen["pictures"] == [8, 8, 8, 8]
    assert seen["lines"] == 4 + 2 + 2 + 2  # likelihoods, two losses, gradients, the table's
    # Pointing at the middle of 60 steps: the nearest points of each curve.
    steps, *rows = [line for line in seen["halfway"].splitlines() if line]
    assert steps == "step 30"
    assert rows == [
        "vae",
        f"{1.5 + 8 / 30:.4f} at 30",
        "vae, validation",
        f"{1.75 + 3 / 30:.4f} at 30",
        "flow",
        f"{1.5 + 8 / 30:.4f} at 30",
        "flow, validation",
        f"{1.75 + 3 / 30:.4f} at 30",
    ]
    assert seen["cursor"]
    assert seen["left"] == ""
    # Without the first run: its row, its curves and its numbers are gone, and come back.
    assert (seen["before"], seen["after"], seen["back"]) == (3, 2, 3)
    assert seen["hidden"] == 0
    assert "vae" not in seen["end"]
    assert f"{1.5 + 8 / 60:.4f} at 60" in seen["end"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
def test_hostile_text_and_errors_in_a_browser(tmp_path):
    """Nothing of the config runs; and an error of a script is one that the test above sees."""
    folder = write_run(
        tmp_path / "run",
        metrics=lines(**{HOSTILE: 1.0}),
        data={"name": "<img src=x onerror='errors.push(1)'><script>errors.push(2)</script>"},
    )
    source = report([folder]).replace("</body>", "<script>nothing.here()</script></body>")
    seen, errors = in_browser(source, "document.querySelector('h2').innerText", 800)
    assert seen.startswith("<img src=x")
    assert errors == ["Uncaught ReferenceError: nothing is not defined"]
