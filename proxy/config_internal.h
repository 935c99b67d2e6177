/* What the files of the configuration share: the table's rows and the steps of reading. */
#ifndef POSTERN_CONFIG_INTERNAL_H
#define POSTERN_CONFIG_INTERNAL_H

#include "proxy/config.h"

enum config_kind {
    CONFIG_TEXT,     /* char * */
    CONFIG_NUMBER,   /* unsigned */
    CONFIG_SECONDS,  /* uint32_t, in milliseconds */
    CONFIG_FLAG,     /* bool */
    CONFIG_CHOICE,   /* an enum: the word's index */
    CONFIG_WORDS,    /* a list; uint32_t: a bit for each word's index */
    CONFIG_TEXTS,    /* a list; struct config_texts */
    CONFIG_NETWORKS, /* a list; struct config_networks */
    CONFIG_ADDRESS,  /* char *, and struct address */
};

struct config_row {
    struct config_option option;
    enum config_kind kind;
    size_t offset; /* of the field in struct config, or in the element of a repeatable section
                    */
    size_t address_offset;               /* CONFIG_ADDRESS: of the parsed address */
    unsigned minimum;                    /* smallest number or seconds; first index of `word` */
    unsigned maximum;                    /* largest number or seconds */
    const char *(*word)(unsigned index); /* the words that are allowed; NULL behind the last */
    bool is_secret;                      /* no message shows it */
    const char *(*check)(const void *value); /* a text or struct address: its fault, or NULL */
};

/* Room for the rows, in arrays beside theirs. */
#define CONFIG_ROWS_LIMIT 160

extern const struct config_row config_rows[];
extern const size_t config_row_count;

static inline bool config_row_is(const struct config_row *row, const char *section)
{
    return __builtin_strcmp(row->option.section, section) == 0;
}

static inline bool config_row_is_list(const struct config_row *row)
{
    return row->kind == CONFIG_WORDS || row->kind == CONFIG_TEXTS ||
           row->kind == CONFIG_NETWORKS;
}

/* What the struct of each element of a repeatable section begins with. */
struct config_element {
    char *name;    /* the title */
    unsigned line; /* where the section begins; 0: it is a default, and in no file */
};

/*
 * A section of the file. One that may stand more than once has a title and fills an element of
 * an array.
 */
struct config_section {
    const char *name;
    size_t element_size;  /* bytes; 0: there is one such section, in struct config itself */
    size_t array_offset;  /* in struct config: of the pointer to the elements */
    size_t count_offset;  /* of their number, a size_t */
    const char *untitled; /* the title of one without a title; NULL: it must have one */
};

#define CONFIG_SECTIONS 9
extern const struct config_section config_sections[CONFIG_SECTIONS];

/* NULL: there is none. */
const struct config_section *config_section_find(const char *name, size_t length);

static inline char *config_section_elements(const struct config_section *section,
                                            const struct config *config)
{
    return *(char *const *)(const void *)((const char *)config + section->array_offset);
}

static inline size_t *config_section_count(const struct config_section *section,
                                           struct config *config)
{
    return (size_t *)(void *)((char *)config + section->count_offset);
}

/* NULL if there is none. */
const struct config_row *config_row_find(const char *section, const char *key);

/* Is it a key of a section that may stand more than once? */
bool config_row_is_repeatable(const struct config_row *row);

/* May the list be empty? */
bool config_row_may_be_empty(const struct config_row *row);

/* The listeners when a file has none. */
struct config_default_listen {
    const char *name, *address, *tls;
};
#define CONFIG_DEFAULT_LISTENS 3
extern const struct config_default_listen config_default_listens[CONFIG_DEFAULT_LISTENS];

/* Logs a fault as "FILE:LINE:COLUMN: section "title": key: why", and counts it: see
 * config_where(). Only while a file is read. */
PRINTF_LIKE(5, 6)
void config_fault(const struct config *config, const char *section, const char *title,
                  const char *key, const char *format, ...);

/* Resolves names, gives the hostname its default, and reports what does not fit together. */
void config_check(struct config *config);

/* Longest explanation of a fault, with its NUL. */
#define CONFIG_WHY_SIZE 512

/*
 * Converts one value and stores it in the struct at `base` (of a list: adds it).
 * Returns false, with `why` and the field unchanged, if it is not allowed.
 */
MUST_USE bool config_value_take(const struct config_row *row, void *base, const char *value,
                                char why[static CONFIG_WHY_SIZE]);

/* Empties the list in the row's field. */
void config_value_clear(const struct config_row *row, void *base);

/* Gives the row's field its default, if it has one. */
MUST_USE bool config_value_default(const struct config_row *row, void *base,
                                   char why[static CONFIG_WHY_SIZE]);

/* Frees what the row's field owns. */
void config_value_free(const struct config_row *row, void *base);

/* Reads a whole file, to be freed. NULL, with errno or *why (static), if it cannot be read. */
MUST_USE char *config_text_read(const char *path, size_t *length, const char **why);
/* The same for a file that is open, which it closes. */
MUST_USE char *config_text_take(int fd, size_t *length, const char **why);

#endif
