/*
 * A short list of keyed hashes. Called by login.c, in the reactor. Owns the key, which never
 * leaves the process; never keeps a password.
 */
#include "auth/refused.h"

#include <string.h>
#include <sys/random.h>

#include "auth/sasl.h"
#include "proxy/base/hash.h"

uint64_t refused_hash(const char *user, const char *password)
{
    static uint8_t key[HASH_KEY_SIZE];
    static bool has_key;
    char bytes[SASL_USER_LIMIT + 1 + SASL_PASSWORD_LIMIT];
    size_t user_length = strnlen(user, SASL_USER_LIMIT);
    size_t password_length = strnlen(password, SASL_PASSWORD_LIMIT);

    if (!has_key && getrandom(key, sizeof key, GRND_NONBLOCK) != sizeof key)
        return 0;
    has_key = true;
    memcpy(bytes, user, user_length);
    bytes[user_length] = '\0';
    memcpy(bytes + user_length + 1, password, password_length);
    uint64_t hash = hash_bytes(key, bytes, user_length + 1 + password_length);
    explicit_bzero(bytes, sizeof bytes);
    return hash;
}

bool refused_has(const struct refused *refused, uint64_t hash)
{
    for (unsigned i = 0; i < REFUSED_LIMIT; i++)
        if (hash != 0 && refused->hashes[i] == hash)
            return true;
    return false;
}

void refused_add(struct refused *refused, uint64_t hash)
{
    refused->hashes[refused->next] = hash;
    refused->next = (refused->next + 1) % REFUSED_LIMIT;
}
