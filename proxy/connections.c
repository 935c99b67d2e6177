/*
 * A table of addresses with their counts, and lists of connections by age. Used by the
 * acceptor and by sessions; every operation takes the same time however many there are, but
 * that whoever is spared is passed over one by one.
 */
#include "proxy/connections.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proxy/base/slab.h"

#define BUCKETS 4096 /* a power of two */

struct connection_peer {
    LIST_ENTRY(connection_peer) link;
    struct address_key key;
    unsigned count, strangers;
};

LIST_HEAD(bucket, connection_peer);
TAILQ_HEAD(age_list, connection);

struct connections {
    struct bucket buckets[BUCKETS];
    struct age_list lists[CONNECTION_STANDINGS];
    unsigned count, strangers;
    uint64_t seed; /* so that nobody can choose addresses that share a bucket */
};

struct connections *connections_new(void)
{
    struct connections *connections = calloc(1, sizeof *connections);
    if (!connections)
        return NULL;
    for (int i = 0; i < CONNECTION_STANDINGS; i++)
        TAILQ_INIT(&connections->lists[i]);
    if (getrandom(&connections->seed, sizeof connections->seed, GRND_NONBLOCK) < 0)
        connections->seed = (uint64_t)(uintptr_t)connections;
    return connections;
}

void connections_free(struct connections *connections)
{
    free(connections);
}

static size_t bucket_of(const struct connections *connections, const struct address_key *key)
{
    uint64_t mixed = (key->high ^ connections->seed) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 32) ^ key->low) * UINT64_C(0xd6e8feb86659fd93);
    return (size_t)(mixed >> 40) & (BUCKETS - 1);
}

static struct connection_peer *find_peer(const struct connections *connections,
                                         const struct address_key *key)
{
    struct connection_peer *peer;
    LIST_FOREACH(peer, &connections->buckets[bucket_of(connections, key)], link)
    if (address_key_equal(&peer->key, key))
        return peer;
    return NULL;
}

static struct connection_peer *add_peer(struct connections *connections,
                                        const struct address_key *key)
{
    struct connection_peer *peer = slab_alloc(sizeof *peer);
    if (peer) {
        peer->key = *key;
        LIST_INSERT_HEAD(&connections->buckets[bucket_of(connections, key)], peer, link);
    }
    return peer;
}

/* One more from that address; NULL: no memory. */
static struct connection_peer *take_peer(struct connections *connections,
                                         const struct address *client)
{
    struct address_key key = address_key(client);
    struct connection_peer *peer = find_peer(connections, &key);
    if (!peer)
        peer = add_peer(connections, &key);
    if (peer)
        peer->count++;
    return peer;
}

static void leave_peer(struct connection_peer *peer)
{
    if (--peer->count > 0)
        return;
    LIST_REMOVE(peer, link);
    slab_free(peer, sizeof *peer);
}

static void enter(struct connections *connections, struct connection *connection,
                  enum connection_standing standing)
{
    bool is_stranger = standing == CONNECTION_STRANGER;
    connection->standing = (uint8_t)standing;
    connections->strangers += is_stranger;
    connection->peer->strangers += is_stranger;
    TAILQ_INSERT_TAIL(&connections->lists[standing], connection, by_age);
}

static void leave(struct connections *connections, struct connection *connection)
{
    bool is_stranger = connection->standing == CONNECTION_STRANGER;
    connections->strangers -= is_stranger;
    connection->peer->strangers -= is_stranger;
    TAILQ_REMOVE(&connections->lists[connection->standing], connection, by_age);
}

bool connections_add(struct connections *connections, struct connection *connection,
                     const struct address *client)
{
    connection->peer = take_peer(connections, client);
    if (!connection->peer)
        return false;
    enter(connections, connection, CONNECTION_WAITING);
    connections->count++;
    return true;
}

bool connections_move(struct connections *connections, struct connection *connection,
                      const struct address *client)
{
    struct connection_peer *peer = take_peer(connections, client);
    if (!peer)
        return false;
    bool is_stranger = connection->standing == CONNECTION_STRANGER;
    connection->peer->strangers -= is_stranger;
    peer->strangers += is_stranger;
    leave_peer(connection->peer);
    connection->peer = peer;
    return true;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    leave(connections, connection);
    leave_peer(connection->peer);
    connections->count--;
}

void connections_promote(struct connections *connections, struct connection *connection,
                         enum connection_standing standing)
{
    leave(connections, connection);
    enter(connections, connection, standing);
}

unsigned connections_count(const struct connections *connections)
{
    return connections->count;
}

unsigned connections_count_from(const struct connections *connections,
                                const struct address *client)
{
    struct address_key key = address_key(client);
    const struct connection_peer *peer = find_peer(connections, &key);
    return peer ? peer->count : 0;
}

unsigned connections_strangers_from(const struct connections *connections,
                                    const struct address *client)
{
    struct address_key key = address_key(client);
    const struct connection_peer *peer = find_peer(connections, &key);
    return peer ? peer->strangers : 0;
}

static struct connection *oldest_in(const struct age_list *list,
                                    bool (*spared)(struct connection *connection))
{
    struct connection *each;
    TAILQ_FOREACH(each, list, by_age)
    if (!spared(each))
        break;
    return each;
}

struct connection *connections_oldest(const struct connections *connections,
                                      bool (*spared)(struct connection *connection))
{
    const struct age_list *waiting = &connections->lists[CONNECTION_WAITING];
    const struct age_list *strangers = &connections->lists[CONNECTION_STRANGER];
    bool too_many_strangers = connections->strangers > connections->count / 2;
    struct connection *oldest = oldest_in(too_many_strangers ? strangers : waiting, spared);
    return oldest ? oldest : oldest_in(too_many_strangers ? waiting : strangers, spared);
}

static void visit_list(struct age_list *list,
                       void (*visit)(struct connection *connection, void *context),
                       void *context)
{
    struct connection *each = TAILQ_FIRST(list);
    while (each) {
        struct connection *next = TAILQ_NEXT(each, by_age);
        visit(each, context);
        each = next;
    }
}

void connections_each(struct connections *connections,
                      void (*visit)(struct connection *connection, void *context),
                      void *context)
{
    for (int i = 0; i < CONNECTION_STANDINGS; i++)
        visit_list(&connections->lists[i], visit, context);
}
