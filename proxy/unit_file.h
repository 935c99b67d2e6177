/*
 * What a service of systemd may read and write, as its unit and the drop-ins beside it say
 * (systemd.exec(5)). Used by rights.c. Pure: is given the text of each file, in the order in
 * which systemd reads them. Knows only what hides files from root, and no specifiers.
 */
#ifndef POSTERN_UNIT_FILE_H
#define POSTERN_UNIT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_FILE_TEXT_SIZE 1024

struct unit_file {
    char configuration[UNIT_FILE_TEXT_SIZE]; /* after "-c" in ExecStart; empty: none */
    char writable[UNIT_FILE_TEXT_SIZE];      /* paths, with a blank before each */
    uint64_t descriptors;                    /* LimitNOFILE, the hard one; 0: not said */
    bool bounded;                            /* there is a CapabilityBoundingSet */
    uint64_t capabilities; /* then: those of it that Postern may need (capabilities.h) */
    bool hides_homes;      /* ProtectHome, unless "no" or "read-only" */
    bool private_tmp;      /* PrivateTmp */
    bool only_writes;      /* ProtectSystem=strict: nothing but `writable` is */
};

/* Adds one file to what those before it said. Zero-initialise `unit` before the first. */
void unit_file_read(struct unit_file *unit, const char *text, size_t length);

/* May the service have all of these capabilities? */
bool unit_file_allows(const struct unit_file *unit, uint64_t set);

/* May its root read what modes keep from it? */
bool unit_file_reads_all(const struct unit_file *unit);

/* Is the path `writable`, or below a path that is? */
bool unit_file_may_write(const struct unit_file *unit, const char *path);

#endif
