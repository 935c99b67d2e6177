/*
 * A stream whose records the kernel opens: it decrypts where it would have copied, into the
 * reader's own buffer. Only for receiving, in TLS 1.3, and only once a client that may send
 * messages has sent so much that the kernel's preparations pay; what is sent is sealed here as
 * before. Used by stream_records.c and stream_finish.c where the postmaster wants it. Whatever
 * the kernel refuses leaves the stream as it was.
 */
#include <endian.h>
#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "tls/kernel.h"
#include "tls/stream_internal.h"

/* A megabyte, by a client that fills its records. */
#define WORTHWHILE_RECORDS 64

/* What is no data has room in this, if it is anything that a client may send. */
#define CONTROL_LIMIT 64

/* The kernel's own name for the layer, for TCP_ULP. */
static const char layer[] = "tls";

/* A socket that is not connected is refused for that, where the kernel has the layer. */
bool tls_kernel_available(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool available =
        setsockopt(fd, IPPROTO_TCP, TCP_ULP, layer, sizeof layer) == 0 || errno == ENOTCONN;
    close(fd);
    return available;
}

/* What the kernel wants to know of a cipher. Its struct for each, in <linux/tls.h>, has these
 * parts one behind the other: header, nonce but for its salt, key, salt, the next record's
 * number. */
static const struct {
    uint16_t type;
    size_t salt_size, key_size, size;
} ciphers[TLS_SUITES] = {
    [TLS_SUITE_AES_128] = {TLS_CIPHER_AES_GCM_128, 4, 16,
                           sizeof(struct tls12_crypto_info_aes_gcm_128)},
    [TLS_SUITE_AES_256] = {TLS_CIPHER_AES_GCM_256, 4, 32,
                           sizeof(struct tls12_crypto_info_aes_gcm_256)},
    [TLS_SUITE_CHACHA20] = {TLS_CIPHER_CHACHA20_POLY1305, 0, 32,
                            sizeof(struct tls12_crypto_info_chacha20_poly1305)},
};

#define CRYPTO_LIMIT sizeof(struct tls12_crypto_info_chacha20_poly1305)
_Static_assert(CRYPTO_LIMIT >= sizeof(struct tls12_crypto_info_aes_gcm_256), "the largest");

static size_t append(uint8_t *out, size_t at, const void *bytes, size_t length)
{
    memcpy(out + at, bytes, length);
    return at + length;
}

static void describe(const struct tls_records *records, uint8_t out[static CRYPTO_LIMIT])
{
    const struct tls_direction *in = &records->in;
    size_t salt = ciphers[records->suite].salt_size;
    struct tls_crypto_info header = {TLS_1_3_VERSION, ciphers[records->suite].type};
    uint64_t number = htobe64(in->sequence);
    size_t at = append(out, 0, &header, sizeof header);
    at = append(out, at, in->iv + salt, TLS_IV_SIZE - salt);
    at = append(out, at, in->key, ciphers[records->suite].key_size);
    at = append(out, at, in->iv, salt);
    (void)append(out, at, &number, sizeof number);
}

static bool give_key(const struct stream *stream)
{
    uint8_t crypto[CRYPTO_LIMIT];
    socklen_t size = (socklen_t)ciphers[stream->records->suite].size;
    describe(stream->records, crypto);
    bool given = setsockopt(stream->fd, SOL_TLS, TLS_RX, crypto, size) == 0;
    int error = errno;
    explicit_bzero(crypto, sizeof crypto);
    errno = error;
    return given;
}

/* Told once: what holds for one session mostly holds for all. */
static void tell_refusal(struct stream_loop *loop, const char *cause)
{
    if (!loop->kernel_refusal_told)
        log_warning("the kernel does not decrypt for a session, Postern goes on with it: %s",
                    cause);
    loop->kernel_refusal_told = true;
}

/* No client pads its records in earnest; one that does costs the kernel a second try. */
static bool hand_over(const struct stream *stream)
{
    static const int no_padding = 1;
    if (setsockopt(stream->fd, IPPROTO_TCP, TCP_ULP, layer, sizeof layer) < 0 ||
        !give_key(stream))
        return false;
    (void)setsockopt(stream->fd, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &no_padding, sizeof no_padding);
    return true;
}

/* Takes it out of the loop; true: it was in there. */
static bool watch_changes(struct event *event)
{
    bool pending = event_pending(event, EV_READ | EV_WRITE, NULL);
    event_del(event);
    event_assign(event, event_get_base(event), event_get_fd(event),
                 (short)(event_get_events(event) | EV_ET), event_get_callback(event),
                 event_get_callback_arg(event));
    return pending;
}

/*
 * From now on the loop hears of what changes on the socket, not of what is there: before Linux
 * 6.6 half a record is there, too, and nobody can read it. So the reader goes on until nothing
 * is left, or is offered what it has left. A descriptor has all its events of one kind.
 */
