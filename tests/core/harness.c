/* The runner behind harness.h. It depends on nothing of manyhands, so that a fault there cannot hide here. */
#include "tests/core/harness.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* gcc's; NULL where nothing is counted */
void __gcov_dump(void) __attribute__((weak));

#ifdef T_COVERAGE
/* The ways out of a process at which nothing is written down: in a coverage build these come before the C library's. */
void _exit(int status)
{
    __gcov_dump();
    (void) syscall(SYS_exit_group, status);
    __builtin_unreachable();
}

void abort(void)
{
    __gcov_dump();
    (void) signal(SIGABRT, SIG_DFL);
    (void) raise(SIGABRT);
    _exit(127);
}

int execvpe(const char *file, char *const argv[], char *const envp[])
{
    union {
        void *found;
        int (*call)(const char *, char *const[], char *const[]);
    } real = {dlsym(RTLD_NEXT, "execvpe")};
    __gcov_dump();
    return real.call(file, argv, envp);
}
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define T_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define T_SANITIZED 1
#endif
#endif
#ifndef T_SANITIZED
#define T_SANITIZED 0
#endif

static struct t_case *first, **last = &first;
static char shm_path[80] = "/dev/shm/";
static char *const shm_name = shm_path + sizeof "/dev/shm/" - 1;
static int in_debugger; /* `prog NAME`: a failure stops where it happens */

void t_add(struct t_case *test)
{
    *last = test;
    last = &test->next;
}

void t_only(struct t_case *test)
{
    first = test;
    last = &test->next;
}

/* ---- checks ---- */

static _Noreturn void fail_with(const char *file, int line, const char *text, long long value)
{
    if (t_on_failure != NULL) {
        t_on_failure(file, line, text, value);
    }
    fprintf(stderr, "  %s:%d: CHECK failed (process %d): %s\n", file, line, (int) getpid(), text);
    fflush(NULL);
    if (in_debugger) {
        abort();
    }
    _exit(1);
}

void t_fail(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_with(file, line, text, 0);
}

void t_skip(const char *reason)
{
    fprintf(stderr, "  skipped: %s\n", reason);
    fflush(NULL);
    _exit(T_SKIPPED);
}

void t_check_eq(const char *file, int line, const char *text, long long a, long long b)
{
    if (a != b) {
        char whole[512];
        snprintf(whole, sizeof whole, "%s: %lld, not %lld", text, a, b);
        fail_with(file, line, whole, a);
    }
}

void t_check_str(const char *file, int line, const char *text, const char *a, const char *b)
{
    if (a == NULL || b == NULL || strcmp(a, b) != 0) {
        t_fail(file, line, "%s: \"%s\", not \"%s\"", text, a ? a : "(null)", b ? b : "(null)");
    }
}

/* ---- time ---- */

double t_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

void t_nap(double seconds)
{
    struct timespec left = {(time_t) seconds, (long) ((seconds - (double) (time_t) seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

double t_patience = 10;
int t_rounds_divisor = 1;

int t_emulated(void)
{
    return getenv("T_EMULATED") != NULL;
}

int t_rounds(int all)
{
    return all / t_rounds_divisor;
}

int t_scale(void)
{
    return T_SANITIZED || getenv("T_SLOW") != NULL ? 5 : 1;
}

/* ---- children ---- */

/* 1 and its status where it ended, 0 where it lives when the time is up, or `enough` says so, -1 where it is no child of
 * ours. */
static int wait_for(pid_t child, double end, int (*enough)(void), int *status)
{
    for (double nap = 0.0002;; nap = nap < 0.005 ? nap * 2 : nap) {
        pid_t ended = waitpid(child, status, WNOHANG);
        if (ended == child) {
            return 1;
        }
        if (ended < 0 && errno != EINTR) {
            return -1;
        }
        if (t_now() > end || (enough != NULL && enough())) {
            return 0;
        }
        t_nap(nap);
    }
}

static int wait_until(pid_t child, double end, int *status)
{
    return wait_for(child, end, NULL, status);
}

pid_t t_fork(void (*function)(void *), void *argument)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        FAIL("fork: %s", strerror(errno));
    }
    if (child == 0) {
        function(argument);
        fflush(NULL);
        if (__gcov_dump != NULL) { /* a coverage build: _exit() writes nothing down */
            __gcov_dump();
        }
        _exit(0);
    }
    return child;
}

int t_wait(pid_t child, double seconds)
{
    int status = 0;
    int ended = wait_until(child, t_now() + seconds * t_scale(), &status);
    if (ended < 0) {
        FAIL("process %d is not a child of this one", (int) child);
    }
    if (ended == 0) {
        t_kill(child);
        FAIL("child %d did not end within %g s", (int) child, seconds);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void t_kill(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    if (wait_until(child, t_now() + 10, &status) != 1) {
        FAIL("child %d outlives SIGKILL", (int) child);
    }
}

/* The state letter in /proc/PID/task/TID/stat, 0 where there is none. */
static char thread_state(pid_t process, pid_t thread)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int) process, (int) thread);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    char *name_end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return (char) (name_end != NULL && name_end[1] == ' ' ? name_end[2] : 0);
}

int t_thread_sleeps(pid_t process, pid_t thread)
{
    char state = thread_state(process, thread);
    return state == 'S' || state == 'T' || state == 't';
}

int t_sleeps(pid_t process)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int) process);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    int all = 1;
    for (struct dirent *entry; all && (entry = readdir(tasks)) != NULL;) {
        all = entry->d_name[0] == '.' || t_thread_sleeps(process, (pid_t) atoi(entry->d_name));
    }
    closedir(tasks);
    return all;
}

