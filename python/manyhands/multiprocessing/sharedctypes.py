"""Drop-in for the standard library's ``multiprocessing.sharedctypes``; ours is in ``_sharedctypes``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.sharedctypes")

if available:
    from manyhands.multiprocessing._memory import Memory as Memory
    from manyhands.multiprocessing._sharedctypes import (
        Array as Array,
    )
    from manyhands.multiprocessing._sharedctypes import (
        RawArray as RawArray,
    )
    from manyhands.multiprocessing._sharedctypes import (
        RawValue as RawValue,
    )
    from manyhands.multiprocessing._sharedctypes import (
        Synchronized,
        SynchronizedArray,
        SynchronizedBase,
        SynchronizedString,
        _new_value,
        class_cache,
        copy,
        rebuild_ctype,
        reduce_ctype,
        synchronized,
    )
    from manyhands.multiprocessing._sharedctypes import (
        Value as Value,
    )

facade(__name__, _std)
