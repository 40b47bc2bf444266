/* Counts, records and disturbs the file-system calls of a process, by standing in front of libc (LD_PRELOAD).

Nothing happens until crash_arm() names a folder. From then on each call that can change something in that folder has a number,
from 1; `how` says what becomes of call number `at`. Each call that was carried out is written to a log, with the bytes that it
wrote, so that the state of the folder after any of them can be told without the process (disk.py tells it). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum how { CALM, KILL_BEFORE, KILL_AFTER, KILL_TORN, FAIL_ONCE, FAIL_ON, SHORT_WRITE, SLOW, JITTER };
enum kind { LOOK, CHANGE };

static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1, turn_out = -1, turn_in = -1, fault;
static long calls, at, carry_on;
static enum how how;
static unsigned char ours[4096];
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void raw_write(int fd, const void *data, size_t size) {
    for (const char *from = data; size > 0;) {
        long done = syscall(SYS_write, fd, from, size);
        if (done <= 0) _exit(99);
        from += done, size -= done;
    }
}

/* A line of the log, with tabs between its words: the number, what was called, and last the number of bytes that follow. */
static void tell(const void *data, size_t size, const char *format, ...) {
    char line[3 * PATH_MAX];
    va_list words;
    va_start(words, format);
    int length = snprintf(line, 32, "%ld\t", calls);
    length += vsnprintf(line + length, sizeof line - 64, format, words);
    va_end(words);
    length += snprintf(line + length, 32, "\t%zu\n", size);
    raw_write(log_fd, line, length);
    if (size) raw_write(log_fd, data, size);
}

static int absolute(int folder, const char *path, char *out) {
    char base[PATH_MAX] = "";
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    } else if (snprintf(out, PATH_MAX, "%s", path) >= PATH_MAX) return 0;
    size_t end = strlen(out);
    while (end > 1 && out[end - 1] == '/') out[--end] = 0;
    return log_fd >= 0 && !strncmp(out, root, root_length) && (out[root_length] == '/' || out[root_length] == 0);
}

static void never(const char *what);

static int mine(int fd) { return log_fd >= 0 && fd >= 0 && fd < (int)sizeof ours && ours[fd]; }

/* A pause of up to `fault` microseconds before a call, so that processes that run at the same time come between each other. */
static void jitter(void) {
    static __thread unsigned seed;
    if (!seed) seed = (unsigned)at * 31 + (unsigned)syscall(SYS_gettid);
    struct timespec pause = {0, (long)(rand_r(&seed) % (fault + 1)) * 1000};
    nanosleep(&pause, NULL);
}

/* Take the next number. Returns the error that the call must give, or 0; leaves the lock held until done(). */
static int start(enum kind kind, int can_fail) {
    if (turn_out >= 0) {
        char turn = kind == CHANGE ? 'c' : 'l';
        raw_write(turn_out, &turn, 1);
        while (syscall(SYS_read, turn_in, &turn, 1) != 1) if (errno != EINTR) _exit(98);
    }
    if (how == JITTER) jitter();
    pthread_mutex_lock(&lock);
    if (kind == LOOK) return 0;
    calls++;
    int here = how != JITTER && calls == at;
    if (here && how == SLOW) {
        struct timespec pause = {0, 300000000};
        nanosleep(&pause, NULL);
    }
    if (here && (how == KILL_BEFORE || how == KILL_TORN)) kill(getpid(), SIGKILL);
    if (here && (how == FAIL_ONCE || how == FAIL_ON)) carry_on = how == FAIL_ON;
    if (can_fail && (((how == FAIL_ONCE || how == FAIL_ON) && here) || carry_on)) return fault;
    return 0;
}

