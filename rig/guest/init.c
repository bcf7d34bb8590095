// SPDX-License-Identifier: MIT
/*
 * init: pid 1 of the rig's guest.  Reads /scenarios.txt, plays every scenario
 * with real processes, and after each step prints what mmoracle.ko says.
 *
 * Lines for the host start with '@':
 *   @V TEXT              /proc/version                 @T JSON    the module's `layout`
 *   @B NAME, @E NAME     a scenario begins, ends       @Q         all is done
 *   @K                   functions of /proc/kallsyms follow, up to @Q
 *   @S JSON              a step: number, ret, out      @X TEXT    a problem
 *   @P PROCESS JSON, @F JSON    the module's `dump` of a process and its `folios`, after the step
 *
 * A process answers a command with any number of pieces of text, then \002 RET VALUE \003.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE		4096UL
#define MAX_PROCS	12
#define MAX_REGIONS	12
#define REGION_BASE	0x100000000UL
#define REGION_STRIDE	0x2000000UL	/* 32M apart, so 2M folios fit and never merge */
#define MAX_TURNS	8		/* actions of one CPU in a race */
#define FILE_FD		100
#define STACK		(24 * (long)PAGE)	/* what a process needs of its stack at most */

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct proc {
	char name[16];
	int pid;		/* 0: not alive */
	int cmd[2], rep[2];
	int rep2[2];		/* of the second thread, in a race */
};

static struct proc procs[MAX_PROCS];
static char regions[MAX_REGIONS][16];
static int nr_regions, nr_files, oracle = -1, con = 1, step, autodrain, tracing;
static char files[16][32], paths[16][256];	/* of files, "" of a memfd */
static char scenario[512];
static char *big, *fill;		/* not inherited by the scenario's processes */
static char *said, *value, *escaped;	/* likewise: the pieces of an answer; a step's out; the same as JSON */
#define SAID	(1 << 20)
#define BIG	(4UL << 20)
#define FILL	(4UL << 20)

static void out(const char *fmt, ...)
{
	static char buf[4096];
	va_list ap;
	int n, done = 0;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	while (done < n) {
		int w = write(con, buf + done, n - done);

		if (w <= 0)
			return;
		done += w;
	}
}

static void out_raw(const char *p, int n)
{
	while (n > 0) {
		int w = write(con, p, n);

		if (w <= 0)
			return;
		p += w;
		n -= w;
	}
}

static int put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC), n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : 0;
}

/* one command to the module; the answer, if any, lands in big[] */
static int ask(int fd, const char *fmt, ...)
{
	char buf[2000];			/* not static: two threads may ask at once */
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (write(fd, buf, n) < 0)
		return -errno;
	return 0;
}

static int answer(int fd)
{
	int n, all = 0;

	while (all < (int)BIG && (n = read(fd, big + all, BIG - all)) > 0)
		all += n;
	return all;
}

static unsigned long size_of(const char *s)
{
	char *e;
	unsigned long v = strtoul(s, &e, 0);

	if (*e == 'K')
		v <<= 10;
	else if (*e == 'M')
		v <<= 20;
	else if (*e == 'p' || !*e)	/* pages */
		v *= PAGE;
	return v;
}

static int region_index(const char *name, int make)
{
	for (int i = 0; i < nr_regions; i++)
		if (!strcmp(regions[i], name))
			return i;
	if (!make || nr_regions == MAX_REGIONS)
		return -1;
	strcpy(regions[nr_regions], name);
	return nr_regions++;
}

static unsigned long region_addr(int i)
{
	return REGION_BASE + i * REGION_STRIDE;
}

/* ---- what a scenario process does --------------------------------- */

static int uring_fd = -1;

static int uring(unsigned long addr, unsigned long len)
{
	static uint32_t params[30];	/* struct io_uring_params is 120 bytes */
	struct iovec iov = { (void *)addr, len };

	memset(params, 0, sizeof(params));
	if (uring_fd < 0) {
		uring_fd = syscall(425, 1, params);
		if (uring_fd < 0)
			return -errno;
	}
	return syscall(427, uring_fd, 0 /* IORING_REGISTER_BUFFERS */, &iov, 1) < 0 ? -errno : 0;
}

static int unuring(void)
{
	int r = syscall(427, uring_fd, 1 /* IORING_UNREGISTER_BUFFERS */, NULL, 0) < 0 ? -errno : 0;

	close(uring_fd);
	uring_fd = -1;
	return r;
}

static struct {
	char text[512];			/* its actions, with ; between them */
	int seq, cpu, fd;
	long id;
	pthread_t thread;
	int live;
	char stack[64 * PAGE] __attribute__((aligned(4096)));
} second;

/* ---- userfaultfd: numbers and structures that older headers lack ---- */

struct uffd_range { uint64_t start, len; };

static int uffd_fd = -1;

static int uffd_ioctl(unsigned nr, int dir, void *arg, unsigned size)
{
	return ioctl(uffd_fd, (unsigned long)dir << 30 | (unsigned long)size << 16 | 0xaa << 8 | nr, arg) < 0 ? -errno : 0;
}

/* mode async: writes are resolved by the kernel; sigbus: they are answered with a signal */
static int uffd_register(unsigned long start, unsigned long len, const char *mode)
{
	uint64_t features = 1 << 16 | (strcmp(mode, "async") ? 1 << 7 | 1 : 1 << 15);	/* MOVE; SIGBUS, WP; WP_ASYNC */
	struct { struct uffd_range range; uint64_t mode, ioctls; } reg = { { start, len }, 2 /* WP */, 0 };
	int r;

	if (!strcmp(mode, "off"))
		return uffd_fd < 0 ? -EBADF : uffd_ioctl(1, 2, &reg.range, sizeof(reg.range));
	for (int try = 0; uffd_fd < 0; try++) {
		uint64_t api[3] = { 0xaa, try ? features & ~(1ul << 16) : features, 0 };

		uffd_fd = syscall(SYS_userfaultfd, 0);
		if (uffd_fd < 0)
			return -errno;
		r = uffd_ioctl(0x3f, 3, api, sizeof(api));
		if (!r)
			break;
		close(uffd_fd);
		uffd_fd = -1;
		if (try)		/* before 6.8 without MOVE */
			return r;
	}
	return uffd_ioctl(0, 3, &reg, sizeof(reg));
}

