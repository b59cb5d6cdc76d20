#include "witgate/prompt-manager.h"

// The template with the values of its {{places}}; a place without a value stays as it is.
static wg_str fill(wg_str template, const wg_json *variables) {
    wg_buf out = {0};
    size_t done = 0, open, close;
    while ((open = wg_find(template, WG_STR("{{"), done)) != WG_NONE &&
           (close = wg_find(template, WG_STR("}}"), open)) != WG_NONE) {
        wg_str name = wg_trim(wg_slice(template, open + 2, close));
        const wg_json *value = wg_json_get(variables, wg_cstr(name));
        wg_add(&out, wg_slice(template, done, open));
        if (!value) wg_add(&out, wg_slice(template, open, close + 2));
        else wg_add(&out, value->type == WG_STRING ? value->text : value->raw);
        done = close + 2;
    }
    wg_add(&out, wg_slice(template, done, template.len));
    return wg_text(&out);
}

bool plugin_get_prompt(const wg_call *call, wg_answer_prompt *answer, wg_error *error) {
    const wg_json *template = wg_json_get(wg_setting_json("prompts"), wg_cstr(call->prompt_id));
    if (!template) return wg_prompt_unknown(answer); // not one of ours: the next prompt manager is asked

    wg_buf messages = {0};
    wg_json_begin(&messages, '[');
    wg_json_begin(&messages, '{');
    wg_json_key(&messages, "role");
    wg_json_put(&messages, WG_STR("system"));
    wg_json_key(&messages, "content");
    wg_json_put(&messages, fill(wg_json_text(template), wg_json_parse(call->prompt_variables)));
    wg_json_end(&messages, '}');
    for WG_EACH(message, wg_json_parse(call->messages)) wg_json_put_raw(&messages, message->raw);
    wg_json_end(&messages, ']');
    return wg_prompt(answer, wg_text(&messages));
}
