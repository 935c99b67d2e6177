/* A stream as a client of TLS, towards a backend: whom it believes, and that nothing is lost.
 */
#include "tls_world.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#define HOST "mail.example.org"

static char directory[] = "/tmp/postern-stream-XXXXXX";
static char ca[64], stranger_ca[64];
static struct made authority, stranger, good;

static int make_authorities(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(ca, sizeof ca, "%s/ca", directory);
    snprintf(stranger_ca, sizeof stranger_ca, "%s/stranger", directory);
    authority = make_certificate((struct wish){.common_name = "Authority"});
    stranger = make_certificate((struct wish){.common_name = "Stranger"});
    good = make_certificate(
        (struct wish){.common_name = "Good",
                      .alternatives = "DNS:" HOST ",DNS:*.wild.example,IP:127.0.0.1,IP:::1",
                      .issuer = &authority});
    write_certificate(&authority, ca);
    write_certificate(&stranger, stranger_ca);
    return 0;
}

static int remove_authorities(void **state)
{
    (void)state;
    free_certificate(&authority);
    free_certificate(&stranger);
    free_certificate(&good);
    unlink(ca);
    unlink(stranger_ca);
    return rmdir(directory);
}

static void open_secured(struct world *world, int version)
{
    open_world(world, &good, ca);
    assert_int_equal(SSL_set_min_proto_version(world->server, version), 1);
    assert_int_equal(SSL_set_max_proto_version(world->server, version), 1);
    assert_true(stream_secure_client(world->stream, world->client_context, HOST));
    UNTIL(world, world->secured && world->server_secured);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static const char *const version_names[] = {"TLSv1.2", "TLSv1.3"};

static void test_both_versions_are_spoken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i]);
        assert_string_equal(stream_tls_version(world.stream), version_names[i]);
        assert_string_equal(stream_tls_cipher(world.stream), SSL_get_cipher_name(world.server));
        assert_true(stream_is_secure(world.stream));
        assert_null(stream_peer(world.stream));
        close_world(&world);
    }
}

static void test_server_is_believed_by_each_of_its_names(void **state)
{
    static const struct {
        const char *name, *asked; /* what the server hears of it */
    } cases[] = {
        {HOST, HOST},        {"MAIL.Example.ORG", "MAIL.Example.ORG"},
        {"127.0.0.1", NULL}, {"two.wild.example", "two.wild.example"},
        {"::1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world world;
        open_world(&world, &good, ca);
        assert_true(stream_secure_client(world.stream, world.client_context, cases[i].name));
        UNTIL(&world, world.secured && world.server_secured);
        const char *asked = SSL_get_servername(world.server, TLSEXT_NAMETYPE_host_name);
        if (cases[i].asked)
            assert_string_equal(asked, cases[i].asked);
        else
            assert_null(asked);
        close_world(&world);
    }
}

/* No byte of a session may be there for a server that did not prove who it is. */
static void expect_refusal(const struct made *made, const char *believed, const char *name,
                           const char *error)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_world(&world, made, believed);
        assert_int_equal(SSL_set_max_proto_version(world.server, versions[i]), 1);
        world.to_send = 100;
        assert_true(stream_secure_client(world.stream, world.client_context, name));
        stream_write(world.stream, "EHLO secret\r\n", 13);
        UNTIL(&world, world.error[0] && world.server_failed);
        if (!strstr(world.error, error))
            fail_msg("%s, believing %s: %s, not %s", name, believed, world.error, error);
        assert_false(world.secured);
        assert_false(stream_is_secure(world.stream));
        assert_int_equal(world.server_received, 0);
        close_world(&world);
    }
}

