/* The RuntimeDefault seccomp profile: what an ordinary program calls is allowed, the rest answers EPERM. In the spirit
 * of Docker's and containerd's: kernel modules, mounts, clocks, keyrings, tracing, new namespaces and the like come
 * only with the capability that rules them. Names that an architecture lacks are skipped by the OCI runtime. */
#include <linux/capability.h>
#include <sched.h>

#include "json/build.h"
#include "runtime/oci/oci.h"

#define NO_CAP (-1)
#define NAMESPACES \
        (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

static const struct {
        int capability;
        const char *calls;
} groups[] = {
        /* files */
        { NO_CAP, "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
                  "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown "
                  "fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr "
                  "fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd "
                  "getdents getdents64 getxattr getxattrat ioctl lchown lchown32 lgetxattr link linkat listxattr "
                  "listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod "
                  "mknodat newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read "
                  "readahead readlink readlinkat readv removexattr removexattrat rename renameat renameat2 rmdir "
                  "sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statx symlink "
                  "symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime "
                  "utimensat utimensat_time64 utimes vmsplice write writev" },
        /* memory */
        { NO_CAP, "brk cachestat get_mempolicy madvise map_shadow_stack membarrier memfd_create memfd_secret "
                  "mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap "
                  "pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages" },
        /* processes, threads, users */
        { NO_CAP, "alarm arch_prctl capget capset execve execveat exit exit_group fork getegid getegid32 geteuid "
                  "geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority "
                  "getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 "
                  "get_robust_list get_thread_area getcpu ioprio_get ioprio_set kill landlock_add_rule "
                  "landlock_create_ruleset landlock_restrict_self modify_ldt nanosleep pause pidfd_open "
                  "pidfd_send_signal prctl prlimit64 restart_syscall rseq seccomp set_robust_list set_thread_area "
                  "set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 "
                  "setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 "
                  "setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack tgkill times tkill ugetrlimit "
                  "vfork wait4 waitid waitpid" },
        /* signals, events, waiting */
        { NO_CAP, "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
                  "epoll_wait_old eventfd eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv "
                  "futex_wake inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy "
                  "io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect pipe pipe2 poll "
                  "ppoll ppoll_time64 pselect6 pselect6_time64 rt_sigaction rt_sigpending rt_sigprocmask "
                  "rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
                  "rt_tgsigqueueinfo select signalfd signalfd4 sigprocmask sigreturn timer_create timer_delete "
                  "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create "
                  "timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64" },
        /* network, IPC */
        { NO_CAP, "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr "
                  "mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 "
                  "mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl "
                  "semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl "
                  "shmdt shmget shutdown socketcall socketpair" },
        /* time, scheduling, the system */
        { NO_CAP, "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
                  "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday "
                  "name_to_handle_at process_vm_readv process_vm_writev ptrace sched_get_priority_max "
                  "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
                  "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
                  "sched_setparam sched_setscheduler sched_yield sysinfo time uname uretprobe riscv_flush_icache "
                  "riscv_hwprobe sync_file_range2 arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush "
                  "set_tls get_tls swapcontext s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr" },
        { CAP_DAC_READ_SEARCH, "open_by_handle_at" },
        { CAP_SYS_ADMIN, "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
                         "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname "
                         "sethostname setns umount umount2 unshare listmount statmount" },
        { CAP_SYS_BOOT, "reboot" },
        { CAP_SYS_CHROOT, "chroot" },
        { CAP_SYS_MODULE, "delete_module finit_module init_module" },
        { CAP_SYS_PACCT, "acct" },
        { CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise" },
        { CAP_SYS_RAWIO, "ioperm iopl" },
        { CAP_SYS_TIME, "clock_settime clock_settime64 settimeofday stime" },
        { CAP_SYS_TTY_CONFIG, "vhangup" },
        { CAP_SYS_NICE, "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node" },
        { CAP_SYSLOG, "syslog" },
        { CAP_BPF, "bpf" },
        { CAP_PERFMON, "perf_event_open" },
};

static const char *const architectures[] = {
#if defined(__x86_64__)
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
#elif defined(__aarch64__)
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
#elif defined(__arm__)
        "SCMP_ARCH_ARM",
#elif defined(__riscv)
        "SCMP_ARCH_RISCV64",
#elif defined(__s390x__)
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_S390",
#elif defined(__powerpc64__)
        "SCMP_ARCH_PPC64LE",
#elif defined(__i386__)
        "SCMP_ARCH_X86",
#endif
};

static struct json *rule(struct arena *a, struct json *list, const char *calls, const char *action) {
        struct json names = json_new_array();

        str_each(one, str_of(calls), ' ')
                json_push(a, &names, json_of_str(one));
        return json_push(a, list, json_build(a, "{ names: %j, action: %c }", &names, action));
}

static void argument(struct arena *a, struct json *to, int index, int64_t value, int64_t value_two, const char *op) {
        json_push(a, json_get_or_add_array(a, to, "args"),
                  json_build(a, "{ index: %d, value: %l, valueTwo: %l, op: %c }", index, value, value_two, op));
}

struct json *seccomp_default(struct arena *a, uint64_t capabilities) {
        static const int64_t personalities[] = { 0x0, 0x0008, 0x20000, 0x20008, 0xffffffff };
        struct json arches = json_new_array(), calls = json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
                json_push(a, &arches, json_of_cstr(architectures[i]));
        for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
                if (groups[i].capability == NO_CAP || capabilities >> groups[i].capability & 1)
                        rule(a, &calls, groups[i].calls, "SCMP_ACT_ALLOW");
        for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
                argument(a, rule(a, &calls, "personality", "SCMP_ACT_ALLOW"), 0, personalities[i], 0, "SCMP_CMP_EQ");
        /* AF_VSOCK (40) reaches the hypervisor. */
        argument(a, rule(a, &calls, "socket", "SCMP_ACT_ALLOW"), 0, 40, 0, "SCMP_CMP_NE");
        if (!(capabilities >> CAP_SYS_ADMIN & 1)) {
                /* Threads and processes, but no namespaces. clone3's flags are out of sight: with ENOSYS, libc falls
                 * back to clone. */
                argument(a, rule(a, &calls, "clone", "SCMP_ACT_ALLOW"), 0, NAMESPACES, 0, "SCMP_CMP_MASKED_EQ");
                json_set_int(a, rule(a, &calls, "clone3", "SCMP_ACT_ERRNO"), "errnoRet", 38);
        }
        return json_new(a, json_build(a,
                                      "{ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1, architectures: %j, "
                                      "syscalls: %j }",
                                      &arches, &calls));
}
