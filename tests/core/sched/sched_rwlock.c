/* Every interleaving of the reader-writer lock: exclusion, order, time-outs, and (shared) death at any
 * step. */
#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/rwlock.h"
#include "sched.h"

#include <errno.h>

static struct {
    mh_rwlock lock;
    int reading[SCHED_THREADS], writing[SCHED_THREADS], reads, writes, timed_out;
    int most_readers;
    int line[SCHED_THREADS], in_line, out;
    int dirty, told;
    _Atomic(uint32_t) progress;
} w;

static void private_setup(void)
{
    mh_rwlock_init(&w.lock, 0, MH_PRIVATE);
}

static void prefer_readers(void)
{
    mh_rwlock_init(&w.lock, 0, MH_PRIVATE | MH_RW_PREFER_READERS);
}

static void prefer_writers(void)
{
    mh_rwlock_init(&w.lock, 0, MH_PRIVATE | MH_RW_PREFER_WRITERS);
}

static int live(const int *who)
{
    int count = 0;
    for (int i = 0; i < SCHED_THREADS; i++) {
        count += who[i] && !sched_dead(i);
    }
    return count;
}

/* What must hold whenever somebody is inside. */
static void exclusive(void)
{
    int readers = live(w.reading), writers = live(w.writing);
    sched_check(writers <= 1, "one writer");
    sched_check(!writers || !readers, "no reader beside a writer");
    if (readers > w.most_readers) {
        w.most_readers = readers;
    }
}

static void inside(int *who)
{
    who[sched_me()] = 1;
    exclusive();
    sched_point();
    exclusive();
    who[sched_me()] = 0;
}

static void reader(void)
{
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    inside(w.reading);
    w.reads++;
    mh_rwlock_release_read(&w.lock);
}

static void writer(void)
{
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == 0, "acquire_write");
    inside(w.writing);
    w.writes++;
    mh_rwlock_release_write(&w.lock);
}

static void free_again(void)
{
    sched_check(w.lock.readers == 0 && w.lock.writer == 0 && w.lock.untracked == 0,
                "free"); /* private: the word is thawed, too */
    sched_check(w.lock.waiting_readers == 0 && w.lock.waiting_writers == 0 && !w.lock.first, "nobody waits");
    for (int i = 0; i < MH_RW_READERS; i++) {
        sched_check(w.lock.place[i].word == 0, "no place is left taken");
    }
}

static void one_after_another(void)
{
    sched_check(w.most_readers < 2, "two read at once");
}

/* Reads twice, also while a writer waits in between. */
static void deep_reader(void)
{
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    w.reading[sched_me()] = 1;
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "read again");
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == -EDEADLK, "no upgrade");
    mh_rwlock_release_read(&w.lock);
    exclusive();
    w.reading[sched_me()] = 0;
    mh_rwlock_release_read(&w.lock);
    sched_check(mh_rwlock_try_release_read(&w.lock) == -EPERM, "not once too often");
}

static void timed_reader(void)
{
    int rc = mh_rwlock_acquire_read(&w.lock, sched_soon(), NULL);
    if (rc == 0) {
        inside(w.reading);
        mh_rwlock_release_read(&w.lock);
    } else {
        sched_check(rc == -ETIMEDOUT, "timed out");
    }
}

static void timed_writer(void)
{
    int rc = mh_rwlock_acquire_write(&w.lock, sched_soon(), NULL);
    if (rc == 0) {
        inside(w.writing);
        mh_rwlock_release_write(&w.lock);
    } else {
        sched_check(rc == -ETIMEDOUT, "timed out");
    }
}

static void trying_writer(void)
{
    int rc = mh_rwlock_acquire_write(&w.lock, MH_AT_ONCE, NULL);
    if (rc == 0) {
        inside(w.writing);
        mh_rwlock_release_write(&w.lock);
    } else {
        sched_check(rc == -ETIMEDOUT, "not at once");
    }
}

/* Reads until the other reader reads, too, whatever stands between them. */
static void sociable_reader(void)
{
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    w.in_line = 1;
    while (!w.reads) {
        sched_point();
    }
    mh_rwlock_release_read(&w.lock);
}

