/* GET /metrics and GET /health: what may be read without being one of the group. Says nothing
 * of any client or user. */
#include <stdlib.h>
#include <time.h>

#include "proxy/admin/internal.h"
#include "proxy/metrics.h"
#include "proxy/statistics_memory.h"
#include "tls/certificates.h"

/* More are not shown. */
#define CERTIFICATES 64

static bool is_accepting(const struct service *service)
{
    return !service->stopping && !service->refusing;
}

void admin_show_metrics(struct admin_request *request)
{
    const struct admin *admin = admin_of(request);
    const struct tls_certificates *all = admin->contexts->certificates;
    struct metrics_certificate certificates[CERTIFICATES];
    struct metrics_facts facts = {
        .accepting = is_accepting(admin->service),
        .began = statistics_began(),
        .certificates = certificates,
    };
    int64_t now = time(NULL);
    static struct statistics sum;
    for (size_t i = 0; i < tls_certificates_count(all) && i < CERTIFICATES; i++)
        certificates[facts.certificate_count++] = (struct metrics_certificate){
            tls_certificates_file(all, i), tls_certificates_not_after(all, i),
            tls_certificates_usable(all, i, now)};
    statistics_sum(&sum);
    if (metrics_write(request->body, &sum, &facts))
        admin_reply(request, METRICS_CONTENT_TYPE);
    else
        admin_reply_error(request, 500, "out of memory");
}

/* For what asks whether to send clients here. */
void admin_show_health(struct admin_request *request)
{
    const struct admin *admin = admin_of(request);
    if (!is_accepting(admin->service)) {
        admin_reply_error(request, 503, "no new connections are accepted");
        return;
    }
    json_start(&request->json, request->body);
    json_text(&request->json, "state", "serving");
    admin_reply_json(request);
}
