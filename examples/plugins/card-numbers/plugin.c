/* A guardrail in C: masks payment card numbers in requests, answers and streams, or refuses texts with them. */
#include "witgate/guardrail.h"

#include <stdlib.h>

#include "cards.h"

static bool blocks;
static size_t keep;

bool plugin_init(wg_error *error) {
    wg_str action = wg_setting_text("action");
    double last = wg_setting_number("keep_last", 4);
    if (!wg_is(action, "mask") && !wg_is(action, "block"))
        return wg_invalid_settings(error, "`action` must be mask or block, not `%.*s`", WG_ARG(action));
    if (last < 0 || last > 4) return wg_invalid_settings(error, "`keep_last` must be 0 to 4");
    blocks = wg_is(action, "block");
    keep = (size_t)last;
    return true;
}

/* The text with its numbers masked, and how many there were. */
static wg_str mask(wg_str text, uint32_t *count) {
    wg_buf out = {0};
    size_t done = 0, start, end;
    for (*count = 0; cards_next(text, done, &start, &end); ++*count) {
        size_t digits = 0;
        for (size_t i = start; i < end; i++) digits += text.ptr[i] >= '0';
        wg_add(&out, wg_slice(text, done, start));
        for (size_t i = start; i < end; i++) {
            bool hide = text.ptr[i] >= '0' && digits-- > keep;
            wg_add(&out, hide ? WG_STR("*") : wg_slice(text, i, i + 1));
        }
        done = end;
    }
    if (*count == 0) return text;
    wg_add(&out, wg_slice(text, done, text.len));
    return wg_text(&out);
}

static const char REFUSAL[] = "The text contains a payment card number.";

bool plugin_check(const wg_call *call, wg_body body, wg_verdict *verdict, wg_error *error) {
    wg_body_texts texts = wg_texts(body);
    uint32_t all = 0, count;
    wg_allow(verdict);
    for (size_t i = 0; i < texts.len; i++) {
        wg_str masked = mask(texts.ptr[i].text, &count);
        all += count;
        if (count && !blocks) wg_edit_text(verdict, texts.ptr[i].pointer, masked);
    }
    if (all && blocks) wg_block(verdict, REFUSAL);
    return !all || wg_found(verdict, "card_number", all);
}

/* A stream under inspection: what is held of its channels, and how many numbers were masked. */
typedef struct stream {
    wg_held held;
    uint32_t masked;
} stream;

bool plugin_open_stream(const wg_call *call, void **state, wg_error *error) {
    *state = calloc(1, sizeof(stream));
    return *state || wg_failed(error, "out of memory");
}

static bool judge(stream *own, wg_str text, wg_stream_verdict *verdict) {
    uint32_t count;
    wg_str masked = mask(text, &count);
    if (count && blocks) {
        wg_stream_block(verdict, REFUSAL);
        return wg_stream_found(verdict, "card_number", count);
    }
    own->masked += count;
    return wg_release(verdict, masked);
}

bool plugin_push(void *state, uint32_t channel, wg_str text, wg_stream_verdict *verdict, wg_error *error) {
    stream *own = state;
    text = wg_held_take(&own->held, channel, text);
    size_t settled = cards_settled(text);
    wg_held_put(&own->held, channel, wg_slice(text, settled, text.len));
    return judge(own, wg_slice(text, 0, settled), verdict);
}

bool plugin_finish(void *state, uint32_t channel, wg_stream_verdict *verdict, wg_error *error) {
    stream *own = state;
    return judge(own, wg_held_take(&own->held, channel, WG_STR("")), verdict);
}

wg_findings plugin_stream_findings(void *state) { return wg_one_finding("card_number", ((stream *)state)->masked); }

void plugin_close_stream(void *state) {
    wg_held_free(&((stream *)state)->held);
    free(state);
}
