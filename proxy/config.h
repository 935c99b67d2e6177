/*
 * The configuration file: one table of options (config_table.c), read by config_parser.c into
 * one struct. Durations are seconds in the file, or have a unit, and milliseconds here. Every
 * error names file, line, column and key.
 */
#ifndef POSTERN_CONFIG_H
#define POSTERN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/base/log.h"
#include "proxy/base/network.h"
#include "tls/context.h"

struct config_origin;
struct fingerprints;
struct recipients;

enum config_tls_mode { CONFIG_TLS_IMPLICIT, CONFIG_TLS_STARTTLS, CONFIG_TLS_EITHER };
enum config_role { CONFIG_ROLE_SUBMISSION, CONFIG_ROLE_MX };
enum config_backend_tls {
    CONFIG_BACKEND_TLS_OFF,
    CONFIG_BACKEND_TLS_STARTTLS,
    CONFIG_BACKEND_TLS_IMPLICIT
};
enum config_backend_order { CONFIG_ORDER_FAILOVER, CONFIG_ORDER_BALANCE };
/* How the backend hears who and where the client is; the table of ways is in identity.c. */
enum config_identity {
    CONFIG_IDENTITY_AUTO,
    CONFIG_IDENTITY_XCLIENT,
    CONFIG_IDENTITY_PROXY_V1,
    CONFIG_IDENTITY_PROXY_V2,
    CONFIG_IDENTITY_AUTH_PARAM,
    CONFIG_IDENTITY_TRACE,
    CONFIG_IDENTITY_PROGRAM,
    CONFIG_IDENTITY_TRANSPARENT,
    CONFIG_IDENTITY_NONE,
};
enum config_helo { CONFIG_HELO_LENIENT, CONFIG_HELO_STRICT };
enum config_bare_newline { CONFIG_BARE_NEWLINE_NORMALIZE, CONFIG_BARE_NEWLINE_REJECT };

/* A list of texts as written. */
struct config_texts {
    char **text;
    size_t count;
};

struct config_networks {
    struct network *network;
    size_t count;
};

struct config_tls {
    char *certificate;  /* PEM: the server's first, then its chain */
    char *key;          /* PEM, unencrypted */
    char *minimum;      /* "1.2" or "1.3" */
    char *ciphers;      /* OpenSSL's list for TLS 1.2 */
    char *ciphersuites; /* for TLS 1.3 */
    char *groups;       /* key exchange, in order */
    bool tickets;
    char
        *ticket_secret; /* a file that several machines share; empty: by chance at each start */
    bool kernel;        /* may encrypt and decrypt */
};

/* A listener has no more backends than this. */
#define CONFIG_LISTEN_BACKENDS 32u

struct config_listen {
    char *name;         /* the section's title */
    unsigned line;      /* where the section begins */
    char *address_text; /* as written */
    struct address address;
    enum config_tls_mode tls;
    struct config_networks proxy_protocol; /* of load balancers, which announce their clients */
    struct config_networks proxy_exempt;   /* of clients whom those announce: no limits */
    struct config_networks health_checks;  /* that look whether the port answers: not logged */
    enum config_role role;
    bool tls_required;   /* of role mx; submission requires it in any case */
    char *tls_minimum;   /* "1.0" to "1.3"; empty: as in section tls */
    uint32_t mechanisms; /* of those of section auth: bits 1u << enum sasl_mechanism */
    enum tls_client_certificates client_certificates;
    char *client_ca, *client_crl;      /* PEM; empty: none */
    char *external;                    /* where a certificate's login stands; empty: nowhere */
    struct fingerprints *fingerprints; /* read from the file that `external` names, or NULL */
    struct config_texts recipient_words; /* of role mx, as written */
    struct recipients *recipients;       /* the same; NULL: the backend alone decides */
    uint32_t withhold; /* of what EHLO could offer: bits 1u << enum smtp_extension */
    struct config_texts backend_names; /* as written; none: the first backend */
    unsigned *backends;                /* the same, as indices into config->backends */
    size_t backend_count;
    enum config_backend_order backend_order;
};

