// Speaks a dialect of its own: POST /generate {"model", "prompt", "max_tokens"} answers {"text", "in", "out"}, or as a stream
// lines of {"text"} and at last {"in", "out"}.
#include "witgate/provider.h"

const char *const *plugin_supported_params(wg_str call_type, wg_str model) {
    static const char *const names[] = {"stream", "max_tokens", NULL};
    return names;
}

bool plugin_build_request(const wg_call *call, wg_built *built, wg_error *error) {
    const wg_json *body = wg_json_parse(call->body);
    bool stream = wg_json_bool(wg_json_get(body, "stream"), false);
    const wg_json *max_tokens = wg_json_get(body, "max_tokens");

    wg_buf out = {0};
    wg_json_begin(&out, '{');
    wg_json_key(&out, "model");
    wg_json_put(&out, call->model);
    wg_json_key(&out, "prompt");
    wg_buf prompt = {0};
    for WG_EACH(message, wg_json_get(body, "messages")) {
        const wg_json *content = wg_json_get(message, "content");
        if (!content || content->type != WG_STRING) {
            return wg_refuse(built, "BadRequestError", "this provider takes messages of plain text only");
        }
        wg_addf(&prompt, "%s%.*s: ", prompt.len ? "\n" : "", WG_ARG(wg_json_text(wg_json_get(message, "role"))));
        wg_add(&prompt, content->text);
    }
    wg_json_put(&out, wg_text(&prompt));
    if (max_tokens) {
        wg_json_key(&out, "max_tokens");
        wg_json_put_raw(&out, max_tokens->raw);
    }
    if (stream) {
        wg_json_key(&out, "stream");
        wg_json_put_bool(&out, true);
    }
    wg_json_end(&out, '}');

    wg_send_json(built, wg_format("%.*s/generate", WG_ARG(call->api_base)), wg_text(&out));
    wg_send_credential_header(built, "authorization", "Bearer {api_key}");
    return !stream || wg_send_framed(built, "ndjson");
}

bool plugin_parse_response(wg_str context, const wg_response *response, wg_parsed *parsed, wg_error *error) {
    const wg_json *said = wg_response_json(response);
    if (!said) return wg_answer_failed(parsed, "APIError", "the answer is not JSON");
    wg_buf out = {0};
    wg_adds(&out, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    wg_json_put(&out, wg_json_text(wg_json_get(said, "text")));
    wg_adds(&out, "},\"finish_reason\":\"stop\"}],\"usage\":");
    uint64_t in = wg_json_number(wg_json_get(said, "in"), 0), completion = wg_json_number(wg_json_get(said, "out"), 0);
    wg_addf(&out, "{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu}}", (unsigned long long)in,
            (unsigned long long)completion, (unsigned long long)(in + completion));
    return wg_answer_is(parsed, wg_text(&out));
}

bool plugin_push(void *stream, const wg_frame *frame, wg_progress *progress, wg_error *error) {
    const wg_json *line = wg_frame_json(frame);
    const wg_json *text = wg_json_get(line, "text");
    if (text) return wg_chunk_content(progress, wg_json_text(text));
    wg_chunk_finish(progress, "stop");
    wg_chunk_usage(progress, wg_json_number(wg_json_get(line, "in"), 0), wg_json_number(wg_json_get(line, "out"), 0));
    return wg_done(progress);
}