static int uffd_protect(unsigned long start, unsigned long len, int on)
{
	uint64_t arg[3] = { start, len, on };

	return uffd_ioctl(6, 3, arg, sizeof(arg));
}

/* a page at a time, each with the number of the step; the source is memory that is there anyway */
static int uffd_copy(unsigned long start, unsigned long len, int seq, int wp)
{
	for (unsigned long at = start; at < start + len; at += PAGE) {
		uint64_t arg[5] = { at, (unsigned long)second.stack, PAGE, wp ? 2 : 0, 0 };
		int r;

		*(uint32_t *)second.stack = seq;
		r = uffd_ioctl(3, 3, arg, sizeof(arg));
		if (r)
			return r;
	}
	return 0;
}

static int uffd_move(unsigned long start, unsigned long len, unsigned long to, char *val, int vlen)
{
	int64_t arg[5] = { to, start, len, 0, 0 };
	int r = uffd_ioctl(5, 3, arg, sizeof(arg));

	snprintf(val, vlen, "%lld", (long long)arg[4]);
	return r;
}

static const struct { const char *name; int advice; } advices[] = {
	{ "dontneed", MADV_DONTNEED }, { "free", MADV_FREE }, { "cold", MADV_COLD },
	{ "pageout", MADV_PAGEOUT }, { "hugepage", MADV_HUGEPAGE },
	{ "nohugepage", MADV_NOHUGEPAGE }, { "collapse", MADV_COLLAPSE },
	{ "dontfork", MADV_DONTFORK }, { "dofork", MADV_DOFORK },
	{ "wipeonfork", MADV_WIPEONFORK }, { "keeponfork", MADV_KEEPONFORK },
	{ "populate_read", MADV_POPULATE_READ }, { "populate_write", MADV_POPULATE_WRITE },
	{ "remove", MADV_REMOVE }, { "willneed", MADV_WILLNEED },
	{ "mergeable", MADV_MERGEABLE }, { "unmergeable", MADV_UNMERGEABLE },
	{ "softoffline", 101 },
};

static int prot_of(const char *s)
{
	int p = 0;

	if (strchr(s, 'r'))
		p |= PROT_READ;
	if (strchr(s, 'w'))
		p |= PROT_WRITE;
	return p;
}

extern char __executable_start, etext, edata, end;
static volatile int *ready;

/*
 * What is left in the first LRU batch (31 pages) of a process is a constant of the guest, which a scenario with
 * `autodrain off` shows: these pages, and nothing else, are touched when all others have been and are drained.
 */
static char batch[14 * PAGE] __attribute__((aligned(4096)));

/* keep this process's own page faults out of its later RSS numbers */
static void settle(void)
{
	unsigned long s = (unsigned long)&__executable_start & ~(PAGE - 1);
	unsigned long t = ((unsigned long)&etext + PAGE - 1) & ~(PAGE - 1);
	unsigned long end = ((unsigned long)sbrk(0) + PAGE - 1) & ~(PAGE - 1), n;
	unsigned long from = (unsigned long)batch, to = from + sizeof(batch);
	volatile char *top = (char *)((unsigned long)environ & ~(PAGE - 1)), here;

	madvise((void *)s, t - s, MADV_POPULATE_READ);	/* first, for a log of fork ends at its first store */
	if (&here < top && top - &here < STACK)		/* not on the stack of a second thread */
		for (volatile char *p = top - STACK; p <= top; p += PAGE)
			*p = *p;		/* else init would copy it at its next write */
	for (s = t; s < end; s += n) {		/* data, and the heap, where errno is; some of it cannot be written */
		if (s == from) {
			n = to - from;
			continue;
		}
		n = (s < from ? from : end) - s;
		n = n < 32 * PAGE ? n : 32 * PAGE;
		if (!madvise((void *)s, n, MADV_POPULATE_WRITE))
			continue;
		n = PAGE;
		if (madvise((void *)s, PAGE, MADV_POPULATE_WRITE))
			madvise((void *)s, PAGE, MADV_POPULATE_READ);
	}
	for (unsigned long k = 0; k < sizeof(batch); k += PAGE)
		((volatile char *)batch)[k] = 1;
	if (ready)
		*ready = *ready;
}

static void reply(int fd, int r, const char *val)
{
	char rep[512];
	int n = snprintf(rep, sizeof(rep), "\002%d %s\003", r, val);

	n = write(fd, rep, n);
}