/* ---- shared memory, threads, meeting points ---- */

void *t_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        FAIL("mmap: %s", strerror(errno));
    }
    return memory;
}

struct thread_start {
    void (*function)(void *);
    void *argument;
};

static void *thread_main(void *start)
{
    struct thread_start copy = *(struct thread_start *) start;
    free(start);
    copy.function(copy.argument);
    return NULL;
}

pthread_t t_thread(void (*function)(void *), void *argument)
{
    struct thread_start *start = malloc(sizeof *start);
    CHECK(start != NULL);
    *start = (struct thread_start){function, argument};
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, thread_main, start);
    if (rc != 0) {
        FAIL("pthread_create: %s", strerror(rc));
    }
    return thread;
}

void t_join(pthread_t thread, double seconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t) (seconds * t_scale()) + 1;
    int rc = pthread_timedjoin_np(thread, NULL, &end);
    if (rc != 0) {
        FAIL("a thread did not end within %g s: %s", seconds, strerror(rc));
    }
}

t_barrier_t *t_barrier(unsigned count)
{
    t_barrier_t *barrier = t_shared(sizeof *barrier);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    CHECK_EQ(pthread_barrier_init(barrier, &attributes, count), 0);
    pthread_barrierattr_destroy(&attributes);
    return barrier;
}

void t_meet(t_barrier_t *barrier)
{
    int rc = pthread_barrier_wait(barrier);
    CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
}

/* ---- the runner ---- */

/* Calls act(pid) for the processes of the group, at most `most` of them. */
static void each_of_group(pid_t group, int most, void (*act)(pid_t))
{
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return;
    }
    for (struct dirent *entry; most > 0 && (entry = readdir(proc)) != NULL;) {
        pid_t process = (pid_t) atoi(entry->d_name);
        if (process > 0 && getpgid(process) == group && thread_state(process, process) != 'Z') {
            act(process);
            most--;
        }
    }
    closedir(proc);
}

/* By gdb where it is; else the kernel's own word of what each thread waits in. */
static void print_stacks(pid_t process)
{
    char command[512];
    fprintf(stderr, "  stacks of process %d:\n", (int) process);
    fflush(NULL);
    snprintf(command, sizeof command,
             "{ command -v gdb >/dev/null && timeout 20 gdb -p %d -batch -nx -ex 'thread apply all bt 20' "
             "2>/dev/null |"
             " grep -E '^(Thread|#)' | sed 's/^/    /' 1>&2; } ||"
             " for t in /proc/%d/task/*; do echo \"    $t $(cat $t/wchan) $(cat $t/syscall)\"; done 1>&2",
             (int) process, (int) process);
    if (system(command) != 0) {
        fprintf(stderr, "    (neither gdb nor /proc tells)\n");
    }
}

/* Kills the children of this process and reaps them, and no others: those that their ends orphan become ours, live on, and
 * are next. */
static int kill_children(void)
{
    char path[64], children[4096];
    int killed = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int) getpid());
    for (int rounds = 0; rounds < 100; rounds++) {
        FILE *file = fopen(path, "r");
        size_t size = file ? fread(children, 1, sizeof children - 1, file) : 0;
        children[size] = 0;
        if (file) {
            fclose(file);
        }
        for (char *at = children, *next; (next = strchr(at, ' ')) != NULL; at = next + 1) {
            killed += kill((pid_t) atoi(at), SIGKILL) == 0;
            waitpid((pid_t) atoi(at), NULL, 0);
        }
        if (size == 0) {
            break;
        }
    }
    return killed;
}

