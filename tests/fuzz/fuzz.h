/* tests/fuzz/fuzz.h - what the fuzz targets share. A target is one function; libFuzzer calls it (`make fuzz`, clang), or
 * main.c does with the corpus and small changes of it (`make test`, any compiler).
 */
#ifndef MH_TESTS_FUZZ_H
#define MH_TESTS_FUZZ_H

#include <manyhands/wait.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input. */
#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static inline int wait_on(void *nothing)
{
    (void) nothing;
    return 0;
}

/* Waits go on after a signal, of which libFuzzer sends one every few seconds: else any of them may end with -EINTR. */
#define SIGNALS_END_NO_WAIT() mh_on_interrupt(wait_on, NULL, 0)

/* The input, read piece by piece; zeros where it has ended. */
struct input {
    const uint8_t *at;
    size_t left;
};

static inline size_t input_bytes(struct input *in, void *to, size_t size)
{
    size_t have = size < in->left ? size : in->left;
    memset(to, 0, size);
    if (have > 0) {
        memcpy(to, in->at, have);
        in->at += have;
        in->left -= have;
    }
    return have;
}

static inline uint8_t input_u8(struct input *in)
{
    uint8_t value;
    (void) input_bytes(in, &value, sizeof value);
    return value;
}

static inline uint16_t input_u16(struct input *in)
{
    uint16_t value;
    (void) input_bytes(in, &value, sizeof value);
    return value;
}

static inline uint64_t input_u64(struct input *in)
{
    uint64_t value;
    (void) input_bytes(in, &value, sizeof value);
    return value;
}

#endif
