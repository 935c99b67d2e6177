/* Which certificate a client gets: a table of names, kinds of keys, and handshakes in memory.
 */
#include "certificate_maker.h"

#include <openssl/ssl.h>
#include <stdlib.h>

#include "tls/certificates.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static char directory[] = "/tmp/postern-certificates-XXXXXX";

/* In the order of a configuration; each is told by its place. */
static const struct wish wishes[] = {
    {.common_name = "0", .alternatives = "DNS:mail.example.org"},
    {.common_name = "1", .alternatives = "DNS:Mail.shop.example,DNS:smtp.shop.example"},
    {.common_name = "2",
     .alternatives = "DNS:smtp.shop.example,DNS:mail.shop.example",
     .rsa = true},
    {.common_name = "3", .alternatives = "DNS:*.wild.example"},
    {.common_name = "4", .alternatives = "DNS:one.wild.example"},
    {.common_name = "5",
     .alternatives = "DNS:*.wild.example,DNS:elsewhere.example",
     .rsa = true},
    {.common_name = "6", .alternatives = "DNS:mail.shop.example"},
    {.common_name = "7", .alternatives = "DNS:mail.example.org", .rsa = true},
    {.common_name = "named.example"},
    {.common_name = "not.named.example", .alternatives = "DNS:other.example"},
    {.common_name = "address.example", .alternatives = "IP:127.0.0.1"},
};
#define WISHES COUNT(wishes)
#define NOBODY WISHES

static struct {
    struct made made[WISHES];
    char certificate[WISHES][64], key[WISHES][64];
    struct tls_certificates *certificates;
    SSL_CTX *server;
} world;

static int make_world(void **state)
{
    struct tls_certificate_files files[WISHES];
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    for (size_t i = 0; i < WISHES; i++) {
        world.made[i] = make_certificate(wishes[i]);
        snprintf(world.certificate[i], sizeof world.certificate[i], "%s/%zu", directory, i);
        snprintf(world.key[i], sizeof world.key[i], "%s/%zu-key", directory, i);
        write_certificate(&world.made[i], world.certificate[i]);
        write_key(&world.made[i], world.key[i]);
        files[i] = (struct tls_certificate_files){world.certificate[i], world.key[i]};
    }
    world.certificates = tls_certificates_new(files, WISHES, "mail.example.org");
    world.server = SSL_CTX_new(TLS_server_method());
    return world.certificates && tls_certificates_use(world.certificates, world.server) ? 0
                                                                                        : -1;
}

static int remove_world(void **state)
{
    (void)state;
    SSL_CTX_free(world.server);
    tls_certificates_free(world.certificates);
    for (size_t i = 0; i < WISHES; i++) {
        free_certificate(&world.made[i]);
        unlink(world.certificate[i]);
        unlink(world.key[i]);
    }
    return rmdir(directory);
}

/* Drives both to the end; false: the handshake failed. */
static bool shake_hands(SSL *client, SSL *server)
{
    for (int turn = 0; turn < 20; turn++) {
        int did = SSL_do_handshake(client), answered = SSL_do_handshake(server);
        if (did == 1 && answered == 1)
            return true;
        if ((did != 1 && SSL_get_error(client, did) != SSL_ERROR_WANT_READ) ||
            (answered != 1 && SSL_get_error(server, answered) != SSL_ERROR_WANT_READ))
            return false;
    }
    return false;
}

static size_t place_of(const X509 *certificate)
{
    for (size_t i = 0; i < WISHES; i++)
        if (X509_cmp(certificate, world.made[i].certificate) == 0)
            return i;
    return NOBODY;
}

/* The place of the certificate that a client gets; NOBODY: none that it could take. */
static size_t shown(const char *name, const char *algorithms, int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(context), *server = SSL_new(world.server);
    BIO *client_side, *server_side;
    assert_int_equal(BIO_new_bio_pair(&client_side, 0, &server_side, 0), 1);
    SSL_set_bio(client, client_side, client_side);
    SSL_set_bio(server, server_side, server_side);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    assert_int_equal(SSL_set_max_proto_version(client, version), 1);
    if (name)
        assert_int_equal(SSL_set_tlsext_host_name(client, name), 1);
    if (algorithms)
        assert_int_equal(SSL_set1_sigalgs_list(client, algorithms), 1);
    X509 *certificate = shake_hands(client, server) ? SSL_get1_peer_certificate(client) : NULL;
    size_t place = certificate ? place_of(certificate) : NOBODY;
    X509_free(certificate);
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(context);
    return place;
}

#define EC  "ECDSA+SHA256"
#define RSA "rsa_pss_rsae_sha256:RSA+SHA256"

static const struct {
    const char *name;
    size_t ec, rsa; /* for clients that know this kind alone */
} cases[] = {
    /* Nothing asked for, or nothing that is there: the first, with those of its names. */
    {NULL, 0, 7},
    {"mail.example.org", 0, 7},
    {"nowhere.example", 0, 7},
    {"org", 0, 7},
    {".", 0, 7},
    {".example.org", 0, 7},
    /* In any case, with the root's dot or without. */
    {"mail.shop.example", 1, 2},
    {"MAIL.Shop.EXAMPLE", 1, 2},
    {"smtp.shop.example.", 1, 2},
    {"smtp.shop.example..", 0, 7},
    {"xmail.shop.example", 0, 7},
    /* One label, and an exact name before it; what has another kind of key stands beside it. */
    {"two.wild.example", 3, 5},
    {"one.wild.example", 4, 5},
    {"a.one.wild.example", 0, 7},
    {"wild.example", 0, 7},
    {".wild.example", 0, 7},
    {"*.wild.example", 3, 5},
    /* A certificate whose names are others but for this one. */
    {"elsewhere.example", NOBODY, 5},
    /* The common name where there is no other. */
    {"named.example", 8, NOBODY},
    {"not.named.example", 0, 7},
    {"other.example", 9, NOBODY},
    {"address.example", 10, NOBODY},
};

