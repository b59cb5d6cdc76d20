/* The exports of a provider, and what its author calls. */
#include "witgate/provider.h"

#include <stdlib.h>
#include <string.h>

/* --- What may be left out ------------------------------------------------------------------------------------------- */

__attribute__((weak)) bool plugin_map_error(wg_str context, const wg_response *response, bool *mapped,
                                            wg_failure *failure, wg_error *error) {
    (void)context, (void)response, (void)mapped, (void)failure, (void)error;
    return true;
}

__attribute__((weak)) bool plugin_open_stream(wg_str context, const wg_response *head, void **stream, wg_error *error) {
    (void)context, (void)head, (void)stream, (void)error;
    return true;
}

__attribute__((weak)) bool plugin_push(void *stream, const wg_frame *frame, wg_progress *progress, wg_error *error) {
    (void)stream, (void)frame, (void)progress;
    return wg_failed(error, "a request asks for frames, and there is no plugin_push");
}

__attribute__((weak)) bool plugin_finish(void *stream, wg_progress *progress, wg_error *error) {
    (void)stream, (void)error;
    return wg_stream_failed(progress, "APIConnectionError", "the stream ended too early");
}

__attribute__((weak)) void plugin_close_stream(void *stream) { free(stream); }

/* --- Exports -------------------------------------------------------------------------------------------------------- */

/* The bindings leave it to us what a stream parser is: the author's state. */
struct exports_plugin_stream_parser_t {
    void *state;
};

bool exports_plugin_supported_params(wg_str *call_type, wg_str *model, wit_list_string_t *out, wg_error *error) {
    wg__enter(error);
    const char *const *names = plugin_supported_params(*call_type, *model);
    size_t count = 0;
    while (names && names[count]) count++;
    *out = (wit_list_string_t){wg_alloc_array(count, sizeof(wg_str)), count};
    for (size_t i = 0; i < count; i++) out->ptr[i] = wg_str_of(names[i]);
    return wg__leave(true, error, true, "plugin_supported_params");
}

WG__EXPORT(build_request, (wg_call * call, wg_built *built, wg_error *error), built, (call, built, error))

WG__EXPORT(parse_response, (wg_str * context, wg_response *response, wg_parsed *parsed, wg_error *error), parsed,
           (*context, response, parsed, error))

bool exports_plugin_map_error(wg_str *context, wg_response *response, exports_plugin_option_failure_t *out,
                              wg_error *error) {
    wg__enter(error);
    memset(out, 0, sizeof *out);
    bool done = plugin_map_error(*context, response, &out->is_some, &out->val, error);
    return wg__leave(done, error, true, "plugin_map_error");
}

bool exports_plugin_open_stream(wg_str *context, wg_response *head, exports_plugin_own_stream_parser_t *out,
                                wg_error *error) {
    wg__enter(error);
    void *state = NULL;
    bool done = plugin_open_stream(*context, head, &state, error);
    if (done) {
        exports_plugin_stream_parser_t *parser = malloc(sizeof *parser);
        if (!parser) wg_panic("out of memory");
        parser->state = state;
        *out = exports_plugin_stream_parser_new(parser);
    }
    return wg__leave(done, error, true, "plugin_open_stream");
}

bool exports_plugin_method_stream_parser_push(exports_plugin_stream_parser_t *parser, exports_plugin_list_frame_t *frames,
                                              wg_progress *progress, wg_error *error) {
    wg__enter(error);
    memset(progress, 0, sizeof *progress);
    bool done = true;
    for (size_t i = 0; done && !progress->end.is_some && i < frames->len; i++)
        done = plugin_push(parser->state, &frames->ptr[i], progress, error);
    return wg__leave(done, error, true, "plugin_push");
}

bool exports_plugin_method_stream_parser_finish(exports_plugin_stream_parser_t *parser, wg_progress *progress,
                                                wg_error *error) {
    wg__enter(error);
    memset(progress, 0, sizeof *progress);
    return wg__leave(plugin_finish(parser->state, progress, error), error, true, "plugin_finish");
}

void exports_plugin_stream_parser_destructor(exports_plugin_stream_parser_t *parser) {
    plugin_close_stream(parser->state);
    free(parser);
}

/* --- Requests ------------------------------------------------------------------------------------------------------- */

typedef exports_plugin_request_t request;
typedef exports_plugin_list_header_t headers;
typedef exports_plugin_header_t header;

static void add_header(headers *list, const char *name, wg_str value) {
    list->ptr = wg__one_more(list->ptr, list->len, sizeof(header));
    list->ptr[list->len++] = (header){wg_lower(wg_str_of(name)), value};
}

static request *request_of(wg_built *built, const char *function) {
    if (built->tag != EXPORTS_PLUGIN_BUILT_REQUEST) wg_panic("%s wants a request: call wg_send_json first", function);
    return &built->val.request;
}

