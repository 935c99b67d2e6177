/*
 * OpenSSL's memory. A handshake asks for some seven hundred small pieces and gives them all
 * back, and each read or write for a buffer; a bounded number of these is kept for the next
 * time instead of going through malloc().
 */
#ifndef POSTERN_TLS_MEMORY_H
#define POSTERN_TLS_MEMORY_H

/* Before anything else of OpenSSL's; later it changes nothing. */
void tls_memory_serve_openssl(void);

#endif
