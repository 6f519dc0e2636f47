/* The exhaustive search: depth first over all states of the machine, each entered once; then the proof, backwards
 * from the final states, that from every state the live threads can finish without help from luck. */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One state on the path that is being tried. */
typedef struct frame {
    snapshot *state;
    uint32_t id;
    int next, count;
    move moves[MOVES_MAX];
} frame;

typedef struct edge {
    uint32_t from, to;
} edge;

static struct {
    /* every state seen: an open hash table of ids, and per id its key, the way it was first reached, and how many
     * executions lead from it to an end */
    uint32_t *table, mask, states;
    key *keys;
    uint32_t *parent;
    move *by;
    double *ways;
    unsigned char *is_final;
    /* moves that are sure to come, for the proof */
    edge *edges;
    size_t edge_count, edge_room;
    /* the path */
    frame *path;
    size_t depth, room;
    unsigned long moves, deaths, ends;
    uint32_t limit;
} x;

static void *grown(void *old, size_t bytes)
{
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p) {
        fprintf(stderr, "sched: out of memory\n");
        exit(2);
    }
    return p;
}

static void begin(uint32_t limit)
{
    memset(&x, 0, sizeof x);
    x.limit = limit;
    x.mask = 1023;
    x.table = grown(NULL, (x.mask + 1) * sizeof *x.table);
    memset(x.table, 0, (x.mask + 1) * sizeof *x.table);
}

static void end(void)
{
    for (size_t i = 0; i < x.depth; i++) {
        free(x.path[i].state);
    }
    free(x.table);
    free(x.keys);
    free(x.parent);
    free(x.by);
    free(x.ways);
    free(x.is_final);
    free(x.edges);
    free(x.path);
}

/* ---- states */

static uint32_t slot_of(key k)
{
    uint32_t at = (uint32_t) k.a & x.mask;
    while (x.table[at] && (x.keys[x.table[at] - 1].a != k.a || x.keys[x.table[at] - 1].b != k.b)) {
        at = (at + 1) & x.mask;
    }
    return at;
}

static void more_room(void)
{
    x.mask = x.mask * 2 + 1;
    free(x.table);
    x.table = grown(NULL, (size_t) (x.mask + 1) * sizeof *x.table);
    memset(x.table, 0, (size_t) (x.mask + 1) * sizeof *x.table);
    for (uint32_t id = 0; id < x.states; id++) {
        x.table[slot_of(x.keys[id])] = id + 1;
    }
}

/* The id of the machine's state; *fresh: it had not been seen. */
static uint32_t state_id(uint32_t parent, move by, int *fresh)
{
    key k = machine_key();
    uint32_t at = slot_of(k);
    *fresh = !x.table[at];
    if (!*fresh) {
        return x.table[at] - 1;
    }
    uint32_t id = x.states++;
    if ((id & (id - 1)) == 0) { /* room for twice as many */
        size_t n = id ? (size_t) id * 2 : 1;
        x.keys = grown(x.keys, n * sizeof *x.keys);
        x.parent = grown(x.parent, n * sizeof *x.parent);
        x.by = grown(x.by, n * sizeof *x.by);
        x.ways = grown(x.ways, n * sizeof *x.ways);
        x.is_final = grown(x.is_final, n);
    }
    x.keys[id] = k;
    x.parent[id] = parent;
    x.by[id] = by;
    x.ways[id] = 0;
    x.is_final[id] = 0;
    x.table[at] = id + 1;
    if (x.states > x.mask / 2) {
        more_room();
    }
    return id;
}

static void add_edge(uint32_t from, uint32_t to)
{
    if (x.edge_count == x.edge_room) {
        x.edge_room = x.edge_room ? x.edge_room * 2 : 1024;
        x.edges = grown(x.edges, x.edge_room * sizeof *x.edges);
    }
    x.edges[x.edge_count++] = (edge){from, to};
}

/* Spurious wakes, signals and deaths may never come; slices are for repairing what a death broke. */
static int is_sure(move by, int deaths_before)
{
    if (by.kind == STEP || by.kind == TIMEOUT) {
        return 1;
    }
    return by.kind == SLICE && (deaths_before > 0 || (scenario->flags & SCHED_SLICES));
}

