"""The standard library's ``concurrent.futures._base``, under our name."""

from manyhands._facade import alias

alias(__name__, "concurrent.futures._base")
