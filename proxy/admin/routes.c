/* The table of what the administration interface knows; posternctl(8) tells of each. */
#include "proxy/admin/internal.h"

#define FILTERS                                                                                \
    (1u << ADMIN_PARAMETER_ID | 1u << ADMIN_PARAMETER_USER | 1u << ADMIN_PARAMETER_ADDRESS)

const struct admin_route admin_routes[] = {
    {"/", ADMIN_GET, false, 0, admin_show_page},
    {"/health", ADMIN_GET, true, 0, admin_show_health},
    {"/metrics", ADMIN_GET, true, 0, admin_show_metrics},
    {"/status", ADMIN_GET, false, 0, admin_show_status},
    {"/sessions", ADMIN_GET, false, FILTERS | 1u << ADMIN_PARAMETER_LIMIT, admin_show_sessions},
    {"/events", ADMIN_GET, false,
     1u << ADMIN_PARAMETER_USER | 1u << ADMIN_PARAMETER_ADDRESS | 1u << ADMIN_PARAMETER_EVENT,
     admin_show_events},
    {"/failures", ADMIN_GET, false, 0, admin_show_failures},
    {"/history", ADMIN_GET, false, 0, admin_show_history},
    {"/kick", ADMIN_POST, false, FILTERS, admin_end_sessions},
    {"/permits", ADMIN_GET, false, 0, admin_show_permits},
    {"/permit", ADMIN_POST, false,
     1u << ADMIN_PARAMETER_ADDRESS | 1u << ADMIN_PARAMETER_USER | 1u << ADMIN_PARAMETER_FOR,
     admin_order_permit},
    {"/deny", ADMIN_POST, false, 1u << ADMIN_PARAMETER_ADDRESS | 1u << ADMIN_PARAMETER_FOR,
     admin_order_deny},
    {"/revoke", ADMIN_POST, false, 1u << ADMIN_PARAMETER_ADDRESS, admin_order_revoke},
    {"/drain", ADMIN_POST, false, 0, admin_order_drain},
    {"/resume", ADMIN_POST, false, 0, admin_order_resume},
    {"/reload", ADMIN_POST, false, 0, admin_order_reload},
    {"/reopen", ADMIN_POST, false, 0, admin_order_reopen},
    {"/log", ADMIN_POST, false, 1u << ADMIN_PARAMETER_LEVEL, admin_order_level},
    {0},
};