static void done(enum kind kind) {
    int kept = errno;
    if (kind == CHANGE && calls == at && how == KILL_AFTER) kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static int refuse(enum kind kind, int error) {
    done(kind);
    errno = error;
    return -1;
}

/* Whether a call of this sort can end in the error: nothing runs out of room by removing, a read-only disk still closes files. */
static int fails_with_space(void) { return 1; }
static int removing(void) { return fault != ENOSPC && fault != EDQUOT; }

void crash_arm(const char *folder, int log, long number, int what, int error, int out, int in) {
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    at = number, how = what, fault = error, turn_out = out, turn_in = in;
    calls = carry_on = 0;
    memset(ours, 0, sizeof ours);
    log_fd = log;
}

void crash_disarm(void) { log_fd = -1; }
long crash_calls(void) { return calls; }

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    REAL(int, "openat64", int, const char *, int, ...);
    char full[PATH_MAX];
    if (!absolute(folder, path, full)) {
        int fd = real(folder, path, flags, mode);
        if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = 0;
        return fd;
    }
    if ((flags & O_TMPFILE) == O_TMPFILE) never("O_TMPFILE");
    int writing = (flags & O_ACCMODE) != O_RDONLY;
    enum kind kind = writing || flags & (O_CREAT | O_TRUNC) ? CHANGE : LOOK;
    int error = start(kind, fails_with_space());
    if (error) return refuse(kind, error);
    int fd = real(folder, path, flags, mode);
    if (fd >= 0) {
        if (fd >= (int)sizeof ours) _exit(97);
        ours[fd] = writing ? 2 : 1;
        tell(NULL, 0, "open\t%d\t%s\t%d", fd, full, flags);
    }
    done(kind);
    return fd;
}

#define OPEN_MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { OPEN_MODE return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE return do_open(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { OPEN_MODE return do_open(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { OPEN_MODE return do_open(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    REAL(int, "close", int);
    if (!mine(fd)) return real(fd);
    enum kind kind = ours[fd] == 2 ? CHANGE : LOOK;
    int error = start(kind, fault != EROFS);
    ours[fd] = 0;
    int result = real(fd);
    tell(NULL, 0, "close\t%d", fd);
    if (error) return refuse(kind, error);
    done(kind);
    return result;
}

static long do_write(int fd, const void *data, size_t size, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t);
    static ssize_t (*real_at)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "write"), real_at = dlsym(RTLD_NEXT, "pwrite64");
    if (!mine(fd)) return offset < 0 ? real(fd, data, size) : real_at(fd, data, size, offset);
    int torn = calls + 1 == at && how == KILL_TORN;
    if (torn) at++;
    int error = start(CHANGE, fails_with_space());
    if (error) return refuse(CHANGE, error);
    if (torn || (calls == at && how == SHORT_WRITE)) size = size > 1 ? size / 2 : size;
    ssize_t written = offset < 0 ? real(fd, data, size) : real_at(fd, data, size, offset);
    if (written > 0) {
        off_t from = offset < 0 ? lseek(fd, 0, SEEK_CUR) - written : offset;
        tell(data, written, "write\t%d\t%ld", fd, (long)from);
    }
    if (torn) kill(getpid(), SIGKILL);
    done(CHANGE);
    return written;
}

ssize_t write(int fd, const void *data, size_t size) { return do_write(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return do_write(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return do_write(fd, data, size, offset); }

/* A gathering write may end after its first piece, so that is what it does here. */
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!mine(fd)) return real(fd, pieces, count);
    for (int i = 0; i < count; i++)
        if (pieces[i].iov_len) return do_write(fd, pieces[i].iov_base, pieces[i].iov_len, -1);
    return 0;
}

/* Copies inside of the kernel are said not to be possible here: their callers then read and write. */
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
    if (mine(out)) { errno = EINVAL; return -1; }
    return real(out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) { return sendfile(out, in, offset, count); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
    if (mine(out)) { errno = EXDEV; return -1; }
    return real(in, from, out, to, size, flags);
}

