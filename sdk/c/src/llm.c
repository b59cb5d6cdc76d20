/* Models, called through the gateway. */
#include "witgate.h"

#ifdef WIT_HAS_LLM

void wg__drop_later(int32_t number, void (*drop)(int32_t));

static void drop_stream(int32_t number) { wit_llm_answer_stream_drop_own((wit_llm_own_answer_stream_t){number}); }

static bool no_answer(const wit_llm_llm_error_t *failed, wg_error *error) {
    switch (failed->tag) {
    case WIT_LLM_LLM_ERROR_DENIED:
        return wg_denied(error, "%.*s", WG_ARG(failed->val.denied));
    case WIT_LLM_LLM_ERROR_TIMEOUT:
        return wg_unavailable(error, "the model gave no answer in time");
    case WIT_LLM_LLM_ERROR_UNAVAILABLE:
        return wg_unavailable(error, "%.*s", WG_ARG(failed->val.unavailable));
    case WIT_LLM_LLM_ERROR_FAILED:
        return wg_failed(error, "status %d: %.*s", failed->val.failed.status, WG_ARG(failed->val.failed.message));
    default:
        return wg_failed(error, "%.*s", WG_ARG(failed->val.invalid));
    }
}

bool wg_chat_stream(wg_str request, uint32_t timeout_ms, wg_model_stream *stream, wg_error *error) {
    wit_llm_llm_error_t failed;
    wit_llm_own_answer_stream_t own;
    if (!wit_llm_stream(&request, timeout_ms ? &timeout_ms : NULL, &own, &failed)) return no_answer(&failed, error);
    wg__drop_later(own.__handle, drop_stream);
    stream->handle = own.__handle;
    return true;
}

bool wg_chat_next(wg_model_stream stream, wg_str *chunk, bool *more, wg_error *error) {
    wit_llm_llm_error_t failed;
    wit_llm_option_json_t next;
    wit_llm_borrow_answer_stream_t open = wit_llm_borrow_answer_stream((wit_llm_own_answer_stream_t){stream.handle});
    if (!wit_llm_method_answer_stream_next(open, &next, &failed)) return no_answer(&failed, error);
    *more = next.is_some;
    if (next.is_some) *chunk = next.val;
    return true;
}

wg_str wg_chunk_text(wg_str chunk) {
    return wg_json_text(wg_json_at(wg_json_parse(chunk), "/choices/0/delta/content"));
}

bool wg_chat(wg_str request, uint32_t timeout_ms, wg_model_answer *answer, wg_error *error) {
    wit_llm_llm_error_t failed;
    if (wit_llm_chat(&request, timeout_ms ? &timeout_ms : NULL, answer, &failed)) return true;
    return no_answer(&failed, error);
}

wg_str wg_model_text(const wg_model_answer *answer) {
    return wg_json_text(wg_json_at(wg_json_parse(answer->body), "/choices/0/message/content"));
}

#endif
