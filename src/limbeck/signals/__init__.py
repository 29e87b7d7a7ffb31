"""The words that teachers, banks and students share: outputs, keys, class names, links, fingerprints."""

import lazy_loader

from limbeck import moved

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = moved.names(__name__, __getattr__)
