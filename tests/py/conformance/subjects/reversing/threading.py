import threading as std

from faithful._front import front

front(__name__, std)
