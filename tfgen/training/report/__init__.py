"""One self-contained HTML file about one or several runs."""

from tfgen.training.report.page import report as report
