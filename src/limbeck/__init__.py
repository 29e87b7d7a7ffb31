"""Limbeck: cross-modal knowledge distillation."""

import lazy_loader

from limbeck import moved

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
moved.install()
