// SPDX-License-Identifier: GPL-2.0
/*
 * mmoracle: print what the kernel really holds for a range of a process.
 *
 * /proc/mmoracle takes one text command per write(2) and hands the answer back
 * (one line of JSON) to read(2) on the same open file:
 *
 *   begin                          forget the folios seen so far
 *   dump PID NR START END ...      page-table entries of the ranges, RSS, flags
 *   folios                         every folio seen since `begin` (and held ones)
 *   hold ID KIND ADDR NR FLAGS     KIND p = pin_user_pages_fast, g = get_user_pages_fast,
 *                                  r = the one page at ADDR, NR times by get_user_pages_fast
 *                                  FLAGS: w = FOLL_WRITE, l = FOLL_LONGTERM, f = FOLL_FORCE, - = none
 *                                  (acts on the caller's own address space)
 *   release ID                     give every page of hold ID back
 *   releaseall
 *   drain                          lru_add_drain_all()
 *   trace on|off                   call mmoracle_trace_on(ranges, n) / _off(), where a
 *                                  debugger may stop: the struct pages of the folios seen and
 *                                  the page-table entries of the last dumps
 *   layout                         addresses of those two, field offsets, page flag numbers
 *
 * Nothing here takes a reference on, or dirties, what is being looked at: a
 * dump may only be asked for while the processes looked at stand still.
 */
#include <linux/module.h>
#include <linux/kernel.h>
#include <linux/version.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/sched/coredump.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/ctype.h>

#define OUT_SIZE	(4UL << 20)
#define MAX_FOLIOS	4096
#define MAX_HOLDS	64

struct session {
	char *out;			/* made by the first command, so that opening is cheap */
	size_t len, size;
	struct mutex lock;
};

struct hold {
	int id, kind, nr;
	struct page **pages;
};

static struct hold holds[MAX_HOLDS];
static DEFINE_SPINLOCK(hold_lock);	/* holds may be taken and given back on two CPUs at once */
static struct folio *seen[MAX_FOLIOS];
static int nr_seen, nr_lost;			/* lost: there was no room for them, the host must say so */
static DEFINE_MUTEX(big_lock);

/* what a debugger should watch: filled by `dump` and `folios`, forgotten by `begin` */
struct watch_range {
	unsigned long addr, len, what;	/* what: 0 = struct pages, else the user address of the entry (+1: a PMD entry) */
	unsigned long extra;		/* pfn of the folio, or pid; minus pid: its RSS counter `what` */
};
static struct watch_range watch[8192];
static int nr_watch, nr_unwatched;

/* read by a TCG plugin when it sees the marked store in trace_on/trace_off (stores.c) */
static struct {
	u64 ranges, n;
	u64 pages, linear;		/* addresses of struct page and of memory for pfn 0 */
	u64 page_size, table_type;	/* of struct page; the page type of page tables */
	u64 mapcount, state;		/* offset of _mapcount (and page type); 1: on, 0: off */
} door;

#define DOOR(v) asm volatile("hint #0x6b\n\tstr %0, [%1]" : : "r" ((u64)(v)), "r" (&door.state) : "memory")

static void note_watch(unsigned long addr, unsigned long len, unsigned long what, unsigned long extra)
{
	if (nr_watch < ARRAY_SIZE(watch))
		watch[nr_watch++] = (struct watch_range){ addr, len, what, extra };
	else
		nr_unwatched++;
}

noinline void mmoracle_trace_on(struct watch_range *w, int n);
noinline void mmoracle_trace_off(void);

noinline void mmoracle_trace_on(struct watch_range *w, int n)
{
	door.ranges = (unsigned long)w;
	door.n = n;
	DOOR(1);
}

noinline void mmoracle_trace_off(void)
{
	DOOR(0);
}
static unsigned long (*lookup)(const char *);
static void (*p_lru_add_drain_all)(void);
static int (*p_swp_swapcount)(swp_entry_t);

