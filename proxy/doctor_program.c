/*
 * Starts one program with the opener's own means, in an event loop of its own that turns until
 * the program executes. Called by doctor_talk.c.
 */
#include "proxy/doctor_program.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/opener_program.h"
#include "proxy/opener_settings.h"

struct doctor_program {
    struct event_base *base;
    struct opener_settings settings;
    struct programs *programs;
    int descriptor; /* -1: none */
    int error;
};

static void on_answer(void *context, uint64_t order, int descriptor, int error)
{
    struct doctor_program *program = context;
    (void)order;
    program->error = error;
    program->descriptor = descriptor < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    event_base_loopbreak(program->base);
}

static void on_none(void *context)
{
    (void)context;
}

static void turn_until_answered(struct doctor_program *program,
                                const struct opener_order *order)
{
    program->error = -1;
    programs_start(program->programs, order);
    while (program->error < 0 && event_base_loop(program->base, EVLOOP_ONCE) == 0)
        continue;
}

struct doctor_program *doctor_program_start(const struct config *config, bool root,
                                            const struct opener_order *order, int *descriptor,
                                            const char **why)
{
    struct doctor_program *program = calloc(1, sizeof *program);
    *why = "out of memory";
    if (!program)
        return NULL;
    program->descriptor = -1;
    program->base = event_base_new();
    if (program->base && opener_settings_from_config(&program->settings, config)) {
        *why = "its user cannot be used";
        program->programs =
            programs_new(program->base, &program->settings, root, on_answer, on_none, program);
    }
    if (program->programs) {
        turn_until_answered(program, order);
        *why = strerrordesc_np(program->error);
    }
    *descriptor = program->descriptor;
    if (program->descriptor >= 0)
        return program;
    doctor_program_end(program);
    return NULL;
}

void doctor_program_end(struct doctor_program *program)
{
    if (!program)
        return;
    programs_free(program->programs);
    opener_settings_free(&program->settings);
    if (program->base)
        event_base_free(program->base);
    free(program);
}