static int do_sync(int fd, const char *name, int (*real)(int)) {
    if (!mine(fd)) return real(fd);
    int error = start(CHANGE, fails_with_space());
    if (error) return refuse(CHANGE, error);
    int result = real(fd);
    if (result == 0) tell(NULL, 0, "%s\t%d", name, fd);
    done(CHANGE);
    return result;
}
int fsync(int fd) { REAL(int, "fsync", int); return do_sync(fd, "fsync", real); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); return do_sync(fd, "fsync", real); }

static int do_ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    if (!mine(fd)) return real(fd, size);
    int error = start(CHANGE, fails_with_space());
    if (error) return refuse(CHANGE, error);
    int result = real(fd, size);
    if (result == 0) tell(NULL, 0, "ftruncate\t%d\t%ld", fd, (long)size);
    done(CHANGE);
    return result;
}
int ftruncate(int fd, off_t size) { return do_ftruncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return do_ftruncate(fd, size); }

/* A call on one or two names. `can_fail` is worked out before the call. */
#define ON_NAME(name, folder, path, can_fail, call, ...)                          \
    char full[PATH_MAX];                                                          \
    if (!absolute(folder, path, full)) return call;                               \
    int error = start(CHANGE, can_fail);                                          \
    if (error) return refuse(CHANGE, error);                                      \
    int result = call;                                                            \
    if (result == 0) tell(NULL, 0, __VA_ARGS__);                                  \
    done(CHANGE);                                                                 \
    return result

static int do_unlink(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    ON_NAME("unlink", folder, path, removing(), real(folder, path, flags), "%s\t%s", flags & AT_REMOVEDIR ? "rmdir" : "unlink", full);
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return do_unlink(folder, path, flags); }
int rmdir(const char *path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) { return do_unlink(AT_FDCWD, path, 0) == 0 || errno != EISDIR ? 0 : rmdir(path); }