static unsigned long find_sym(const char *name)
{
	if (!lookup) {
		struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };

		if (register_kprobe(&kp))
			return 0;
		lookup = (void *)kp.addr;
		unregister_kprobe(&kp);
	}
	return lookup(name);
}

static __printf(2, 3) void say(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	s->len += vscnprintf(s->out + s->len, s->size - s->len, fmt, ap);
	va_end(ap);
}

static void note_folio(struct folio *folio)
{
	int i;

	for (i = 0; i < nr_seen; i++)
		if (seen[i] == folio)
			return;
	if (nr_seen < MAX_FOLIOS)
		seen[nr_seen++] = folio;
	else
		nr_lost++;
}

/* ---- page tables -------------------------------------------------- */

struct run {
	unsigned long va, n, pfn;
	u64 raw, attrs;
	char kind;
	int count;		/* of a swap entry */
};

static void flush_run(struct session *s, struct run *r, bool *first)
{
	if (!r->n)
		return;
	say(s, "%s[\"%c\",%lu,%lu,\"%llx\",%lu", *first ? "" : ",", r->kind,
	    r->va, r->n, r->raw, r->pfn);
	if (r->kind == 's')
		say(s, ",%d", r->count);
	say(s, "]");
	*first = false;
	r->n = 0;
}

/* consecutive entries of one kind whose pfn (or swap offset) grows by one are one run */
static void add_entry(struct session *s, struct run *r, bool *first, char kind,
		      unsigned long va, u64 raw, unsigned long pfn, u64 attrs, int count)
{
	if (r->n && r->kind == kind && r->va + r->n * PAGE_SIZE == va &&
	    (kind == 'z' ? r->pfn == pfn : r->pfn + r->n == pfn) &&
	    attrs == r->attrs && count == r->count) {
		r->n++;
		return;
	}
	flush_run(s, r, first);
	r->kind = kind;
	r->va = va;
	r->raw = raw;
	r->pfn = pfn;
	r->n = 1;
	r->attrs = attrs;
	r->count = count;
}

