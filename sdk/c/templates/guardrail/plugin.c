#include "witgate/guardrail.h"

bool plugin_check(const wg_call *call, wg_body body, wg_verdict *verdict, wg_error *error) {
    wg_str word = wg_setting_text("word");
    wg_body_texts texts = wg_texts(body);
    for (size_t i = 0; i < texts.len; i++) {
        if (wg_find_ignoring_case(texts.ptr[i].text, word, 0) == WG_NONE) continue;
        wg_block(verdict, "This text is not allowed.");
        return wg_found(verdict, "word", 1);
    }
    return wg_allow(verdict);
}
