/* The channel's ring (core/shm/channel_*.c): two producers, one of which may be killed between any two steps, and a
 * consumer. A message is two words, so that a torn one shows. Each end has a robust lock; a commit is one store.
 *
 * Broken: EARLY_COMMIT  the tail is stored before the message is written
 *         NO_LOOK       a consumer that has announced itself does not look again
 *         NO_REPAIR     who takes the lock of a dead producer does not wake whom that one may have left asleep, and
 *                       there are no slices
 */
#define NOBODY 2

byte ring[8];            /* two words a message, numbered from 1 */
byte tail, head, got, whole[2];
byte owner = NOBODY;     /* of the tail's lock */
bool dead[2], sleepers, asleep, consumer_done;
byte finished;

inline wake() { d_step { if :: sleepers -> sleepers = false; asleep = false :: else fi } }

proctype producer(byte me; bool mortal)
{
    byte at;
    atomic {
        owner == NOBODY || (owner != me && dead[owner]);
        if
        :: owner != NOBODY -> owner = me;
#ifndef NO_REPAIR
            sleepers = false; asleep = false
#endif
        :: else -> owner = me
        fi
    }
    at = tail;
    if :: mortal -> goto killed :: skip fi;
#ifdef EARLY_COMMIT
    tail = at + 1;
#endif
    ring[2 * at] = me + 1;
    if :: mortal -> goto killed :: skip fi;
    ring[2 * at + 1] = me + 1;
    if :: mortal -> goto killed :: skip fi;
    tail = at + 1;
    if :: mortal -> goto killed :: skip fi;
    owner = NOBODY;
    if :: mortal -> goto killed :: skip fi;
    wake();
    finished++;
    goto end;
killed:
    atomic { dead[me] = true; finished++ }
end:
    skip
}

proctype consumer()
{
    do
    :: atomic { head < tail ->
            assert(ring[2 * head] == ring[2 * head + 1] && ring[2 * head] != 0) /* whole, and written */
            whole[ring[2 * head] - 1]++; head++ }
    :: atomic { head == tail && finished == 2 -> break }
    :: head == tail && finished < 2 ->
        sleepers = true;                                          /* announce, then look */
        if
#ifndef NO_LOOK
        :: head != tail
        :: head == tail ->
#else
        :: true ->
#endif
            atomic { if :: sleepers -> asleep = true :: else fi } /* the futex compares, and sleeps */
            if
            :: !asleep
#ifndef NO_REPAIR
            :: head != tail && (dead[0] || dead[1]) -> asleep = false /* a slice, after a death */
#endif
            :: finished == 2 && head == tail -> asleep = false    /* the channel is closed: the test ends */
            fi
        fi
    od;
    consumer_done = true
}

init {
    bool mortal;
    if :: mortal = true :: mortal = false fi;
    atomic { run producer(0, mortal); run producer(1, false); run consumer() }
    consumer_done;
    assert(whole[1] == 1);                   /* who lived is heard, once */
    assert(whole[0] <= 1 && (mortal || whole[0] == 1))
}