static void walk_range(struct session *s, struct mm_struct *mm, int pid,
		       unsigned long start, unsigned long end, bool *first)
{
	struct run r = { .n = 0 };
	unsigned long va = start, pmds = 0;

	while (va < end) {
		pgd_t *pgd = pgd_offset(mm, va);
		p4d_t *p4d;
		pud_t *pud;
		pmd_t *pmdp, pmd;
		pte_t *ptep, *lo, *hi;
		unsigned long stop = min(end, (va | ~PMD_MASK) + 1);

		if (pgd_none(*pgd))
			goto next;
		p4d = p4d_offset(pgd, va);
		if (p4d_none(*p4d))
			goto next;
		pud = pud_offset(p4d, va);
		if (pud_none(*pud))
			goto next;
		pmdp = pmd_offset(pud, va);
		if (pmds != ((unsigned long)pmdp & PAGE_MASK)) {
			pmds = (unsigned long)pmdp & PAGE_MASK;	/* for the plugin: all entries of a gigabyte */
			note_watch(pmds, 0, (va & PUD_MASK) | 1, pid);
		}
		pmd = READ_ONCE(*pmdp);
		if (pmd_none(pmd))
			goto next;
		if (!pmd_present(pmd)) {
			flush_run(s, &r, first);
			say(s, "%s[\"M\",%lu,%lu,\"%llx\",0]", *first ? "" : ",",
			    va & PMD_MASK, (unsigned long)PTRS_PER_PTE, (u64)pmd_val(pmd));
			*first = false;
			goto next;
		}
		if ((pmd_val(pmd) & PMD_TYPE_MASK) != PMD_TYPE_TABLE || pmd_leaf(pmd)) {
			flush_run(s, &r, first);
			say(s, "%s[\"H\",%lu,%lu,\"%llx\",%lu]", *first ? "" : ",",
			    va & PMD_MASK, (unsigned long)PTRS_PER_PTE, (u64)pmd_val(pmd),
			    (unsigned long)pmd_pfn(pmd));
			*first = false;
			if (pfn_valid(pmd_pfn(pmd)))
				note_folio(page_folio(pfn_to_page(pmd_pfn(pmd))));
			goto next;
		}
		ptep = pte_offset_kernel(pmdp, va);
		lo = hi = NULL;
		for (; va < stop; va += PAGE_SIZE, ptep++) {
			pte_t pte = READ_ONCE(*ptep);	/* raw: not contpte's gathered view */
			u64 raw = pte_val(pte);

			if (!raw) {
				flush_run(s, &r, first);
				continue;
			}
			if (!lo)
				lo = ptep;
			hi = ptep;
			if (pte_present(pte)) {
				unsigned long pfn = pte_pfn(pte);
				char kind = is_zero_pfn(pfn) ? 'z' :
					    pte_special(pte) ? 'x' :
					    pte_valid(pte) ? 'p' : 'n';

				add_entry(s, &r, first, kind, va, raw, pfn,
					  raw & ~(u64)pte_val(pfn_pte(pfn, __pgprot(0))), 0);
				if ((kind == 'p' || kind == 'n') && pfn_valid(pfn))
					note_folio(page_folio(pfn_to_page(pfn)));
			} else {
				swp_entry_t e = __pte_to_swp_entry(pte);
				bool swap = __swp_type(e) < MAX_SWAPFILES;

				add_entry(s, &r, first, swap ? 's' : 'm', va, raw, __swp_offset(e),
					  raw & 0x7ff,
					  swap && p_swp_swapcount ? p_swp_swapcount(swp_entry(__swp_type(e),
								__swp_offset(e))) : 0);
			}
		}
		flush_run(s, &r, first);
		if (lo)
			note_watch((unsigned long)lo, (hi + 1 - lo) * sizeof(*lo),
				   ((va - 1) & PMD_MASK) +
				   ((unsigned long)lo & ~PAGE_MASK) / sizeof(*lo) * PAGE_SIZE, pid);
		else				/* an empty table: no bytes for a debugger, all for the plugin */
			note_watch((unsigned long)(ptep - 1) & PAGE_MASK, 0, (va - 1) & PMD_MASK, pid);
		continue;
next:
		va = stop;
	}
	flush_run(s, &r, first);
}

static bool has_pinned(struct mm_struct *mm)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	return mm_flags_test(MMF_HAS_PINNED, mm);
#else
	return test_bit(MMF_HAS_PINNED, &mm->flags);
#endif
}