struct config_auth {
    uint32_t mechanisms; /* bits 1u << enum sasl_mechanism */
    char *pam_service;
    char *pam_confdir; /* empty: the system's */
    char *user;        /* what a worker becomes; empty: it stays root */
    unsigned workers;  /* for each reactor */
    unsigned share;    /* of them that one client address may hold at once; 0: half */
    unsigned queue;    /* logins that may wait */
    /* Then a worker is replaced; 0: never. */
    unsigned logins_per_worker;
    uint32_t timeout_ms;
    uint32_t failure_delay_ms; /* a refusal comes no sooner than this after its attempt */
    unsigned attempts;         /* failed ones for each connection */
    bool legacy_ehlo;          /* also announce "AUTH=PLAIN LOGIN" */
};

/* Beside the one in section tls. */
struct config_certificate {
    char *name; /* the section's title */
    unsigned line;
    char *certificate, *key; /* as in config_tls */
};

struct config_backend {
    char *name; /* the section's title; "default" without one */
    unsigned line;
    char *address_text;
    struct address address;
    char *program;     /* a command line (program_line.h) in place of the address; or empty */
    char *user;        /* whom it runs as; empty: whoever started Postern, but not root */
    char *relayclient; /* what its variable RELAYCLIENT says, or "unset" */
    unsigned program_limit; /* of them at once, for each reactor */
    enum config_identity identity;
    uint32_t required; /* bits 1u << enum smtp_xclient_attribute, without which a session is
                          refused */
    enum config_backend_tls tls;
    char *ca; /* file or directory of certificates that are believed; empty: the system's */
    char *tls_name;       /* that its certificate must have; empty: its address */
    bool tls_common_name; /* counts where its certificate has no other name */
    bool resolve;         /* the client's name is looked up */
    bool trace;           /* a Received field on each message, also with other ways */
    bool hide_login;      /* from that field */
    uint32_t check_ms;    /* between two probes of one that shares a listener; 0: none */
};

struct config_limits {
    unsigned connections;             /* for each reactor */
    unsigned connections_per_address; /* 0: no limit */
    /* Backend sessions that one address may hold at listeners of role mx, for each reactor; 0:
     * no limit. */
    unsigned mx_sessions_per_address;
    /* 0: no limit */
    unsigned connections_per_minute; /* from one address */
    unsigned failed_logins;          /* from one address, before more of them are put off */
    unsigned failed_logins_network;
    unsigned failed_logins_user;
    uint32_t forgive_ms; /* after so long one failed login is forgotten */
    unsigned messages_per_hour, recipients_per_hour; /* of one login */
    unsigned minimum_rate; /* bytes a second of a message, in a full house */
    unsigned errors;       /* bad commands before the connection is closed */
};

struct config_timeouts {
    uint32_t handshake_ms; /* TLS */
    uint32_t either_ms;    /* for a first byte, where TLS or plain SMTP may come */
    uint32_t greeting_ms;  /* from the greeting to the client's first command */
    uint32_t login_ms;     /* from the connection to the end of AUTH */
    uint32_t resolve_ms;   /* from the login, or an mx's MAIL, to the client's name */
    uint32_t idle_ms;      /* a session in which neither side speaks */
    uint32_t mx_idle_ms;   /* of role mx: between two commands of the client */
    uint32_t backend_connect_ms;
    uint32_t backend_identity_ms; /* from the connection to the backend to 235 */
    uint32_t backend_reply_ms;    /* a command or message that awaits the backend's reply */
    uint32_t reload_ms; /* sessions of before a reload, until they are to end as by SIGTERM */
    uint32_t drain_ms;  /* SIGTERM: time for transactions in progress */
};

/* Where that is unless the file says otherwise: as nobody asked for it there, Postern does
 * without if it cannot be made. */