/* argv: verb, then words after the process name; value text goes to *val, what it has no room for to fd first */
static int act(int argc, char **argv, int seq, char *val, int vlen, int fd)
{
	const char *verb = argv[0];
	unsigned long base, a, b, lo, len;
	int r;

	val[0] = 0;
	if (!strcmp(verb, "unuring"))
		return unuring();
	if (!strcmp(verb, "getpid")) {
		snprintf(val, vlen, "%d", getpid());
		return 0;
	}
	if (!strcmp(verb, "put"))		/* put PATH TEXT: what init does by itself elsewhere */
		return put_file(argv[1], argv[2]);
	if (!strcmp(verb, "release")) {
		int mm = open("/proc/mmoracle", O_RDWR);

		r = mm < 0 ? -errno : ask(mm, "release %s", argv[1]);
		close(mm);
		return r;
	}
	if (!strcmp(verb, "pokemem")) {		/* pokemem PID ADDRESS NR */
		char path[64];
		uint32_t v = seq;
		int mem;

		snprintf(path, sizeof(path), "/proc/%s/mem", argv[1]);
		mem = open(path, O_RDWR);
		if (mem < 0)
			return -errno;
		r = 0;
		for (unsigned long k = 0; k < strtoul(argv[3], 0, 0) && !r; k++)
			if (pwrite(mem, &v, 4, strtoul(argv[2], 0, 0) + k * PAGE) != 4)
				r = -errno;
		close(mem);
		return r;
	}
	if (argc < 2)
		return -EINVAL;
	base = strtoul(argv[1], NULL, 0);	/* init turned the region name into an address */
	if (!strcmp(verb, "mmap")) {
		/* mmap BASE SIZE [at=N] [ro] [shared] [fd=N] [pgoff=N] [nohuge] [nomadv] */
		int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE, fd = -1, huge = 1;
		unsigned long at = 0, pgoff = 0;
		void *p;

		len = size_of(argv[2]);
		for (int i = 3; i < argc; i++) {
			if (!strncmp(argv[i], "at=", 3))
				at = strtoul(argv[i] + 3, NULL, 0);
			else if (!strncmp(argv[i], "fd=", 3))
				fd = atoi(argv[i] + 3);
			else if (!strncmp(argv[i], "pgoff=", 6))
				pgoff = strtoul(argv[i] + 6, NULL, 0);
			else if (!strcmp(argv[i], "shared"))
				flags = MAP_SHARED;
			else if (!strcmp(argv[i], "ro"))
				prot = PROT_READ;
			else if (!strcmp(argv[i], "nohuge"))
				huge = -1;
			else if (!strcmp(argv[i], "nomadv"))
				huge = 0;
			else
				return -EINVAL;
		}
		if (fd < 0)
			flags |= MAP_ANONYMOUS;
		p = mmap((void *)(base + at * PAGE), len, prot, flags | MAP_FIXED_NOREPLACE,
			 fd, pgoff * PAGE);
		if (p == MAP_FAILED)
			return -errno;
		if (huge && madvise(p, len, huge > 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
			return -errno;
		return 0;
	}
	if (argc < 4)
		return -EINVAL;
	a = strtoul(argv[2], NULL, 0);
	b = strtoul(argv[3], NULL, 0);
	lo = base + a * PAGE;
	len = (b - a) * PAGE;
	if (!strcmp(verb, "write") || (!strcmp(verb, "touch") && argc > 4 && argv[4][0] == 'w')) {
		for (; a < b; a++)
			*(volatile uint32_t *)(base + a * PAGE) = seq;
		return 0;
	}
	if (!strcmp(verb, "read") || !strcmp(verb, "touch")) {
		uint32_t last = 0, n = 0;
		int used = 0, some = 0;

		for (; a <= b; a++) {
			uint32_t v = a < b ? *(volatile uint32_t *)(base + a * PAGE) : 0;

			if (n && (a == b || v != last)) {
				if (used > vlen - 32) {		/* the rest has no room behind it */
					used = write(fd, val, used);
					used = 0;
				}
				used += snprintf(val + used, vlen - used, "%s%ux%u", some++ ? " " : "",
						 last, n);
				n = 0;
			}
			last = v;
			n++;
		}
		return 0;
	}
	for (unsigned i = 0; i < sizeof(advices) / sizeof(*advices); i++)
		if (!strcmp(verb, advices[i].name))
			return madvise((void *)lo, len, advices[i].advice) ? -errno : 0;
	if (!strcmp(verb, "munmap"))
		return munmap((void *)lo, len) ? -errno : 0;
	if (!strcmp(verb, "mprotect"))
		return mprotect((void *)lo, len, prot_of(argc > 4 ? argv[4] : "")) ? -errno : 0;
	if (!strcmp(verb, "mlock"))
		return mlock((void *)lo, len) ? -errno : 0;
	if (!strcmp(verb, "munlock"))
		return munlock((void *)lo, len) ? -errno : 0;
	if (!strcmp(verb, "mremap")) {	/* mremap BASE a b BASE2 at [dontunmap] */
		unsigned long to = strtoul(argv[4], NULL, 0) + strtoul(argv[5], NULL, 0) * PAGE;
		int fl = MREMAP_MAYMOVE | MREMAP_FIXED;

		if (argc > 6)
			fl |= 4;
		return mremap((void *)lo, len, len, fl, (void *)to) == MAP_FAILED ? -errno : 0;
	}
	if (!strcmp(verb, "uffd"))
		return uffd_register(lo, len, argv[4]);
	if (!strcmp(verb, "uffdwp"))
		return uffd_protect(lo, len, !strcmp(argv[4], "on"));
	if (!strcmp(verb, "uffdcopy"))
		return uffd_copy(lo, len, seq, argc > 4);
	if (!strcmp(verb, "uffdmove"))		/* uffdmove BASE a b BASE2 PAGE */
		return uffd_move(lo, len, strtoul(argv[4], NULL, 0) + strtoul(argv[5], NULL, 0) * PAGE, val, vlen);
	if (!strcmp(verb, "uring"))
		return uring(lo, len);
	if (!strcmp(verb, "pin") || !strcmp(verb, "get") || !strcmp(verb, "repeat")) {
		/* pin|get BASE a b ID FLAGS; repeat: page a held b - a times by FOLL_GET */
		int mm = open("/proc/mmoracle", O_RDWR);

		if (mm < 0)
			return -errno;
		r = ask(mm, "hold %s %c 0x%lx %lu %s", argv[4], verb[0], lo, len / PAGE,
			argc > 5 ? argv[5] : "w");
		if (!r) {
			int n = read(mm, val, vlen - 1);

			val[n > 0 ? n - 1 : 0] = 0;
		}
		close(mm);
		return r;
	}
	return -ENOSYS;
}

/* ---- races: `race ID | ACTION of CPU 0 | ACTION of CPU 1` ---------- */

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* the emulator's plugin sees these; each is the first instruction of a translated block */
static __attribute__((noinline)) void mark_start(long id)
{
	register long x0 asm("x0") = id;

	asm volatile("b 1f\n1:\thint #0x6c\n\tb 2f\n2:" : : "r" (x0) : "memory");
}

static __attribute__((noinline)) void mark_end(void)
{
	asm volatile("b 1f\n1:\thint #0x6d\n\tb 2f\n2:" : : : "memory");
}

static volatile int *ready;		/* shared: the worker of CPU 1 is there, or nearly */

static int act(int argc, char **argv, int seq, char *val, int vlen, int fd);
static void serve(int me);
static void settle(void);

static int split_words(char *line, char **argv, int max)
{
	int n = 0;
	char *save, *w;

	for (w = strtok_r(line, " \t\n", &save); w && n < max; w = strtok_r(NULL, " \t\n", &save))
		argv[n++] = w;
	return n;
}

/*
 * The actions of one CPU in a race, one after the other, with ; between them; they end at the mark.  What each came to
 * goes to val: RET/PID, the pid of a child.  Comes back in a child of theirs with its slot, else with -1.
 */
static int take_turns(char *text, int seq, char *val, int vlen, int fd)
{
	char *save, *words[16], junk[400];
	int rets[MAX_TURNS], pids[MAX_TURNS], n = 0, used = 0;

	for (char *one = strtok_r(text, ";", &save); one && n < MAX_TURNS; one = strtok_r(NULL, ";", &save), n++) {
		int argc = split_words(one, words, 16);

		pids[n] = 0;
		if (!strcmp(words[0], "exit"))
			_exit(0);		/* its end: do_task_dead(), which the plugin knows */
		if (!strcmp(words[0], "kill"))	/* by the process itself, as it must run to die */
			kill(getpid(), SIGKILL);
		if (strcmp(words[0], "fork")) {
			rets[n] = act(argc, words, seq, junk, sizeof(junk), fd);
			continue;
		}
		pids[n] = fork();
		if (!pids[n])
			return atoi(words[1]);
		rets[n] = pids[n] < 0 ? -errno : 0;
	}
	mark_end();
	on_cpu(0);
	for (int i = 0; i < n; i++)
		used += snprintf(val + used, vlen - used, "%s%d/%d", i ? " " : "", rets[i], pids[i]);
	return -1;
}

/* the child of a fork in a race */
static void born(int slot)
{
	on_cpu(0);
	second.live = 0;
	settle();
	reply(procs[slot].rep[1], 0, "up");
	serve(slot);
}

static void *second_thread(void *p)
{
	char val[400];
	int slot;

	if (!p)
		return NULL;			/* a first one at the start, for what the library allocates */
	on_cpu(second.cpu);
	*ready = 1;
	mark_start(second.id);
	slot = take_turns(second.text, second.seq, val, sizeof(val), second.fd);
	if (slot >= 0)				/* the child goes on in a copy of this thread */
		born(slot);
	reply(second.fd, 0, val);
	return NULL;
}

static void start_second(void *p)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, second.stack, sizeof(second.stack));
	if (pthread_create(&second.thread, &attr, second_thread, p)) {
		out("@X no thread\n");
		return;
	}
	second.live = 1;
}