static void watch_socket(struct stream *stream)
{
    bool reads = watch_changes(&stream->readable), writes = watch_changes(&stream->writable);
    if (reads)
        event_add(&stream->readable, NULL);
    if (writes)
        event_add(&stream->writable, NULL);
}

/* A client that has ended its sending already is no fault of the kernel's. */
bool stream_kernel_begin(struct stream *stream)
{
    if (!stream->loop->kernel || !stream->bulk || stream->kernel_refused ||
        stream->records->in.sequence < WORTHWHILE_RECORDS)
        return false;
    stream->kernel = hand_over(stream);
    stream->kernel_refused = !stream->kernel;
    if (stream->kernel)
        watch_socket(stream);
    else if (errno != ENOTCONN)
        tell_refusal(stream->loop, strerrordesc_np(errno));
    return stream->kernel;
}

/* The alert that an error of the kernel's stands for; 0: it is the connection's. */
static uint8_t alert_of(int error)
{
    switch (error) {
    case EBADMSG:
        return TLS_ALERT_BAD_RECORD_MAC;
    case EMSGSIZE:
        return TLS_ALERT_RECORD_OVERFLOW;
    case EINVAL:
        return TLS_ALERT_DECODE_ERROR;
    default:
        return 0;
    }
}

/* The kernel keeps its error for the socket's next call, which is to carry the alert. */
static void forget_error(int fd)
{
    int error;
    socklen_t size = sizeof error;
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

static uint8_t content_type(struct msghdr *message)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    return control && control->cmsg_level == SOL_TLS &&
                   control->cmsg_type == TLS_GET_RECORD_TYPE
               ? *CMSG_DATA(control)
               : TLS_CONTENT_DATA;
}

ssize_t stream_kernel_receive(struct stream *stream, char *buffer, size_t size, uint8_t *type,
                              uint8_t *alert)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof *type)];
    } control;
    struct iovec vector = {buffer, size};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    *alert = 0;
    if (stream->socket_empty)
        return -1;
    ssize_t got = recvmsg(stream->fd, &message, 0);
    *type = got > 0 ? content_type(&message) : TLS_CONTENT_DATA;
    if (got < 0 && (*alert = alert_of(errno)) != 0) {
        forget_error(stream->fd);
        return -2;
    }
    /* If it was less than there is room for, perhaps what follows is of another type. */
    return stream_received(stream, got, 0);
}

/* A new key of the client's is the kernel's to use, from 6.14 on. */
static bool change_key(struct stream *stream)
{
    if (give_key(stream))
        return true;
    stream_fail(stream, "the kernel cannot change a client's TLS key");
    return false;
}

/* What a record is that the kernel has opened; STREAM_OK with *length 0: nothing to read. */
static enum stream_status take_record(struct stream *stream, uint8_t type, const char *content,
                                      size_t *length)
{
    uint8_t alert = 0;
    enum tls_record_status status = TLS_RECORD_DATA;
    if (type != TLS_CONTENT_DATA)
        status = tls_record_take(stream->records, stream->loop->engine, type,
                                 (const uint8_t *)content, length, &alert);
    if (stream_records_carry_nothing(stream, status, *length))
        return stream_records_fail(stream, TLS_ALERT_UNEXPECTED_MESSAGE);
    switch (status) {
    case TLS_RECORD_DATA:
        return STREAM_OK;
    case TLS_RECORD_KEY_UPDATE:
        if (*length == 1)
            stream_records_change_key(stream);
        *length = 0;
        return change_key(stream) ? STREAM_OK : STREAM_BROKEN;
    case TLS_RECORD_CLOSE:
        return stream_end_input(stream);
    case TLS_RECORD_PARTIAL:
    case TLS_RECORD_BROKEN:
        break;
    }
    return stream_records_fail(stream, alert);
}

/* Of one type, as many as there are and as have room. */
static enum stream_status read_records(struct stream *stream, char *buffer, size_t size,
                                       size_t *got)
{
    uint8_t type, alert;
    ssize_t length = stream_kernel_receive(stream, buffer, size, &type, &alert);
    if (alert != 0)
        return stream_records_fail(stream, alert);
    if (length == 0)
        return stream_end_input(stream);
    if (length < 0)
        return length == -1 ? STREAM_AGAIN : STREAM_BROKEN;
    *got = (size_t)length;
    return take_record(stream, type, buffer, got);
}

enum stream_status stream_kernel_read(struct stream *stream, char *buffer, size_t size,
                                      size_t *got)
{
    enum stream_status status = STREAM_OK;
    *got = 0;
    while (status == STREAM_OK && (*got == 0 || size - *got >= CONTROL_LIMIT)) {
        size_t length = 0;
        status = read_records(stream, buffer + *got, size - *got, &length);
        *got += status == STREAM_OK ? length : 0;
    }
    stream_input_left(stream, *got > 0 && status != STREAM_AGAIN);
    return *got > 0 ? STREAM_OK : status;
}
