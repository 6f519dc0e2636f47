import threading as std

from faithful._front import front

front(__name__, std, "Thread", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "Timer")
