/* Finds payment card numbers: 13 to 19 digits in groups, with a valid check digit. Knows nothing of plugins. */
#ifndef CARDS_H
#define CARDS_H

#include "witgate.h"

/* The next number at `from` or later: true, with its first byte and the one behind it. */
bool cards_next(wg_str text, size_t from, size_t *start, size_t *end);

/* How much of a text can be judged although more may follow: what comes behind may be the beginning of a number. */
size_t cards_settled(wg_str text);

#endif
