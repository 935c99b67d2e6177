/* capget(2), capset(2) and the bounding set; the C library has no wrappers for the first two.
 */
#include "proxy/capabilities.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t capabilities_permitted(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static bool set_capabilities(uint64_t permitted, uint64_t effective)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.permitted = (uint32_t)permitted, .effective = (uint32_t)effective},
        {.permitted = (uint32_t)(permitted >> 32), .effective = (uint32_t)(effective >> 32)},
    };
    return syscall(SYS_capset, &header, data) == 0;
}

bool capabilities_keep(uint64_t set)
{
    return set_capabilities(set, set);
}

bool capabilities_suspend(uint64_t set)
{
    uint64_t permitted = capabilities_permitted();
    return set_capabilities(permitted, permitted & ~set);
}

/* The kernel may know more of them than the header does: it says EINVAL behind its last. */
bool capabilities_bound(uint64_t set)
{
    for (unsigned long number = 0; number < 64; number++) {
        if (set & CAPABILITY(number))
            continue;
        if (prctl(PR_CAPBSET_DROP, number, 0L, 0L, 0L) < 0)
            return errno == EINVAL;
    }
    return true;
}

const char *capabilities_name(uint64_t set)
{
    static const struct {
        unsigned number;
        const char *name;
    } names[] = {
        {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
        {CAP_SETUID, "CAP_SETUID"},       {CAP_SETGID, "CAP_SETGID"},
        {CAP_KILL, "CAP_KILL"},           {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (set & CAPABILITY(names[i].number))
            return names[i].name;
    return "none";
}
