/*
 * A disk whose syncs take longer: each fdatasync, and each write that syncs by itself, first sleeps for SLOW_SYNC_US
 * microseconds.
 *
 * Disks differ in how long a sync takes by a factor of a hundred, and some of graphite-bench's gates are about slow
 * ones. This makes a quick one slow, alike for the bench's own limit and for the daemon that it starts:
 *
 *     cc -O2 -shared -fPIC -o target/slow_sync.so tests/peers/slow_sync.c -ldl
 *     SLOW_SYNC_US=2000 LD_PRELOAD=$PWD/target/slow_sync.so target/release/graphite-bench --only commits
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void delay(void) {
    const char *setting = getenv("SLOW_SYNC_US");
    long us = setting ? atol(setting) : 0;
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, 0);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay();
    return real(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_DSYNC) {
        delay();
    }
    return real(fd, bytes, count, offset);
}