static void impatient_between(void)
{
    while (!w.in_line) {
        sched_point();
    }
    timed_writer();
}

static void second_reader(void)
{
    while (!w.in_line) {
        sched_point();
    }
    reader();
}

/* ---- order: thread 0 holds it for writing until 1 and 2 stand in line, one after the other */

static void holder(void)
{
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == 0, "acquire_write");
    w.in_line = 1;
    while (w.lock.waiting_readers + w.lock.waiting_writers < 2) {
        sched_point();
    }
    mh_rwlock_release_write(&w.lock);
}

static void wait_for_line(uint32_t length)
{
    while (!w.in_line || w.lock.waiting_readers + w.lock.waiting_writers < length) {
        sched_point();
    }
}

static void writer_first(void)
{
    wait_for_line(0);
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == 0, "acquire_write");
    w.line[w.out++] = 'w';
    mh_rwlock_release_write(&w.lock);
}

static void reader_first(void)
{
    wait_for_line(0);
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    w.line[w.out++] = 'r';
    mh_rwlock_release_read(&w.lock);
}

static void writer_second(void)
{
    wait_for_line(1);
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == 0, "acquire_write");
    w.line[w.out++] = 'w';
    mh_rwlock_release_write(&w.lock);
}

static void reader_second(void)
{
    wait_for_line(1);
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    w.line[w.out++] = 'r';
    mh_rwlock_release_read(&w.lock);
}

static void writer_went_first(void)
{
    sched_check(w.line[0] == 'w' && w.line[1] == 'r', "the writer goes first");
}

static void reader_went_first(void)
{
    sched_check(w.line[0] == 'r' && w.line[1] == 'w', "the reader goes first");
}

/* A reader that reads when a writer comes, and one that comes behind that writer. */
static void reader_before(void)
{
    sched_check(mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL) == 0, "acquire_read");
    w.in_line = 1;
    while (w.lock.waiting_readers + w.lock.waiting_writers < 2) {
        sched_point();
    }
    mh_rwlock_release_read(&w.lock);
}

/* ---- deaths */

/* What a writer breaks and mends; whoever is not told must find it whole. */
static void careful_writer(void)
{
    int rc = mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL);
    sched_check(rc >= 0, "acquired");
    w.writing[sched_me()] = 1;
    exclusive();
    sched_check(!w.dirty || rc == MH_OWNER_DIED, "who finds it broken is told");
    w.dirty = 1;
    sched_point();
    exclusive();
    w.dirty = 0;
    w.writing[sched_me()] = 0;
    mh_rwlock_release_write(&w.lock);
}

static void careful_reader(void)
{
    int rc = mh_rwlock_acquire_read(&w.lock, MH_FOREVER, NULL);
    sched_check(rc >= 0, "acquired");
    w.reading[sched_me()] = 1;
    exclusive();
    sched_check(!w.dirty || rc == MH_OWNER_DIED, "who finds it broken is told");
    sched_check(rc == 0 || sched_deaths(), "told of a death that there was");
    sched_point();
    exclusive();
    w.reading[sched_me()] = 0;
    mh_rwlock_release_read(&w.lock);
}

static void impatient_writer(void)
{
    int rc = mh_rwlock_acquire_write(&w.lock, sched_soon(), NULL);
    sched_check(rc >= 0 || rc == -ETIMEDOUT, "acquired or timed out");
    if (rc >= 0) {
        w.writing[sched_me()] = 1;
        exclusive();
        w.writing[sched_me()] = 0;
        mh_rwlock_release_write(&w.lock);
    }
}

static void abandoner(void)
{
    sched_check(mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL) == 0, "acquired");
    w.dirty = 1;
    w.writes++;
    mh_rwlock_abandon(&w.lock);
}

static void mender(void)
{
    int rc = mh_rwlock_acquire_write(&w.lock, MH_FOREVER, NULL);
    sched_check(rc == (w.dirty ? MH_OWNER_DIED : 0), "told of what was abandoned");
    w.dirty = 0;
    mh_rwlock_release_write(&w.lock);
}

