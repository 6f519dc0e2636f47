"""The standard library's ``concurrent.futures.interpreter``, under our name."""

from manyhands._facade import alias

alias(__name__, "concurrent.futures.interpreter")
