/* Datagrams between two processes of ours, each with one descriptor at most. Neither side waits
 * unless it says so. */
#ifndef POSTERN_DATAGRAM_H
#define POSTERN_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proxy/base/compiler.h"

/* Sends it whole, with a descriptor (-1: none), which stays the caller's; `flags` as for
 * send(2). False: errno tells. */
MUST_USE bool datagram_send(int socket, const void *bytes, size_t length, int descriptor,
                            int flags);

/*
 * Receives one: its length; 0 when the other side is gone; -1 with errno: EAGAIN if there is
 * none, EMSGSIZE if it was longer than `size` or came with more than one descriptor.
 * *descriptor is the caller's, -1 if there was none, and DATAGRAM_DESCRIPTOR_LOST if there was
 * one and this process can have no more of them.
 */
#define DATAGRAM_DESCRIPTOR_LOST (-2)
MUST_USE ssize_t datagram_receive(int socket, void *bytes, size_t size, int *descriptor);

#endif
