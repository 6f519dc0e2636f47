"""Drop-in for the standard library's ``multiprocessing``."""

from manyhands._facade import facade, stdlib_of

facade(__name__, stdlib_of("multiprocessing"))
