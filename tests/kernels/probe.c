/* What a guest tries, one operation a word: `probe read:ro/f connect:7001` prints "read:ro/f ok" or an errno's name
   for each. `probe as UID COMMAND...` and `probe serve` are for the outside of the sandbox. Static, for any kernel:
   system calls that headers may not know are called by number. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif
#ifndef RNDGETENTCNT
#define RNDGETENTCNT 0x80045200
#endif
/* The same numbers on both machines. */
enum { IO_URING_SETUP = 425, OPEN_TREE = 428, MOVE_MOUNT = 429, FSOPEN = 430, CLONE3 = 435, LANDLOCK_CREATE_RULESET = 444 };

static const char *name(int error)
{
    static const struct { int error; const char *name; } known[] = {
        {EPERM, "EPERM"}, {ENOENT, "ENOENT"}, {EACCES, "EACCES"}, {ENOSYS, "ENOSYS"}, {EINVAL, "EINVAL"},
        {EXDEV, "EXDEV"}, {EROFS, "EROFS"}, {EBUSY, "EBUSY"}, {ENOTTY, "ENOTTY"}, {EIO, "EIO"}, {EBADF, "EBADF"},
        {ECONNREFUSED, "ECONNREFUSED"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {EAFNOSUPPORT, "EAFNOSUPPORT"},
        {EPROTONOSUPPORT, "EPROTONOSUPPORT"}, {ESRCH, "ESRCH"}, {EFAULT, "EFAULT"}, {EEXIST, "EEXIST"},
        {EADDRINUSE, "EADDRINUSE"}, {ENOSPC, "ENOSPC"}, {ENOTEMPTY, "ENOTEMPTY"}, {EISDIR, "EISDIR"},
        {EUSERS, "EUSERS"}, {ENODEV, "ENODEV"}, {ENOPROTOOPT, "ENOPROTOOPT"},
    };
    static char other[16];
    for (size_t at = 0; at < sizeof known / sizeof *known; at++)
        if (known[at].error == error)
            return known[at].name;
    snprintf(other, sizeof other, "E%d", error);
    return other;
}

/* 0, or an errno. */
static int result(long value) { return value < 0 ? errno : 0; }

static int open_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);
    int error = result(fd);
    char byte;
    if (fd >= 0 && (flags & O_ACCMODE) == O_RDONLY && read(fd, &byte, 1) < 0 && errno != EISDIR)
        error = errno;
    if (fd >= 0)
        close(fd);
    return error;
}

static int inet(int family, int port, int (*act)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return errno;
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int error = family == AF_INET ? result(act(fd, (void *)&four, sizeof four)) : result(act(fd, (void *)&six, sizeof six));
    close(fd);
    return error;
}

static int unix_socket(const char *path, int abstract, int (*act)(int, const struct sockaddr *, socklen_t), int *kept)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path + abstract, path, sizeof address.sun_path - 2);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) + !abstract;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return errno;
    int error = result(act(fd, (void *)&address, length));
    if (kept)
        *kept = fd;
    else
        close(fd);
    return error;
}

