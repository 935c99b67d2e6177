/*
 * The doctor's checks of what the host gives: users, descriptors, the time. Called through the
 * table in doctor.c; reads only.
 */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>

#include "proxy/base/log_journal.h"
#include "proxy/descriptors.h"
#include "proxy/doctor_internal.h"
#include "proxy/doctor_port.h"
#include "proxy/host.h"
#include "proxy/overlap.h"
#include "proxy/rights.h"

/* An unbelievable year, for clocks that run ahead. */
#define LAST_PLAUSIBLE 4102444800 /* 2100-01-01 */

static void check_user(struct doctor *doctor, const char *key, const char *name)
{
    const struct passwd *entry = getpwnam(name);
    if (!entry) {
        doctor_fault(doctor, "%s: there is no user \"%s\" on this system", key, name);
        doctor_advise(doctor, "useradd --system --no-create-home --shell /usr/sbin/nologin %s",
                      name);
    } else if (entry->pw_uid == 0) {
        doctor_fault(doctor, "%s: \"%s\" is root", key, name);
        doctor_advise(doctor, "name a user without any rights");
    } else {
        doctor_good(doctor, "%s: \"%s\" exists (uid %u)", key, name, (unsigned)entry->pw_uid);
    }
}

void doctor_check_users(struct doctor *doctor)
{
    check_user(doctor, "user", doctor->config->user);
    if (*doctor->config->auth.user)
        check_user(doctor, "auth: user", doctor->config->auth.user);
    for (size_t i = 0; i < doctor->config->backend_count; i++)
        if (*doctor->config->backends[i].user)
            check_user(doctor, "backend: user", doctor->config->backends[i].user);
}

static void check_log_file(struct doctor *doctor, const char *path)
{
    if (host_may_append(path)) {
        doctor_good(doctor, "%s: can be written", path);
        return;
    }
    doctor_fault(doctor, "%s: cannot be opened: %s", path, strerrordesc_np(errno));
    doctor_advise(doctor, "make its directory (mkdir), or change \"file\" in section log: "
                          "Postern does not start until then");
}

/* Without a journal there is a start, and standard error has what somebody looks for there. */
void doctor_check_log(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    if (config->log.destination == LOG_TO_FILE)
        check_log_file(doctor, config->log_file);
    if (config->log.destination != LOG_TO_JOURNAL)
        return;
    if (log_journal_exists()) {
        doctor_good(doctor, "the journal takes entries");
        return;
    }
    doctor_report_add(&doctor->report, DOCTOR_WARNING,
                      "there is no journal (" LOG_JOURNAL_SOCKET
                      ": %s): logging to standard error",
                      strerrordesc_np(errno));
    doctor_advise(doctor,
                  "write destination = \"stderr\", \"syslog\" or \"file\" in section log "
                  "where there is no systemd, as in a container");
}

/* Of the Postern that runs; 0, this process, if none is seen. */
static pid_t running_process(const struct doctor *doctor)
{
    struct doctor_port_owner owner;
    for (size_t i = 0; i < doctor->config->listen_count; i++)
        if (doctor_port_find(&doctor->config->listens[i].address, &owner) ==
            DOCTOR_PORT_POSTERN)
            return owner.process.pid;
    return 0;
}

/* A reactor raises its limit as far as it may. */
void doctor_check_descriptors(struct doctor *doctor)
{
    struct rlimit limit;
    pid_t process = running_process(doctor);
    unsigned connections = doctor->config->limits.connections;
    rlim_t wanted = descriptors_needed(doctor->config, connections);
    rlim_t of_unit = process ? 0 : rights_descriptors(doctor->config);
    const char *whose = of_unit   ? " (LimitNOFILE of postern.service)"
                        : process ? ""
                                  : " (where Postern is started as this program was)";
    if (prlimit(process, RLIMIT_NOFILE, NULL, &limit) < 0) {
        doctor_skip(doctor, "only root can read the descriptor limit of process %d",
                    (int)process);
        return;
    }
    if (of_unit)
        limit.rlim_max = of_unit;
    if (limit.rlim_max >= wanted) {
        doctor_good(doctor, "%llu descriptors%s are enough for %u connections",
                    (unsigned long long)limit.rlim_max, whose, connections);
        return;
    }
    doctor_fault(doctor,
                 "%llu descriptors%s are too few for %u connections, which take %llu: each "
                 "reactor serves %u at once",
                 (unsigned long long)limit.rlim_max, whose, connections,
                 (unsigned long long)wanted, descriptors_carry(doctor->config, limit.rlim_max));
    doctor_advise(doctor,
                  "raise the hard limit where Postern is started (systemd: "
                  "LimitNOFILE=%llu), or lower \"connections\" in section limits",
                  (unsigned long long)wanted);
}

/* Nothing can have been built later than now. */
void doctor_check_clock(struct doctor *doctor)
{
    time_t now = time(NULL);
    struct stat self;
    char text[32] = "";
    struct tm calendar;
    if (gmtime_r(&now, &calendar))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &calendar);
    bool behind = stat("/proc/self/exe", &self) == 0 && now < self.st_mtime;
    if (!behind && now < LAST_PLAUSIBLE) {
        doctor_good(doctor, "%s", text);
        return;
    }
    doctor_fault(doctor, "it says %s, which cannot be: %s", text,
                 behind ? "this program is newer" : "that is too far ahead");
    doctor_advise(doctor, "set the clock: certificates are checked against it");
}

void doctor_check_synchronisation(struct doctor *doctor)
{
    struct timex state = {0};
    int answer = adjtimex(&state);
    if (answer < 0) {
        doctor_skip(doctor, "the kernel does not say whether its clock is kept right");
    } else if (answer == TIME_ERROR || state.status & STA_UNSYNC) {
        doctor_fault(doctor, "nothing keeps this host's clock right, as far as its kernel "
                             "knows");
        doctor_advise(doctor, "install chrony or systemd-timesyncd, unless the host of this "
                              "virtual machine does it");
    } else {
        doctor_good(doctor, "the clock is kept right (off by at most %ld ms)",
                    state.maxerror / 1000);
    }
}

void doctor_check_overlap(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *other = overlap_find(config, i);
        if (!other)
            continue;
        doctor_fault(doctor, "listen \"%.100s\": \"%.200s\" " OVERLAP_WHY,
                     config->listens[i].name, config->listens[i].address_text,
                     other->address_text, other->name);
    }
}