static void join_second(void)
{
	if (second.live)
		pthread_join(second.thread, NULL);
	second.live = 0;
}

/* the process is settled: its own memory does not change any more */
static void serve(int me)
{
	static char line[512], val[400];
	static char *argv[16];

	for (;;) {
		int n = read(procs[me].cmd[0], line, sizeof(line) - 1), argc, seq, r, slot;
		char *p;
		long id;

		if (n <= 0)
			_exit(1);
		line[n] = 0;
		seq = strtol(line, &p, 10);
		if (p[1] != '@' || p[3] == 't')
			join_second();		/* of the race before */
		if (p[1] == '@') {		/* SEQ @CPU[t] ID ACTIONS: in a race; t: by a second thread */
			int cpu = p[2] - '0', thread = p[3] == 't';

			id = strtol(p + 3 + thread, &p, 10);
			if (thread) {
				strcpy(second.text, p);
				second.seq = seq;
				second.cpu = cpu;
				second.id = id;
				second.fd = procs[me].rep2[1];
				start_second(&second);
				continue;
			}
			on_cpu(cpu);
			*ready = 1;
			mark_start(id);
			slot = take_turns(p, seq, val, sizeof(val), procs[me].rep[1]);
			if (slot >= 0)
				born(slot);
			reply(procs[me].rep[1], 0, val);
			continue;
		}
		argc = split_words(line, argv, 16);
		if (!strcmp(argv[1], "exit"))
			_exit(0);
		if (!strcmp(argv[1], "fork")) {
			slot = atoi(argv[2]);
			r = fork();
			if (!r)
				born(slot);
			snprintf(val, sizeof(val), "%d", r);
			r = r < 0 ? -errno : 0;
		} else
			r = act(argc - 1, argv + 1, seq, val, sizeof(val), procs[me].rep[1]);
		reply(procs[me].rep[1], r, val);
	}
}

/* ---- init's side -------------------------------------------------- */

static int slot_of(const char *name)
{
	for (int i = 0; i < MAX_PROCS; i++)
		if (procs[i].pid && !strcmp(procs[i].name, name))
			return i;
	return -1;
}

static int free_slot(const char *name)
{
	for (int i = 0; i < MAX_PROCS; i++)
		if (!procs[i].pid && !procs[i].name[0]) {
			snprintf(procs[i].name, 16, "%s", name);
			return i;
		}
	return -1;
}

