/*
 * The doctor's checks of the DNS: can clients find the hostname, do its addresses lead back to
 * it, and is there something for clients that set themselves up? Called through the table in
 * doctor.c. Asks name servers, never /etc/hosts, which clients do not see; where they are
 * silent once nothing more is asked.
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/doctor_internal.h"

/* Seconds for one question to one server, and how often it is put. */
#define ANSWER_TIME_S 2
#define ATTEMPTS      1

#define ADDRESSES_LIMIT 16
#define ANSWER_SIZE     4096

struct answer {
    ns_msg message;
    unsigned char bytes[ANSWER_SIZE];
    int records; /* 0: there is nothing of that kind, or it was not to be found out */
};

static const char unasked[] = "no name server answers";

/* Those of the configuration, as far as this library can ask them. */
static void use_nameservers(struct __res_state *state, const struct config_texts *servers)
{
    int used = 0;
    for (size_t i = 0; i < servers->count && used < MAXNS; i++) {
        char text[ADDRESS_TEXT_SIZE];
        struct address address;
        const char *why;
        snprintf(text, sizeof text, "%s%s", servers->text[i],
                 strchr(servers->text[i], ':') ? "" : ":53");
        if (address_parse(text, &address, &why) && address.any.sa_family == AF_INET)
            state->nsaddr_list[used++] = address.v4;
    }
    if (used > 0)
        state->nscount = used;
}

/* Fills *answer with what there is; false: no server said anything. */
static bool ask(struct doctor *doctor, const char *name, ns_type type, struct answer *answer)
{
    struct __res_state state = {0};
    answer->records = 0;
    if (doctor->dns_silent || res_ninit(&state) != 0)
        return false;
    state.retrans = ANSWER_TIME_S;
    state.retry = ATTEMPTS;
    use_nameservers(&state, &doctor->config->nameservers);
    int length =
        res_nquery(&state, name, ns_c_in, (int)type, answer->bytes, sizeof answer->bytes);
    doctor->dns_silent = length < 0 && state.res_h_errno == TRY_AGAIN;
    if (length > 0 && length <= (int)sizeof answer->bytes &&
        ns_initparse(answer->bytes, length, &answer->message) == 0)
        answer->records = ns_msg_count(answer->message, ns_s_an);
    res_nclose(&state);
    return !doctor->dns_silent;
}

/* The next record of this type from *place on; false: there is none. */
static bool next_record(struct answer *answer, ns_type type, int *place, ns_rr *record)
{
    while (*place < answer->records)
        if (ns_parserr(&answer->message, ns_s_an, (*place)++, record) == 0 &&
            ns_rr_type(*record) == type)
            return true;
    return false;
}

/* The domain name that begins so many bytes behind the start of the record's data. */
static bool read_name(const struct answer *answer, const ns_rr *record, unsigned offset,
                      char out[static NS_MAXDNAME])
{
    return ns_rr_rdlen(*record) > offset &&
           ns_name_uncompress(ns_msg_base(answer->message), ns_msg_end(answer->message),
                              ns_rr_rdata(*record) + offset, out, NS_MAXDNAME) >= 0;
}

struct addresses {
    size_t count;
    char text[ADDRESSES_LIMIT][INET6_ADDRSTRLEN];
};

static bool add_addresses(struct doctor *doctor, ns_type type, struct addresses *out)
{
    int family = type == ns_t_a ? AF_INET : AF_INET6;
    unsigned size = type == ns_t_a ? 4 : 16;
    struct answer answer;
    ns_rr record;
    if (!ask(doctor, doctor->config->hostname, type, &answer))
        return false;
    for (int place = 0;
         out->count < ADDRESSES_LIMIT && next_record(&answer, type, &place, &record);)
        if (ns_rr_rdlen(record) == size &&
            inet_ntop(family, ns_rr_rdata(record), out->text[out->count], INET6_ADDRSTRLEN))
            out->count++;
    return true;
}

/* False: no name server answers. */
static bool find_addresses(struct doctor *doctor, struct addresses *out)
{
    out->count = 0;
    return add_addresses(doctor, ns_t_a, out) && add_addresses(doctor, ns_t_aaaa, out);
}

