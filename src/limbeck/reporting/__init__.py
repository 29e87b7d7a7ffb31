"""The report of a run or a comparison: one HTML file, and its table for the terminal."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