static int do_dump(struct session *s, char *args)
{
	unsigned long range[32];
	int pid, nr, i, n, used = 0;
	struct task_struct *task;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long at;
	bool first;

	if (sscanf(args, "%d %d%n", &pid, &nr, &used) < 2 || nr > 16)
		return -EINVAL;
	args += used;
	for (i = 0; i < 2 * nr; i++) {
		if (sscanf(args, "%li%n", &range[i], &n) < 1)
			return -EINVAL;
		args += n;
	}
	rcu_read_lock();
	task = pid_task(find_vpid(pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return -ESRCH;
	mm = get_task_mm(task);
	put_task_struct(task);
	if (!mm)
		return -ESRCH;

	mmap_read_lock(mm);
	say(s, "{\"pid\":%d,\"rss\":{\"file\":%lu,\"anon\":%lu,\"swap\":%lu,\"shmem\":%lu}",
	    pid, get_mm_counter_sum(mm, MM_FILEPAGES), get_mm_counter_sum(mm, MM_ANONPAGES),
	    get_mm_counter_sum(mm, MM_SWAPENTS), get_mm_counter_sum(mm, MM_SHMEMPAGES));
	say(s, ",\"has_pinned\":%d,\"map_count\":%d,\"total_vm\":%lu,\"pinned_vm\":%llu,\"locked_vm\":%lu",
	    has_pinned(mm), mm->map_count, mm->total_vm, (u64)atomic64_read(&mm->pinned_vm),
	    mm->locked_vm);
#ifdef CONFIG_MM_ID
	say(s, ",\"mm_id\":%u", mm->mm_id);
#endif
	for (i = 0; i < NR_MM_COUNTERS; i++) {	/* of the one CPU the oracle's guest has */
		note_watch((unsigned long)per_cpu_ptr(mm->rss_stat[i].counters, 0), sizeof(s32), i, -pid);
		/* and where a counter goes when it gets large (a debugger leaves it out) */
		note_watch((unsigned long)&mm->rss_stat[i].count, sizeof(s64), 16 + i, -pid);
	}
	note_watch((unsigned long)&mm->write_protect_seq, sizeof(u32), 64, -pid);	/* for the plugin of two CPUs */
	say(s, ",\"vmas\":[");
	first = true;
	for (i = 0; i < nr; i++)
		for (at = range[2 * i]; (vma = find_vma(mm, at)) && vma->vm_start < range[2 * i + 1];
		     at = vma->vm_end) {
			say(s, "%s[%lu,%lu,\"%lx\",%lu,%d]", first ? "" : ",",
			    vma->vm_start, vma->vm_end, (unsigned long)vma->vm_flags,
			    vma->vm_pgoff, !!vma->anon_vma);
			first = false;
		}
	say(s, "],\"ptes\":[");
	first = true;
	for (i = 0; i < nr; i++)
		walk_range(s, mm, pid, range[2 * i], range[2 * i + 1], &first);
	say(s, "]}\n");
	mmap_read_unlock(mm);
	mmput(mm);
	return 0;
}

/* ---- folios ------------------------------------------------------- */

static void rle_put(struct session *s, long long v, unsigned long n, bool *first)
{
	say(s, "%s[%lld,%lu]", *first ? "" : ",", v, n);
	*first = false;
}

#define RLE(name, expr) do {						\
	unsigned long __n = 0, __i;					\
	long long __last = 0, __v;					\
	bool __first = true;						\
									\
	say(s, ",\"" name "\":[");					\
	for (__i = 0; __i < nr; __i++) {				\
		struct page *page = folio_page(folio, __i);		\
									\
		__v = (expr);						\
		if (__n && __v != __last) {				\
			rle_put(s, __last, __n, &__first);		\
			__n = 0;					\
		}							\
		__last = __v;						\
		__n++;							\
	}								\
	rle_put(s, __last, __n, &__first);				\
	say(s, "]");							\
} while (0)

#define FLAG(name) do {							\
	if (folio_test_##name(folio)) {					\
		say(s, "%s\"" #name "\"", f ? "" : ",");		\
		f = false;						\
	}								\
} while (0)

static void say_folio(struct session *s, struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);
	bool large = folio_test_large(folio), f = true;

	say(s, "{\"pfn\":%lu,\"order\":%u,\"ref\":%d", folio_pfn(folio),
	    folio_order(folio), folio_ref_count(folio));
	if (large) {
		say(s, ",\"large_mapcount\":%d,\"entire_mapcount\":%d,\"pincount\":%d",
		    atomic_read(&folio->_large_mapcount), atomic_read(&folio->_entire_mapcount),
		    atomic_read(&folio->_pincount));
#ifndef CONFIG_NO_PAGE_MAPCOUNT			/* else nobody keeps it up */
		say(s, ",\"nr_pages_mapped\":%d", atomic_read(&folio->_nr_pages_mapped));
#endif
#ifdef CONFIG_MM_ID
		say(s, ",\"mm_ids\":\"%lx\",\"mm_id\":[%u,%u],\"mm_id_mapcount\":[%d,%d]",
		    folio->_mm_ids,
		    folio->_mm_id[0] & MM_ID_MASK, folio->_mm_id[1] & MM_ID_MASK,
		    folio->_mm_id_mapcount[0], folio->_mm_id_mapcount[1]);
#endif
		if (folio_order(folio) > 1 && folio_test_large_rmappable(folio))
			say(s, ",\"deferred\":%d", !list_empty(&folio->_deferred_list));
	}
	say(s, ",\"mapping\":\"%s\",\"index\":%lu",
	    folio_test_anon(folio) ? "anon" : !folio->mapping ? "none" :
	    folio_test_swapbacked(folio) ? "shmem" : "file", folio->index);
	if (folio_test_swapcache(folio))
		say(s, ",\"swap\":%lu", swp_offset(folio->swap));
	say(s, ",\"flags\":[");
	FLAG(locked); FLAG(referenced); FLAG(uptodate); FLAG(dirty); FLAG(lru);
	FLAG(active); FLAG(workingset); FLAG(swapbacked); FLAG(swapcache);
	FLAG(unevictable); FLAG(mlocked); FLAG(reclaim); FLAG(writeback);
	if (large) {
		FLAG(large_rmappable);
		FLAG(partially_mapped);
	}
	say(s, "]");
	if (!large || !IS_ENABLED(CONFIG_NO_PAGE_MAPCOUNT))
		RLE("mapcount", atomic_read(&page->_mapcount));
	RLE("exclusive", folio_test_anon(folio) ? PageAnonExclusive(page) : 0);
	if (large)
		RLE("page_ref", page_ref_count(page));
	RLE("data", (long long)*(u32 *)page_address(page));
	say(s, "}");
	note_watch((unsigned long)&folio->page, min(nr, 64UL) * sizeof(struct page), 0, folio_pfn(folio));
}

