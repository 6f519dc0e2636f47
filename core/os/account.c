/* core/os/account.c - what a process uses, and whether it stands still. From /proc: other processes, any
 * kernel. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* /proc/PID/NAME, or /proc/PID/task/TID/NAME where tid is not 0 */
static ssize_t read_proc(int pid, int tid, const char *name, char *text, size_t room)
{
    char path[80];
    const char *limit = path + sizeof path;
    char *end = mh__put_number(mh__put_text(path, limit, "/proc/"), limit, (uint64_t) pid, 10);
    if (tid != 0) {
        end = mh__put_number(mh__put_text(end, limit, "/task/"), limit, (uint64_t) tid, 10);
    }
    mh__put_text(mh__put_text(end, limit, "/"), limit, name);
    ssize_t size = mh__read_text(path, text, room);
    return size == -ENOENT ? -ESRCH : size;
}

/* Field `number` (from 3, the state) of a stat line; the name before may hold spaces and parentheses. */
static const char *stat_field(const char *text, int number)
{
    const char *p = strrchr(text, ')');
    for (int field = 2; p != NULL && field < number; field++) {
        p = strchr(p, ' ');
        if (p != NULL) {
            p++;
        }
    }
    return p;
}

/* utime + stime in clock ticks; the fallback, and right to 10 ms */
static int ticks_used(int pid, int tid, int64_t *ns)
{
    char text[1024];
    ssize_t size = read_proc(pid, tid, "stat", text, sizeof text);
    if (size < 0) {
        return (int) size;
    }
    const char *user = stat_field(text, 14), *system = stat_field(text, 15);
    if (user == NULL || system == NULL) {
        return -EINVAL;
    }
    int64_t ticks = strtoll(user, NULL, 10) + strtoll(system, NULL, 10);
    *ns = ticks * (1000000000 / sysconf(_SC_CLK_TCK));
    return 0;
}

/* A CPU clock of another process (or a thread of this one), as clock_getcpuclockid() builds it: ~id << 3, 2:
 * scheduler's clock, 4: of a thread. */
static int cpu_clock(int id, int thread, int64_t *ns)
{
    struct timespec ts;
    clockid_t clock = (clockid_t) ((~(unsigned) id << 3) | 2u | (thread ? 4u : 0u));
    int saved = errno;
    long rc = mh__result(clock_gettime(clock, &ts), saved);
    if (rc == 0) {
        *ns = (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
    }
    return (int) rc;
}

int mh_os_process_cpu(int pid, int64_t *ns)
{
    if (pid <= 0) {
        return -ESRCH;
    }
    if (cpu_clock(pid, 0, ns) == 0) {
        return 0;
    }
    return ticks_used(pid, 0, ns);
}

int mh_os_thread_cpu_of(int pid, int tid, int64_t *ns)
{
    if (pid <= 0 || tid <= 0) {
        return -ESRCH;
    }
    if (pid == mh_os_pid() && cpu_clock(tid, 1, ns) == 0) {
        return 0;
    }
    return ticks_used(pid, tid, ns);
}

static int number_after(const char *text, const char *label, uint64_t *number)
{
    const char *line = strstr(text, label);
    if (line == NULL) {
        return -ENOENT;
    }
    *number = strtoull(line + strlen(label), NULL, 10);
    return 0;
}

int mh_os_process_memory(int pid, uint64_t *bytes)
{
    char text[4096];
    uint64_t kib;
    if (pid <= 0) {
        return -ESRCH;
    }
    if (read_proc(pid, 0, "smaps_rollup", text, sizeof text) > 0 && number_after(text, "\nPss:", &kib) == 0) {
        *bytes = kib * 1024;
        return 0;
    }
    ssize_t size = read_proc(pid, 0, "status", text, sizeof text);
    if (size < 0) {
        return (int) size;
    }
    *bytes = number_after(text, "\nVmRSS:", &kib) == 0 ? kib * 1024 : 0; /* a zombie has none */
    return 0;
}

static int state_of(int pid, int tid)
{
    char text[1024];
    ssize_t size = read_proc(pid, tid, "stat", text, sizeof text);
    if (size < 0) {
        return (int) size;
    }
    const char *state = stat_field(text, 3);
    return state != NULL ? *state : -EINVAL;
}

static int stands_still(int state)
{
    return state < 0 || strchr("TtZXx", state) != NULL; /* one that is gone stands still, too */
}

int mh_os_is_stopped(int pid)
{
    char path[40];
    int saved = errno, still = 1;
    mh__put_text(mh__put_number(mh__put_text(path, path + sizeof path, "/proc/"), path + sizeof path,
                                (uint64_t) pid, 10),
                 path + sizeof path, "/task");
    DIR *tasks = pid > 0 ? opendir(path) : NULL;
    if (tasks == NULL) {
        errno = saved;
        return -ESRCH;
    }
    for (struct dirent *entry; still && (entry = readdir(tasks)) != NULL;) {
        int tid = entry->d_name[0] != '.' ? (int) strtol(entry->d_name, NULL, 10) : 0;
        if (tid > 0) {
            still = stands_still(state_of(pid, tid));
        }
    }
    closedir(tasks);
    errno = saved;
    return still;
}