static int gone(int pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

static int wait_reply2(int slot, char *buf, int len, int second);

static int wait_reply(int slot, char *buf, int len)
{
	return wait_reply2(slot, buf, len, 0);
}

/* what a process that died had said already must not answer the next one in its place */
static void drop_answers(int from)
{
	struct timeval tv = { 0, 0 };
	char junk[512];
	fd_set set;

	do {
		FD_ZERO(&set);
		FD_SET(from, &set);
	} while (select(from + 1, &set, NULL, NULL, &tv) > 0 && read(from, junk, sizeof(junk)) > 0);
}

/* "RET VALUE" to buf, the text before it to said[] */
static int wait_reply2(int slot, char *buf, int len, int second)
{
	int n = 0, used = -1, nr_said = 0, from = second ? procs[slot].rep2[0] : procs[slot].rep[0];
	char c[512];

	said[0] = 0;
	for (;;) {
		/* a process that died of a signal never answers */
		fd_set set;
		struct timeval tv = { 0, 200000 };

		FD_ZERO(&set);
		FD_SET(from, &set);
		if (select(from + 1, &set, NULL, NULL, &tv) > 0) {
			n = read(from, c, sizeof(c));
			if (n <= 0)
				return -EIO;
			for (int i = 0; i < n; i++) {
				if (c[i] == 3) {
					buf[used] = 0;
					return 0;
				}
				if (c[i] == 2)
					used = 0;
				else if (used < 0 && nr_said < SAID - 1)
					said[nr_said++] = c[i], said[nr_said] = 0;
				else if (used >= 0 && used < len - 1)
					buf[used++] = c[i];
			}
			continue;
		}
		if (procs[slot].pid && gone(procs[slot].pid)) {
			procs[slot].pid = 0;
			said[0] = 0;
			drop_answers(from);
			return -EOWNERDEAD;
		}
	}
}

static int start_proc(const char *name)
{
	int slot = free_slot(name), pid;
	char rep[64];

	if (slot < 0)
		return -1;
	pid = fork();
	if (!pid) {
		settle();
		reply(procs[slot].rep[1], 0, "up");
		serve(slot);
	}
	procs[slot].pid = pid;
	wait_reply(slot, rep, sizeof(rep));	/* or the first state would be of one that still settles */
	return slot;
}

static int mthp(const char *size, const char *mode)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/enabled",
		 size_of(size) >> 10);
	return put_file(path, mode);
}

static const char *all_sizes[] = { "16K", "32K", "64K", "128K", "256K", "512K", "1024K", "2048K" };

static void dump(void)
{
	static char cmd[1024];
	int used = 0;

	if (autodrain)
		ask(oracle, "drain");
	ask(oracle, "begin");
	for (int i = 0; i < nr_regions; i++)
		used += snprintf(cmd + used, sizeof(cmd) - used, " 0x%lx 0x%lx", region_addr(i),
				 region_addr(i) + REGION_STRIDE);
	cmd[used] = 0;
	for (int i = 0; i < MAX_PROCS; i++) {
		int r;

		if (!procs[i].pid)
			continue;
		r = ask(oracle, "dump %d %d%s", procs[i].pid, nr_regions, cmd);
		if (r) {
			out("@X dump %s %d\n", procs[i].name, r);
			continue;
		}
		out("@P %s ", procs[i].name);
		out_raw(big, answer(oracle));
	}
	if (!ask(oracle, "folios")) {
		out("@F ");
		out_raw(big, answer(oracle));
	}
}

/* VERB and its words for a process: region names become addresses, fd=NAME becomes fd=NUMBER */
static int compose(int n, char **w, char *cmd, int len)
{
	int used = snprintf(cmd, len, "%s", w[0]);

	for (int i = 2; i < n; i++) {
		int mmap_like = !strcmp(w[0], "mmap");

		int moves = !strcmp(w[0], "mremap") || !strcmp(w[0], "uffdmove");

		if (i == 2 || (i == 5 && moves)) {
			int k = region_index(w[i], mmap_like || i == 5);

			if (k < 0)
				return -ENOENT;
			used += snprintf(cmd + used, len - used, " 0x%lx", region_addr(k));
		} else if (mmap_like && !strncmp(w[i], "fd=", 3)) {
			int k;

			for (k = 0; k < nr_files && strcmp(files[k], w[i] + 3); k++)
				;
			if (k == nr_files)
				return -ENOENT;
			used += snprintf(cmd + used, len - used, " fd=%d", FILE_FD + k);
		} else
			used += snprintf(cmd + used, len - used, " %s", w[i]);
	}
	return used;
}

static struct proc agents[2];		/* for what init itself does elsewhere: split, unpin, poke, clearrefs */

/* one CPU of a race: its actions, all done by one worker */
struct turn {
	int slot, agent, dies, n;	/* of the process; whether an agent does them; whether the last one ends it */
	int child[MAX_TURNS], ret[MAX_TURNS];
	char text[480];
};

/* what an agent is told for an action, 0 if a process does it by itself */
static int for_agent(int n, char **w, int slot, char *text, int len)
{
	unsigned long base, a, b;

	if (!strcmp(w[0], "unpin"))
		return snprintf(text, len, "release %s", w[1]);
	if (!strcmp(w[0], "clearrefs"))
		return snprintf(text, len, "put /proc/%d/clear_refs %s", procs[slot].pid, w[2]);
	if (strcmp(w[0], "split") && strcmp(w[0], "poke"))
		return 0;
	base = region_addr(region_index(w[2], 0));
	a = strtoul(w[3], 0, 0);
	b = strtoul(w[4], 0, 0);
	if (w[0][0] == 'p')
		return snprintf(text, len, "pokemem %d 0x%lx %lu", procs[slot].pid, base + a * PAGE, b - a);
	return snprintf(text, len, "put /sys/kernel/debug/split_huge_pages %d,0x%lx,0x%lx%s%s", procs[slot].pid,
			base + a * PAGE, base + b * PAGE, n > 5 ? "," : "", n > 5 ? w[5] : "");
}

/* one action more of a CPU */
static int add_turn(struct turn *t, char *action)
{
	char *w[16], text[400];
	int n = split_words(action, w, 16), slot = -1, agent, used = strlen(t->text);

	if (t->n == MAX_TURNS || !n)
		return -EINVAL;
	if (strcmp(w[0], "unpin")) {
		slot = slot_of(w[1]);
		if (slot < 0)
			return -ESRCH;
	}
	t->child[t->n] = -1;
	agent = for_agent(n, w, slot, text, sizeof(text)) > 0;
	if (t->n && (agent != t->agent || (!agent && slot != t->slot)))
		return -EINVAL;			/* the host has seen to it */
	t->agent = agent;
	t->slot = slot;
	if (!strcmp(w[0], "fork"))
		snprintf(text, sizeof(text), "fork %d", t->child[t->n] = free_slot(w[2]));
	else if (!strcmp(w[0], "exit") || !strcmp(w[0], "kill")) {
		snprintf(text, sizeof(text), "%s", w[0]);
		t->dies = 1;
	} else if (!agent && (n = compose(n, w, text, sizeof(text))) < 0)
		return n;
	snprintf(t->text + used, sizeof(t->text) - used, "%s%s", used ? " ; " : "", text);
	t->n++;
	return 0;
}

