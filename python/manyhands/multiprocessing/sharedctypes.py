"""Drop-in for the standard library's ``multiprocessing.sharedctypes``; ours is in ``_sharedctypes``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.sharedctypes")

if available:
    from manyhands.multiprocessing._memory import Memory as Memory
    from manyhands.multiprocessing._sharedctypes import Array as Array
    from manyhands.multiprocessing._sharedctypes import RawArray as RawArray
    from manyhands.multiprocessing._sharedctypes import RawValue as RawValue
    from manyhands.multiprocessing._sharedctypes import Synchronized as Synchronized
    from manyhands.multiprocessing._sharedctypes import SynchronizedArray as SynchronizedArray
    from manyhands.multiprocessing._sharedctypes import SynchronizedBase as SynchronizedBase
    from manyhands.multiprocessing._sharedctypes import SynchronizedString as SynchronizedString
    from manyhands.multiprocessing._sharedctypes import Value as Value
    from manyhands.multiprocessing._sharedctypes import _new_value
    from manyhands.multiprocessing._sharedctypes import class_cache as class_cache
    from manyhands.multiprocessing._sharedctypes import copy as copy
    from manyhands.multiprocessing._sharedctypes import rebuild_ctype as rebuild_ctype
    from manyhands.multiprocessing._sharedctypes import reduce_ctype as reduce_ctype
    from manyhands.multiprocessing._sharedctypes import synchronized as synchronized

facade(__name__, _std)
