/*
 * Builds the script of an SMTP session: greeting, EHLO, STARTTLS, AUTH PLAIN, messages, QUIT.
 * load.c calls it once. It does no I/O, and nothing here is done again for each session.
 */
#include "script.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EHLO "EHLO load.example.org\r\n"

enum { SCRIPT_FIXED_STEPS = 8, SCRIPT_MESSAGE_STEPS = 4, LOGIN_LIMIT = 255 };

static void script_add(struct script *script, const char *name, const char *send, int expect)
{
    script->steps[script->count++] = (struct script_step){
        .name = name,
        .send = send,
        .size = send ? strlen(send) : 0,
        .expect = expect,
    };
}

/* "AUTH PLAIN <base64 of NUL user NUL password>" */
static char *auth_command(const char *login)
{
    unsigned char plain[LOGIN_LIMIT + 2];
    unsigned char encoded[(LOGIN_LIMIT + 4) / 3 * 4 + 1];
    size_t size = strlen(login);
    char *colon = strchr(login, ':');
    char *command = NULL;

    if (!colon || size > LOGIN_LIMIT)
        return NULL;
    plain[0] = '\0';
    memcpy(plain + 1, login, size);
    plain[1 + (colon - login)] = '\0';
    EVP_EncodeBlock(encoded, plain, (int)size + 1);
    if (asprintf(&command, "AUTH PLAIN %s\r\n", (const char *)encoded) < 0)
        return NULL;
    return command;
}

/* Headers, then lines of ordinary text up to the size asked for, then the dot. */
static char *message_text(size_t bytes)
{
    static const char headers[] = "From: <load@example.org>\r\nTo: <sink@example.org>\r\n"
                                  "Subject: a message of the load\r\n\r\n";
    static const char line[] =
        "The quick brown fox jumps over the lazy dog, and so on to the right edge\r\n";
    static const char end[] = ".\r\n";
    size_t headers_size = sizeof(headers) - 1;
    size_t body = bytes > headers_size + 2 ? bytes - headers_size - 2 : 0;
    char *text = malloc(headers_size + body + 2 + sizeof(end));

    if (!text)
        return NULL;
    memcpy(text, headers, headers_size);
    for (size_t at = 0; at < body; at++)
        text[headers_size + at] = line[at % (sizeof(line) - 1)];
    if (body && text[headers_size + body - 1] == '\r')
        text[headers_size + body - 1] = ' ';
    memcpy(text + headers_size + body, "\r\n", 2);
    memcpy(text + headers_size + body + 2, end, sizeof(end));
    return text;
}

static void script_add_login(struct script *script, const struct script_options *options)
{
    script_add(script, "greeting", NULL, 220);
    script_add(script, "EHLO", EHLO, 250);
    if (options->starttls) {
        script_add(script, "STARTTLS", "STARTTLS\r\n", 220);
        script->steps[script->count - 1].then_tls = true;
        script_add(script, "EHLO after STARTTLS", EHLO, 250);
    }
    if (!script->auth)
        return;
    script_add(script, "AUTH", script->auth, 235);
    if (options->ehlo_after_auth)
        script_add(script, "EHLO after AUTH", EHLO, 250);
}

static void script_add_message(struct script *script)
{
    script_add(script, "MAIL", "MAIL FROM:<load@example.org>\r\n", 250);
    script_add(script, "RCPT", "RCPT TO:<sink@example.org>\r\n", 250);
    script_add(script, "DATA", "DATA\r\n", 354);
    script_add(script, "the message", script->message, 250);
}

bool script_init(struct script *script, const struct script_options *options)
{
    size_t room = SCRIPT_FIXED_STEPS + (size_t)options->messages * SCRIPT_MESSAGE_STEPS;

    *script = (struct script){
        .steps = calloc(room, sizeof(*script->steps)),
        .auth = options->login ? auth_command(options->login) : NULL,
        .message = message_text(options->message_bytes),
    };
    if (!script->steps || !script->message || (options->login && !script->auth)) {
        fprintf(stderr, "load: no memory, or the login is not user:password\n");
        script_clear(script);
        return false;
    }
    script_add_login(script, options);
    for (unsigned message = 0; message < options->messages; message++)
        script_add_message(script);
    if (options->quit)
        script_add(script, "QUIT", "QUIT\r\n", 221);
    return true;
}

void script_clear(struct script *script)
{
    free(script->steps);
    free(script->auth);
    free(script->message);
    *script = (struct script){0};
}
