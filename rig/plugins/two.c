/*
 * two: a TCG plugin for QEMU 7.2 (system emulation, arm64 guest, two CPUs, -accel tcg,thread=single) that plays a
 * chosen interleaving of two calls: it lets one vCPU run to a landmark, freezes it there, and lets the other one run.
 *
 *   -plugin file=two.so,log=FILE,plan=FILE[,ram=0x40000000][,size=0x40000000]
 *
 * How it works
 * - Each worker of the guest executes `hint #0x6c` (x0: number of the race) right before its call and `hint #0x6d`
 *   behind it.  The first one stops its vCPU; when both stand there the window opens and the phases of the race run.
 * - A vCPU is frozen with cpu_stop_current() and woken with cpu_resume(), which the Debian binary exports.  With
 *   thread=single one host thread runs the vCPUs in turn, so a stopped one is merely skipped, and what the other does
 *   is totally ordered.  Nothing waits for the frozen one, TLB maintenance by broadcast included.
 * - In the window QEMU's `singlestep` is on: blocks of one instruction, which leave at the next one.  So "after a
 *   store" is exact.  At the beginning of such a block all registers are in memory, so "before" is exact too: the
 *   callback works out the address the store goes to, and leaves by cpu_loop_exit_noexc() without executing it.
 * - Watched: struct pages of the folios and the page tables of the guest's last dump (the module's door, as in
 *   stores.c), folios that get their first anonymous rmap in the window, tables installed for an address of a region.
 * - A vCPU that waits for the frozen one is noticed by the slow paths of the spin locks, by idling, or by LIMIT
 *   instructions without a watched store, those of interrupts not counted; the other one is then let go on.
 *
 * plan: lines
 *   H ADDRESS KIND NAME            a function's entry (KIND as in stores.c; l: lock slow path; i: idle; e: death; q: interrupt)
 *   W ID PAGE OFFSET MASK NAME     a 32-bit word of struct page (PAGE -1: of each page)
 *   R ID CPU KIND ARG N ; ...      a race: phases.  a all; s/b after/before the Nth watched store; w/v after/before
 *                                  the Nth to word ARG; f before the Nth entry of function ARG (number of its H line);
 *                                  i after N kernel instructions
 * log: text, one event a line (see rig/racelog.py)
 */
#define PLUGIN "two"
#include "shadow.h"

/* ---- state ---------------------------------------------------------- */
#define HINT_START	0xd5032d9fu
#define HINT_END	0xd5032dbfu
#define ERET		0xd69f03e0u
#define MAX_HOOKS	256
#define MAX_WORDS	64
#define MAX_PHASES	16
#define MAX_RANGES	256
#define PTE_WORD	100
#define SEQ_WORD	101			/* mm->write_protect_seq */
#define REGION_LO	0x100000000ul
#define REGION_HI	(REGION_LO + 12 * 0x2000000ul)

struct phase { int cpu; char kind; int arg; uint64_t n; };
struct race { long id; int n; struct phase p[MAX_PHASES]; };

static FILE *logf;
static bool armed, window, snapshots = true;
static uint8_t *watched;			/* by page of RAM: 1 + index in its folio (capped) */
static uint64_t *watch_list;
static unsigned nr_watch, cap_watch;
static struct { uint64_t addr; char kind; char name[64]; } hooks[MAX_HOOKS];
static unsigned nr_hooks;
static struct { int id, page; unsigned off; uint32_t mask; } words[MAX_WORDS];
static unsigned nr_words;
static struct { uint64_t addr; uint32_t old; int word; } extra[32];
static unsigned nr_extra;
static struct race *races, *race;
static unsigned nr_races;

static bool arrived[2], done[2], blocked[2], in_irq[2];
static uint64_t mark_id[2];
static uint64_t cur_va[2], skip_pc[2];
static uint64_t count, total[2];		/* of the landmark in this phase; stores in the window */
static uint64_t insns, quiet, all_insns;	/* in this phase; since the last watched store; in the window */
static uint64_t k_insns[2];
static int running, phase, switches, idles;
static uint64_t limit = 400000, limit_all = 60000000;

