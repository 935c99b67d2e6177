/* Every reactor's answers to the one that serves the administration interface. */
#ifndef POSTERN_ADMIN_ASKED_H
#define POSTERN_ADMIN_ASKED_H

#include "proxy/admin/message.h"
#include "proxy/admin/watched.h"
#include "proxy/base/compiler.h"
#include "proxy/service.h"

struct admin_asked;

/* `watched` gets the sockets of those who ask for events; it must outlive this. */
MUST_USE struct admin_asked *admin_asked_new(struct service *service,
                                             struct admin_watched *watched);
/* NULL is allowed. */
void admin_asked_free(struct admin_asked *asked);

/* Questions come from this socket, too, which is taken over. */
void admin_asked_add(struct admin_asked *asked, int fd);

/* Does what a question asks for. Returns how many sessions fit; *sessions (to be freed; NULL if
 * none) are those that are listed, *count of them. */
uint32_t admin_asked_answer(struct service *service, const struct admin_question *question,
                            struct admin_session **sessions, size_t *count);

#endif
