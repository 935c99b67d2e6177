/* The rules for single values that the table of options names; for config_table.c. */
#ifndef POSTERN_CONFIG_RULES_H
#define POSTERN_CONFIG_RULES_H

const char *config_check_not_empty(const void *value);
const char *config_check_hostname(const void *value);
const char *config_check_tls_name(const void *value);
const char *config_check_pam_service(const void *value);
const char *config_check_nameserver(const void *value);
const char *config_check_external(const void *value);
const char *config_check_listen_address(const void *value);
const char *config_check_backend_address(const void *value);
const char *config_check_path(const void *value);
const char *config_check_socket_path(const void *value);
const char *config_check_program(const void *value);
const char *config_check_shared(const void *value);
const char *config_check_figures_address(const void *value);

#endif