/* what the actions of a CPU came to, and the children of its forks */
static void take_answers(struct turn *t, int cpu, int thread)
{
	char rep[512], *p = rep;
	int r = 0;

	if (t->agent) {				/* \002 RET VALUE \003 in one write */
		int n = read(agents[cpu].rep[0], rep, 511);

		rep[n > 0 ? n : 0] = 0;
		p = rep + (n > 0);
	} else
		r = wait_reply2(t->slot, rep, sizeof(rep), thread);
	p = strchr(p, ' ');
	for (int i = 0; i < t->n; i++) {
		int pid = 0;

		t->ret[i] = r;
		if (!r && p) {
			t->ret[i] = strtol(p, &p, 10);
			pid = *p == '/' ? strtol(p + 1, &p, 10) : 0;
		}
		if (t->child[i] >= 0) {
			procs[t->child[i]].pid = pid > 0 ? pid : 0;
			if (pid > 0)
				wait_reply(t->child[i], rep + 256, 256);
		}
	}
}

static int race(char *line, char *val, int vlen)
{
	struct turn turns[2];
	char *save, cmd[600];
	int r = 0, used = 0, same;
	long id = strtol(line + 5, NULL, 0);

	strtok_r(line, "|", &save);
	for (int c = 0; c < 2; c++) {
		char *p = strtok_r(NULL, "|", &save), *next;

		memset(&turns[c], 0, sizeof(turns[c]));
		for (char *one = p ? strtok_r(p, ";", &next) : NULL; one && !r; one = strtok_r(NULL, ";", &next))
			r = add_turn(&turns[c], one);
		if (r || !turns[c].n)
			return r ? r : -EINVAL;
	}
	same = !turns[0].agent && !turns[1].agent && turns[0].slot == turns[1].slot;
	/* CPU 1 first: it waits at its mark, and CPU 0 goes to the same place */
	for (int c = 1; c >= 0; c--) {
		struct proc *p = turns[c].agent ? &agents[c] : &procs[turns[c].slot];
		int n = snprintf(cmd, sizeof(cmd), "%d @%d%s %ld %s", step, c, c == 1 && same ? "t" : "", id, turns[c].text);

		*ready = 0;
		n = write(p->cmd[1], cmd, n);
		if (c) {
			while (!*ready)
				usleep(500);
			usleep(1000);
		}
	}
	for (int c = 0; c < 2; c++) {
		struct turn *t = &turns[c];

		if (t->dies) {
			while (!gone(procs[t->slot].pid))
				usleep(2000);
			procs[t->slot].pid = 0;
		} else
			take_answers(t, c, c == 1 && same);
		for (int i = 0; i < t->n; i++) {
			used += snprintf(val + used, vlen - used, "%s%d", i ? " " : c ? "; " : "", t->ret[i]);
			r = r ? r : t->ret[i];
		}
	}
	return r;
}

