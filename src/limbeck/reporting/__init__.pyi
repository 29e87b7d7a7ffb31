from .folder import report_folder as report_folder
from .report import write_report as write_report
from .table import results_table as results_table
from .table import results_text as results_text
from .two_dimensions import feature_map as feature_map
