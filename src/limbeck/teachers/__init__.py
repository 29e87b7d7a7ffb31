"""Who speaks: any module, a transformers model, any function, a server, a generator. A bank keeps what they say."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
