/* core/proc/look.c - see manyhands/look.h. */
#include "manyhands/look.h"

#include "core/os/os.h"

int mh_look_at(int tid, mh_look *look)
{
    int64_t before = look->cpu, cpu;
    long number = -1;
    int rc = mh_os_thread_cpu_of(mh_os_pid(), tid, &cpu);
    if (rc < 0) {
        return rc;
    }
    if (cpu == before && look->doing != MH_RUNS) {
        return 0;
    }
    look->word = 0;
    rc = mh_os_thread_syscall(tid, &number, &look->word);
    if (rc < 0) {
        return rc;
    }
    if (tid == mh_os_tid()) {
        rc = 1; /* the call that it is seen in is this very look */
    }
    int on_word = rc == 0 ? mh_os_is_futex_call(number) : 0;
    look->cpu = cpu;
    look->doing = rc == 1 ? MH_RUNS : on_word ? MH_SLEEPS_ON_WORD : MH_SLEEPS;
    if (on_word != 1) {
        look->word = 0;
    }
    return 0;
}

int mh_peek(const void *from, void *to, size_t size)
{
    return mh_os_peek(from, to, size);
}

int mh_thread_name_of(int tid, char name[16])
{
    return mh_os_thread_name_of(tid, name, 16);
}

void mh_thread_show_name(const char *name)
{
    mh_os_thread_name(name);
}
