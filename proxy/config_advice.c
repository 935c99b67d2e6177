/*
 * Warnings about a configuration that is allowed and hardly meant. Called after config_load()
 * by main.c, setup, the doctor and the master. The master calls it when its log is open, so
 * that the log has them. Changes nothing.
 */
#include <string.h>
#include <sys/stat.h>

#include "proxy/config.h"

/* Every network: each client is believed about its address. */
static void warn_of_announcers(const struct config *config, const struct config_listen *listen)
{
    for (size_t i = 0; i < listen->proxy_protocol.count; i++)
        if (network_prefix(&listen->proxy_protocol.network[i]) == 0)
            config_warn(config, "listen", listen->name, "proxy_protocol",
                        "every client is believed about its address");
}

static void warn_of_no_identity(const struct config *config,
                                const struct config_backend *backend)
{
    if (backend->identity == CONFIG_IDENTITY_NONE)
        config_warn(config, "backend", backend->name, "identity",
                    "none: it takes every client for this host, and must not relay because of "
                    "that");
}

/* A backend in the file is meant to get mail. */
static void warn_of_unused(const struct config *config, unsigned index)
{
    if (config_most_beside(config, index) == 0)
        config_warn(config, "backend", config->backends[index].name, NULL,
                    "no listener uses it: the key \"backend\" of one may name it");
}

/* One address of an mx may hold as many programs as limits let it have sessions there. */
static void warn_of_share(const struct config *config, const struct config_listen *listen)
{
    unsigned share = config->limits.mx_sessions_per_address;
    for (size_t i = 0; i < listen->backend_count; i++) {
        const struct config_backend *backend = &config->backends[listen->backends[i]];
        if (*backend->program && (share == 0 || share >= backend->program_limit))
            config_warn(config, "backend", backend->name, "program_limit",
                        "a single address may hold all of its programs, "
                        "as \"mx_sessions_per_address\" in section limits is no less");
    }
}

static void warn_of_readers(const struct config *config)
{
    for (size_t i = 0; i < config->admin.allow.count; i++)
        if (network_prefix(&config->admin.allow.network[i]) == 0)
            config_warn(config, "admin", NULL, "allow", "everybody may read the figures");
}

/* A password that everybody on this host may read is none. */
static void warn_of_secrecy(const struct config *config)
{
    struct stat file;
    if (strchr(config->shared, '@') &&
        stat(config_file_of(config, "limits", NULL, "shared"), &file) == 0 &&
        (file.st_mode & S_IROTH))
        config_warn(config, "limits", NULL, "shared",
                    "holds a password, and everybody may read this file");
}

void config_advise(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        warn_of_announcers(config, &config->listens[i]);
        if (config->listens[i].role == CONFIG_ROLE_MX)
            warn_of_share(config, &config->listens[i]);
    }
    for (size_t i = 0; i < config->backend_count; i++) {
        warn_of_no_identity(config, &config->backends[i]);
        warn_of_unused(config, (unsigned)i);
    }
    warn_of_readers(config);
    warn_of_secrecy(config);
}