/* one scenario line; returns 0 or -errno, text in val */
static int perform(char *line, char *val, int vlen)
{
	char *w[16], cmd[512], rep[512];
	int n, slot, used, r;

	if (!strncmp(line, "race ", 5)) {
		val[0] = 0;
		return race(line, val, vlen);
	}
	n = split_words(line, w, 16);
	val[0] = 0;
	if (!strcmp(w[0], "nop"))
		return 0;
	if (!strcmp(w[0], "mthp"))
		return mthp(w[1], w[2]);
	if (!strcmp(w[0], "sysfs"))
		return put_file(w[1], w[2]);
	if (!strcmp(w[0], "shmem")) {
		snprintf(cmd, sizeof(cmd),
			 "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/shmem_enabled",
			 size_of(w[1]) >> 10);
		return put_file(cmd, w[2]);
	}
	if (!strcmp(w[0], "drain"))
		return ask(oracle, "drain");
	if (!strcmp(w[0], "autodrain")) {
		autodrain = !strcmp(w[1], "on");
		return 0;
	}
	if (!strcmp(w[0], "unpin")) {
		r = ask(oracle, "release %s", w[1]);
		if (!r) {
			int k = answer(oracle);

			snprintf(val, vlen, "%.*s", k > 0 ? k - 1 : 0, big);
		}
		return r;
	}
	if (!strcmp(w[0], "swap")) {
		if (!strcmp(w[1], "on"))
			return syscall(SYS_swapon, "/dev/zram0", 0) ? -errno : 0;
		return syscall(SYS_swapoff, "/dev/zram0") ? -errno : 0;
	}
	if (!strcmp(w[0], "memfd") || !strcmp(w[0], "file")) {
		/* memfd NAME SIZE | file NAME SIZE PATH [chunk] : filled by one write per chunk */
		unsigned long size = size_of(w[2]), chunk = size, off;
		int fd, is_file = w[0][0] == 'f';

		if (is_file) {
			fd = open(w[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
			if (n > 4)
				chunk = size_of(w[4]);
		} else
			fd = memfd_create(w[1], 0);
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, size))
			return -errno;
		if (is_file)
			for (off = 0; off < size; off += chunk) {
				for (unsigned long i = 0; i < chunk; i += PAGE)
					*(uint32_t *)(fill + i) = 1000 + (off + i) / PAGE;
				if (pwrite(fd, fill, chunk, off) != (long)chunk)
					return -errno;
			}
		dup2(fd, FILE_FD + nr_files);
		close(fd);
		if (is_file)
			snprintf(paths[nr_files], sizeof(*paths), "%s", w[3]);
		snprintf(files[nr_files++], 32, "%s", w[1]);
		return 0;
	}
	if (!strcmp(w[0], "fsync")) {
		for (int i = 0; i < nr_files; i++)
			if (!strcmp(files[i], w[1]))
				return fsync(FILE_FD + i) ? -errno : 0;
		return -ENOENT;
	}
	if (!strcmp(w[0], "dropcache"))
		return put_file("/proc/sys/vm/drop_caches", "1\n");
	if (!strcmp(w[0], "sleep")) {
		usleep(atoi(w[1]) * 1000);
		return 0;
	}
	if (n < 2)
		return -EINVAL;

	/* everything else is said to a process */
	slot = slot_of(w[1]);
	if (slot < 0)
		slot = start_proc(w[1]);
	if (slot < 0)
		return -ENOMEM;
	if (!strcmp(w[0], "proc"))
		return 0;
	if (!strcmp(w[0], "exit") || !strcmp(w[0], "kill")) {
		int pid = procs[slot].pid;

		if (w[0][0] == 'k')
			kill(pid, SIGKILL);
		else {
			used = snprintf(cmd, sizeof(cmd), "%d exit", step);
			used = write(procs[slot].cmd[1], cmd, used);
		}
		while (!gone(pid))
			usleep(2000);
		procs[slot].pid = 0;
		return 0;
	}
	if (!strcmp(w[0], "fork")) {
		int child = free_slot(w[2]);

		if (child < 0)
			return -ENOMEM;
		used = snprintf(cmd, sizeof(cmd), "%d fork %d", step, child);
		used = write(procs[slot].cmd[1], cmd, used);
		r = wait_reply(slot, rep, sizeof(rep));
		if (r)
			return r;
		if (atoi(rep))
			return atoi(rep);
		procs[child].pid = atoi(strchr(rep, ' ') + 1);
		return wait_reply(child, rep, sizeof(rep));
	}
	if (!strcmp(w[0], "split")) {	/* split P R a b [order] */
		unsigned long base = region_addr(region_index(w[2], 0));
		char tail[16] = "";

		if (n > 5)
			snprintf(tail, sizeof(tail), ",%s", w[5]);
		snprintf(cmd, sizeof(cmd), "%d,0x%lx,0x%lx%s", procs[slot].pid,
			 base + strtoul(w[3], 0, 0) * PAGE, base + strtoul(w[4], 0, 0) * PAGE, tail);
		return put_file("/sys/kernel/debug/split_huge_pages", cmd);
	}
	if (!strcmp(w[0], "clearrefs")) {
		snprintf(cmd, sizeof(cmd), "/proc/%d/clear_refs", procs[slot].pid);
		return put_file(cmd, w[2]);
	}
	if (!strcmp(w[0], "poke")) {	/* poke P R a b: write through /proc/PID/mem (FOLL_FORCE) */
		unsigned long base = region_addr(region_index(w[2], 0)), a;
		int fd;

		snprintf(cmd, sizeof(cmd), "/proc/%d/mem", procs[slot].pid);
		fd = open(cmd, O_RDWR);
		if (fd < 0)
			return -errno;
		r = 0;
		for (a = strtoul(w[3], 0, 0); a < strtoul(w[4], 0, 0) && !r; a++) {
			uint32_t v = step;

			if (pwrite(fd, &v, 4, base + a * PAGE) != 4)
				r = -errno;
		}
		close(fd);
		return r;
	}
	used = snprintf(cmd, sizeof(cmd), "%d ", step);
	r = compose(n, w, cmd + used, sizeof(cmd) - used);
	if (r < 0)
		return r;
	used += r;
	used = write(procs[slot].cmd[1], cmd, used);
	r = wait_reply(slot, rep, sizeof(rep));
	if (r)
		return r;
	snprintf(val, vlen, "%s%s", said, strchr(rep, ' ') ? strchr(rep, ' ') + 1 : "");
	return atoi(rep);
}

static void reset(void)
{
	for (int i = 0; i < MAX_PROCS; i++) {
		if (procs[i].pid) {
			kill(procs[i].pid, SIGKILL);
			while (!gone(procs[i].pid))
				usleep(1000);
		}
		procs[i].pid = 0;
		procs[i].name[0] = 0;
	}
	ask(oracle, "releaseall");
	ask(oracle, "begin");			/* nothing of the dead is watched */
	for (int i = 0; i < nr_files; i++) {
		close(FILE_FD + i);
		unlink(paths[i]);		/* O_TRUNC of an old file would drain the LRU batches */
		paths[i][0] = 0;
	}
	nr_files = nr_regions = step = 0;
	autodrain = 1;
	for (unsigned i = 0; i < sizeof(all_sizes) / sizeof(*all_sizes); i++) {
		char path[128];

		mthp(all_sizes[i], "never");
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/shmem_enabled",
			 size_of(all_sizes[i]) >> 10);
		put_file(path, "never");
	}
	syscall(SYS_swapoff, "/dev/zram0");
	ask(oracle, "drain");
}

static void json_escape(const char *s, char *d, int len)
{
	int n = 0;

	for (; *s && n < len - 2; s++) {
		if (*s == '"' || *s == '\\')
			d[n++] = '\\';
		if ((unsigned char)*s >= ' ')
			d[n++] = *s;
	}
	d[n] = 0;
}