static int do_folios(struct session *s)
{
	int i, j;

	for (i = 0; i < MAX_HOLDS; i++)
		for (j = 0; j < holds[i].nr; j++)
			note_folio(page_folio(holds[i].pages[j]));
	say(s, "{\"folios\":[");
	for (i = 0; i < nr_seen; i++) {
		if (i)
			say(s, ",");
		say_folio(s, seen[i]);
	}
	say(s, "],\"lost\":%d,\"unwatched\":%d,\"holds\":{", nr_lost, nr_unwatched);
	for (i = 0, j = 0; i < MAX_HOLDS; i++) {
		int k;

		if (!holds[i].pages)
			continue;
		say(s, "%s\"%d\":[\"%c\"", j++ ? "," : "", holds[i].id, holds[i].kind);
		for (k = 0; k < holds[i].nr; k++)
			say(s, ",%lu", page_to_pfn(holds[i].pages[k]));
		say(s, "]");
	}
	say(s, "}}\n");
	return 0;
}

/* ---- holds -------------------------------------------------------- */

static int do_hold(struct session *s, char *args)
{
	int id, nr, got, i;
	unsigned long addr;
	unsigned int gup = 0;
	char kind, flags[16] = "";
	struct page **pages;

	if (sscanf(args, "%d %c %li %d %15s", &id, &kind, &addr, &nr, flags) < 5)
		return -EINVAL;
	if (strchr(flags, 'w'))
		gup |= FOLL_WRITE;
	if (strchr(flags, 'l'))
		gup |= FOLL_LONGTERM;
	if (strchr(flags, 'f'))
		gup |= FOLL_FORCE;
	if (nr < 1 || nr > 8192)
		return -ENOSPC;
	pages = kvcalloc(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	if (kind == 'r') {
		for (got = 0; got < nr; got++)
			if (get_user_pages_fast(addr, 1, gup, pages + got) != 1)
				break;
	} else
		got = kind == 'p' ? pin_user_pages_fast(addr, nr, gup, pages)
				  : get_user_pages_fast(addr, nr, gup, pages);
	if (got <= 0) {
		kvfree(pages);
		return got ? got : -EFAULT;
	}
	spin_lock(&hold_lock);
	for (i = 0; i < MAX_HOLDS - 1 && holds[i].pages; i++)
		;
	holds[i] = (struct hold){ .id = id, .kind = kind, .nr = got, .pages = pages };
	spin_unlock(&hold_lock);
	say(s, "{\"held\":%d}\n", got);
	return 0;
}

static void release(struct hold *from)
{
	struct hold copy, *h = &copy;
	int i;

	spin_lock(&hold_lock);
	copy = *from;
	memset(from, 0, sizeof(*from));
	spin_unlock(&hold_lock);
	if (h->kind == 'p')
		unpin_user_pages(h->pages, h->nr);
	else
		for (i = 0; i < h->nr; i++)
			put_page(h->pages[i]);
	kvfree(h->pages);
}

static int do_release(struct session *s, char *args, bool all)
{
	int id = 0, i, done = 0;

	if (!all && kstrtoint(strim(args), 0, &id))
		return -EINVAL;
	for (i = 0; i < MAX_HOLDS; i++)
		if (holds[i].pages && (all || holds[i].id == id)) {
			done += holds[i].nr;
			release(&holds[i]);
		}
	say(s, "{\"released\":%d}\n", done);
	return done || all ? 0 : -ENOENT;
}

static unsigned long linear_base(struct session *s)
{
	return ((unsigned long)s & PAGE_MASK) - (page_to_pfn(virt_to_page(s)) << PAGE_SHIFT);
}

static int do_layout(struct session *s)
{
#define OFF(f) (unsigned long)offsetof(struct folio, f)
#define BIT_OF(f) say(s, ",\"" #f "\":%d", PG_##f)
	say(s, "{\"zero\":%lu,\"linear\":%lu,\"vmemmap\":%lu,\"on\":%lu,\"off\":%lu,\"page\":%lu,\"fields\":{\"_mapcount\":%lu,\"_refcount\":%lu",
	    page_to_pfn(ZERO_PAGE(0)), linear_base(s), (unsigned long)pfn_to_page(0),
	    (unsigned long)mmoracle_trace_on, (unsigned long)mmoracle_trace_off,
	    (unsigned long)sizeof(struct page), OFF(_mapcount), OFF(_refcount));
	say(s, ",\"flags\":%lu,\"lru.next\":%lu,\"lru.prev\":%lu,\"mapping\":%lu,\"index\":%lu,\"private\":%lu",
	    OFF(flags), OFF(lru), OFF(lru) + 8, OFF(mapping), OFF(index), OFF(private));
#ifdef CONFIG_MEMCG
	say(s, ",\"memcg_data\":%lu", OFF(memcg_data));
#endif
	say(s, ",\"_large_mapcount\":%lu,\"_entire_mapcount\":%lu,\"_nr_pages_mapped\":%lu,\"_pincount\":%lu",
	    OFF(_large_mapcount), OFF(_entire_mapcount), OFF(_nr_pages_mapped), OFF(_pincount));
	say(s, ",\"_flags_1\":%lu,\"deferred.next\":%lu,\"deferred.prev\":%lu", OFF(_flags_1),
	    OFF(_deferred_list), OFF(_deferred_list) + 8);
#ifdef CONFIG_MM_ID
	say(s, ",\"_mm_id_mapcount[0]\":%lu,\"_mm_id_mapcount[1]\":%lu,\"_mm_id[0]\":%lu,\"_mm_id[1]\":%lu",
	    OFF(_mm_id_mapcount[0]), OFF(_mm_id_mapcount[1]), OFF(_mm_id[0]), OFF(_mm_id[1]));
#endif
	say(s, "},\"bits\":{\"anon_exclusive\":%d", PG_anon_exclusive);
	BIT_OF(locked); BIT_OF(referenced); BIT_OF(uptodate); BIT_OF(dirty); BIT_OF(lru);
	BIT_OF(active); BIT_OF(workingset); BIT_OF(swapbacked); BIT_OF(unevictable);
	BIT_OF(mlocked); BIT_OF(head); BIT_OF(waiters);
	say(s, "},\"bits1\":{\"partially_mapped\":%d,\"large_rmappable\":%d}}\n", PG_partially_mapped,
	    PG_large_rmappable);
	return 0;
}

/* ---- the file ----------------------------------------------------- */

static int op_open(struct inode *inode, struct file *file)
{
	struct session *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock);
	file->private_data = s;
	return 0;
}