static void put_callers(unsigned cpu)
{
	uint64_t fp = reg(cpu, 29), pair[2];

	for (int i = 0; i < 4 && KERNEL(fp) && load(cpu, fp, pair, 16); i++) {
		fp = pair[0];
		if (!KERNEL(pair[1]))
			break;
		fprintf(logf, " %" PRIx64, pair[1] - 4);
	}
}

/* ---- what is followed ------------------------------------------------ */

static void follow_table(uint64_t va, uint64_t at, int64_t pid)
{
	if (!shadow_table(va))
		return;
	fprintf(logf, "T %" PRIx64 " %" PRIx64 " %" PRId64 "\n", va & ~4095ul, at, pid);
}

static void watch_folio(uint64_t pfn, uint64_t nr)
{
	uint64_t page = pfn - (ram_at >> 12);

	for (uint64_t i = 0; i < nr && page + i < ram_size >> 12; i++) {
		if (!watched[page + i]) {
			if (nr_watch == cap_watch)
				watch_list = realloc(watch_list, 8 * (cap_watch = 2 * cap_watch + 64));
			watch_list[nr_watch++] = page + i;
		}
		watched[page + i] = 1 + (i < 64 ? i : 64);
	}
}

static void door_cb(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *pc)
{
	struct door d;
	struct range *r;

	if (getenv("TWO_DEBUG"))
		fprintf(logf, "# door cpu %u\n", cpu);
	cpu_memory_rw_debug(qemu_get_cpu(cpu), va - offsetof(struct door, state), &d, sizeof(d), false);
	if (!vm_shadow) {
		open_vmemmap(&d);
		watched = calloc(ram_size >> 12, 1);
	}
	while (nr_followed)
		drop_table(followed[0]);
	while (nr_watch)
		watched[watch_list[--nr_watch]] = 0;
	nr_extra = 0;
	armed = d.state;
	if (!armed) {
		fflush(logf);
		return;
	}
	r = malloc(d.n * sizeof(*r));
	load(cpu, d.ranges, r, d.n * sizeof(*r));
	fprintf(logf, "A\n");
	for (uint64_t i = 0; i < d.n; i++) {
		if (r[i].extra < 0) {
			if (r[i].what == 64 && nr_extra < 32) {
				extra[nr_extra].addr = r[i].addr;
				extra[nr_extra].word = SEQ_WORD;
				load(cpu, r[i].addr, &extra[nr_extra++].old, 4);
				fprintf(logf, "M %" PRIx64 " %" PRId64 "\n", r[i].addr, -r[i].extra);
			}
			continue;
		}
		if (r[i].what & 1)
			continue;			/* PMD entries: no landmark counts them */
		if (r[i].what == 0)
			watch_folio(r[i].extra, r[i].len / page_size);
		else
			follow_table(r[i].addr, r[i].what - (r[i].addr & 4095) / 8 * 4096, r[i].extra);
	}
	free(r);
}

/* ---- the controller --------------------------------------------------- */

static void snapshot(void)
{
	if (!snapshots)
		return;
	for (unsigned i = 0; i < nr_watch; i++) {
		uint64_t va = vm_lo + watch_list[i] * page_size;

		fprintf(logf, "C %" PRIx64 " %d", watch_list[i] + (ram_at >> 12), watched[watch_list[i]] - 1);
		for (unsigned o = 0; o < page_size; o += 8)
			fprintf(logf, " %" PRIx64, *(uint64_t *)(vm_shadow + (va - vm_lo) + o));
		fputc('\n', logf);
	}
	for (unsigned i = 0; i < nr_followed; i++)
		for (unsigned e = 0; e < 512; e++) {
			uint64_t v = *(uint64_t *)(ram + (followed[i] << 12) + 8 * e);

			if (v)
				fprintf(logf, "E %" PRIx64 " %u %" PRIx64 "\n", lin_lo + (followed[i] << 12), e, v);
		}
}

static void run_cpu(int cpu)
{
	running = cpu;
	count = insns = quiet = 0;
	cpu_resume(qemu_get_cpu(cpu));
}

