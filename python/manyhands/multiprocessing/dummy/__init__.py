"""The standard library's ``multiprocessing.dummy``, under our name."""

from manyhands._facade import facade, stdlib_of

facade(__name__, stdlib_of("multiprocessing.dummy"))
