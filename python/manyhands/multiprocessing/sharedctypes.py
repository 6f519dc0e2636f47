"""Drop-in for the standard library's ``multiprocessing.sharedctypes``; ours is in ``_sharedctypes``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.sharedctypes")

if available:
    from manyhands.multiprocessing._sharedctypes import (
        Array,
        Memory,
        RawArray,
        RawValue,
        Synchronized,
        SynchronizedArray,
        SynchronizedBase,
        SynchronizedString,
        Value,
        _new_value,
        class_cache,
        copy,
        rebuild_ctype,
        reduce_ctype,
        synchronized,
    )

facade(__name__, _std)
