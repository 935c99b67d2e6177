/* The full name of this host, for `postern setup`. */
#ifndef POSTERN_SETUP_HOSTNAME_H
#define POSTERN_SETUP_HOSTNAME_H

#define SETUP_HOSTNAME_SIZE 256

/*
 * Writes the first full name of: what the host is called, what the resolver makes of that
 * (as `hostname -f`), /etc/mailname, and `greeted`, the name in the greeting of its mail server
 * ("" if there is none). Without any, the short name, or "". May wait for name servers.
 */
void setup_hostname_find(const char *greeted, char out[static SETUP_HOSTNAME_SIZE]);

#endif