static void test_server_with_another_name_is_refused(void **state)
{
    static const struct {
        const char *name, *error;
    } cases[] = {
        {"other.example.org", "hostname mismatch"},  {"example.org", "hostname mismatch"},
        {"a.two.wild.example", "hostname mismatch"}, {"wild.example", "hostname mismatch"},
        {"127.0.0.2", "IP address mismatch"},        {"::2", "IP address mismatch"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        expect_refusal(&good, ca, cases[i].name, cases[i].error);
}

static void test_server_that_cannot_be_verified_is_refused(void **state)
{
    static const char names[] = "DNS:" HOST;
    const struct {
        struct wish wish;
        const char *ca, *error;
    } cases[] = {
        {{.alternatives = names, .issuer = &authority}, stranger_ca, "unable to get"},
        {{.alternatives = names}, ca, "self-signed certificate"},
        {{.alternatives = names, .issuer = &authority, .ends_s = -10}, ca, "has expired"},
        {{.alternatives = names, .issuer = &authority, .begins_s = DAY_S}, ca, "not yet valid"},
        {{.common_name = HOST, .alternatives = "DNS:other.example", .issuer = &authority},
         ca,
         "hostname mismatch"},
        {{.alternatives = "DNS:m*.example.org", .issuer = &authority}, ca, "hostname mismatch"},
        {{.alternatives = names, .issuer = &good}, ca, "unable to get"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct made made = make_certificate(cases[i].wish);
        expect_refusal(&made, cases[i].ca, HOST, cases[i].error);
        free_certificate(&made);
    }
}

/* Issued by somebody who is believed, but for something else. */
static void test_certificate_of_a_client_is_no_servers(void **state)
{
    struct made made = begin_certificate(&(struct wish){0});
    (void)state;
    add_extension(made.certificate, made.certificate, NID_subject_alt_name, "DNS:" HOST);
    add_extension(made.certificate, made.certificate, NID_ext_key_usage, "clientAuth");
    sign_certificate(&made, &authority);
    expect_refusal(&made, ca, HOST, "purpose");
    free_certificate(&made);
}

static void test_certificate_in_the_file_is_believed_without_its_issuer(void **state)
{
    char own[80];
    struct world world;
    (void)state;
    snprintf(own, sizeof own, "%s/own", directory);
    write_certificate(&good, own);
    open_world(&world, &good, own);
    assert_true(stream_secure_client(world.stream, world.client_context, HOST));
    UNTIL(&world, world.secured);
    close_world(&world);
    unlink(own);
}

static void test_old_version_is_refused(void **state)
{
    struct world world;
    (void)state;
    open_world(&world, &good, ca);
    SSL_set_security_level(world.server, 0);
    assert_int_equal(SSL_set_min_proto_version(world.server, TLS1_VERSION), 1);
    assert_int_equal(SSL_set_max_proto_version(world.server, TLS1_1_VERSION), 1);
    assert_true(stream_secure_client(world.stream, world.client_context, HOST));
    UNTIL(&world, world.error[0]);
    assert_non_null(strstr(world.error, "version"));
    close_world(&world);
}

/* Threat 3: what stands in the socket from before is not read as an answer, but ends it all. */
static void test_threat_03_plaintext_before_the_handshake_is_never_data(void **state)
{
    static const char early[] = "250 XCLIENT ADDR LOGIN\r\n";
    struct world world;
    (void)state;
    open_world(&world, &good, ca);
    assert_int_equal(write(world.server_fd, early, sizeof early - 1), sizeof early - 1);
    assert_true(stream_secure_client(world.stream, world.client_context, HOST));
    UNTIL(&world, world.error[0]);
    assert_string_equal(world.error, "wrong version number");
    assert_int_equal(world.received, 0);
    assert_false(world.secured);
    close_world(&world);
}

static void test_server_that_leaves_in_the_handshake_is_told_as_such(void **state)
{
    struct world world;
    (void)state;
    open_world(&world, &good, ca);
    close_server(&world);
    assert_true(stream_secure_client(world.stream, world.client_context, HOST));
    UNTIL(&world, world.error[0]);
    assert_true(strstr(world.error, "left") || strstr(world.error, "Broken pipe"));
    close_world(&world);
}

/* The server reads nothing at first: what waits here is bounded by when the caller stops. */
static void test_large_message_arrives_whole_at_a_slow_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i]);
        world.server_deaf = true;
        world.to_send = 8 * MEGABYTE;
        client_writes(&world);
        assert_true(world.sent < world.to_send);
        world.server_deaf = false;
        UNTIL(&world, world.server_received == world.to_send);
        assert_true(world.most_queued < QUEUE_LIMIT + 2 * PIECE);
        assert_int_equal(stream_queued(world.stream), 0);
        close_world(&world);
    }
}

