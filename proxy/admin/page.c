/*
 * GET /: the status page, one document that asks /status, /sessions and /failures by itself.
 * Nothing is put into it here, and its policy lets in no script or style but its own.
 */
#include "proxy/admin/internal.h"

/* page, page_policy: made of page/ by page/pack. */
#include "page.inc"

void admin_show_page(struct admin_request *request)
{
    if (evbuffer_add_reference(request->body, page, sizeof page, NULL, NULL) < 0) {
        admin_reply_error(request, 500, "out of memory");
        return;
    }
    admin_add_header(request, "Content-Security-Policy", page_policy);
    admin_add_header(request, "X-Frame-Options", "DENY");
    admin_add_header(request, "Referrer-Policy", "no-referrer");
    admin_reply(request, "text/html; charset=utf-8");
}
