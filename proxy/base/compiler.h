/* Annotations that tell the compiler what a declaration promises. */
#ifndef POSTERN_BASE_COMPILER_H
#define POSTERN_BASE_COMPILER_H

/* The return value says whether it worked: the caller must look at it. */
#define MUST_USE __attribute__((warn_unused_result))

/* Argument f is a printf format for the arguments from a on. */
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#endif
