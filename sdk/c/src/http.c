/* HTTP through the gateway's own client. */
#include "witgate.h"

#ifdef WIT_HAS_HTTP

void wg__drop_later(int32_t number, void (*drop)(int32_t));
bool wg__secret(const char *name, bool *found, wit_secrets_borrow_secret_t *secret, wg_error *error);

static void drop_secret(int32_t number) { wit_secrets_secret_drop_own((wit_secrets_own_secret_t){number}); }

wg_request wg_http_new(const char *method, wg_str url) {
    return (wg_request){.wit = {.method = wg_str_of(method), .url = url}};
}

wg_request wg_http_get(wg_str url) { return wg_http_new("GET", url); }

wg_request wg_http_post(wg_str url) { return wg_http_new("POST", url); }

void wg_http_header(wg_request *request, const char *name, wg_str value) {
    wit_http_list_header_t *headers = &request->wit.headers;
    headers->ptr = wg__one_more(headers->ptr, headers->len, sizeof(wit_http_header_t));
    headers->ptr[headers->len++] = (wit_http_header_t){wg_lower(wg_str_of(name)), value};
}

void wg_http_body(wg_request *request, wg_str bytes) {
    request->wit.body = (wit_list_u8_t){(uint8_t *)bytes.ptr, bytes.len};
}

void wg_http_json(wg_request *request, wg_str json) {
    wg_http_header(request, "content-type", WG_STR("application/json"));
    wg_http_body(request, json);
}

void wg_http_timeout(wg_request *request, uint32_t ms) { request->wit.timeout_ms = (wit_option_u32_t){true, ms}; }

/* --- Secrets -------------------------------------------------------------------------------------------------------- */

bool wg__secret(const char *name, bool *found, wit_secrets_borrow_secret_t *secret, wg_error *error) {
    wg_str key = wg_str_of(name), why;
    wit_secrets_option_own_secret_t own;
    if (!wit_secrets_get(&key, &own, &why)) return wg_denied(error, "%.*s", WG_ARG(why));
    *found = own.is_some;
    if (own.is_some) {
        wg__drop_later(own.val.__handle, drop_secret);
        *secret = wit_secrets_borrow_secret(own.val);
    }
    return true;
}

/* The handle of a secret that has to be there; what is wrong waits in the request. */
static bool need_secret(wg_request *request, const char *name, wit_secrets_borrow_secret_t *secret) {
    bool found = false;
    if (request->has_error) return false;
    if (!wg__secret(name, &found, secret, &request->error)) {
        request->has_error = true;
    } else if (!found) {
        wg_invalid_settings(&request->error, "`%s` is not set", name);
        request->has_error = true;
    }
    return !request->has_error;
}

static void set_auth(wg_request *request, wit_http_auth_t auth) {
    request->auth = auth;
    request->has_auth = true;
}

void wg_http_bearer(wg_request *request, const char *name) {
    wit_secrets_borrow_secret_t secret;
    if (!need_secret(request, name, &secret)) return;
    set_auth(request, (wit_http_auth_t){.tag = WIT_HTTP_AUTH_BEARER, .val = {.bearer = secret}});
}

void wg_http_basic(wg_request *request, wg_str user, const char *name) {
    wit_secrets_borrow_secret_t secret;
    if (!need_secret(request, name, &secret)) return;
    set_auth(request, (wit_http_auth_t){.tag = WIT_HTTP_AUTH_BASIC, .val = {.basic = {user, secret}}});
}

static void add_secret_header(wg_request *request, wg_str header, wit_secrets_borrow_secret_t secret) {
    request->secrets = wg__one_more(request->secrets, request->secrets_len, sizeof(wg__secret_header));
    request->secrets[request->secrets_len++] = (wg__secret_header){wg_lower(header), secret};
}

void wg_http_secret_header(wg_request *request, const char *header, const char *name) {
    wit_secrets_borrow_secret_t secret;
    if (need_secret(request, name, &secret)) add_secret_header(request, wg_str_of(header), secret);
}

void wg_http_secret_headers(wg_request *request, const char *name) {
    wg_str key = wg_str_of(name), why;
    wit_secrets_list_tuple2_string_own_secret_t list;
    if (request->has_error) return;
    if (!wit_secrets_headers(&key, &list, &why)) {
        wg_denied(&request->error, "%.*s", WG_ARG(why));
        request->has_error = true;
        return;
    }
    for (size_t i = 0; i < list.len; i++) {
        wg__drop_later(list.ptr[i].f1.__handle, drop_secret);
        add_secret_header(request, list.ptr[i].f0, wit_secrets_borrow_secret(list.ptr[i].f1));
    }
}

bool wg_has_secret(const char *name) {
    bool found = false;
    wit_secrets_borrow_secret_t secret;
    wg_error error;
    return wg__secret(name, &found, &secret, &error) && found;
}