static int new_socket(int family, int type, int protocol)
{
    int fd = socket(family, type, protocol);
    int error = result(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

static int fast_open(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return errno;
    int error = result(sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&to, sizeof to));
    close(fd);
    return error;
}

/* In a child, since it cannot be undone. */
static int in_child(int (*act)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(act());
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int unshare_user(void) { return result(unshare(CLONE_NEWUSER)); }
static int unshare_mount(void) { return result(unshare(CLONE_NEWNS)); }
static int clone_user(void)
{
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return result(child);
}
/* What agor-sandbox itself needs as a plain user: a user and a mount namespace, and to be something in it. */
static int user_mounts(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return errno;
    return result(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static int try(const char *verb, const char *arg)
{
    const char *colon = strchr(arg, ':');
    char first[256] = "";
    if (colon)
        snprintf(first, sizeof first, "%.*s", (int)(colon - arg), arg);
    const char *second = colon ? colon + 1 : "";
    struct termios terminal;
#define IS(word) (strcmp(verb, word) == 0)
    if (IS("read")) return open_close(arg, O_RDONLY);
    if (IS("write")) return open_close(arg, O_WRONLY);
    if (IS("create")) return open_close(arg, O_WRONLY | O_CREAT);
    if (IS("empty")) return open_close(arg, O_RDONLY | O_TRUNC);
    if (IS("truncate")) return result(truncate(arg, 0));
    if (IS("mkdir")) return result(mkdir(arg, 0755));
    if (IS("unlink")) return result(unlink(arg));
    if (IS("mknod")) return result(mknod(arg, S_IFCHR | 0666, 0x103));
    if (IS("rename")) return result(rename(first, second));
    if (IS("link")) return result(link(first, second));
    if (IS("connect")) return inet(AF_INET, atoi(arg), connect);
    if (IS("connect6")) return inet(AF_INET6, atoi(arg), connect);
    if (IS("bind")) return inet(AF_INET, atoi(arg), bind);
    if (IS("bind6")) return inet(AF_INET6, atoi(arg), bind);
    if (IS("fastopen")) return fast_open(atoi(arg));
    if (IS("unix")) return unix_socket(arg, 0, connect, NULL);
    if (IS("abstract")) return unix_socket(arg, 1, connect, NULL);
    if (IS("udp")) return new_socket(AF_INET, SOCK_DGRAM, 0);
    if (IS("mptcp")) return new_socket(AF_INET, SOCK_STREAM, 262);
    if (IS("netlink")) return new_socket(AF_NETLINK, SOCK_RAW, 0);
    if (IS("listen")) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int error = fd < 0 ? errno : result(listen(fd, 1));
        if (fd >= 0)
            close(fd);
        return error;
    }
    if (IS("signal")) return result(kill(atoi(arg), 0));
    if (IS("ioctl")) {
        /* Asks a device for something: RNDGETENTCNT of a copy of /dev/random. */
        int fd = open(arg, O_RDONLY | O_CLOEXEC), bits;
        int error = fd < 0 ? errno : result(ioctl(fd, RNDGETENTCNT, &bits));
        if (fd >= 0)
            close(fd);
        return error;
    }
    if (IS("tiocsti")) return result(ioctl(0, TIOCSTI, "x"));
    if (IS("tioclinux")) return result(ioctl(0, TIOCLINUX, "\x02"));
    /* The same with bits above the 32 that the kernel looks at. */
    if (IS("tiocsti64")) return result(syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x"));
    if (IS("terminal")) return result(ioctl(0, TCGETS, &terminal));
    if (IS("io_uring")) return result(syscall(IO_URING_SETUP, 1, NULL));
    if (IS("keyctl")) return result(syscall(SYS_keyctl, 0, -3, 1));
    if (IS("add_key")) return result(syscall(SYS_add_key, "user", "k", "v", 1, -3));
    if (IS("bpf")) return result(syscall(SYS_bpf, 0, NULL, 0));
    if (IS("perf")) return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    if (IS("mount")) return result(mount("none", arg, "tmpfs", 0, NULL));
    if (IS("umount")) return result(umount2(arg, MNT_DETACH));
    if (IS("fsopen")) return result(syscall(FSOPEN, "tmpfs", 0));
    if (IS("open_tree")) return result(syscall(OPEN_TREE, AT_FDCWD, "/", 1));
    if (IS("move_mount")) return result(syscall(MOVE_MOUNT, -1, "", AT_FDCWD, "/", 4));
    if (IS("pivot_root")) return result(syscall(SYS_pivot_root, ".", "."));
    if (IS("setns")) return result(setns(-1, 0));
    if (IS("unshare_user")) return in_child(unshare_user);
    if (IS("unshare_mount")) return in_child(unshare_mount);
    if (IS("clone_user")) return in_child(clone_user);
    if (IS("clone3")) return result(syscall(CLONE3, NULL, 0));
    if (IS("user_mounts")) return in_child(user_mounts);
    if (IS("ptrace")) return result(ptrace(PTRACE_ATTACH, atoi(arg), 0, 0));
    if (IS("chown")) return result(chown(arg, 12, 12));
#ifdef __x86_64__
    /* getpid of x32: no number of this machine's own. */
    if (IS("x32")) return result(syscall(0x40000000 | SYS_getpid));
#endif
    return ENOPROTOOPT;
}

static int as(char **words)
{
    uid_t user = atoi(words[0]);
    if (user != 0 && (setgroups(0, NULL) || setgid(user) || setuid(user))) {
        perror("probe: change the user");
        return 125;
    }
    execvp(words[1], words + 1);
    perror("probe: exec");
    return 127;
}

/* Somebody outside of the sandbox: TCP 7001 and 7002, one abstract and three pathname sockets. Prints its pid. */
static int serve(void)
{
    int fd;
    for (int port = 7001; port <= 7002; port++) {
        struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT};
        fd = socket(AF_INET6, SOCK_STREAM, 0);
        if (bind(fd, (void *)&any, sizeof any) || listen(fd, 1000))
            return 1;
    }
    if (unix_socket("agor-kernels", 1, bind, &fd) || listen(fd, 1000))
        return 1;
    umask(0);
    static const char *const paths[] = {"/run/other.sock", "/run/all.sock", "/tmp/other.sock"};
    for (size_t at = 0; at < sizeof paths / sizeof *paths; at++)
        if (unix_socket(paths[at], 0, bind, &fd) || listen(fd, 1000))
            return 1;
    pid_t child = fork();
    if (child == 0) {
        setsid();
        close(0), close(1), close(2);
        for (;;)
            pause();
    }
    printf("%d\n", child);
    return 0;
}

int main(int count, char **words)
{
    if (count > 3 && strcmp(words[1], "as") == 0)
        return as(words + 2);
    if (count == 2 && strcmp(words[1], "serve") == 0)
        return serve();
    if (count == 2 && strcmp(words[1], "abi") == 0) {
        long abi = syscall(LANDLOCK_CREATE_RULESET, NULL, 0, 1);
        if (abi < 0)
            puts(name(errno));
        else
            printf("%ld\n", abi);
        return 0;
    }
    if (count == 2 && strcmp(words[1], "fds") == 0) {
        for (int fd = 3; fd < 1024; fd++)
            if (fcntl(fd, F_GETFD) >= 0)
                printf("fd %d\n", fd);
        return 0;
    }
    for (int at = 1; at < count; at++) {
        char verb[32] = "";
        const char *arg = strchr(words[at], ':');
        snprintf(verb, sizeof verb, "%.*s", arg ? (int)(arg - words[at]) : 31, words[at]);
        int error = try(verb, arg ? arg + 1 : "");
        printf("%s %s\n", words[at], error ? name(error) : "ok");
        fflush(stdout);
    }
    return 0;
}
