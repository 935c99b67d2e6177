/*
 * One login through Linux-PAM, called by the worker process only. Each login
 * has a handle of its own; one more stays open from the start, so that the
 * modules are not unloaded in between. It never sleeps: the delay that
 * modules wish for is noted and left to whoever answers the client. It never
 * logs a login; the verdict carries the cause.
 */
#include "auth/pam.h"

#include <ctype.h>
#include <limits.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where libpam looks for services when it is given no directory. */
#define SYSTEM_DIRECTORY "/etc/pam.d"
#define VENDOR_DIRECTORY "/usr/lib/pam.d"

/* Prompts and texts in one login; modules in use have one or two. */
#define CONVERSATION_LIMIT 32

struct conversation {
    const struct auth_message_request *request;
    unsigned messages;
    uint32_t delay_ms;
};

/*
 * Codes by which a module has judged the person. Every other one means that nobody could judge:
 * the person may be told to come back, never that the password was wrong.
 */
static const int rejections[] = {
    PAM_PERM_DENIED,  PAM_AUTH_ERR,         PAM_USER_UNKNOWN,
    PAM_MAXTRIES,     PAM_NEW_AUTHTOK_REQD, PAM_ACCT_EXPIRED,
    PAM_CRED_EXPIRED, PAM_CRED_ERR,         PAM_AUTHTOK_EXPIRED,
};

enum auth_result pam_login_result(int code)
{
    if (code == PAM_SUCCESS)
        return AUTH_ACCEPTED;
    for (size_t i = 0; i < sizeof rejections / sizeof rejections[0]; i++)
        if (code == rejections[i])
            return AUTH_REJECTED;
    return AUTH_UNAVAILABLE;
}

/* Answers one message; NULL as *answer where none is called for. */
static int answer_message(const struct auth_message_request *request, int style, char **answer)
{
    switch (style) {
    case PAM_PROMPT_ECHO_OFF:
        *answer = strdup(request->password);
        return *answer ? PAM_SUCCESS : PAM_BUF_ERR;
    case PAM_PROMPT_ECHO_ON:
        *answer = strdup(request->user);
        return *answer ? PAM_SUCCESS : PAM_BUF_ERR;
    case PAM_ERROR_MSG:
    case PAM_TEXT_INFO:
        *answer = NULL;
        return PAM_SUCCESS;
    default:
        return PAM_CONV_ERR;
    }
}

static void free_answers(struct pam_response *answers, int count)
{
    for (int i = 0; i < count; i++) {
        if (answers[i].resp)
            explicit_bzero(answers[i].resp, strlen(answers[i].resp));
        free(answers[i].resp);
    }
    free(answers);
}

/*
 * The module frees the answers, and is expected to overwrite them. Some that only tell
 * something give no place for answers.
 */
static int converse(int count, const struct pam_message **messages,
                    struct pam_response **answers, void *context)
{
    struct conversation *conversation = context;
    if (count <= 0 || (unsigned)count > CONVERSATION_LIMIT - conversation->messages)
        return PAM_CONV_ERR;
    conversation->messages += (unsigned)count;

    struct pam_response *given = calloc((size_t)count, sizeof *given);
    if (!given)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        int status =
            answer_message(conversation->request, messages[i]->msg_style, &given[i].resp);
        if (status != PAM_SUCCESS) {
            free_answers(given, count);
            return status;
        }
    }
    if (answers)
        *answers = given;
    else
        free_answers(given, count);
    return PAM_SUCCESS;
}

/* libpam calls it in place of its own sleep, after each pam_authenticate(). */
static void note_delay(int status, unsigned delay_us, void *context)
{
    struct conversation *conversation = context;
    uint32_t delay_ms = delay_us / 1000;
    if (status != PAM_SUCCESS)
        conversation->delay_ms =
            delay_ms < AUTH_DELAY_LIMIT_MS ? delay_ms : AUTH_DELAY_LIMIT_MS;
}

static int open_handle(const struct auth_worker_options *options, const char *user,
                       const struct pam_conv *conv, pam_handle_t **handle)
{
    if (options->configuration_directory)
        return pam_start_confdir(options->service, user, conv, options->configuration_directory,
                                 handle);
    return pam_start(options->service, user, conv, handle);
}

static int set_items(pam_handle_t *handle, const struct auth_message_request *request)
{
    /* A function pointer travels as an object pointer here: POSIX allows it, ISO C is silent.
     */
    void (*delay)(int, unsigned, void *) = note_delay;
    void *delay_item = NULL;
    memcpy(&delay_item, &delay, sizeof delay_item);

    int status = pam_set_item(handle, PAM_RHOST, request->client_host);
    if (status == PAM_SUCCESS)
        status = pam_set_item(handle, PAM_TTY, "smtp");
    if (status == PAM_SUCCESS)
        status = pam_set_item(handle, PAM_FAIL_DELAY, delay_item);
    return status;
}

