/* The table of what the administration interface knows; postern(8) tells of each. */
#include "proxy/admin/internal.h"

const struct admin_route admin_routes[] = {
    {"/health", ADMIN_GET, true, 0, admin_show_health},
    {"/metrics", ADMIN_GET, true, 0, admin_show_metrics},
    {"/status", ADMIN_GET, false, 0, admin_show_status},
    {0},
};
