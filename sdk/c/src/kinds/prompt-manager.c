/* The exports of a prompt manager, and what its author calls. */
#include "witgate/prompt-manager.h"

bool exports_plugin_get_chat_completion_prompt(wg_call *call, wg_answer_prompt *answer, wg_error *error) {
    wg__enter(error);
    answer->tag = WG__UNSET;
    bool done = plugin_get_prompt(call, answer, error);
    return wg__leave(done, error, answer->tag != WG__UNSET, "plugin_get_prompt");
}

bool wg_prompt(wg_answer_prompt *answer, wg_str messages) {
    answer->tag = EXPORTS_PLUGIN_ANSWER_FOUND;
    answer->val.found = (exports_plugin_prompt_t){.messages = messages, .params = WG_STR("{}")};
    return true;
}

static exports_plugin_prompt_t *found(wg_answer_prompt *answer, const char *function) {
    if (answer->tag != EXPORTS_PLUGIN_ANSWER_FOUND) wg_panic("%s wants a prompt: call wg_prompt first", function);
    return &answer->val.found;
}

bool wg_prompt_model(wg_answer_prompt *answer, wg_str model) {
    found(answer, "wg_prompt_model")->model = (wit_option_string_t){true, model};
    return true;
}

bool wg_prompt_params(wg_answer_prompt *answer, wg_str params) {
    found(answer, "wg_prompt_params")->params = params;
    return true;
}

bool wg_prompt_unknown(wg_answer_prompt *answer) {
    answer->tag = EXPORTS_PLUGIN_ANSWER_UNKNOWN;
    return true;
}