static void describe(struct auth_message_verdict *verdict, const char *action, int status)
{
    snprintf(verdict->reason, sizeof verdict->reason, "%s: %s", action,
             pam_strerror(NULL, status));
}

/* Modules may have changed the name; theirs is the login, if it can be handed on at all. */
static void take_login(pam_handle_t *handle, struct auth_message_verdict *verdict)
{
    const void *user = NULL;
    int status = pam_get_item(handle, PAM_USER, &user);
    size_t length = user ? strlen(user) : 0;
    if (status == PAM_SUCCESS && user && sasl_name_valid(user, length)) {
        memcpy(verdict->login, user, length + 1);
        return;
    }
    verdict->result = AUTH_UNAVAILABLE;
    snprintf(verdict->reason, sizeof verdict->reason, "PAM_USER is not a usable name");
}

static int log_in(pam_handle_t *handle, const struct auth_message_request *request,
                  struct auth_message_verdict *verdict)
{
    static const struct {
        const char *action;
        int (*run)(pam_handle_t *handle, int flags);
    } phases[] = {{"pam_authenticate", pam_authenticate}, {"pam_acct_mgmt", pam_acct_mgmt}};

    int status = set_items(handle, request);
    if (status != PAM_SUCCESS)
        describe(verdict, "pam_set_item", status);
    for (size_t i = 0; status == PAM_SUCCESS && i < sizeof phases / sizeof phases[0]; i++) {
        status = phases[i].run(handle, (int)(PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK));
        verdict->result = pam_login_result(status);
        describe(verdict, phases[i].action, status);
    }
    if (status == PAM_SUCCESS)
        take_login(handle, verdict);
    return status;
}

/* libpam looks for the service's name in lower case. */
static bool service_file_exists(const char *directory, const char *service)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/", directory);
    size_t at = (size_t)length;
    if (length < 0 || at + strlen(service) >= sizeof path)
        return false;
    for (; *service; service++)
        path[at++] = (char)tolower((unsigned char)*service);
    path[at] = '\0';
    return access(path, R_OK) == 0;
}

static bool find_service(const struct auth_worker_options *options)
{
    if (options->service[0] == '\0' || strchr(options->service, '/'))
        return false;
    if (options->configuration_directory)
        return service_file_exists(options->configuration_directory, options->service);
    /* A system with only /etc/pam.conf has no directory to look into. */
    return access(SYSTEM_DIRECTORY, F_OK) != 0 ||
           service_file_exists(SYSTEM_DIRECTORY, options->service) ||
           service_file_exists(VENDOR_DIRECTORY, options->service);
}

bool pam_service_exists(const struct auth_worker_options *options,
                        char why[static AUTH_REASON_LIMIT + 1])
{
    const char *directory = options->configuration_directory;
    if (find_service(options))
        return true;
    snprintf(why, AUTH_REASON_LIMIT + 1,
             "PAM service \"%s\": no readable file of that name in %s", options->service,
             directory ? directory : SYSTEM_DIRECTORY " or " VENDOR_DIRECTORY);
    return false;
}

static enum pam_login_end end_of(int status, const struct auth_message_verdict *verdict)
{
    if (status == PAM_ABORT || status == PAM_BUF_ERR)
        return PAM_LOGIN_BROKEN;
    return verdict->result == AUTH_UNAVAILABLE ? PAM_LOGIN_UNDECIDED : PAM_LOGIN_DECIDED;
}

enum pam_login_end pam_login(const struct auth_worker_options *options,
                             const struct auth_message_request *request,
                             struct auth_message_verdict *verdict)
{
    enum pam_login_end end = PAM_LOGIN_UNDECIDED;
    struct conversation conversation = {.request = request};
    const struct pam_conv conv = {converse, &conversation};
    pam_handle_t *handle = NULL;

    memset(verdict, 0, sizeof *verdict);
    verdict->id = request->id;
    verdict->result = AUTH_UNAVAILABLE;
    if (pam_service_exists(options, verdict->reason)) {
        int status = open_handle(options, request->user, &conv, &handle);
        if (status != PAM_SUCCESS) {
            describe(verdict, "pam_start", status);
            end = PAM_LOGIN_NOT_STARTED;
        } else {
            status = log_in(handle, request, verdict);
            end = end_of(status, verdict);
            pam_end(handle, status);
        }
    }
    verdict->delay_ms = conversation.delay_ms;
    return end;
}

bool pam_login_prepare(const struct auth_worker_options *options)
{
    /* Never used for a login and never closed: it only holds the modules. */
    static pam_handle_t *holder;
    static const struct pam_conv conv = {converse, NULL};
    char why[AUTH_REASON_LIMIT + 1];
    return pam_service_exists(options, why) &&
           open_handle(options, NULL, &conv, &holder) == PAM_SUCCESS;
}
