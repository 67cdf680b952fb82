/*
 * A disk whose syncs take longer: each fdatasync first sleeps for SLOW_SYNC_US microseconds.
 *
 * Disks differ in how long a sync takes by a factor of a hundred, and some of graphite-bench's gates are about slow
 * ones. This makes a quick one slow, alike for the bench's own limit and for the daemon that it starts:
 *
 *     cc -O2 -shared -fPIC -o target/slow_sync.so tests/peers/slow_sync.c -ldl
 *     SLOW_SYNC_US=2000 LD_PRELOAD=$PWD/target/slow_sync.so target/release/graphite-bench --only commits
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *setting = getenv("SLOW_SYNC_US");
    long us = setting ? atol(setting) : 0;
    struct timespec delay = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&delay, 0);
    return real(fd);
}