bool wg_reveal(const char *name, wg_str *value, wg_error *error) {
    bool found = false;
    wit_secrets_borrow_secret_t secret;
    wg_str why;
    if (!wg__secret(name, &found, &secret, error)) return false;
    if (!found) return wg_invalid_settings(error, "`%s` is not set", name);
    return wit_secrets_method_secret_reveal(secret, value, &why) || wg_denied(error, "%.*s", WG_ARG(why));
}

/* --- Sending -------------------------------------------------------------------------------------------------------- */

static bool read_error(const wit_http_http_error_t *wit, wg_error *error) {
    switch (wit->tag) {
    case WIT_HTTP_HTTP_ERROR_DENIED:
        return wg_denied(error, "%.*s", WG_ARG(wit->val.denied));
    case WIT_HTTP_HTTP_ERROR_TIMEOUT:
        return wg_unavailable(error, "no answer in time");
    case WIT_HTTP_HTTP_ERROR_CONNECTION:
        return wg_unavailable(error, "%.*s", WG_ARG(wit->val.connection));
    case WIT_HTTP_HTTP_ERROR_TOO_LARGE:
        return wg_failed(error, "the response is larger than %llu bytes", (unsigned long long)wit->val.too_large);
    default:
        return wg_failed(error, "%.*s", WG_ARG(wit->val.invalid));
    }
}

/* One secret header goes as `auth`, several as a list; there is no way to send a list and `auth`. */
static bool settle_auth(wg_request *request, bool side_by_side) {
    if (request->has_error || request->secrets_len == 0) return !request->has_error;
    if (!request->has_auth && request->secrets_len == 1) {
        set_auth(request, (wit_http_auth_t){.tag = WIT_HTTP_AUTH_HEADER, .val = {.header = request->secrets[0]}});
        request->secrets_len = 0;
    } else if (request->has_auth || side_by_side) {
        wg_failed(&request->error, "several secret headers cannot go with another way of authentication, nor in "
                                   "wg_http_send_all");
        request->has_error = true;
    }
    return !request->has_error;
}

bool wg_http_send(wg_request *request, wg_response *response, wg_error *error) {
    wit_http_http_error_t failed;
    if (!settle_auth(request, false)) {
        *error = request->error;
        return false;
    }
    bool sent;
    if (request->secrets_len) {
        wit_http_list_tuple2_string_borrow_secret_t list = {request->secrets, request->secrets_len};
        sent = wit_http_send_with_secrets(&request->wit, &list, response, &failed);
    } else {
        sent = wit_http_send(&request->wit, request->has_auth ? &request->auth : NULL, response, &failed);
    }
    return sent || read_error(&failed, error);
}

wg_answer *wg_http_send_all(wg_request *requests, size_t count) {
    wg_answer *answers = wg_alloc_array(count, sizeof *answers);
    wit_http_tuple2_request_option_auth_t *ready = wg_alloc_array(count, sizeof *ready);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (!settle_auth(&requests[i], true)) continue;
        ready[len].f0 = requests[i].wit;
        ready[len].f1.is_some = requests[i].has_auth;
        ready[len++].f1.val = requests[i].auth;
    }
    wit_http_list_tuple2_request_option_auth_t list = {ready, len};
    wit_http_list_result_response_http_error_t results;
    wit_http_send_all(&list, &results);
    for (size_t i = 0, next = 0; i < count; i++) {
        if (requests[i].has_error) {
            answers[i].error = requests[i].error;
            continue;
        }
        wit_http_result_response_http_error_t *result = &results.ptr[next++];
        answers[i].ok = !result->is_err;
        if (result->is_err) read_error(&result->val.err, &answers[i].error);
        else answers[i].response = result->val.ok;
    }
    return answers;
}

/* --- Responses ------------------------------------------------------------------------------------------------------ */

bool wg_response_ok(const wg_response *response) { return response->status >= 200 && response->status < 300; }

bool wg_response_worth_a_retry(const wg_response *response) {
    return response->status == 408 || response->status == 429 || response->status >= 500;
}

bool wg_response_header(const wg_response *response, const char *name, wg_str *value) {
    for (size_t i = 0; i < response->headers.len; i++) {
        if (!wg_equal_ignoring_case(response->headers.ptr[i].f0, wg_str_of(name))) continue;
        *value = response->headers.ptr[i].f1;
        return true;
    }
    return false;
}

bool wg_response_retry_after_ms(const wg_response *response, uint64_t *ms) {
    wg_str value;
    if (!wg_response_header(response, "retry-after", &value)) return false;
    value = wg_trim(value);
    if (value.len == 0 || value.len > 12) return false;
    uint64_t seconds = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') return false;
        seconds = seconds * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    *ms = seconds * 1000;
    return true;
}

wg_str wg_response_text(const wg_response *response) {
    return wg_utf8((wg_str){(char *)response->body.ptr, response->body.len});
}

const wg_json *wg_response_json(const wg_response *response) { return wg_json_parse(wg_response_text(response)); }

wg_str wg_response_summary(const wg_response *response) {
    wg_str text = wg_response_text(response), start = wg_cut(text, 300);
    return wg_format("status %d: %.*s%s", response->status, WG_ARG(start), start.len < text.len ? "…" : "");
}

#endif
