/* What this machine is: processors, memory, disks, names, addresses. Read once at the start. */
#include "kubelet/internal.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "base/file.h"

/* The first line of a small file, without what is around it. */
static bool read_line(const char *path, char *dst, size_t size) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str line, rest;

        if (file_read(path, 64 * 1024, &b, NULL) < 0)
                return false;
        rest = buf_str(&b);
        if (!str_split(&rest, '\n', &line))
                return false;
        line = str_trim(line);
        snprintf(dst, size, "%" STR_FMT, STR_ARG(line));
        return line.n > 0;
}

static int64_t meminfo(const char *key) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t n = strlen(key);

        if (file_read("/proc/meminfo", 64 * 1024, &b, NULL) < 0)
                return 0;
        str_each(line, buf_str(&b), '\n')
                if (line.n > n && memcmp(line.p, key, n) == 0 && line.p[n] == ':')
                        return strtoll(line.p + n + 1, NULL, 10) * 1024;
        return 0;
}

static void read_os(struct machine *m) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct utsname u;

        snprintf(m->os_image, sizeof(m->os_image), "Linux");
        if (file_read("/etc/os-release", 64 * 1024, &b, NULL) >= 0) {
                str_each(line, buf_str(&b), '\n')
                        if (str_has_prefix(line, STR("PRETTY_NAME="))) {
                                line = str_sub(line, 12, line.n);
                                if (line.n >= 2 && (line.p[0] == '"' || line.p[0] == '\''))
                                        line = str_sub(line, 1, line.n - 1);
                                snprintf(m->os_image, sizeof(m->os_image), "%" STR_FMT, STR_ARG(line));
                        }
        }
        uname(&u);
        snprintf(m->kernel, sizeof(m->kernel), "%s", u.release);
        m->arch = strcmp(u.machine, "x86_64") == 0    ? "amd64"
                  : strcmp(u.machine, "aarch64") == 0 ? "arm64"
                  : strncmp(u.machine, "arm", 3) == 0 ? "arm"
                  : strcmp(u.machine, "ppc64le") == 0 ? "ppc64le"
                  : strcmp(u.machine, "s390x") == 0   ? "s390x"
                  : strcmp(u.machine, "riscv64") == 0 ? "riscv64"
                                                      : "amd64";
}

static void read_hugepages(struct machine *m) {
        _cleanup_(closedirp) DIR *d = opendir("/sys/kernel/mm/hugepages");
        struct dirent *e;

        while (d && (e = readdir(d)) && m->n_hugepages < ARRAY_SIZE(m->hugepages)) {
                char path[512], count[32];
                long long kb;

                if (sscanf(e->d_name, "hugepages-%lldkB", &kb) != 1)
                        continue;
                snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/%s/nr_hugepages", e->d_name);
                if (!read_line(path, count, sizeof(count)))
                        continue;
                snprintf(m->hugepages[m->n_hugepages].size, sizeof(m->hugepages[0].size),
                         kb >= 1 << 20 ? "%lldGi" : "%lldMi", kb >= 1 << 20 ? kb >> 20 : kb >> 10);
                m->hugepages[m->n_hugepages++].bytes = strtoll(count, NULL, 10) * kb * 1024;
        }
}

/* The address from which this machine would reach the world; else the first that is not loopback. */
static void find_address(struct machine *m) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x01010101) },
                           from;
        socklen_t n = sizeof(from);
        struct ifaddrs *all = NULL;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && connect(fd, (struct sockaddr *) &to, sizeof(to)) == 0 &&
            getsockname(fd, (struct sockaddr *) &from, &n) == 0)
                inet_ntop(AF_INET, &from.sin_addr, m->ips[0], sizeof(m->ips[0]));
        if (fd >= 0)
                close(fd);
        if (m->ips[0][0] || getifaddrs(&all) < 0)
                return;
        for (struct ifaddrs *i = all; i && !m->ips[0][0]; i = i->ifa_next)
                if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) &&
                    (i->ifa_flags & IFF_UP))
                        inet_ntop(AF_INET, &((struct sockaddr_in *) i->ifa_addr)->sin_addr, m->ips[0],
                                  sizeof(m->ips[0]));
        freeifaddrs(all);
        if (!m->ips[0][0])
                snprintf(m->ips[0], sizeof(m->ips[0]), "127.0.0.1");
}

void machine_probe(struct kubelet *k, struct machine *m) {
        struct statvfs v;
        char text[64];
        cpu_set_t set;

        m->cpus = sysconf(_SC_NPROCESSORS_ONLN);
        if (m->cpus <= 0 && sched_getaffinity(0, sizeof(set), &set) == 0)
                m->cpus = CPU_COUNT(&set);
        m->memory_bytes = meminfo("MemTotal");
        if (statvfs(k->o.root_dir, &v) == 0) {
                m->storage_bytes = (int64_t) v.f_blocks * (int64_t) v.f_frsize;
                m->storage_inodes = (int64_t) v.f_files;
        }
        m->pid_max = read_line("/proc/sys/kernel/pid_max", text, sizeof(text)) ? strtoll(text, NULL, 10) : 32768;
        if (!read_line("/etc/machine-id", m->machine_id, sizeof(m->machine_id)))
                read_line("/var/lib/dbus/machine-id", m->machine_id, sizeof(m->machine_id));
        if (!read_line("/sys/class/dmi/id/product_uuid", m->system_uuid, sizeof(m->system_uuid)) &&
            !read_line("/proc/device-tree/serial-number", m->system_uuid, sizeof(m->system_uuid)))
                snprintf(m->system_uuid, sizeof(m->system_uuid), "%s", m->machine_id);
        read_line("/proc/sys/kernel/random/boot_id", m->boot_id, sizeof(m->boot_id));
        gethostname(m->hostname, sizeof(m->hostname) - 1);
        read_os(m);
        read_hugepages(m);
        find_address(m);
}

int64_t machine_memory_available(int64_t total) {
        int64_t available = meminfo("MemAvailable");

        return MIN(available, total);
}
