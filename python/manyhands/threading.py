"""Drop-in for the standard library's ``threading``."""

from manyhands._facade import facade, stdlib_of

facade(__name__, stdlib_of("threading"))
