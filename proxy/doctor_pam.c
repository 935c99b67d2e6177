/*
 * The doctor's checks of PAM: is there such a service, and can what it names be loaded? Called
 * through the table in doctor.c; nobody's password is asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "proxy/doctor_internal.h"
#include "proxy/pam_modules.h"

static struct pam_modules *read_service(const struct doctor *doctor)
{
    const struct config_auth *auth = &doctor->config->auth;
    return pam_modules_read(auth->pam_service, auth->pam_confdir);
}

void doctor_check_pam_service(struct doctor *doctor)
{
    const char *name = doctor->config->auth.pam_service;
    struct pam_modules *service = read_service(doctor);
    if (!service)
        return;
    if (service->fault[0]) {
        doctor_fault(doctor, "%s: %s", name, service->fault);
        doctor_advise(doctor,
                      "make the service (a sample: " POSTERN_DOCDIR "/postern.pam) or mend "
                      "it: until then nobody can log in");
    } else if (!service->has[DOCTOR_PAM_AUTH] || !service->has[DOCTOR_PAM_ACCOUNT]) {
        doctor_fault(doctor, "%s: it has no line of the type %s", name,
                     service->has[DOCTOR_PAM_AUTH] ? "account" : "auth");
        doctor_advise(doctor,
                      "add one (@include common-%s): PAM asks the service \"other\" "
                      "instead, which refuses everybody",
                      service->has[DOCTOR_PAM_AUTH] ? "account" : "auth");
    } else {
        doctor_good(doctor, "%s: it names %zu modules", name, service->count);
    }
    free(service);
}

void doctor_check_pam_refusals(struct doctor *doctor)
{
    const char *name = doctor->config->auth.pam_service;
    struct pam_modules *service = read_service(doctor);
    if (!service)
        return;
    if (service->cannot_refuse[DOCTOR_PAM_AUTH] || service->cannot_refuse[DOCTOR_PAM_ACCOUNT]) {
        bool of_auth = service->cannot_refuse[DOCTOR_PAM_AUTH];
        doctor_fault(
            doctor,
            "%s: pam_exec.so decides in its %s lines, and calls every refusal a system "
            "error: clients get 454, try again later, as in an outage%s",
            name, of_auth ? "auth" : "account",
            of_auth ? "" : ", and learn that the password was right");
        doctor_advise(doctor,
                      "let another module say no: \"%s [success=done default=ignore] "
                      "pam_exec.so ...\" and \"%s required pam_deny.so\" after it",
                      of_auth ? "auth" : "account", of_auth ? "auth" : "account");
    } else if (service->fault[0] == '\0') {
        doctor_good(doctor, "%s: no module in it is known to report refusals as errors", name);
    }
    free(service);
}

/* Returns whether it could be loaded; what was wrong is told. */
static bool load(struct doctor *doctor, const struct pam_module *module)
{
    const char *why = pam_module_load(module);
    if (!why)
        return true;
    doctor_fault(doctor, "%s: cannot be loaded: %s", module->path, why);
    doctor_advise(doctor, "install the package that it comes from, or take its line out of the "
                          "service");
    return false;
}

void doctor_check_pam_modules(struct doctor *doctor)
{
    struct pam_modules *service = read_service(doctor);
    bool good = service && service->count > 0;
    for (size_t i = 0; service && i < service->count; i++)
        good &= load(doctor, &service->list[i]);
    if (good)
        doctor_good(doctor, "%s: all of its %zu modules can be loaded",
                    doctor->config->auth.pam_service, service->count);
    free(service);
}
