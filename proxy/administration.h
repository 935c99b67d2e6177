/*
 * The master's part in administration: it keeps the sockets, brings the
 * reactors together that ask each other, carries out what only it can do, and
 * collects what a reload has to say for those who asked for it. It answers no
 * request itself.
 */
#ifndef POSTERN_ADMINISTRATION_H
#define POSTERN_ADMINISTRATION_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/generation.h"

struct administration;

/* All generations that live, and NULLs; the first is the one that serves. And the former
 * program's reactors. */
struct administration_view {
    struct generation *const *generations;
    size_t count;
    struct former *former;
    size_t former_count;
};

/* Hears the wishes of reactors through `environment`; both must outlive it. NULL: no memory. */
MUST_USE struct administration *administration_new(struct generation_environment *environment,
                                                   struct admin_sockets *sockets);
/* NULL is allowed. */
void administration_free(struct administration *administration);

/* The sockets of a configuration: opened on trial, then kept or given back. */
MUST_USE bool administration_open(struct administration *administration,
                                  const struct config *config);
void administration_settle(struct administration *administration, bool keep_new);

/* Carries out what reactors have wished for since the last time. */
void administration_review(struct administration *administration,
                           const struct administration_view *view);

/* Has one wished for a reload? Asked once. */
bool administration_wants_reload(struct administration *administration);
void administration_begin_reload(struct administration *administration,
                                 const struct administration_view *view);
void administration_end_reload(struct administration *administration,
                               const struct administration_view *view, bool done);

#endif
