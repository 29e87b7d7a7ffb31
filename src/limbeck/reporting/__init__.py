"""The report of a comparison: one HTML file, and its table for the terminal."""

from limbeck.reporting.feature_map import feature_map
from limbeck.reporting.folder import report_folder
from limbeck.reporting.report import write_report
from limbeck.reporting.table import results_table, results_text

__all__ = ["feature_map", "report_folder", "results_table", "results_text", "write_report"]
