"""Drop-in for the standard library's ``queue``."""

from manyhands._facade import facade, stdlib_of

facade(__name__, stdlib_of("queue"))
