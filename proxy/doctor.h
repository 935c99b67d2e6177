/*
 * `postern doctor`: looks at an installation, running or planned, and says in plain words what
 * is wrong with it and what to do. It changes nothing and sends no mail.
 */
#ifndef POSTERN_DOCTOR_H
#define POSTERN_DOCTOR_H

/* Exit status: what is the worst that was found. */
#define DOCTOR_STATUS_GOOD    0
#define DOCTOR_STATUS_WARNING 1
#define DOCTOR_STATUS_ERROR   2

/* main() of it: argv[1] is the word "doctor". Returns the exit status. */
int doctor_main(int argc, char **argv);

#endif
