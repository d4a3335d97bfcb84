/* The smallest program that Cube needs outside itself: a few KB without a C library, kept inside the cube binary and
 * written to root_dir/helper at start. It runs between us and others' programs where posix_spawn(3) cannot express
 * what is to be done, so that nothing of ours has to fork.
 *
 *   helper run [u] [g FILE]... -- PROGRAM ARG...   g: writes 0 to FILE (a cgroup.procs): starts in that cgroup
 *                                                u: with hybrid cgroups, hides the v2 tree in its own mount namespace:
 *                                                   crun refuses to run while it sees both
 *   helper pause                                 makes a PID namespace, prints the pid (ours) of its init, which
 *                                                reaps the pod's orphans and does nothing else */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d, long e) {
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        long ret;

        __asm__ volatile("syscall"
                         : "=a"(ret)
                         : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                         : "rcx", "r11", "memory");
        return ret;
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c, long d, long e) {
        register long x8 __asm__("x8") = n;
        register long x0 __asm__("x0") = a;
        register long x1 __asm__("x1") = b;
        register long x2 __asm__("x2") = c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;

        __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
        return x0;
}
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl start\n");
#elif defined(__arm__)
static long call(long n, long a, long b, long c, long d, long e) {
        register long r7 __asm__("r7") = n;
        register long r0 __asm__("r0") = a;
        register long r1 __asm__("r1") = b;
        register long r2 __asm__("r2") = c;
        register long r3 __asm__("r3") = d;
        register long r4 __asm__("r4") = e;

        __asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4) : "memory");
        return r0;
}
__asm__(".globl _start\n_start:\n\tmov fp, #0\n\tmov r0, sp\n\tbic sp, sp, #7\n\tbl start\n");
#elif defined(__riscv) && __riscv_xlen == 64
static long call(long n, long a, long b, long c, long d, long e) {
        register long a7 __asm__("a7") = n;
        register long a0 __asm__("a0") = a;
        register long a1 __asm__("a1") = b;
        register long a2 __asm__("a2") = c;
        register long a3 __asm__("a3") = d;
        register long a4 __asm__("a4") = e;

        __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4) : "memory");
        return a0;
}
__asm__(".globl _start\n_start:\n\tmv a0, sp\n\tandi sp, sp, -16\n\tcall start\n");
#else
#error "src/runtime/oci/helper.c: say here how this architecture calls its kernel"
#endif

#define CALL(n, a, b, c, d, e) call((n), (long) (a), (long) (b), (long) (c), (long) (d), (long) (e))

void start(long *stack) __attribute__((noreturn, used));

static _Noreturn void quit(int code) {
        for (;;)
                CALL(SYS_exit_group, code, 0, 0, 0, 0);
}

static _Noreturn void fail(const char *what) {
        size_t n = 0;

        while (what[n])
                n++;
        CALL(SYS_write, 2, what, n, 0, 0);
        quit(125);
}

static void join_cgroup(const char *procs) {
        long fd = CALL(SYS_openat, AT_FDCWD, procs, O_WRONLY | O_CLOEXEC, 0, 0);

        if (fd < 0 || CALL(SYS_write, fd, "0", 1, 0, 0) != 1)
                fail("helper: cannot join the cgroup\n");
        CALL(SYS_close, fd, 0, 0, 0, 0);
}

/* Only this tree becomes private: other mounts keep their propagation, volumes may depend on it. */
static void hide_unified(void) {
        if (CALL(SYS_unshare, CLONE_NEWNS, 0, 0, 0, 0) < 0 ||
            CALL(SYS_mount, 0, "/sys/fs/cgroup", 0, MS_REC | MS_PRIVATE, 0) < 0 ||
            CALL(SYS_umount2, "/sys/fs/cgroup/unified", MNT_DETACH, 0, 0, 0) < 0)
                fail("helper: cannot hide /sys/fs/cgroup/unified\n");
}

static _Noreturn void run(char **args, char **env) {
        for (; *args; args++) {
                if (**args == 'u')
                        hide_unified();
                else if (**args == 'g' && args[1])
                        join_cgroup(*++args);
                else
                        break;
        }
        if (!*args || !args[1])
                fail("helper: run what?\n");
        CALL(SYS_execve, args[1], args + 1, env, 0, 0);
        fail("helper: cannot run the program\n");
}

/* SIG_IGN for SIGCHLD: the kernel reaps. The layout is the kernel's struct sigaction, whose first word is the handler.
 */
static _Noreturn void idle(void) {
        long ignore[4] = { (long) SIG_IGN, 0, 0, 0 };

        CALL(SYS_rt_sigaction, SIGCHLD, ignore, 0, 8, 0);
        CALL(SYS_close, 0, 0, 0, 0, 0);
        CALL(SYS_close, 1, 0, 0, 0, 0);
        CALL(SYS_close, 2, 0, 0, 0, 0);
        for (;;)
                CALL(SYS_ppoll, 0, 0, 0, 0, 0);
}

static _Noreturn void pause_init(void) {
        char digits[12];
        size_t at = sizeof(digits);

        if (CALL(SYS_unshare, CLONE_NEWPID, 0, 0, 0, 0) < 0)
                fail("helper: cannot make a PID namespace\n");
        long pid = CALL(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
                idle();
        if (pid < 0)
                fail("helper: cannot fork\n");
        digits[--at] = '\n';
        for (unsigned long left = (unsigned long) pid; left; left /= 10)
                digits[--at] = (char) ('0' + left % 10);
        CALL(SYS_write, 1, digits + at, sizeof(digits) - at, 0, 0);
        quit(0);
}

void start(long *stack) {
        long argc = stack[0];
        char **argv = (char **) (stack + 1), **env = argv + argc + 1;

        if (argc >= 2 && argv[1][0] == 'p')
                pause_init();
        if (argc >= 3 && argv[1][0] == 'r')
                run(argv + 2, env);
        fail("usage: helper pause | run [u] [g FILE]... -- PROGRAM ARG...\n");
}