static int op_release(struct inode *inode, struct file *file)
{
	struct session *s = file->private_data;

	kvfree(s->out);
	kfree(s);
	return 0;
}

static ssize_t op_write(struct file *file, const char __user *ubuf, size_t n, loff_t *pos)
{
	struct session *s = file->private_data;
	char *buf, *cmd, *args;
	int ret = -EINVAL;

	if (n > 4000)
		return -E2BIG;
	buf = memdup_user_nul(ubuf, n);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	cmd = strim(buf);
	args = cmd;
	while (*args && !isspace(*args))
		args++;
	if (*args)
		*args++ = 0;
	s->len = 0;
	if (!s->out) {
		s->size = !strcmp(cmd, "hold") || !strcmp(cmd, "release") ? 512 : OUT_SIZE;
		s->out = kvmalloc(s->size, GFP_KERNEL);
		if (!s->out) {
			kfree(buf);
			return -ENOMEM;
		}
	}
	if (!strcmp(cmd, "hold") || !strcmp(cmd, "release")) {	/* not behind the lock: two may run at once */
		ret = cmd[0] == 'h' ? do_hold(s, args) : do_release(s, args, false);
		kfree(buf);
		*pos = 0;
		return ret ? ret : n;
	}
	mutex_lock(&big_lock);
	if (!strcmp(cmd, "begin")) {
		nr_seen = nr_watch = nr_lost = nr_unwatched = 0;
		ret = 0;
	} else if (!strcmp(cmd, "dump"))
		ret = do_dump(s, args);
	else if (!strcmp(cmd, "folios"))
		ret = do_folios(s);
	else if (!strcmp(cmd, "releaseall"))
		ret = do_release(s, args, true);
	else if (!strcmp(cmd, "drain")) {
		if (p_lru_add_drain_all)
			p_lru_add_drain_all();
		ret = p_lru_add_drain_all ? 0 : -ENOSYS;
	} else if (!strcmp(cmd, "trace")) {
		if (!strcmp(strim(args), "on")) {
			door.linear = linear_base(s);
			door.pages = (unsigned long)pfn_to_page(0);
			door.page_size = sizeof(struct page);
			door.table_type = PGTY_table;
			door.mapcount = offsetof(struct page, _mapcount);
			mmoracle_trace_on(watch, nr_watch);
		}
		else
			mmoracle_trace_off();
		ret = 0;
	} else if (!strcmp(cmd, "layout"))
		ret = do_layout(s);
	mutex_unlock(&big_lock);
	kfree(buf);
	*pos = 0;
	return ret ? ret : n;
}

static ssize_t op_read(struct file *file, char __user *ubuf, size_t n, loff_t *pos)
{
	struct session *s = file->private_data;

	return s->out ? simple_read_from_buffer(ubuf, n, pos, s->out, s->len) : 0;
}

static const struct proc_ops ops = {
	.proc_open = op_open,
	.proc_release = op_release,
	.proc_read = op_read,
	.proc_write = op_write,
	.proc_lseek = default_llseek,
};

static int __init mmoracle_init(void)
{
	p_lru_add_drain_all = (void *)find_sym("lru_add_drain_all");
	p_swp_swapcount = (void *)find_sym("swp_swapcount");
	if (!proc_create("mmoracle", 0666, NULL, &ops))
		return -ENOMEM;
	return 0;
}

static void __exit mmoracle_exit(void)
{
	remove_proc_entry("mmoracle", NULL);
}

module_init(mmoracle_init);
module_exit(mmoracle_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("print page-table entries and folio counters of a process");