/* The test's children, orphaned by its end, are ours (subreaper). How many live on, after half a second's grace. */
static int reap_leftovers(double grace)
{
    for (double end = t_now() + grace;; t_nap(0.002)) {
        pid_t ended;
        while ((ended = waitpid(-1, NULL, WNOHANG)) > 0) {
        }
        if (ended < 0 && errno == ECHILD) {
            return 0;
        }
        if (t_now() > end) {
            return kill_children();
        }
    }
}

static _Noreturn void run_child(const struct t_case *test)
{
    setpgid(0, 0);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* so that gdb may look at it */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    test->run();
    exit(0); /* not _exit: a leak check runs at exit */
}

/* 0 passed, 1 failed, T_SKIPPED, from how it ended; what is wrong in `why`. */
static int judge(int status, char *why, size_t size)
{
    if (WIFSIGNALED(status)) {
        snprintf(why, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == T_SKIPPED) {
        return T_SKIPPED;
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(why, size, "exit status %d", WEXITSTATUS(status));
    } else {
        return 0;
    }
    return 1;
}

/* The same for one that did not end by itself. */
static int stop_it(pid_t child, double limit, int too_long, char *why, size_t size)
{
    int status;
    if (too_long) {
        each_of_group(child, 8, print_stacks);
        snprintf(why, size, "not done after %g s", limit);
    } else {
        snprintf(why, size, "stopped");
    }
    kill(-child, SIGKILL);
    waitpid(child, &status, 0);
    return 1;
}

int t_run_once(const struct t_case *test, double limit, int (*enough)(void), char *why, size_t size)
{
    int status = 0;
    why[0] = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        run_child(test);
    }
    if (child < 0) {
        snprintf(why, size, "fork: %s", strerror(errno));
        return 1;
    }
    setpgid(child, child);
    double end = t_now() + limit;
    int result = wait_for(child, end, enough, &status) == 1 ? judge(status, why, size)
                                                            : stop_it(child, limit, t_now() > end, why, size);
    int living = reap_leftovers(result == 1 ? 0 : 0.5 * t_scale());
    if (living > 0 && result != 1) {
        result = 1;
        snprintf(why, size, "left %d process%s behind", living, living == 1 ? "" : "es");
    }
    (void) unlink(shm_path); /* of one that failed: the next would meet it */
    return result;
}

static int run_test(const struct t_case *test)
{
    char why[128];
    double start = t_now();
    int result = t_run_once(test, test->limit * t_scale(), NULL, why, sizeof why);
    printf("%-7s %-44s %6.2f s  %s\n",
           result == 0   ? "ok"
           : result == 1 ? "FAILED"
                         : "skipped",
           test->name, t_now() - start, why);
    fflush(NULL);
    return result;
}

static int run_all(void)
{
    int passed = 0, failed = 0, skipped = 0;
    for (struct t_case *test = first; test != NULL; test = test->next) {
        int result = run_test(test);
        passed += result == 0;
        failed += result == 1;
        skipped += result == T_SKIPPED;
    }
    printf("%d passed, %d failed", passed, failed);
    if (skipped > 0) {
        printf(", %d skipped", skipped);
    }
    printf("\n");
    return failed > 0 || passed + skipped == 0;
}

static int run_here(const char *name)
{
    for (struct t_case *test = first; test != NULL; test = test->next) {
        if (strcmp(test->name, name) == 0) {
            test->run();
            printf("ok      %s\n", name);
            return 0;
        }
    }
    fprintf(stderr, "no test is named %s; -l lists them\n", name);
    return 2;
}

const char *t_shm_name(void)
{
    return shm_name;
}

int main(int count, char **arguments)
{
    snprintf(shm_name, 64, "manyhands-test-%d-%.0f", (int) getpid(), t_now() * 1e9);
    if (count == 1) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        return t_run_otherwise != NULL ? t_run_otherwise(first) : run_all();
    }
    if (strcmp(arguments[1], "-l") == 0) {
        for (struct t_case *test = first; test != NULL; test = test->next) {
            printf("%s\n", test->name);
        }
        return 0;
    }
    in_debugger = 1;
    int rc = 0;
    for (int i = 1; i < count && rc == 0; i++) {
        rc = run_here(arguments[i]);
    }
    return rc;
}