static void test_paused_client_takes_nothing_and_loses_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i]);
        stream_pause(world.stream);
        world.server_to_send = 8 * MEGABYTE;
        server_writes(&world);
        event_base_loop(world.base, EVLOOP_NONBLOCK);
        assert_true(world.server_sent < world.server_to_send);
        assert_int_equal(world.received, 0);
        stream_resume(world.stream);
        UNTIL(&world, world.received == world.server_to_send);
        close_world(&world);
    }
}

static void test_both_may_talk_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i]);
        stream_expect_bulk(world.stream);
        world.to_send = world.server_to_send = 6 * MEGABYTE;
        client_writes(&world);
        server_writes(&world);
        UNTIL(&world,
              world.server_received == world.to_send && world.received == world.server_to_send);
        close_world(&world);
    }
}

static void test_server_may_change_its_keys(void **state)
{
    struct world world;
    (void)state;
    open_secured(&world, TLS1_3_VERSION);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(SSL_key_update(world.server, SSL_KEY_UPDATE_REQUESTED), 1);
        world.server_to_send += 100000;
        world.to_send += 100000;
        server_writes(&world);
        client_writes(&world);
        UNTIL(&world,
              world.received == world.server_to_send && world.server_received == world.to_send);
    }
    close_world(&world);
}

/* What it sent before is read first, also without close_notify: SMTP has ends of its own. */
static void test_end_of_the_server_comes_behind_its_last_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i / 2]);
        world.server_to_send = 1000;
        server_writes(&world);
        if (i % 2 == 0)
            SSL_shutdown(world.server);
        close_server(&world);
        UNTIL(&world, world.ended);
        assert_int_equal(world.received, 1000);
        assert_string_equal(world.error, "");
        close_world(&world);
    }
}

static void test_server_is_told_that_nothing_comes_any_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        struct world world;
        open_secured(&world, versions[i]);
        world.to_send = 1000;
        client_writes(&world);
        stream_finish(world.stream, false);
        world.stream = NULL;
        UNTIL(&world, world.server_ended);
        assert_int_equal(world.server_received, 1000);
        assert_false(world.server_failed);
        close_world(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_versions_are_spoken),
        cmocka_unit_test(test_server_is_believed_by_each_of_its_names),
        cmocka_unit_test(test_server_with_another_name_is_refused),
        cmocka_unit_test(test_server_that_cannot_be_verified_is_refused),
        cmocka_unit_test(test_certificate_of_a_client_is_no_servers),
        cmocka_unit_test(test_certificate_in_the_file_is_believed_without_its_issuer),
        cmocka_unit_test(test_old_version_is_refused),
        cmocka_unit_test(test_threat_03_plaintext_before_the_handshake_is_never_data),
        cmocka_unit_test(test_server_that_leaves_in_the_handshake_is_told_as_such),
        cmocka_unit_test(test_large_message_arrives_whole_at_a_slow_server),
        cmocka_unit_test(test_paused_client_takes_nothing_and_loses_nothing),
        cmocka_unit_test(test_both_may_talk_at_once),
        cmocka_unit_test(test_server_may_change_its_keys),
        cmocka_unit_test(test_end_of_the_server_comes_behind_its_last_words),
        cmocka_unit_test(test_server_is_told_that_nothing_comes_any_more),
    };
    return cmocka_run_group_tests(tests, make_authorities, remove_authorities);
}