#define CONFIG_ADMIN_SOCKET "/run/postern/control"

struct config_admin {
    char *socket;                 /* a unix socket's path; empty: none */
    char *group;                  /* whose members may use it */
    char *metrics;                /* an address for figures alone; empty: none */
    struct config_networks allow; /* that may read them there, beside this host itself */
};

struct config {
    char *path;                   /* the file it came from; others may be included in it */
    struct config_origin *origin; /* where everything stands in them: config_where() */
    char *text; /* contents of `path`, which the next program gets in an upgrade */
    size_t text_length;
    char *hostname;
    char *user; /* what the reactor becomes */
    unsigned workers;
    enum config_helo helo;
    enum config_bare_newline bare_newline;
    struct config_texts nameservers; /* "address" or "address:port"; none: the system's */
    struct config_tls tls;
    struct config_listen *listens;
    size_t listen_count;
    struct config_auth auth;
    struct config_certificate *certificates;
    size_t certificate_count;
    struct config_backend *backends;
    size_t backend_count;          /* at least one */
    struct config_networks exempt; /* from the limits of addresses */
    char *shared;                  /* where limits are shared: shared_place.h; empty: nowhere */
    struct config_limits limits;
    struct config_timeouts timeouts;
    struct config_admin admin;
    struct log_options log;
    char *log_file; /* where log.destination is a file */
    bool log_messages;
    unsigned log_recipients; /* that are named in a message's line */
};

/* How many backends the listener has that has the most of those which use this one; 0: none
 * uses it. */
size_t config_most_beside(const struct config *config, size_t index);

/* A listener where users log in whose mail goes to this backend; NULL: there is none. */
const struct config_listen *config_submission_of(const struct config *config, size_t index);

/*
 * Reads and checks a file. NULL if anything is wrong, each fault having been logged as an error
 * ("/etc/postern/postern.conf:12:3: listen "submission": tls: ..."). Opens no socket and no
 * certificate.
 */
MUST_USE struct config *config_load(const char *path);

/* Reads the text of `path` from a descriptor instead, which holds it as it once was, and which
 * is closed. */
MUST_USE struct config *config_load_copy(const char *path, int descriptor);

/* Logs warnings about what is allowed and hardly meant, as a backend that no listener uses. */
void config_advise(const struct config *config);

void config_free(struct config *config);

/*
 * Writes the configuration as a file that would give the same one, with the value of each key.
 * A secret is left out, with a comment in its place.
 */
void config_print(struct config *config, FILE *out);

#define CONFIG_WHERE_SIZE 1024

/*
 * Writes where a key stands, to begin a message about it: "FILE:LINE:COLUMN: section "title":
 * key". `section` is "" for the top level; `title` is NULL for a section that has none, and
 * `key` for a section as a whole. Of a key that is not in the file there is the place of its
 * section, or the file alone. Returns `out`.
 */
const char *config_where(const struct config *config, const char *section, const char *title,
                         const char *key, char out[static CONFIG_WHERE_SIZE]);

/* The files that were read: the one that was asked for is the first. NULL after the last. */
const char *config_file(const struct config *config, size_t index);

/* The name of the file in which a key or a section stands, as for config_where(). */
const char *config_file_of(const struct config *config, const char *section, const char *title,
                           const char *key);

/* Log an error or a warning that begins so. */
PRINTF_LIKE(5, 6)
void config_error(const struct config *config, const char *section, const char *title,
                  const char *key, const char *format, ...);
PRINTF_LIKE(5, 6)
void config_warn(const struct config *config, const char *section, const char *title,
                 const char *key, const char *format, ...);

/* A row of the table of options; the manual and the tests read it too. */
struct config_option {
    const char *section; /* "" at the top, "listen", "tls" … */
    const char *key;
    const char *fallback; /* default as written in a file; NULL: must be given */
};

/* The rows, `*count` of them. */
const struct config_option *config_options(size_t *count);

#endif
