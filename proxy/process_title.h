/* What `ps` shows for a process: "postern: reactor". */
#ifndef POSTERN_PROCESS_TITLE_H
#define POSTERN_PROCESS_TITLE_H

/* Finds the room that main's arguments and environment take; once, first thing in main(). Moves
 * the environment elsewhere. */
void process_title_init(int argc, char **argv);

/* Cut to the room there is; nothing happens before process_title_init(). */
void process_title_set(const char *title);

#endif