/* ---- the search */

static void push(uint32_t id)
{
    if (x.depth == x.room) {
        x.room = x.room ? x.room * 2 : 256;
        x.path = grown(x.path, x.room * sizeof *x.path);
    }
    frame *f = &x.path[x.depth++];
    f->id = id;
    f->next = 0;
    f->count = machine_moves(f->moves);
    f->state = f->count > 1 ? machine_save() : NULL;
}

static void enter_final(uint32_t id)
{
    x.is_final[id] = 1;
    x.ways[id] = 1;
    x.ends++;
    if (scenario->finish) {
        scenario->finish();
    }
}

static void pop(void)
{
    frame *f = &x.path[--x.depth];
    free(f->state);
    if (x.depth) {
        x.ways[x.path[x.depth - 1].id] += x.ways[f->id];
    }
}

/* One move from the state on top. Returns the state in which it failed, or UINT32_MAX. */
static uint32_t try_next(void)
{
    frame *f = &x.path[x.depth - 1];
    if (f->next > 0) {
        machine_restore(f->state);
    }
    move by = f->moves[f->next++];
    uint32_t from = f->id;
    int deaths_before = m.deaths, fresh;
    machine_do(by);
    x.moves++;
    x.deaths += by.kind == DIE;
    uint32_t id = state_id(from, by, &fresh);
    if (is_sure(by, deaths_before)) {
        add_edge(from, id);
    }
    if (failure) {
        /* the state may be one seen before by a way that did not fail: remember this way */
        x.parent[id] = from;
        x.by[id] = by;
        return id;
    }
    if (!fresh) {
        x.ways[from] += x.ways[id];
        return UINT32_MAX;
    }
    if (machine_over()) {
        enter_final(id);
        x.ways[from] += 1;
        return failure ? id : UINT32_MAX;
    }
    push(id);
    return UINT32_MAX;
}

/* ---- the proof that everybody can finish: backwards from the final states along sure moves */

static uint32_t cannot_finish(void)
{
    size_t n = x.states;
    uint32_t *start = calloc(n + 2, sizeof *start), *into = malloc((x.edge_count + 1) * sizeof *into);
    uint32_t *todo = malloc((n + 1) * sizeof *todo), bad = UINT32_MAX;
    unsigned char *good = calloc(n + 1, 1);
    size_t left = 0;
    if (!start || !into || !todo || !good) {
        exit(2);
    }
    for (size_t i = 0; i < x.edge_count; i++) {
        start[x.edges[i].to + 2]++;
    }
    for (size_t i = 2; i < n + 2; i++) {
        start[i] += start[i - 1];
    }
    for (size_t i = 0; i < x.edge_count; i++) {
        into[start[x.edges[i].to + 1]++] = x.edges[i].from;
    }
    for (uint32_t id = 0; id < n; id++) {
        if (x.is_final[id]) {
            good[id] = 1;
            todo[left++] = id;
        }
    }
    while (left) {
        uint32_t id = todo[--left];
        for (uint32_t i = start[id]; i < start[id + 1]; i++) {
            if (!good[into[i]]) {
                good[into[i]] = 1;
                todo[left++] = into[i];
            }
        }
    }
    for (uint32_t id = 0; id < n && bad == UINT32_MAX; id++) {
        if (!good[id]) {
            bad = id;
        }
    }
    free(start);
    free(into);
    free(todo);
    free(good);
    return bad;
}

/* ---- traces */

static void describe_place(const void *p)
{
    const char *memory = scenario->memory, *at = p;
    if (!p) {
        return;
    }
    if (at >= memory && at < memory + scenario->size) {
        printf(" shared+%zu", (size_t) (at - memory));
    } else {
        printf(" %p", p);
    }
}

/* The value there now: what the step read or left. */
static void describe_value(const void *p, unsigned size)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if (size == sizeof wide) {
        memcpy(&wide, p, sizeof wide);
    } else if (size == sizeof narrow) {
        memcpy(&narrow, p, sizeof narrow);
    }
    printf(" = 0x%llx", (unsigned long long) (wide | narrow));
}

