/* Read by the master at start and at each reload; any file with enough chance in it will do. */
#include "tls/ticket_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/log.h"

#define FILE_LIMIT 4096

static bool is_private(int fd, const char *path)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        !(status.st_mode & (S_IROTH | S_IWOTH)))
        return true;
    log_error("%s: the ticket secret is no regular file, or others can read it: chmod o-rw it",
              path);
    return false;
}

static bool digest(int fd, const char *path, uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    uint8_t bytes[FILE_LIMIT];
    unsigned length = 0;
    ssize_t got = read(fd, bytes, sizeof bytes);
    bool good = got >= TLS_TICKET_SECRET_FILE_MINIMUM && got < FILE_LIMIT;
    if (!good)
        log_error("%s: a ticket secret has from %d to %d bytes", path,
                  TLS_TICKET_SECRET_FILE_MINIMUM, FILE_LIMIT - 1);
    good = good && EVP_Digest(bytes, (size_t)got, out, &length, EVP_sha256(), NULL) == 1;
    explicit_bzero(bytes, sizeof bytes);
    return good;
}

bool tls_ticket_secret_read(const char *path, uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    _Static_assert(TLS_TICKET_SECRET_SIZE == 32, "SHA-256 makes it");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        log_error("%s: cannot read the ticket secret: %s", path, strerrordesc_np(errno));
        return false;
    }
    bool good = is_private(fd, path) && digest(fd, path, out);
    close(fd);
    return good;
}