void doctor_check_dns(struct doctor *doctor)
{
    const char *hostname = doctor->config->hostname;
    struct addresses found;
    char list[ADDRESSES_LIMIT * (INET6_ADDRSTRLEN + 2)] = "";
    if (!find_addresses(doctor, &found)) {
        doctor_skip(doctor, "%s: %s", hostname, unasked);
    } else if (found.count == 0) {
        doctor_fault(doctor, "%s: this name has no address in the DNS", hostname);
        doctor_advise(doctor, "add an A or AAAA record, or set \"hostname\" to a name that has "
                              "one: mail programs look it up");
    } else {
        for (size_t i = 0; i < found.count; i++) {
            strcat(list, i > 0 ? ", " : "");
            strcat(list, found.text[i]);
        }
        doctor_good(doctor, "%s: %s", hostname, list);
    }
}

/* "1.2.0.192.in-addr.arpa", or the 32 digits of IPv6 under ip6.arpa. */
static void write_reverse(const char *text, char out[static 80])
{
    unsigned char bytes[16];
    char *at = out;
    if (inet_pton(AF_INET, text, bytes) == 1) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1], bytes[0]);
        return;
    }
    *out = '\0';
    if (inet_pton(AF_INET6, text, bytes) != 1)
        return;
    for (int i = 15; i >= 0; i--)
        at += snprintf(at, 5, "%x.%x.", bytes[i] & 15u, bytes[i] >> 4);
    strcpy(at, "ip6.arpa");
}

static void check_reverse(struct doctor *doctor, const char *address)
{
    const char *hostname = doctor->config->hostname;
    char reverse[80], name[NS_MAXDNAME] = "";
    struct answer answer;
    ns_rr record;
    bool same = false;
    write_reverse(address, reverse);
    if (!ask(doctor, reverse, ns_t_ptr, &answer)) {
        doctor_skip(doctor, "%s: %s", address, unasked);
        return;
    }
    for (int place = 0; !same && next_record(&answer, ns_t_ptr, &place, &record);)
        same = read_name(&answer, &record, 0, name) && strcasecmp(name, hostname) == 0;
    if (same) {
        doctor_good(doctor, "%s: leads back to %s", address, hostname);
        return;
    }
    doctor_fault(doctor, "%s: %s%s, not %s", address, *name ? "is called " : "has no name",
                 name, hostname);
    doctor_advise(doctor,
                  "ask your provider to name this address %s: other mail servers "
                  "refuse mail from it otherwise",
                  hostname);
}

void doctor_check_reverse(struct doctor *doctor)
{
    struct addresses found;
    if (!find_addresses(doctor, &found))
        return;
    for (size_t i = 0; i < found.count; i++)
        check_reverse(doctor, found.text[i]);
}

/* Priority, weight, port, target (RFC 2782). */
static void check_service(struct doctor *doctor, const char *service, unsigned port,
                          const char *domain)
{
    char name[NS_MAXDNAME], target[NS_MAXDNAME];
    struct answer answer;
    ns_rr record;
    bool any = false;
    snprintf(name, sizeof name, "%s._tcp.%s", service, domain);
    if (!ask(doctor, name, ns_t_srv, &answer)) {
        doctor_skip(doctor, "%s: %s", name, unasked);
        return;
    }
    for (int place = 0; next_record(&answer, ns_t_srv, &place, &record); any = true)
        if (read_name(&answer, &record, 6, target))
            doctor_good(doctor, "%s: port %u of %s", name,
                        (unsigned)ns_get16(ns_rr_rdata(record) + 4), target);
    if (any)
        return;
    doctor_note(doctor, "%s: mail programs that set themselves up find nothing there", name);
    doctor_advise(doctor, "if people have addresses there: %s. SRV 0 1 %u %s.", name, port,
                  doctor->config->hostname);
}

/* People's addresses are taken to be in the hostname's domain. */
void doctor_check_services(struct doctor *doctor)
{
    const char *dot = strchr(doctor->config->hostname, '.');
    const char *domain = dot && strchr(dot + 1, '.') ? dot + 1 : doctor->config->hostname;
    check_service(doctor, "_submissions", 465, domain);
    check_service(doctor, "_submission", 587, domain);
}
