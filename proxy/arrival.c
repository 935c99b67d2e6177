/*
 * A client's arrival: from the connection to the greeting or the handshake. A load balancer's
 * PROXY header comes first, and who it names is the client from then on; then, on a listener
 * that takes both, the first byte tells TLS from plain SMTP. Takes from the socket nothing that
 * is not the header's.
 */
#include <string.h>

#include "proxy/abuse.h"
#include "proxy/base/clock.h"
#include "proxy/permits.h"
#include "proxy/session_internal.h"
#include "proxy/smtp/proxy_header.h"

/*
 * ContentType handshake (RFC 8446 section 5.1), or the highest bit of a ClientHello in the form
 * of SSL 2.0, as old Java sends it (RFC 5246 appendix E.2). No SMTP command begins so.
 */
static bool begins_tls(char first)
{
    return first == 0x16 || ((unsigned char)first & 0x80u);
}

static enum config_tls_mode tls_mode(const struct session *session)
{
    return door_listen(session->door)->tls;
}

static void begin_handshake(struct session *session)
{
    session->phase = SESSION_HANDSHAKE;
    session->dialogue->handshake_ms = session->started_ms;
    dialogue_greet_early(session);
    if (!stream_secure(session->client, door_tls(session->door)))
        session_finish(session, REPLY_NONE, "out of memory");
}

static void begin_dialogue(struct session *session)
{
    session->phase = SESSION_COMMANDS;
    dialogue_greet(session);
}

/* A network of the listener's health_checks. */
static bool may_be_check(const struct session *session)
{
    return door_is_checked_from(session->door, &session->client_address);
}

/*
 * Behind a load balancer nothing is begun with a client that says nothing: that is the balancer
 * itself, which looks whether somebody is there. So may one be that the listener expects.
 */
static void open_door(struct session *session)
{
    bool waits = tls_mode(session) == CONFIG_TLS_EITHER ||
                 (tls_mode(session) == CONFIG_TLS_IMPLICIT &&
                  (session->is_balanced || may_be_check(session)));
    session->dialogue->opened_ms = clock_now_ms();
    if (waits)
        session->phase = SESSION_FIRST_BYTE;
    else if (tls_mode(session) == CONFIG_TLS_IMPLICIT)
        begin_handshake(session);
    else
        begin_dialogue(session);
}

void arrival_begin(struct session *session)
{
    session->is_balanced = door_is_balanced(session->door, &session->client_address);
    if (!session->is_balanced) {
        open_door(session);
        return;
    }
    session->phase = SESSION_PROXY;
    session->is_exempt = door_exempts(session->door, &session->client_address);
}

void arrival_client_left(struct session *session, const char *cause)
{
    bool silent = session->phase == SESSION_FIRST_BYTE ||
                  (session->phase == SESSION_PROXY && session->dialogue->input.length == 0) ||
                  (session->phase == SESSION_COMMANDS && session->bytes_in == 0 &&
                   !stream_is_secure(session->client));
    if (session->is_balanced && silent)
        session->is_check = true;
    arrival_note_check(session);
    session_finish(session, REPLY_NONE, cause);
}

void arrival_note_check(struct session *session)
{
    const struct dialogue *dialogue = session->dialogue;
    bool has_looked = session->phase == SESSION_FIRST_BYTE ||
                      (session->phase == SESSION_COMMANDS && dialogue->errors == 0 &&
                       dialogue->failed_logins == 0);
    if (has_looked && may_be_check(session))
        session->is_check = true;
}

static struct address address_of(const struct proxy_header_endpoint *endpoint)
{
    struct address address = {0};
    if (endpoint->family == PROXY_HEADER_IPV4) {
        address.length = sizeof address.v4;
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(endpoint->port);
        memcpy(&address.v4.sin_addr, endpoint->bytes, 4);
    } else {
        address.length = sizeof address.v6;
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(endpoint->port);
        memcpy(&address.v6.sin6_addr, endpoint->bytes, 16);
    }
    address_normalise(&address);
    return address;
}

/*
 * A loopback address means the host that says it: announced by another host it is not this
 * one's, whose connections the mail server and the postmaster's orders may trust. The address
 * of nobody is no client's at all. Both stand for the load balancer itself.
 */
static bool is_balancers_own(const struct session *session, const struct address *announced)
{
    return address_is_any(announced) ||
           (address_is_loopback(announced) && !address_is_loopback(&session->client_address));
}

