/*
 * The body of a request or an answer. Reading is lazy: pay for what you look at.
 */
#ifndef WITGATE_BODY_H
#define WITGATE_BODY_H

#include "witgate.h"

/* A body under inspection; lives as long as the call it was given to. */
typedef wit_body_borrow_view_t wg_body;

/* `pointer`, `role` (`is_some`, `val`) and `text`. */
typedef wit_body_text_t wg_body_text;
typedef wit_body_list_text_t wg_body_texts;

/* Every text that a person or model wrote, in order. */
wg_body_texts wg_texts(wg_body body);
/* The JSON value at a pointer; false when there is none. */
bool wg_field(wg_body body, wg_str pointer, wg_str *json);
/* The whole body, and its size in bytes. */
wg_str wg_raw(wg_body body);
uint64_t wg_size(wg_body body);

#endif
