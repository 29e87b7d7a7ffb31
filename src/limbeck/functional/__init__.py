"""Pure tensor functions: divergences, relations, distribution alignment. No state, no modules.

Every loss of the library is first a function here; a method only chooses and weighs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