/* The limits that the acceptor could not keep, as it knew the balancer's address only. */
static void check_limit(struct session *session)
{
    const struct service *service = session->service;
    unsigned limit = service->config->limits.connections_per_address;
    if (permits_find(service->permits, PERMIT_DENY, &session->client_address, clock_now_ms(),
                     NULL))
        session_exceed(session, STATISTICS_LIMIT_DENIED, REPLY_ADDRESS_DENIED, "denied");
    else if (limit > 0 &&
             connections_count_from(service->connections, &session->client_address) > limit &&
             !session->is_exempt)
        session_exceed(session, STATISTICS_LIMIT_PER_ADDRESS, REPLY_ADDRESS_FULL,
                       "too many connections from this address");
    else if (!session->is_check &&
             !abuse_admit_connection(service->abuse, session_abuse_client(session)))
        session_exceed(session, STATISTICS_LIMIT_PER_MINUTE, REPLY_ADDRESS_BUSY,
                       "too many connections from this address in a minute");
}

/* The announced client takes the balancer's place. Whom that announces as itself is itself. */
static void become(struct session *session, const struct proxy_header *header)
{
    struct address client = address_of(&header->source);
    session->is_check = address_equal(&client, &session->client_address);
    if (!is_balancers_own(session, &client))
        session->client_address = client;
    session->is_exempt = door_exempts(session->door, &session->client_address);
    session->local_address = address_of(&header->destination);
    if (connections_move(session->service->connections, &session->connection,
                         &session->client_address))
        check_limit(session);
    else
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
}

/* Threat 19: only a listed peer comes here. */
static void believe(struct session *session, const struct proxy_header *header)
{
    buffer_release(&session->dialogue->input);
    if (header->source.family == PROXY_HEADER_UNKNOWN)
        session->is_check = true;
    else
        become(session, header);
    if (session->phase != SESSION_OVER)
        open_door(session);
}

static enum stream_status read_more(struct session *session, size_t wanted)
{
    struct buffer *input = &session->dialogue->input;
    size_t got = 0;
    char *room = buffer_reserve(input, wanted);
    if (!room) {
        session_finish(session, REPLY_NO_MEMORY, "out of memory");
        return STREAM_BROKEN;
    }
    enum stream_status status = stream_read(session->client, room, wanted, &got);
    buffer_commit(input, got);
    if (input->length == 0)
        buffer_release(input);
    return status;
}

static void take_header(struct session *session)
{
    enum stream_status status = STREAM_OK;
    while (session->phase == SESSION_PROXY && status == STREAM_OK) {
        const struct buffer *input = &session->dialogue->input;
        struct proxy_header header;
        switch (proxy_header_read(buffer_bytes(input), input->length, &header)) {
        case PROXY_HEADER_MORE:
            status = read_more(session, header.wanted);
            break;
        case PROXY_HEADER_DONE:
            believe(session, &header);
            break;
        case PROXY_HEADER_BAD:
            session_finish(session, REPLY_NONE, "not a PROXY header");
            break;
        }
    }
    if (status == STREAM_EOF)
        arrival_client_left(session, "client closed");
}

static void take_first_byte(struct session *session)
{
    char first;
    size_t got;
    switch (stream_peek(session->client, &first, sizeof first, &got)) {
    case STREAM_OK:
        if (tls_mode(session) == CONFIG_TLS_IMPLICIT || begins_tls(first))
            begin_handshake(session);
        else
            begin_dialogue(session);
        break;
    case STREAM_EOF:
        arrival_client_left(session, "client closed");
        break;
    case STREAM_AGAIN:
    case STREAM_BROKEN: /* an event tells */
        break;
    }
}

void arrival_event(struct session *session, enum stream_event event)
{
    if (event == STREAM_FAILED)
        arrival_client_left(session, stream_error(session->client));
    if (event != STREAM_READABLE)
        return;
    if (session->phase == SESSION_PROXY)
        take_header(session);
    if (session->phase == SESSION_FIRST_BYTE)
        take_first_byte(session);
}

uint64_t arrival_deadline_ms(const struct session *session)
{
    const struct config_timeouts *timeouts = &session->service->config->timeouts;
    if (session->phase == SESSION_FIRST_BYTE && tls_mode(session) == CONFIG_TLS_EITHER)
        return session->dialogue->opened_ms + timeouts->either_ms;
    return session->started_ms + timeouts->handshake_ms;
}

/* Who waits to be greeted speaks plain SMTP. */
void arrival_expire(struct session *session)
{
    if (session->phase == SESSION_PROXY)
        session_exceed(session, STATISTICS_LIMIT_TIME_HANDSHAKE, REPLY_NONE,
                       "no PROXY header in time");
    else if (tls_mode(session) == CONFIG_TLS_EITHER)
        begin_dialogue(session);
    else
        session_exceed(session, STATISTICS_LIMIT_TIME_HANDSHAKE, REPLY_NONE,
                       "no TLS handshake in time");
}
