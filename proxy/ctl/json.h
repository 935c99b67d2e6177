/*
 * Reads JSON (RFC 8259) where it lies: checked once as a whole, then looked
 * into by value, without a copy and without a tree. Pure.
 */
#ifndef POSTERN_CTL_JSON_H
#define POSTERN_CTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/compiler.h"

/* A value inside a text that has been checked; `length` 0: there is none. */
struct ctl_value {
    const char *at;
    size_t length;
};

/* The one value that the text is, with blanks around it; none, if it is not JSON or is nested
 * deeper than an answer of Postern's. */
struct ctl_value ctl_json_parse(const char *text, size_t length);

/* A member of an object; none, if it has no such member or is no object. */
struct ctl_value ctl_json_member(struct ctl_value object, const char *key);

/* The next element of a list, or of an object the next member's value; none at the end. Begin
 * with *rest = the list or object. `key` (NULL: not wanted) is the member's name as a string.
 */
struct ctl_value ctl_json_next(struct ctl_value *rest, struct ctl_value *key);

bool ctl_json_is_list(struct ctl_value value);
bool ctl_json_is_true(struct ctl_value value);
/* 0, if it is no such number. */
int64_t ctl_json_number(struct ctl_value value);
/* A string decoded into UTF-8, cut if it must be; "" if it is none. NUL becomes "?". */
void ctl_json_text(struct ctl_value value, char *out, size_t size);

#endif