static void play(char *text)
{
	static char line[512];
	char *next;

	for (; text && *text; text = next) {
		char *nl = strchr(text, '\n'), *h;
		int r;
		struct timespec t0, t1;

		next = nl ? nl + 1 : NULL;
		snprintf(line, sizeof(line), "%.*s", (int)(nl ? nl - text : (long)strlen(text)), text);
		if ((h = strchr(line, '#')))
			*h = 0;
		for (h = line + strlen(line); h > line && isspace(h[-1]); )
			*--h = 0;
		if (!*line)
			continue;
		if (!strncmp(line, "scenario ", 9)) {
			reset();
			snprintf(scenario, sizeof(scenario), "%s", line + 9);
			out("@B %s\n", scenario);
			continue;
		}
		if (!strncmp(line, "about ", 6))
			continue;		/* the host reads it from the file */
		if (!strcmp(line, "end")) {
			out("@E %s\n", scenario);
			continue;
		}
		if (!strncmp(line, "traced ", 7)) {	/* watch the folios while this line runs */
			tracing = 1;
			memmove(line, line + 7, strlen(line + 7) + 1);
		}
		step++;
		if (!strncmp(line, "race ", 5))
			tracing = 1;
		if (tracing)
			ask(oracle, "trace on");
		clock_gettime(CLOCK_MONOTONIC, &t0);
		r = perform(line, value, SAID);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		if (tracing)
			ask(oracle, "trace off");
		tracing = 0;
		json_escape(value, escaped, 2 * SAID);
		out("@S {\"step\":%d,\"ret\":%d,\"us\":%ld,\"out\":\"", step, r,
		    (t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000);
		out_raw(escaped, strlen(escaped));
		out("\"}\n");
		dump();
	}
	reset();
}

static int load(const char *path)
{
	int fd = open(path, O_RDONLY), r;

	if (fd < 0)
		return -errno;
	r = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return r;
}

int main(void)
{
	struct stat st;
	struct termios raw;
	static char *text;
	int fd, n;
	FILE *f;
	char name[200];

	umask(0);
	mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/t", 0755), mkdir("/x", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("tmpfs", "/t", "tmpfs", 0, "size=256M");
	con = open("/dev/hvc0", O_WRONLY | O_NOCTTY);
	if (con < 0)
		con = open("/dev/console", O_WRONLY | O_NOCTTY);
	if (con < 0)
		con = 1;
	if (!tcgetattr(con, &raw)) {
		raw.c_oflag &= ~OPOST;		/* the kernel need not look at each byte */
		tcsetattr(con, TCSANOW, &raw);
	}
	big = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill = mmap(NULL, FILL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(big, BIG, MADV_DONTFORK);
	madvise(fill, FILL, MADV_DONTFORK);
	said = mmap(NULL, 4 * SAID, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(said, 4 * SAID, MADV_DONTFORK);
	madvise(big, BIG, MADV_POPULATE_WRITE);		/* a first touch later would be in somebody's LRU batch */
	madvise(fill, FILL, MADV_POPULATE_WRITE);
	madvise(said, 4 * SAID, MADV_POPULATE_WRITE);
	value = said + SAID;
	escaped = value + SAID;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);

	f = fopen("/modules.txt", "r");
	while (f && fgets(name, sizeof(name), f)) {
		name[strcspn(name, "\n")] = 0;
		n = load(name);
		if (n)
			out("@X load %s %d\n", name, n);
	}
	if (f)
		fclose(f);
	oracle = open("/proc/mmoracle", O_RDWR);
	if (oracle < 0)
		out("@X no /proc/mmoracle %d\n", errno);

	put_file("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	put_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	put_file("/sys/kernel/mm/transparent_hugepage/defrag", "madvise");
	put_file("/sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "0");
	put_file("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "4000000");
	put_file("/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "4000000");
	put_file("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "1");
	put_file("/proc/sys/kernel/numa_balancing", "0");
	put_file("/proc/sys/vm/swappiness", "60");
	put_file("/proc/sys/vm/dirty_writeback_centisecs", "0");	/* it drains LRU batches */
	put_file("/sys/block/zram0/disksize", "64M");
	if ((fd = open("/dev/zram0", O_RDWR)) >= 0) {	/* the swap signature mkswap would write */
		static char page[4096];
		unsigned pages = (64 << 20) / 4096;

		*(uint32_t *)(page + 1024) = 1;
		*(uint32_t *)(page + 1028) = pages - 1;
		memcpy(page + 4086, "SWAPSPACE2", 10);
		n = write(fd, page, 4096);
		close(fd);
	}
	if (mount("/dev/vda", "/x", "xfs", 0, NULL) && mount("/dev/vda", "/x", "ext4", 0, NULL))
		out("@X no /x %d\n", errno);

	for (int i = 0; i < MAX_PROCS; i++)
		if (pipe(procs[i].cmd) || pipe(procs[i].rep) || pipe(procs[i].rep2))
			out("@X pipe\n");
	ready = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	on_cpu(0);
	start_second(NULL);
	join_second();
	for (int i = 0; i < 2; i++) {
		if (pipe(agents[i].cmd) || pipe(agents[i].rep))
			out("@X pipe\n");
		procs[i] = (struct proc){ .cmd = { agents[i].cmd[0], agents[i].cmd[1] }, .rep = { agents[i].rep[0], agents[i].rep[1] },
					  .rep2 = { procs[i].rep2[0], procs[i].rep2[1] } };
		agents[i].pid = fork();
		if (!agents[i].pid) {
			settle();
			serve(i);
		}
		if (pipe(procs[i].cmd) || pipe(procs[i].rep))
			out("@X pipe\n");
	}
	f = fopen("/proc/version", "r");
	if (f && fgets(name, sizeof(name), f))
		out("@V %s%s", name, strchr(name, '\n') ? "" : "\n");
	if (!access("/want-gdb", F_OK)) {	/* the host sets its breakpoints, then sends a byte */
		ask(oracle, "layout");
		out("@T ");
		out_raw(big, answer(oracle));
		fd = open("/dev/hvc0", O_RDONLY | O_NOCTTY);
		n = read(fd, name, 1);
		close(fd);
	}
	if (!access("/want-layout", F_OK)) {	/* for what a plugin of the emulator logs */
		ask(oracle, "layout");
		out("@T ");
		out_raw(big, answer(oracle));
	}
	fd = open("/scenarios.txt", O_RDONLY);
	if (fd >= 0 && !fstat(fd, &st)) {
		text = malloc(st.st_size + 1);
		n = read(fd, text, st.st_size);
		text[n > 0 ? n : 0] = 0;
		close(fd);
		settle();
		play(text);
	}
	if (!access("/want-kallsyms", F_OK) && (f = fopen("/proc/kallsyms", "r"))) {
		char symbol[512];

		out("@K\n");
		for (n = 0; fgets(symbol, sizeof(symbol), f); ) {
			int len = strlen(symbol);

			if (!strchr("tTwW", symbol[17]))	/* functions: ADDRESS TYPE NAME [MODULE] */
				continue;
			memcpy(big + n, symbol, len);
			if ((n += len) > 1 << 20) {
				out_raw(big, n);
				n = 0;
			}
		}
		out_raw(big, n);
		fclose(f);
	}
	out("@Q\n");
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