bool wg_send_request(wg_built *built, const char *method, wg_str url, wg_str body) {
    memset(built, 0, sizeof *built);
    built->tag = EXPORTS_PLUGIN_BUILT_REQUEST;
    built->val.request.method = wg_str_of(method);
    built->val.request.url = url;
    built->val.request.body = (wit_list_u8_t){(uint8_t *)body.ptr, body.len};
    return true;
}

bool wg_send_json(wg_built *built, wg_str url, wg_str json) {
    return wg_send_request(built, "POST", url, json) &&
           wg_send_header(built, "content-type", WG_STR("application/json"));
}

bool wg_send_header(wg_built *built, const char *name, wg_str value) {
    add_header(&request_of(built, "wg_send_header")->headers, name, value);
    return true;
}

bool wg_send_credential_header(wg_built *built, const char *name, const char *value) {
    add_header(&request_of(built, "wg_send_credential_header")->credential_headers, name, wg_str_of(value));
    return true;
}

bool wg_send_framed(wg_built *built, const char *framing) {
    request_of(built, "wg_send_framed")->framing = (wit_option_string_t){true, wg_str_of(framing)};
    return true;
}

bool wg_send_context(wg_built *built, wg_str context) {
    request_of(built, "wg_send_context")->context = context;
    return true;
}

static wg_failure failure(const char *class_name, const char *format, va_list arguments) {
    return (wg_failure){.class_ = wg_str_of(class_name), .message = wg_vformat(format, arguments)};
}

wg_failure wg_failure_of(const char *class_name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wg_failure made = failure(class_name, format, arguments);
    va_end(arguments);
    return made;
}

bool wg_refuse(wg_built *built, const char *class_name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    built->tag = EXPORTS_PLUGIN_BUILT_REFUSED;
    built->val.refused = failure(class_name, format, arguments);
    va_end(arguments);
    return true;
}

bool wg_has_credential(const wg_call *call, const char *name) {
    for (size_t i = 0; i < call->credentials.len; i++)
        if (wg_is(call->credentials.ptr[i].name, name)) return true;
    return false;
}

/* --- Answers -------------------------------------------------------------------------------------------------------- */

bool wg_answer_is(wg_parsed *parsed, wg_str json) {
    parsed->tag = EXPORTS_PLUGIN_PARSED_ANSWER;
    parsed->val.answer = json;
    return true;
}

bool wg_answer_failed(wg_parsed *parsed, const char *class_name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    parsed->tag = EXPORTS_PLUGIN_PARSED_FAILED;
    parsed->val.failed = failure(class_name, format, arguments);
    va_end(arguments);
    return true;
}

bool wg_ask_again(wg_parsed *parsed, uint32_t delay_ms, const wg_built *built) {
    parsed->tag = EXPORTS_PLUGIN_PARSED_AGAIN;
    parsed->val.again = (exports_plugin_follow_up_t){*request_of((wg_built *)built, "wg_ask_again"), delay_ms};
    return true;
}

static wg_str text_of(wit_list_u8_t bytes) { return wg_utf8((wg_str){(char *)bytes.ptr, bytes.len}); }

const wg_json *wg_response_json(const wg_response *response) { return wg_json_parse(text_of(response->body)); }

wg_str wg_frame_text(const wg_frame *frame) { return text_of(frame->data); }

const wg_json *wg_frame_json(const wg_frame *frame) { return wg_json_parse(wg_frame_text(frame)); }

/* --- Chunks --------------------------------------------------------------------------------------------------------- */

bool wg_chunk(wg_progress *progress, wg_str json) {
    progress->chunks.ptr = wg__one_more(progress->chunks.ptr, progress->chunks.len, sizeof json);
    progress->chunks.ptr[progress->chunks.len++] = json;
    return true;
}

bool wg_chunk_content(wg_progress *progress, wg_str text) {
    wg_buf out = {0};
    wg_adds(&out, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":");
    wg_json_put(&out, text);
    wg_adds(&out, "},\"finish_reason\":null}]}");
    return wg_chunk(progress, wg_text(&out));
}

bool wg_chunk_finish(wg_progress *progress, const char *reason) {
    wg_buf out = {0};
    wg_adds(&out, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":");
    wg_json_put(&out, wg_str_of(reason));
    wg_adds(&out, "}]}");
    return wg_chunk(progress, wg_text(&out));
}

bool wg_chunk_usage(wg_progress *progress, uint64_t prompt_tokens, uint64_t completion_tokens) {
    return wg_chunk(progress, wg_format("{\"choices\":[],\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,"
                                        "\"total_tokens\":%llu}}",
                                        (unsigned long long)prompt_tokens, (unsigned long long)completion_tokens,
                                        (unsigned long long)(prompt_tokens + completion_tokens)));
}

bool wg_done(wg_progress *progress) {
    progress->end = (exports_plugin_option_end_t){true, {.tag = EXPORTS_PLUGIN_END_DONE}};
    return true;
}

bool wg_stream_failed(wg_progress *progress, const char *class_name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    progress->end.is_some = true;
    progress->end.val.tag = EXPORTS_PLUGIN_END_FAILED;
    progress->end.val.val.failed = failure(class_name, format, arguments);
    va_end(arguments);
    return true;
}
