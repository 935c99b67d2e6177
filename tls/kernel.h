/* Does the kernel decrypt TLS (Linux's "tls" upper layer protocol)? */
#ifndef POSTERN_TLS_KERNEL_H
#define POSTERN_TLS_KERNEL_H

#include <stdbool.h>

/* Asks the kernel, which loads the module if the caller may have that done. */
bool tls_kernel_available(void);

#endif