static int on_a_word(const char *operation)
{
    return strchr(operation, '(') || strncmp(operation, "futex", 5) == 0;
}

static void describe_step(move by)
{
    const actor before = m.actor[by.who];
    machine_do(by);
    printf("%s", before.operation);
    if (on_a_word(before.operation)) {
        describe_place(before.about);
        describe_value(before.about, before.size);
    }
    if (m.actor[by.who].status == ASLEEP) {
        printf(", sleeps");
    } else if (m.actor[by.who].status == FINISHED) {
        printf(", finished");
    }
    printf("\n");
}

static void describe(int n, move by)
{
    static const char *const what[] = {
        "", "the deadline passes", "a slice of the wait ends", "a spurious wake", "a signal", "dies"};
    printf("  %3d  %c  ", n, 'A' + by.who);
    if (by.kind == STEP) {
        describe_step(by);
        return;
    }
    printf("%s; it was at: %s\n", what[by.kind], m.actor[by.who].operation);
    machine_do(by);
}

/* Run the way to `id` again and say each move. */
static void print_trace(uint32_t id)
{
    size_t length = 0;
    for (uint32_t at = id; at != UINT32_MAX; at = x.parent[at]) {
        length++;
    }
    move *way = grown(NULL, length * sizeof *way);
    size_t i = length;
    for (uint32_t at = id; at != UINT32_MAX; at = x.parent[at]) {
        way[--i] = x.by[at];
    }
    machine_start(scenario);
    for (i = 1; i < length; i++) {
        describe((int) i, way[i]);
    }
    free(way);
}

/* ---- scenarios */

static uint32_t search(const sched_scenario *s)
{
    int fresh;
    machine_start(s);
    push(state_id(UINT32_MAX, (move){0, 0, 0}, &fresh));
    while (x.depth) {
        frame *f = &x.path[x.depth - 1];
        if (f->next == f->count) {
            pop();
            continue;
        }
        uint32_t bad = try_next();
        if (bad != UINT32_MAX) {
            return bad;
        }
        if (x.states > x.limit) {
            failure = "too many states: make the scenario smaller";
            return UINT32_MAX;
        }
    }
    uint32_t stuck = cannot_finish();
    if (stuck != UINT32_MAX) {
        failure = "the threads cannot finish";
    }
    return stuck;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* 1 where the scenario went as it should. */
static int run(const char *program, const sched_scenario *s, int verbose)
{
    double started = seconds();
    begin(s->limit ? s->limit : SCHED_LIMIT);
    uint32_t bad = search(s);
    const char *what = failure;
    int expected = s->fails ? what && strstr(what, s->fails) : !what;
    printf("%s %s: %s: %u states, %lu moves, %.3g executions, %lu deaths, %lu ends, %.2f s",
           expected ? "ok  " : "FAIL", program, s->name, x.states, x.moves, x.ways[0], x.deaths, x.ends,
           seconds() - started);
    if (s->fails) {
        printf("%s%s", expected ? "; caught: " : "; NOT caught, instead: ", what ? what : "no failure");
    } else if (what) {
        printf("; %s", what);
    }
    printf("\n");
    if (what && bad != UINT32_MAX && (!expected || verbose)) {
        printf("  the schedule (threads A, B, ...; operation, where, value seen):\n");
        print_trace(bad);
        printf("  => %s\n", what);
    }
    fflush(stdout);
    end();
    return expected;
}

int sched_main(const char *program, const sched_scenario *list, int count, int argc, char **argv)
{
    int failed = 0, ran = 0, verbose = 0, first_only = 0;
    const char *only = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            verbose = 1;
        } else if (strcmp(argv[i], "-x") == 0) {
            first_only = 1;
        } else {
            only = argv[i];
        }
    }
    for (int i = 0; i < count && !(failed && first_only); i++) {
        if (!strstr(list[i].name, only)) {
            continue;
        }
        failed += !run(program, &list[i], verbose);
        ran++;
    }
    if (!ran) {
        fprintf(stderr, "%s: no scenario is called '%s'\n", program, only);
        return 2;
    }
    return failed ? 1 : 0;
}
