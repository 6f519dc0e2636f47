"""A module that has a few names of its own and is the standard library's otherwise, reads and writes alike."""

import sys
import types


class Front(types.ModuleType):
    def __getattr__(self, name):
        return getattr(self.__dict__["_std"], name)

    def __setattr__(self, name, value):
        dunder = name.startswith("__") and name.endswith("__")
        if name in self.__dict__ or dunder:
            super().__setattr__(name, value)
        else:
            setattr(self.__dict__["_std"], name, value)

    def __delattr__(self, name):
        if name in self.__dict__:
            super().__delattr__(name)
        else:
            delattr(self.__dict__["_std"], name)

    def __dir__(self):
        return sorted({*self.__dict__, *dir(self.__dict__["_std"])})


def front(name, std, *classes):
    """The module `name`, which is being imported, stands before `std`, with empty subclasses of its `classes`."""
    module = sys.modules[name]
    for word in classes:
        base = getattr(std, word)
        # The class says that it is the standard library's, where tests and pickle look for it.
        namespace = {"__module__": std.__name__, "__doc__": base.__doc__}
        module.__dict__.setdefault(word, type(base)(word, (base,), namespace))
    module.__dict__["_std"] = std
    if hasattr(std, "__all__"):
        module.__dict__["__all__"] = list(std.__all__)
    module.__class__ = Front
