/*
 * `postern setup`: writes a first configuration, from flags or by asking, with a certificate if
 * there is none yet, and says what the mail server behind needs. It changes nothing of anybody
 * else's, and overwrites no file without --force.
 */
#ifndef POSTERN_SETUP_H
#define POSTERN_SETUP_H

/* Exit status: everything was written, but `postern -n` fails with it. */
#define SETUP_STATUS_INCOMPLETE 2

/* main() of it: argv[1] is the word "setup". Returns the exit status. */
int setup_main(int argc, char **argv);

#endif
