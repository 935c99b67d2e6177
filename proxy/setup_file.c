/* A file gets another name until it is whole; a link takes its place, which fails where there
 * is one already. Called by the other files of setup. */
#include "proxy/setup_file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config_internal.h"

static bool refuse(const char *path, int error)
{
    if (error == EEXIST)
        fprintf(stderr, "postern setup: %s exists already: --force replaces it\n", path);
    else
        fprintf(stderr, "postern setup: %s: %s\n", path, strerrordesc_np(error));
    return false;
}

bool setup_file_beside(const char *path, const char *name, char out[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int directory = slash ? (int)(slash - path) + 1 : 0;
    return snprintf(out, PATH_MAX, "%.*s%s", directory, path, name) < PATH_MAX;
}

bool setup_file_allowed(const char *path, bool force)
{
    struct stat status;
    return force || lstat(path, &status) < 0 || refuse(path, EEXIST);
}

bool setup_file_is_sample(const char *path)
{
    static const char sample[] = POSTERN_SAMPLE_SHA256;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    size_t length = 0;
    unsigned size = 0;
    const char *why;
    char *content = config_text_read(path, &length, &why);
    if (content && EVP_Digest(content, length, digest, &size, EVP_sha256(), NULL) == 1)
        for (unsigned i = 0; i < size; i++)
            snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
    free(content);
    return strcmp(text, sample) == 0;
}

/* The directory that the file is in may be missing, but not the one above it. */
static bool make_directory(const char *path)
{
    char directory[PATH_MAX];
    if (!setup_file_beside(path, "", directory) || !*directory)
        return true;
    return mkdir(directory, 0755) == 0 || errno == EEXIST || refuse(directory, errno);
}

bool setup_file_make_parents(const char *path, unsigned levels)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (levels == 0 || !slash || slash == path)
        return true;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    return setup_file_make_parents(directory, levels - 1) && make_directory(path);
}

bool setup_file_begin(struct setup_file *file, const char *path, mode_t mode, bool force)
{
    file->force = force;
    if (snprintf(file->path, sizeof file->path, "%s", path) >= (int)sizeof file->path)
        return refuse(path, ENAMETOOLONG);
    snprintf(file->scratch, sizeof file->scratch, "%s.XXXXXX", file->path);
    if (!make_directory(path))
        return false;
    int fd = mkstemp(file->scratch); /* mode 0600 */
    if (fd < 0)
        return refuse(path, errno);
    file->stream = fchmod(fd, mode) == 0 ? fdopen(fd, "w") : NULL;
    if (file->stream)
        return true;
    int error = errno;
    close(fd);
    unlink(file->scratch);
    return refuse(path, error);
}

bool setup_file_finish(struct setup_file *file, bool good)
{
    int error = 0;
    if (good && (fflush(file->stream) != 0 || fsync(fileno(file->stream)) != 0))
        error = errno;
    if (fclose(file->stream) != 0 && error == 0)
        error = errno;
    if (good && error == 0 && file->force && rename(file->scratch, file->path) < 0)
        error = errno;
    if (good && error == 0 && !file->force && link(file->scratch, file->path) < 0)
        error = errno;
    unlink(file->scratch);
    return error ? refuse(file->path, error) : good;
}
