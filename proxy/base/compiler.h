/* Annotations that tell the compiler what a declaration promises. */
#ifndef POSTERN_BASE_COMPILER_H
#define POSTERN_BASE_COMPILER_H

/* The return value says whether it worked: the caller must look at it. */
#define MUST_USE __attribute__((warn_unused_result))

/* Argument f is a printf format for the arguments from a on. */
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* The value of a macro as a string literal. */
#define TEXT_OF(macro)         TEXT_OF_NUMBER(macro)
#define TEXT_OF_NUMBER(number) #number

/* 1: a sanitizer watches each piece of memory, and none is to be kept back from it. */
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_IS_WATCHED 1
#endif
#endif
#ifndef MEMORY_IS_WATCHED
#define MEMORY_IS_WATCHED 0
#endif

#endif
