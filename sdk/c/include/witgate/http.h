/*
 * HTTP through the gateway's own client. Connections, TLS, proxies and which hosts may be reached are the host's affair.
 *
 *     wg_request request = wg_http_post(url);
 *     wg_http_json(&request, body);
 *     wg_http_bearer(&request, "token");
 *     wg_response response;
 *     if (!wg_http_send(&request, &response, error)) return false;
 */
#ifndef WITGATE_HTTP_H
#define WITGATE_HTTP_H

#include "witgate.h"

/* A secret header: its name, and a handle to its value. */
typedef wit_http_tuple2_string_borrow_secret_t wg__secret_header;

/* A request; made by the functions below. */
typedef struct wg_request {
    wit_http_request_t wit;
    wit_http_auth_t auth;
    bool has_auth;
    wg__secret_header *secrets;
    size_t secrets_len;
    /* What went wrong while it was made; `wg_http_send` reports it. */
    wg_error error;
    bool has_error;
} wg_request;

/* `uint16_t status; headers; body;` with `ptr` and `len` each. */
typedef wit_http_response_t wg_response;

wg_request wg_http_new(const char *method, wg_str url);
wg_request wg_http_get(wg_str url);
wg_request wg_http_post(wg_str url);
/* Adds a header; the name in any case. */
void wg_http_header(wg_request *request, const char *name, wg_str value);
/* The body, sent as it is. */
void wg_http_body(wg_request *request, wg_str bytes);
/* A JSON text as the body, with its content type. */
void wg_http_json(wg_request *request, wg_str json);
/* Time for the whole exchange; the host lowers it to what is left of the call's. */
void wg_http_timeout(wg_request *request, uint32_t ms);

/* The secret setting of this name as `authorization: Bearer …`. The value stays with the host. */
void wg_http_bearer(wg_request *request, const char *secret);
/* … as the password of `authorization: Basic …`. */
void wg_http_basic(wg_request *request, wg_str user, const char *secret);
/* … as the whole value of a header. */
void wg_http_secret_header(wg_request *request, const char *header, const char *secret);
/* The headers in a secret setting of type `headers`. Redirects are not followed then. */
void wg_http_secret_headers(wg_request *request, const char *secret);
/* Whether the secret setting has a value. */
bool wg_has_secret(const char *name);
/* The value itself; only when the manifest has `reveal = true` for it. */
bool wg_reveal(const char *name, wg_str *value, wg_error *error);

/* Sends it and waits for the whole response, whatever its status. */
bool wg_http_send(wg_request *request, wg_response *response, wg_error *error);

/* What came of one request of several. */
typedef struct wg_answer {
    bool ok;
    wg_response response; /* when `ok` */
    wg_error error;       /* else */
} wg_answer;

/* Sends requests side by side, at most 64, and waits for all; the answers are in their order. */
wg_answer *wg_http_send_all(wg_request *requests, size_t count);

/* Whether the status is 2xx. */
bool wg_response_ok(const wg_response *response);
/* Whether the same request may succeed later: 408, 429 and 5xx. */
bool wg_response_worth_a_retry(const wg_response *response);
/* The first header of this name; false when there is none. */
bool wg_response_header(const wg_response *response, const char *name, wg_str *value);
/* The server's `retry-after`, when it is a number of seconds, in milliseconds. */
bool wg_response_retry_after_ms(const wg_response *response, uint64_t *ms);
/* The body as text, with what is not UTF-8 replaced. */
wg_str wg_response_text(const wg_response *response);
/* The body as JSON; NULL when it is none. */
const wg_json *wg_response_json(const wg_response *response);
/* `status 503: ` and the start of the body, for a reason or an error. */
wg_str wg_response_summary(const wg_response *response);

#endif
