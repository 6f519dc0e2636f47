import queue as std

from faithful._front import front

front(__name__, std, "Queue", "PriorityQueue", "LifoQueue")
