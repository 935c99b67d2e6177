/*
 * The doctor's checks of what Postern shares with others: the Redis server of its limits, whose
 * password the configuration may hold, and the group that may control it. Called through the
 * table in doctor.c; never shows the password.
 */
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "proxy/base/clock.h"
#include "proxy/doctor_internal.h"
#include "proxy/doctor_smtp.h"
#include "proxy/shared_place.h"

#define ANSWER_SIZE 256

/* What Redis says to a command, without its line end; false: nothing in time. */
static bool converse(struct doctor_smtp *link, const char *command, size_t length,
                     char answer[static ANSWER_SIZE])
{
    struct pollfd entry = {.fd = link->fd, .events = POLLIN};
    uint64_t now = clock_now_ms();
    if (!doctor_smtp_write(link, command, length))
        return false;
    if (now >= link->deadline_ms || poll(&entry, 1, (int)(link->deadline_ms - now)) != 1)
        return false;
    ssize_t got = recv(link->fd, answer, ANSWER_SIZE - 1, 0);
    answer[got > 0 ? got : 0] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    return got > 0;
}

/* With lengths, so that a password may be anything. */
static bool log_in(struct doctor_smtp *link, const struct shared_place *place,
                   char answer[static ANSWER_SIZE])
{
    char command[3 * SHARED_WORD_SIZE];
    const char *user = *place->user ? place->user : "default";
    int length =
        snprintf(command, sizeof command, "*3\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                 strlen(user), user, strlen(place->password), place->password);
    bool good = length > 0 && (size_t)length < sizeof command &&
                converse(link, command, (size_t)length, answer);
    explicit_bzero(command, sizeof command);
    return good && strncmp(answer, "+OK", 3) == 0;
}

static void check_server(struct doctor *doctor, const struct shared_place *place)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    char name[ADDRESS_TEXT_SIZE], answer[ANSWER_SIZE] = "";
    struct doctor_smtp link;
    address_text(&place->address, name);
    if (!doctor_smtp_open(&link, &place->address)) {
        doctor_fault(doctor, "%s: cannot be reached: %s", name, link.why);
        doctor_advise(doctor,
                      "start Redis, or change \"shared\": until then each machine counts "
                      "for itself");
        return;
    }
    if ((!*place->password || log_in(&link, place, answer)) &&
        converse(&link, ping, sizeof ping - 1, answer) && strcmp(answer, "+PONG") == 0) {
        doctor_good(doctor, "%s: Redis answers", name);
    } else {
        doctor_fault(doctor, "%s: cannot be used: %s", name, *answer ? answer : "no answer");
        doctor_advise(doctor,
                      "check that it is Redis, and that \"shared\" has the right user and "
                      "password");
    }
    doctor_smtp_close(&link);
}

static bool place_of(const struct doctor *doctor, struct shared_place *out)
{
    const char *why;
    return *doctor->config->shared && shared_place_parse(doctor->config->shared, out, &why);
}

void doctor_check_shared(struct doctor *doctor)
{
    struct shared_place place;
    if (place_of(doctor, &place))
        check_server(doctor, &place);
    explicit_bzero(&place, sizeof place);
}

void doctor_check_secret(struct doctor *doctor)
{
    struct shared_place place;
    struct stat status;
    const char *file = config_file_of(doctor->config, "limits", NULL, "shared");
    if (place_of(doctor, &place) && *place.password && stat(file, &status) == 0 &&
        status.st_mode & S_IROTH) {
        doctor_fault(doctor, "%s: anybody on this host can read the password in it (mode %04o)",
                     file, (unsigned)(status.st_mode & 07777));
        doctor_advise(doctor, "chmod 0600 %s, and give Redis another password", file);
    }
    explicit_bzero(&place, sizeof place);
}

void doctor_check_admin(struct doctor *doctor)
{
    const struct config_admin *admin = &doctor->config->admin;
    if (!*admin->socket || !*admin->group)
        return;
    if (getgrnam(admin->group)) {
        doctor_good(doctor, "%s: for members of group %s", admin->socket, admin->group);
        return;
    }
    doctor_fault(doctor, "%s: there is no group \"%s\" on this system", admin->socket,
                 admin->group);
    doctor_advise(doctor,
                  "groupadd --system %s, or change \"group\" in section admin: only root "
                  "can control it until then",
                  admin->group);
}
