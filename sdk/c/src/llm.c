/* Models, called through the gateway. */
#include "witgate.h"

#ifdef WIT_HAS_LLM

bool wg_chat(wg_str request, uint32_t timeout_ms, wg_model_answer *answer, wg_error *error) {
    wit_llm_llm_error_t failed;
    if (wit_llm_chat(&request, timeout_ms ? &timeout_ms : NULL, answer, &failed)) return true;
    switch (failed.tag) {
    case WIT_LLM_LLM_ERROR_DENIED:
        return wg_denied(error, "%.*s", WG_ARG(failed.val.denied));
    case WIT_LLM_LLM_ERROR_TIMEOUT:
        return wg_unavailable(error, "the model gave no answer in time");
    case WIT_LLM_LLM_ERROR_UNAVAILABLE:
        return wg_unavailable(error, "%.*s", WG_ARG(failed.val.unavailable));
    case WIT_LLM_LLM_ERROR_FAILED:
        return wg_failed(error, "status %d: %.*s", failed.val.failed.status, WG_ARG(failed.val.failed.message));
    default:
        return wg_failed(error, "%.*s", WG_ARG(failed.val.invalid));
    }
}

wg_str wg_model_text(const wg_model_answer *answer) {
    return wg_json_text(wg_json_at(wg_json_parse(answer->body), "/choices/0/message/content"));
}

#endif
