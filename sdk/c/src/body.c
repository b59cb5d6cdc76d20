/* The body of a request or an answer. */
#include "witgate.h"

#ifdef WIT_HAS_BODY

wg_body_texts wg_texts(wg_body body) {
    wg_body_texts texts;
    wit_body_method_view_texts(body, &texts);
    return texts;
}

bool wg_field(wg_body body, wg_str pointer, wg_str *json) {
    if (wit_body_method_view_field(body, &pointer, json)) return true;
    *json = (wg_str){0};
    return false;
}

wg_str wg_raw(wg_body body) {
    wg_str raw;
    wit_body_method_view_raw(body, &raw);
    return raw;
}

uint64_t wg_size(wg_body body) { return wit_body_method_view_size(body); }

#endif
