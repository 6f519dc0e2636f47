/* A channel against the simplest queue that there is: the input says what is put and taken, the two must agree in every
 * message, count and code, and the ring must be whole after each step. */
#include "fuzz.h"

#include <errno.h>
#include <manyhands/manyhands.h>

#define MODEL 4096
#define STEPS 200

struct
    model { /* messages that wait, oldest first; each is its size, its tag, and bytes that follow from both */
    uint32_t size[MODEL], tag[MODEL];
    size_t first, last;
    int closed;
};

static uint8_t content(uint32_t size, uint32_t tag, size_t i)
{
    return (uint8_t) (tag * 31 + size + i * 7);
}

static void fill(uint8_t *to, uint32_t size, uint32_t tag)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = content(size, tag, i);
    }
}

static void expect(struct model *model, const void *data, size_t size, uint32_t tag)
{
    REQUIRE(model->first < model->last);
    size_t at = model->first++ % MODEL;
    REQUIRE(size == model->size[at] && tag == model->tag[at]);
    for (size_t i = 0; i < size; i++) {
        REQUIRE(((const uint8_t *) data)[i] == content((uint32_t) size, tag, i));
    }
}

static void note(struct model *model, uint32_t size, uint32_t tag)
{
    REQUIRE(model->last - model->first < MODEL);
    model->size[model->last % MODEL] = size;
    model->tag[model->last++ % MODEL] = tag;
}

static void put(mh_channel *channel, struct model *model, struct input *in)
{
    static uint8_t bytes[1 << 16];
    uint32_t size = input_u16(in), tag = input_u8(in), cut = size > 0 ? input_u16(in) % size : 0;
    fill(bytes, size, tag);
    mh_part parts[2] = {{bytes, cut}, {bytes + cut, size - cut}};
    int rc = mh_channel_put(channel, parts, 2, tag, MH_AT_ONCE, NULL);
    REQUIRE(!model->closed || rc == MH_E_CLOSED);
    REQUIRE(rc == 0 || rc == MH_E_CLOSED || rc == -ETIMEDOUT || rc == -ENOMEM || rc == -EMSGSIZE);
    if (rc == 0) {
        note(model, size, tag);
    }
}

static void put_many(mh_channel *channel, struct model *model, struct input *in)
{
    static uint8_t bytes[8][256];
    mh_part parts[8];
    uint32_t tag = input_u8(in), count = input_u8(in) % 8;
    size_t done = 99;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = input_u8(in);
        fill(bytes[i], size, tag);
        parts[i] = (mh_part){bytes[i], size};
    }
    int rc = mh_channel_put_many(channel, parts, count, tag, MH_AT_ONCE, NULL, &done);
    REQUIRE(done <= count && (rc != 0 || done == count));
    for (size_t i = 0; i < done; i++) {
        note(model, (uint32_t) parts[i].size, tag);
    }
}

static void get(mh_channel *channel, struct model *model, mh_message *message)
{
    int rc = mh_channel_get(channel, message, MH_AT_ONCE, NULL);
    if (model->first == model->last) {
        REQUIRE(rc == (model->closed ? (int) MH_E_CLOSED : -ETIMEDOUT));
        return;
    }
    REQUIRE(rc == 0);
    expect(model, message->data, message->size, message->tag);
}

static void get_many(mh_channel *channel, struct model *model, mh_message *message, size_t most)
{
    size_t done = 99, at = 0;
    int rc = mh_channel_get_many(channel, message, most, MH_AT_ONCE, NULL, &done);
    REQUIRE((rc == 0) == (done > 0) && done <= most);
    REQUIRE(rc == 0 || most == 0 || model->first == model->last);
    for (size_t i = 0; i < done; i++) {
        uint32_t head[2];
        REQUIRE(at + sizeof head <= message->size);
        memcpy(head, (const uint8_t *) message->data + at, sizeof head);
        REQUIRE(head[0] <= message->size - at - sizeof head);
        expect(model, (const uint8_t *) message->data + at + sizeof head, head[0], head[1]);
        at += sizeof head + ((head[0] + 7u) & ~7u);
    }
    REQUIRE(rc != 0 || at == message->size);
}

static void step(mh_channel *channel, struct model *model, mh_message *message, struct input *in)
{
    uint8_t what = input_u8(in);
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        put(channel, model, in);
        break;
    case 5:
    case 6:
        put_many(channel, model, in);
        break;
    case 7:
        get_many(channel, model, message, input_u8(in) % 16);
        break;
    case 8:
        (void) mh_channel_select_fd(channel);
        break;
    case 9:
        mh_channel_ring(channel);
        break;
    case 10:
        if (what == 0xfa) { /* seldom: nothing goes in afterwards */
            int immediate = input_u8(in) & 1;
            mh_channel_close(channel, immediate);
            model->closed = 1;
            model->first = immediate ? model->last : model->first;
        }
        break;
    default:
        get(channel, model, message);
    }
    REQUIRE(mh_channel_items(channel) == model->last - model->first);
    REQUIRE(mh_channel_lost(channel) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct input in = {data, size};
    mh_message message = {0};
    mh_channel *channel = NULL;
    mh_channel_options options = {.max_items = input_u8(&in) % 20,
                                  .max_bytes = (uint64_t) input_u16(&in) * 8 + 1,
                                  .flags = input_u8(&in) & (MH_PRIVATE | MH_CHANNEL_BLOCK)};
    SIGNALS_END_NO_WAIT();
    model.first = model.last = 0;
    model.closed = 0;
    REQUIRE(mh_channel_create(&options, &channel) == 0);
    for (int i = 0; i < STEPS && in.left > 0; i++) {
        step(channel, &model, &message, &in);
        if (i % 16 == 0) {
            REQUIRE(mh_channel_valid(channel) == 0);
        }
    }
    while (model.first < model.last) {
        get(channel, &model, &message);
    }
    REQUIRE(mh_channel_valid(channel) == 0 && mh_channel_bytes(channel) == 0);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    return 0;
}
