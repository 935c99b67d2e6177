/*
 * What OpenSSL alone costs a server: a TLS 1.3 handshake between memory buffers, full and
 * resumed, and AES-128-GCM over records of 16 KB. The benchmark prints it as the floor that no
 * server gets below. Usage: floor CERTIFICATE KEY
 */
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HANDSHAKES = 1000, WARM_UP = 50, RECORD = 16384, RECORDS = 20000 };

static SSL_SESSION *newest_ticket;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int take_ticket(SSL *tls, SSL_SESSION *ticket)
{
    (void)tls;
    SSL_SESSION_free(newest_ticket);
    newest_ticket = ticket;
    return 1;
}

static SSL_CTX *server_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        !SSL_CTX_set_num_tickets(context, 1)) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

static SSL_CTX *client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set1_groups_list(context, "X25519") ||
        !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256")) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, take_ticket);
    return context;
}

/* The server's share of the time, or 0 if the handshake failed or was not of the kind asked. */
static uint64_t shake_hands(SSL *server, SSL *client, bool resumed)
{
    uint64_t spent = 0;
    int client_done = 0, server_done = 0;
    char byte;

    for (int turn = 0; turn < 8 && !(client_done == 1 && server_done == 1); turn++) {
        uint64_t start;
        client_done = SSL_do_handshake(client);
        start = now_ns();
        server_done = SSL_do_handshake(server);
        spent += now_ns() - start;
    }
    SSL_read(client, &byte, 1); /* there is only the ticket to read */
    if (client_done != 1 || server_done != 1 || SSL_session_reused(server) != resumed)
        return 0;
    return spent;
}

static uint64_t one_handshake(SSL_CTX *server_side, SSL_CTX *client_side, bool resume)
{
    uint64_t spent = 0, start = now_ns();
    SSL *server = SSL_new(server_side);
    uint64_t making = now_ns() - start;
    SSL *client = SSL_new(client_side);
    BIO *server_end, *client_end;

    if (server && client && BIO_new_bio_pair(&server_end, RECORD, &client_end, RECORD)) {
        SSL_set_bio(server, server_end, server_end);
        SSL_set_bio(client, client_end, client_end);
        SSL_set_accept_state(server);
        SSL_set_connect_state(client);
        if (!resume || SSL_set_session(client, newest_ticket))
            spent = shake_hands(server, client, resume);
        SSL_shutdown(client);
    }
    SSL_free(client);
    start = now_ns();
    SSL_free(server);
    return spent ? spent + making + (now_ns() - start) : 0;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static double handshake_us(SSL_CTX *server, SSL_CTX *client, bool resume)
{
    static uint64_t spent[HANDSHAKES];

    for (int at = -WARM_UP; at < HANDSHAKES; at++) {
        uint64_t ns = one_handshake(server, client, resume);
        if (ns == 0)
            return 0;
        if (at >= 0)
            spent[at] = ns;
    }
    qsort(spent, HANDSHAKES, sizeof(spent[0]), compare);
    return (double)spent[HANDSHAKES / 2] / 1e3;
}

/* Seconds to decrypt a gigabyte (10^9 bytes). */
static double cipher_seconds(void)
{
    static unsigned char record[RECORD];
    static const unsigned char key[16], nonce[12];
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    uint64_t start = now_ns();
    int size;

    if (!cipher || !EVP_DecryptInit_ex2(cipher, EVP_aes_128_gcm(), key, nonce, NULL))
        return 0;
    for (int at = 0; at < RECORDS; at++)
        if (!EVP_DecryptInit_ex2(cipher, NULL, NULL, nonce, NULL) ||
            !EVP_DecryptUpdate(cipher, record, &size, record, RECORD))
            return 0;
    EVP_CIPHER_CTX_free(cipher);
    return (double)(now_ns() - start) / ((double)RECORD * RECORDS);
}

int main(int argc, char **argv)
{
    SSL_CTX *server = argc == 3 ? server_context(argv[1], argv[2]) : NULL;
    SSL_CTX *client = client_context();
    double full, resumed, cipher;

    if (!server || !client) {
        fputs("usage: floor CERTIFICATE KEY\n", stderr);
        return EXIT_FAILURE;
    }
    full = handshake_us(server, client, false);
    resumed = full > 0 ? handshake_us(server, client, true) : 0;
    cipher = cipher_seconds();
    printf("full_us=%.1f resumed_us=%.1f gigabyte_s=%.3f\n", full, resumed, cipher);
    SSL_SESSION_free(newest_ticket);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return full > 0 && resumed > 0 && cipher > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
