#include "cards.h"

enum { SHORTEST = 13, LONGEST = 19 };

static bool is_digit(wg_str text, size_t at) { return at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; }

/* One of these may stand between two groups of digits. */
static bool is_gap(wg_str text, size_t at) { return at < text.len && (text.ptr[at] == ' ' || text.ptr[at] == '-'); }

/* Luhn: every second digit from the right counts double. */
static bool checks(wg_str text, size_t start, size_t end) {
    unsigned sum = 0;
    bool twice = false;
    for (size_t i = end; i-- > start;) {
        if (!is_digit(text, i)) continue;
        unsigned digit = (unsigned)(text.ptr[i] - '0') * (twice ? 2 : 1);
        sum += digit > 9 ? digit - 9 : digit;
        twice = !twice;
    }
    return sum % 10 == 0;
}

/* Where a number may begin: at a group, not behind a decimal point, with a digit that issuers use. */
static bool may_begin(wg_str text, size_t at) {
    if (!is_digit(text, at) || text.ptr[at] < '2' || text.ptr[at] > '6') return false;
    return at == 0 || !(is_digit(text, at - 1) || text.ptr[at - 1] == '.' || text.ptr[at - 1] == ',');
}

bool cards_next(wg_str text, size_t from, size_t *start, size_t *end) {
    for (size_t at = from; at < text.len; at++) {
        if (!may_begin(text, at)) continue;
        size_t found = 0, digits = 0;
        for (size_t i = at; digits <= LONGEST; i++) {
            digits++;
            if (is_digit(text, i + 1)) continue;
            /* The end of a group: the longest number counts. */
            if (digits >= SHORTEST && digits <= LONGEST && checks(text, at, i + 1)) found = i + 1;
            if (!is_gap(text, i + 1) || !is_digit(text, i + 2)) break;
            i++;
        }
        if (!found) continue;
        *start = at;
        *end = found;
        return true;
    }
    return false;
}

size_t cards_settled(wg_str text) {
    size_t cut = text.len, digits = 0;
    /* Groups at the end, until there are more digits than a number has. */
    while (cut > 0 && digits <= LONGEST) {
        bool gap = is_gap(text, cut - 1) && !is_gap(text, cut) && (cut == text.len || is_digit(text, cut));
        if (is_digit(text, cut - 1)) digits++;
        else if (!gap) break;
        cut--;
    }
    if (digits > LONGEST) {
        /* The rest of the group, unless it is too long for a number anyway. */
        for (size_t more = 0; more < LONGEST && cut > 0 && is_digit(text, cut - 1); more++) cut--;
    }
    if (cut > 0 && cut < text.len && (text.ptr[cut - 1] == '.' || text.ptr[cut - 1] == ',')) cut--;
    /* Not in the middle of a number. */
    size_t start, end, from = 0;
    while (from < cut && cards_next(text, from, &start, &end) && start < cut) {
        if (end > cut) cut = start;
        from = end;
    }
    return cut;
}