static void test_each_client_gets_a_certificate_of_its_name_that_it_can_verify(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t j = 0; j < COUNT(versions); j++) {
            size_t ec = shown(cases[i].name, EC, versions[j]);
            size_t rsa = shown(cases[i].name, RSA, versions[j]);
            if (ec != cases[i].ec || rsa != cases[i].rsa)
                fail_msg("%s: %zu and %zu, not %zu and %zu", cases[i].name, ec, rsa,
                         cases[i].ec, cases[i].rsa);
        }
    }
}

static void test_client_that_knows_both_kinds_gets_the_one_it_likes_better(void **state)
{
    (void)state;
    assert_int_equal(shown("mail.shop.example", EC ":" RSA, TLS1_3_VERSION), 1);
    assert_int_equal(shown("mail.shop.example", RSA ":" EC, TLS1_3_VERSION), 2);
    assert_int_equal(shown(NULL, RSA ":" EC, TLS1_3_VERSION), 7);
}

static void test_last_second_of_each_is_known(void **state)
{
    (void)state;
    assert_int_equal(tls_certificates_count(world.certificates), WISHES);
    for (size_t i = 0; i < WISHES; i++) {
        int64_t left = tls_certificates_not_after(world.certificates, i) - time(NULL);
        assert_string_equal(tls_certificates_file(world.certificates, i), world.certificate[i]);
        assert_in_range(left, 90 * DAY_S - 600, 90 * DAY_S);
    }
}

/* Of three: the first, one with another's key, and one that has expired. `first` ends in so
 * many seconds from now. */
static struct tls_certificates *with_bad_ones(struct made *made, long first_ends_s)
{
    static const char *const alternatives[] = {"DNS:first.example", "DNS:bad.example",
                                               "DNS:old.example"};
    struct tls_certificate_files files[COUNT(alternatives)];
    static char paths[2 * COUNT(alternatives)][64];
    for (size_t i = 0; i < COUNT(alternatives); i++) {
        struct wish wish = {.common_name = "x", .alternatives = alternatives[i]};
        wish.begins_s = -20 * DAY_S;
        wish.ends_s = i == 0 ? first_ends_s : i == 2 ? -DAY_S : DAY_S;
        made[i] = make_certificate(wish);
        snprintf(paths[2 * i], sizeof paths[0], "%s/bad-%zu", directory, i);
        snprintf(paths[2 * i + 1], sizeof paths[0], "%s/bad-%zu-key", directory, i);
        write_certificate(&made[i], paths[2 * i]);
        write_key(&made[i == 1 ? 0 : i], paths[2 * i + 1]);
        files[i] = (struct tls_certificate_files){paths[2 * i], paths[2 * i + 1]};
    }
    struct tls_certificates *all = tls_certificates_new(files, COUNT(files), "first.example");
    for (size_t i = 0; i < COUNT(paths); i++)
        unlink(paths[i]);
    return all;
}

static void test_certificate_that_cannot_be_used_leaves_the_others_alone(void **state)
{
    static const struct {
        long first_ends_s;
        bool old_is_usable;
    } rows[] = {
        {90 * DAY_S, false}, {-10, true}, /* the clock may be wrong */
    };
    int64_t now = time(NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct made made[3];
        struct tls_certificates *all = with_bad_ones(made, rows[i].first_ends_s);
        assert_non_null(all);
        assert_int_equal(tls_certificates_count(all), 3);
        assert_true(tls_certificates_usable(all, 0, now));
        assert_false(tls_certificates_usable(all, 1, now));
        assert_int_equal(tls_certificates_usable(all, 2, now), rows[i].old_is_usable);
        /* Of one with another's key the end is known. */
        assert_in_range(tls_certificates_not_after(all, 1), now + DAY_S, time(NULL) + DAY_S);
        tls_certificates_free(all);
        for (size_t j = 0; j < COUNT(made); j++)
            free_certificate(&made[j]);
    }
}

static void test_first_certificate_that_cannot_be_used_stops_all(void **state)
{
    struct tls_certificate_files files[] = {{"/nonexistent", "/nonexistent"},
                                            {world.certificate[0], world.key[0]}};
    (void)state;
    assert_null(tls_certificates_new(files, COUNT(files), NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_client_gets_a_certificate_of_its_name_that_it_can_verify),
        cmocka_unit_test(test_client_that_knows_both_kinds_gets_the_one_it_likes_better),
        cmocka_unit_test(test_certificate_that_cannot_be_used_leaves_the_others_alone),
        cmocka_unit_test(test_first_certificate_that_cannot_be_used_stops_all),
        cmocka_unit_test(test_last_second_of_each_is_known),
    };
    return cmocka_run_group_tests(tests, make_world, remove_world);
}