static int do_mkdir(int folder, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    ON_NAME("mkdir", folder, path, fails_with_space(), real(folder, path, mode), "mkdir\t%s", full);
}
int mkdir(const char *path, mode_t mode) { return do_mkdir(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return do_mkdir(folder, path, mode); }

static int do_symlink(const char *text, int folder, const char *path) {
    REAL(int, "symlinkat", const char *, int, const char *);
    ON_NAME("symlink", folder, path, fails_with_space(), real(text, folder, path), "symlink\t%s\t%s", text, full);
}
int symlink(const char *text, const char *path) { return do_symlink(text, AT_FDCWD, path); }
int symlinkat(const char *text, int folder, const char *path) { return do_symlink(text, folder, path); }

static int do_rename(int from_folder, const char *from, int folder, const char *path, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    char source[PATH_MAX];
    int inside = absolute(from_folder, from, source);
    char target[PATH_MAX];
    if (inside && (flags || !absolute(folder, path, target))) never("rename out of the folder");
    ON_NAME("rename", folder, path, fails_with_space(), real(from_folder, from, folder, path, flags), "rename\t%s\t%s", source, full);
}
int rename(const char *from, const char *to) { return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return do_rename(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return do_rename(a, from, b, to, flags); }

static int do_link(int from_folder, const char *from, int folder, const char *path, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    char source[PATH_MAX];
    absolute(from_folder, from, source);
    ON_NAME("link", folder, path, fails_with_space(), real(from_folder, from, folder, path, flags), "link\t%s\t%s", source, full);
}
int link(const char *from, const char *to) { return do_link(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return do_link(a, from, b, to, flags); }

static int do_utimens(int folder, const char *path, const struct timespec times[2], int flags) {
    REAL(int, "utimensat", int, const char *, const struct timespec *, int);
    ON_NAME("utime", folder, path, removing(), real(folder, path, times, flags), "utime\t%s", full);
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    REAL(int, "utimensat", int, const char *, const struct timespec *, int);
    const char *volatile named = path; /* futimens() gives none, though the header says that there must be one */
    return named ? do_utimens(folder, path, times, flags) : real(folder, path, times, flags);
}

/* Ways to change a file that nothing here uses so far: should that change, it must be seen, not overlooked. */
static void never(const char *what) {
    if (log_fd >= 0) tell(NULL, 0, "escaped\t%s", what);
}
int truncate64(const char *path, off64_t size) {
    REAL(int, "truncate64", const char *, off64_t);
    char full[PATH_MAX];
    if (absolute(AT_FDCWD, path, full)) never("truncate");
    return real(path, size);
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }
static void *do_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    if (mine(fd) && flags & MAP_SHARED && protection & PROT_WRITE) never("mmap");
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}
void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    return do_mmap(address, size, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    return do_mmap(address, size, protection, flags, fd, offset);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    REAL(int, "posix_fallocate64", int, off64_t, off64_t);
    if (mine(fd)) never("posix_fallocate");
    return real(fd, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    REAL(int, "fallocate64", int, int, off64_t, off64_t);
    if (mine(fd)) never("fallocate");
    return real(fd, mode, offset, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) { return fallocate64(fd, mode, offset, size); }

/* Descriptors that become another: the copy is ours too. */
static int copied(int from, int to) {
    if (to >= 0 && to < (int)sizeof ours && log_fd >= 0) {
        ours[to] = from >= 0 && from < (int)sizeof ours ? ours[from] : 0;
        if (ours[to]) { pthread_mutex_lock(&lock); tell(NULL, 0, "dup\t%d\t%d", from, to); pthread_mutex_unlock(&lock); }
    }
    return to;
}
int dup(int fd) { REAL(int, "dup", int); return copied(fd, real(fd)); }
int dup2(int fd, int to) { REAL(int, "dup2", int, int); return copied(fd, real(fd, to)); }
int dup3(int fd, int to, int flags) { REAL(int, "dup3", int, int, int); return copied(fd, real(fd, to, flags)); }
static int do_fcntl(int fd, int command, void *word) {
    REAL(int, "fcntl64", int, int, ...);
    int result = real(fd, command, word);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
#define FCNTL va_list rest; va_start(rest, command); void *word = va_arg(rest, void *); va_end(rest); return do_fcntl(fd, command, word)
int fcntl(int fd, int command, ...) { FCNTL; }
int fcntl64(int fd, int command, ...) { FCNTL; }

/* Looks: they change nothing, but two processes that take turns change places at them too. */
#define LOOK_AT(folder, path, call)                                               \
    char full[PATH_MAX];                                                          \
    if ((turn_out < 0 && how != JITTER) || !absolute(folder, path, full)) return call;               \
    start(LOOK, 0);                                                               \
    __typeof__(call) result = call;                                               \
    done(LOOK);                                                                   \
    return result
int stat64(const char *path, struct stat64 *out) {
    REAL(int, "stat64", const char *, struct stat64 *);
    LOOK_AT(AT_FDCWD, path, real(path, out));
}
int stat(const char *path, struct stat *out) { return stat64(path, (struct stat64 *)out); }
int lstat64(const char *path, struct stat64 *out) {
    REAL(int, "lstat64", const char *, struct stat64 *);
    LOOK_AT(AT_FDCWD, path, real(path, out));
}
int lstat(const char *path, struct stat *out) { return lstat64(path, (struct stat64 *)out); }
int fstatat64(int folder, const char *path, struct stat64 *out, int flags) {
    REAL(int, "fstatat64", int, const char *, struct stat64 *, int);
    LOOK_AT(folder, path, real(folder, path, out, flags));
}
int fstatat(int folder, const char *path, struct stat *out, int flags) { return fstatat64(folder, path, (struct stat64 *)out, flags); }
int access(const char *path, int mode) {
    REAL(int, "access", const char *, int);
    LOOK_AT(AT_FDCWD, path, real(path, mode));
}
DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    LOOK_AT(AT_FDCWD, path, real(path));
}