static void close_window(const char *how)
{
	fprintf(logf, "Z %ld %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", race ? race->id : -1, how, total[0], total[1],
		k_insns[0], k_insns[1]);
	fflush(logf);
	window = false;
	singlestep = 0;
	race = NULL;
	arrived[0] = arrived[1] = done[0] = done[1] = false;
	skip_pc[0] = skip_pc[1] = 0;
	cpu_resume(qemu_get_cpu(0));
	cpu_resume(qemu_get_cpu(1));
}

/* the running CPU is through with its phase: who is next?  In the callback of the running CPU. */
static void next_phase(unsigned cpu, const char *why, uint64_t pc)
{
	int next = -1;

	fprintf(logf, "X %u %d %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIx64, cpu, phase, why, count, total[cpu], k_insns[cpu], pc);
	if (KERNEL(pc))
		put_callers(cpu);
	fputc('\n', logf);
	snapshot();
	if (done[0] && done[1]) {
		close_window("ok");
		return;
	}
	if (++switches > 200) {
		close_window("free");
		return;
	}
	while (phase < race->n) {
		phase++;
		if (phase < race->n && !done[race->p[phase].cpu] && !(blocked[race->p[phase].cpu] && race->p[phase].cpu == (int)cpu)) {
			next = race->p[phase].cpu;
			break;
		}
	}
	if (next < 0)				/* what is left runs to its end; one who waits yields */
		next = blocked[cpu] && !done[!cpu] ? !cpu : !done[0] ? (blocked[0] && !done[1] && cpu == 0 ? 1 : 0) : 1;
	blocked[next] = false;
	if (next == (int)cpu) {
		count = insns = quiet = 0;
		return;
	}
	run_cpu(next);
	cpu_stop_current();
}

static struct phase *now(unsigned cpu)
{
	return phase < race->n && race->p[phase].cpu == (int)cpu ? &race->p[phase] : NULL;
}

static void leave_before(unsigned cpu, uint64_t pc, const char *why)
{
	skip_pc[cpu] = pc;
	next_phase(cpu, why, pc);
	if (running != (int)cpu)
		cpu_loop_exit_noexc(qemu_get_cpu(cpu));
	skip_pc[cpu] = 0;			/* it just goes on */
}

static void wait_for_other(unsigned cpu, const char *why, uint64_t pc)
{
	if (done[!cpu]) {			/* nobody to wait for: a device, or it died of a signal */
		if (why[0] == 'i' && ++idles > 3)
			close_window("asleep");
		return;
	}
	blocked[cpu] = true;
	next_phase(cpu, why, pc);
}

static void start_cb(unsigned cpu, void *pc)
{
	if (cpu > 1)
		return;
	if (window)
		close_window("lost");
	mark_id[cpu] = reg(cpu, 0);
	if (getenv("TWO_DEBUG"))
		fprintf(logf, "# start cpu %u\n", cpu);
	arrived[cpu] = true;
	done[cpu] = false;
	cpu_stop_current();
	if (!arrived[0] || !arrived[1])
		return;
	race = NULL;
	for (unsigned i = 0; i < nr_races; i++)
		if (races[i].id == (long)mark_id[cpu])
			race = &races[i];
	if (!race || !armed) {
		fprintf(logf, "? no plan for race %ld\n", (long)mark_id[cpu]);
		close_window("none");
		return;
	}
	fprintf(logf, "R %ld\n", race->id);
	window = true;
	singlestep = 1;
	blocked[0] = blocked[1] = in_irq[0] = in_irq[1] = false;
	total[0] = total[1] = k_insns[0] = k_insns[1] = all_insns = 0;
	skip_pc[0] = skip_pc[1] = 0;
	cur_va[0] = cur_va[1] = 0;
	phase = switches = idles = 0;
	run_cpu(race->n ? race->p[0].cpu : 0);
}

static void end_cb(unsigned cpu, void *pc)
{
	if (cpu > 1 || !window)
		return;
	done[cpu] = true;
	next_phase(cpu, "end", (uint64_t)pc);
}

static void block_cb(unsigned cpu, void *p)
{
	uint64_t pc = (uint64_t)p;

	if (!window || (int)cpu != running)
		return;
	if (++all_insns > limit_all) {
		close_window("long");
		return;
	}
	if (!in_irq[cpu] && ++quiet > limit && !done[!cpu]) {	/* how many ticks come is the host's affair */
		wait_for_other(cpu, "spin", pc);
		quiet = 0;
		if (running != (int)cpu)
			cpu_loop_exit_noexc(qemu_get_cpu(cpu));
		return;
	}
	if (KERNEL(pc)) {
		struct phase *ph = now(cpu);

		if (ph && ph->kind == 'i' && k_insns[cpu] >= ph->n && pc != skip_pc[cpu]) {
			leave_before(cpu, pc, "insn");
			return;
		}
		if (pc == skip_pc[cpu] && ph && ph->kind == 'i')
			skip_pc[cpu] = 0;
		k_insns[cpu]++;
	}
}

/* ---- stores ------------------------------------------------------------ */

static void seen(unsigned cpu, void *pc, int word, uint64_t addr, uint64_t old, uint64_t new)
{
	struct phase *ph;

	total[cpu] += word != SEQ_WORD;		/* each VMA has its own, so they would only shift the count */
	quiet = 0;
	fprintf(logf, "S %u %" PRIu64 " %" PRIu64 " %d %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64, cpu, total[cpu], k_insns[cpu], word, (uint64_t)pc, addr, old, new);
	put_callers(cpu);
	fputc('\n', logf);
	if ((int)cpu != running)
		return;
	ph = now(cpu);
	if (!ph)
		return;
	if (((ph->kind == 's' || ph->kind == 'b') && word != SEQ_WORD) || ((ph->kind == 'w' || ph->kind == 'v') && ph->arg == word)) {
		count++;
		if ((ph->kind == 's' || ph->kind == 'w') && count >= ph->n)
			next_phase(cpu, "after", (uint64_t)pc);
	}
}

/* the watched word at this address, or -1 */
static int word_at(uint64_t a, uint32_t diff)
{
	uint64_t page = (a - vm_lo) / page_size;
	unsigned o = (a - vm_lo) % page_size, idx;

	if (!watched[page])
		return -1;
	idx = watched[page] - 1;
	for (unsigned i = 0; i < nr_words; i++)
		if (words[i].off == o && (words[i].page == (int)idx || words[i].page == -1) && (diff & words[i].mask))
			return words[i].id;
	return -1;
}

static void store_cb(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *pc)
{
	uint64_t a, end;

	if (va - vm_lo < vm_hi - vm_lo) {
		end = va + (1u << qemu_plugin_mem_size_shift(info));
		for (a = va & ~7ul; a < end; a += 8) {
			uint64_t *old = (void *)(vm_shadow + (a - vm_lo)), was = *old;
			uint64_t now = *(uint64_t *)(vm_host[(a >> 21) - (vm_lo >> 21)] + (a & 0x1fffff));

			if (was == now)
				continue;
			*old = now;
			if (!armed)
				continue;
			if (window)
				for (int h = 0; h < 8; h += 4) {
					uint32_t x = was >> 8 * h, y = now >> 8 * h;
					int w = x == y ? -1 : word_at(a + h, x ^ y);

					if (w >= 0)
						seen(cpu, pc, w, a + h, x, y);
				}
			if ((a - vmemmap0) % page_size == type_at && (was ^ now) << 32) {
				uint64_t page = (a - vm_lo) / page_size;

				if ((uint32_t)now >> 24 != table_type && tables[page])
					drop_table(page);
			}
		}
		return;
	}
	if (!armed)
		return;
	if (va - lin_lo < lin_hi - lin_lo) {
		char *shadow = tables[(va - lin_lo) >> 12];

		if (shadow) {
			end = va + (1u << qemu_plugin_mem_size_shift(info));
			for (a = va & ~7ul; a < end; a += 8) {
				uint64_t *old = (void *)(shadow + (a & 4095)), was = *old;
				uint64_t now = *(uint64_t *)(ram + (a - lin_lo));

				if (was != now) {
					*old = now;
					if (window)
						seen(cpu, pc, PTE_WORD, a, was, now);
				}
			}
			return;
		}
	}
	for (unsigned i = 0; i < nr_extra; i++)
		if (va < extra[i].addr + 4 && va + (1u << qemu_plugin_mem_size_shift(info)) > extra[i].addr) {
			uint32_t now = extra[i].old;

			load(cpu, extra[i].addr, &now, 4);
			if (now != extra[i].old && window)
				seen(cpu, pc, extra[i].word, extra[i].addr, extra[i].old, now);
			extra[i].old = now;
		}
}

/* where a store instruction goes; 0: not understood */
static uint64_t target(unsigned cpu, uint32_t op, unsigned *len)
{
	unsigned rn = op >> 5 & 31, size = op >> 30;
	uint64_t base = reg(cpu, rn);

	*len = 1u << size;
	if ((op & 0x3f000000) == 0x08000000) {		/* exclusive, release, cas */
		if (op & 0x00400000)
			return 0;			/* a load */
		return base;
	}
	if ((op & 0x3fc00000) == 0x39000000)		/* unsigned offset */
		return base + ((op >> 10 & 0xfff) << size);
	if ((op & 0x3fe00000) == 0x38000000) {
		int64_t imm = (int64_t)((uint64_t)(op >> 12 & 0x1ff) << 55) >> 55;

		return (op >> 10 & 3) == 1 ? base : base + imm;
	}
	if ((op & 0x3fe00c00) == 0x38200800) {		/* register offset */
		uint64_t m = (op >> 16 & 31) == 31 ? 0 : reg(cpu, op >> 16 & 31);
		unsigned s = op >> 12 & 1 ? size : 0;

		switch (op >> 13 & 7) {
		case 2: m = (uint32_t)m; break;
		case 6: m = (int64_t)(int32_t)m; break;
		}
		return base + (m << s);
	}
	if ((op & 0x3fe00c00) == 0x38200000)		/* LSE atomics: not on a72 */
		return base;
	if ((op & 0x3e400000) == 0x28000000) {		/* pairs */
		unsigned sc = op >> 31 ? 3 : 2;
		int64_t imm = (int64_t)((uint64_t)(op >> 15 & 0x7f) << 57) >> 57;

		*len = 2u << sc;
		return (op >> 23 & 3) == 1 ? base : base + (imm << sc);
	}
	return 0;
}

struct before { uint64_t pc; uint32_t op; };

/* the bytes a store instruction is about to write, as far as general registers hold them */
static void stored(unsigned cpu, uint32_t op, unsigned len, uint64_t v[2])
{
	bool pair = (op & 0x3e400000) == 0x28000000;
	unsigned rt[2] = { op & 31, op >> 10 & 31 };

	for (int i = 0; i < 1 + pair; i++)
		v[i] = rt[i] == 31 ? 0 : reg(cpu, rt[i]);
	if (pair && len == 8)
		v[0] = (uint32_t)v[0] | v[1] << 32;
}

/* the watched word that a store of len bytes of v to va changes, or -1 */
static int about_to_change(unsigned cpu, uint64_t va, unsigned len, uint64_t v[2])
{
	uint8_t *from = (void *)v;
	int word = -1;

	if (va - vm_lo < vm_hi - vm_lo)
		for (uint64_t a = va & ~3ul; a < va + len && word < 0; a += 4) {
			uint32_t was = *(uint32_t *)(vm_shadow + (a - vm_lo)), now = was;

			for (unsigned i = 0; i < 4; i++)
				if (a + i - va < len)
					((uint8_t *)&now)[i] = from[a + i - va];
			if (was != now)
				word = word_at(a, was ^ now);
		}
	else if (va - lin_lo < lin_hi - lin_lo && tables[(va - lin_lo) >> 12])
		word = memcmp(tables[(va - lin_lo) >> 12] + (va & 4095), from, len) ? PTE_WORD : -1;
	else
		for (unsigned i = 0; i < nr_extra; i++)
			if (va < extra[i].addr + 4 && va + len > extra[i].addr)
				word = extra[i].word;
	return word;
}

static void before_cb(unsigned cpu, void *p)
{
	struct before *b = p;
	struct phase *ph;
	uint64_t va, v[2] = { 0, 0 };
	unsigned len;
	int word;

	if (!window || (int)cpu != running || !(ph = now(cpu)) || (ph->kind != 'b' && ph->kind != 'v') || count + 1 < ph->n)
		return;
	if (b->pc == skip_pc[cpu]) {
		skip_pc[cpu] = 0;
		return;
	}
	va = target(cpu, b->op, &len);
	if (!va)
		return;
	stored(cpu, b->op, len, v);
	word = about_to_change(cpu, va, len, v);
	if (word < 0 || (ph->kind == 'v' && ph->arg != word) || (ph->kind == 'b' && word == SEQ_WORD))
		return;
	leave_before(cpu, b->pc, "before");
}

static void hook_cb(unsigned cpu, void *which)
{
	uint64_t n = (uint64_t)which, w = 0;
	struct phase *ph;

	if (!window || cpu > 1)
		return;
	switch (hooks[n].kind) {
	case 'l':				/* only the holder can end this, and it is frozen */
		if ((int)cpu != running)
			return;
		if (skip_pc[cpu] == hooks[n].addr) {	/* tries again */
			skip_pc[cpu] = 0;
			return;
		}
		wait_for_other(cpu, "lock", hooks[n].addr);
		if (running != (int)cpu) {
			skip_pc[cpu] = hooks[n].addr;
			cpu_loop_exit_noexc(qemu_get_cpu(cpu));
		}
		return;
	case 'i':
		if ((int)cpu == running)
			wait_for_other(cpu, "idle", hooks[n].addr);
		return;
	case 'q':				/* the handler of interrupts; its end is an eret */
		in_irq[cpu] = true;
		return;
	case 'e':				/* do_task_dead(): a worker that ended itself has no mark behind its call */
		if ((int)cpu == running && !done[cpu])
			end_cb(cpu, (void *)hooks[n].addr);
		return;
	case 'A':				/* handle_mm_fault(vma, address, ...) */
		cur_va[cpu] = reg(cpu, 1);
		break;
	case 'V':				/* copy_page_range(dst_vma, src_vma) */
		load(cpu, reg(cpu, 1), &cur_va[cpu], 8);
		break;
	case 'M':				/* move_page_tables(struct pagetable_move_control *) or (vma, old, new_vma, new) */
		load(cpu, reg(cpu, 0) + 32, &w, 8);
		cur_va[cpu] = w >= REGION_LO && w < REGION_HI ? w : reg(cpu, 3);
		break;
	case 'p':				/* pmd_install(mm, pmd, &page) */
		if (cur_va[cpu] >= REGION_LO && cur_va[cpu] < REGION_HI && load(cpu, reg(cpu, 2), &w, 8)) {
			uint64_t pmd = (reg(cpu, 1) & 4095) / 8 << 21;

			follow_table(lin_lo + (((w - vmemmap0) / page_size << 12) - ram_at), (cur_va[cpu] & ~0x3ffffffful) + pmd, 0);
		}
		break;
	case 'f':				/* folio_add_new_anon_rmap(folio, vma, address, flags) */
		w = reg(cpu, 2);
		if (w >= REGION_LO && w < REGION_HI) {
			uint64_t f = reg(cpu, 0), head = *(uint64_t *)(vm_shadow + (f - vm_lo)), nr = 1;

			for (unsigned i = 0; i < nr_words; i++)
				if (words[i].id == 99 && head & words[i].mask)
					nr = 1ul << (vm_shadow[f - vm_lo + page_size] & 255);
			fprintf(logf, "F %" PRIx64 " %" PRIu64 "\n", (f - vmemmap0) / page_size, nr);
			watch_folio((f - vmemmap0) / page_size, nr);
		}
		break;
	}
	if ((int)cpu != running || !(ph = now(cpu)) || ph->kind != 'f' || ph->arg != (int)n)
		return;
	if (skip_pc[cpu] == hooks[n].addr) {
		skip_pc[cpu] = 0;
		return;
	}
	if (++count >= ph->n)
		leave_before(cpu, hooks[n].addr, "entry");
}

static void eret_cb(unsigned cpu, void *p)
{
	if (cpu < 2)
		in_irq[cpu] = false;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool door = false;

	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *in = qemu_plugin_tb_get_insn(tb, i);
		uint64_t pc = qemu_plugin_insn_vaddr(in);
		uint32_t op;

		if (i == 0 && (singlestep || n == 1))
			qemu_plugin_register_vcpu_tb_exec_cb(tb, block_cb, CB_R_REGS, (void *)pc);
		memcpy(&op, qemu_plugin_insn_data(in), 4);
		if (!KERNEL(pc)) {
			if (op == HINT_START)
				qemu_plugin_register_vcpu_insn_exec_cb(in, start_cb, CB_R_REGS, (void *)pc);
			if (op == HINT_END)
				qemu_plugin_register_vcpu_insn_exec_cb(in, end_cb, CB_R_REGS, (void *)pc);
			continue;
		}
		if (op == ERET)
			qemu_plugin_register_vcpu_insn_exec_cb(in, eret_cb, CB_NO_REGS, NULL);
		for (unsigned k = 0; k < nr_hooks; k++)
			if (hooks[k].addr == pc)
				qemu_plugin_register_vcpu_insn_exec_cb(in, hook_cb, CB_R_REGS, (void *)(uint64_t)k);
		if ((op & 0x0a000000) == 0x08000000) {
			if (singlestep && !door) {
				struct before *b = malloc(sizeof(*b));

				*b = (struct before){ pc, op };
				qemu_plugin_register_vcpu_insn_exec_cb(in, before_cb, CB_R_REGS, b);
			}
			qemu_plugin_register_vcpu_mem_cb(in, door ? door_cb : store_cb, CB_R_REGS, MEM_W, (void *)pc);
		}
		door = op == HINT_DOOR;
	}
}

static void bye(qemu_plugin_id_t id, void *p)
{
	fclose(logf);
}

static bool read_plan(const char *path)
{
	FILE *f = fopen(path, "r");
	static char line[4096];

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == 'H' && nr_hooks < MAX_HOOKS) {
			if (sscanf(line, "H %lx %c %63s", &hooks[nr_hooks].addr, &hooks[nr_hooks].kind, hooks[nr_hooks].name) == 3)
				nr_hooks++;
		} else if (line[0] == 'W' && nr_words < MAX_WORDS) {
			if (sscanf(line, "W %d %d %u %x", &words[nr_words].id, &words[nr_words].page, &words[nr_words].off, &words[nr_words].mask) == 4)
				nr_words++;
		} else if (line[0] == 'L')
			sscanf(line, "L %lu %lu", &limit, &limit_all);
		else if (line[0] == 'N')
			snapshots = false;
		else if (line[0] == 'R') {
			struct race *r;
			char *at = line + 1;
			int used;

			races = realloc(races, (nr_races + 1) * sizeof(*races));
			r = &races[nr_races++];
			r->n = 0;
			if (sscanf(at, "%ld%n", &r->id, &used) != 1)
				return false;
			at += used;
			while (r->n < MAX_PHASES && sscanf(at, " %d %c %d %lu%n", &r->p[r->n].cpu, &r->p[r->n].kind, &r->p[r->n].arg,
							   &r->p[r->n].n, &used) == 4) {
				at += used;
				r->n++;
				while (*at == ' ' || *at == ';')
					at++;
			}
		}
	}
	fclose(f);
	return true;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	const char *plan = NULL;

	for (int i = 0; i < argc; i++) {
		char *v = strchr(argv[i], '=');

		if (!v)
			return -1;
		v++;
		if (!strncmp(argv[i], "log=", 4))
			logf = fopen(v, "w");
		else if (!strncmp(argv[i], "ram=", 4))
			ram_at = strtoull(v, NULL, 0);
		else if (!strncmp(argv[i], "size=", 5))
			ram_size = strtoull(v, NULL, 0);
		else if (!strncmp(argv[i], "plan=", 5))
			plan = v;
	}
	if (!logf || !plan || !read_plan(plan))
		return -1;
	setvbuf(logf, NULL, getenv("TWO_DEBUG") ? _IOLBF : _IOFBF, 1 << 20);
	regs = g_byte_array_new();
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, bye, NULL);
	return 0;
}
