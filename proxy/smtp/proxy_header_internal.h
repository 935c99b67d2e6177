/* What the reader and the writer of the PROXY protocol share. */
#ifndef POSTERN_SMTP_PROXY_HEADER_INTERNAL_H
#define POSTERN_SMTP_PROXY_HEADER_INTERNAL_H

#include "proxy/smtp/proxy_header.h"

/* Version 1: a line, with its CRLF. */
#define PROXY_HEADER_LINE_LIMIT 107

/* Version 2: signature, version and command, family, length of what follows. */
#define PROXY_HEADER_SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define PROXY_HEADER_SIGNATURE_SIZE (sizeof PROXY_HEADER_SIGNATURE - 1)
#define PROXY_HEADER_FIXED_SIZE     (PROXY_HEADER_SIGNATURE_SIZE + 4)

enum { PROXY_HEADER_LOCAL = 0x20, PROXY_HEADER_PROXY = 0x21 };
enum { PROXY_HEADER_TCP4 = 0x11, PROXY_HEADER_TCP6 = 0x21 };

/* Of a TLV: its type and its length. */
#define PROXY_HEADER_TLV_HEAD 3
#define PROXY_HEADER_CRC_SIZE 4

/* The checksum of RFC 4960 appendix B, continued from `crc` (0 at the start). */
uint32_t proxy_header_crc32c(uint32_t crc, const uint8_t *bytes, size_t length);

#endif