#define PRIVATE .setup = private_setup, SCHED_MEMORY(w), .finish = free_again
#define SHARED .flags = SCHED_PROCESSES, SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "two writers", .thread = {writer, writer}, PRIVATE, .spurious = 1},
    {.name = "a reader and a writer", .thread = {reader, writer}, PRIVATE, .spurious = 1},
    {.name = "two readers and a writer", .thread = {reader, reader, writer}, PRIVATE},
    {.name = "a reader and two writers", .thread = {reader, writer, writer}, PRIVATE},
    {.name = "readers read at once",
     .thread = {reader, reader},
     .setup = private_setup,
     SCHED_MEMORY(w),
     .finish = one_after_another,
     .fails = "two read at once"},
    {.name = "a reader reads again", .thread = {deep_reader, writer}, PRIVATE},
    {.name = "who gives up lets others in", .thread = {timed_writer, reader, reader}, PRIVATE},
    {.name = "who gives up lets in who stood behind",
     .thread = {sociable_reader, impatient_between, second_reader},
     PRIVATE},
    {.name = "shared: who gives up lets in who stood behind",
     .thread = {sociable_reader, impatient_between, second_reader},
     SHARED,
     .finish = free_again},
    {.name = "time-outs", .thread = {writer, timed_reader, timed_writer}, PRIVATE},
    {.name = "a try", .thread = {reader, trying_writer, writer}, PRIVATE},
    {.name = "in order: writer, reader",
     .thread = {holder, writer_first, reader_second},
     .setup = private_setup,
     SCHED_MEMORY(w),
     .finish = writer_went_first},
    {.name = "readers preferred: writer, reader",
     .thread = {holder, writer_first, reader_second},
     .setup = prefer_readers,
     SCHED_MEMORY(w),
     .finish = reader_went_first},
    {.name = "writers preferred: reader, writer",
     .thread = {holder, reader_first, writer_second},
     .setup = prefer_writers,
     SCHED_MEMORY(w),
     .finish = writer_went_first},
    {.name = "in order: behind a writer that waits for a reader",
     .thread = {reader_before, writer_first, reader_second},
     .setup = private_setup,
     SCHED_MEMORY(w),
     .finish = writer_went_first},
    {.name = "shared: time-outs", .thread = {writer, timed_writer}, SHARED, .finish = free_again},
    {.name = "dropped wakes are noticed",
     .thread = {writer, writer},
     .setup = private_setup,
     SCHED_MEMORY(w),
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
    {.name = "shared: a reader and a writer",
     .thread = {reader, writer},
     SHARED,
     .finish = free_again,
     .spurious = 1},
    {.name = "shared: two readers and a writer",
     .thread = {reader, reader, writer},
     SHARED,
     .finish = free_again},
    {.name = "shared: in order",
     .thread = {holder, writer_first, reader_second},
     SHARED,
     .finish = writer_went_first},
    {.name = "shared: abandoned", .thread = {abandoner, mender}, SHARED, .finish = free_again},
    {.name = "shared: death of a writer or a reader",
     .thread = {careful_writer, careful_reader},
     SHARED,
     .deaths = 1},
    {.name = "shared: death of one of two writers",
     .thread = {careful_writer, careful_writer},
     SHARED,
     .deaths = 1},
    {.name = "shared: a death, three",
     .thread = {careful_writer, careful_reader, careful_writer},
     SHARED,
     .deaths = 1,
     .limit = 6000000},
    {.name = "shared: who finds the dead dies",
     .thread = {careful_writer, careful_writer, careful_reader},
     SHARED,
     .deaths = 2,
     .mortal = 3,
     .limit = 6000000},
    {.name = "shared: death against a time-out",
     .thread = {careful_reader, impatient_writer},
     SHARED,
     .deaths = 1},
};

int main(int argc, char **argv)
{
    return sched_main("rwlock", list, (int) (sizeof list / sizeof *list), argc, argv);
}
