/*
 * stores: a TCG plugin for QEMU 7.2 (system emulation, arm64 guest, one CPU) that logs, while the guest
 * module says so, every store of the kernel that changes a struct page, a page table or a counter it was told.
 *
 *   -plugin file=stores.so,log=FILE,hooks=FILE[,ram=0x40000000][,size=0x40000000]
 *
 * How it works
 * - At translation every store instruction of kernel code gets a callback with its own address as datum, so the
 *   pc needs no registers.  User code is left alone.
 * - The guest's mmoracle_trace_on/off() store to `door` right behind a `hint #0x6b`: translation sees the hint
 *   and gives that store another callback, which reads the door.  No address has to be known before the boot.
 * - Callbacks run after the access.  A shadow copy tells old from new: of all struct pages (always kept up to
 *   date, as any store to them comes by here), of each page table followed and of the counters.
 * - hooks: lines `ADDRESS KIND NAME`; a function entry is the first instruction of a translation block, where
 *   the guest's registers are in memory, so its arguments can be read.  Before a store TCG writes the
 *   registers back too (a store may fault), so the frame pointer is exact in the callback.
 * - Page tables followed: those of the ranges (whole pages), those pmd_install() brings in and those
 *   contpte_set_ptes() writes; tables of PMD entries likewise, and those pmd_install() and copy_huge_pmd() put
 *   an entry into.  One is dropped when it stops having the page type of a table.
 * - What public plugin functions of 7.2 do not give (registers, values) comes from functions that the Debian
 *   binary exports for its modules: aarch64_cpu_gdb_read_register, cpu_memory_rw_debug, qemu_get_cpu,
 *   cpu_physical_memory_map, cpu_get_phys_page_debug.  `nm -D` of the binary must show them.
 *
 * What passes it by: `dc zva` (clearing a page), devices, and AF/dirty set by the CPU itself (cortex-a72 does not
 * set them; with a CPU that does, such a change shows up in the next store to that entry).  A new table was
 * cleared before it is followed, and its shadow is taken then.
 *
 * Log: records of 64-bit words, little endian; first word: kind | (words that follow << 32).
 *   1 on: 4 words a range (see watch_range)      2 off
 *   3 store: pc, address of the 8-byte word, old, new, caller, caller, caller
 *   4 call: hook number, x0..x5, caller, caller, caller
 *   5 content: address, words...                 6 table followed: address (page), reason (0 a range,
 *                                                  2 pmd_install, 3 contpte_set_ptes, 4 of PMD entries)
 *   7 table dropped: address
 */
#define PLUGIN "stores"
#include "shadow.h"

/* ---- state ---------------------------------------------------------- */
#define MAX_HOOKS	32
#define MAX_WORDS	256

static FILE *logf;
static bool tracing;
static struct { uint64_t addr, old; } words[MAX_WORDS];	/* counters */
static unsigned nr_words;
static uint8_t word_bits[8192];			/* by 64-byte line, hashed */
static struct { uint64_t addr; char kind; char name[64]; } hooks[MAX_HOOKS];
static unsigned nr_hooks;
static uint64_t stat_cb, stat_rec;

static void put(const uint64_t *w, unsigned kind, unsigned n)
{
	uint64_t head = kind | (uint64_t)n << 32;

	fwrite(&head, 8, 1, logf);
	if (n)
		fwrite(w, 8, n, logf);
	stat_rec++;
}

static void callers(uint64_t *out)
{
	uint64_t fp = reg(0, 29), pair[2];

	for (int i = 0; i < 3; i++) {
		out[i] = 0;
		if (!KERNEL(fp) || !load(0, fp, pair, 16)) {
			fp = 0;
			continue;
		}
		fp = pair[0];
		if (!KERNEL(pair[1])) {
			fp = 0;
			continue;
		}
		out[i] = pair[1] - 4;
	}
}

static void put_content(uint64_t va, uint64_t n)
{
	uint64_t head = 5 | (1 + n / 8) << 32, w;

	fwrite(&head, 8, 1, logf);
	fwrite(&va, 8, 1, logf);
	for (uint64_t i = 0; i < n; i += 8) {
		w = 0;
		load(0, va + i, &w, 8);
		fwrite(&w, 8, 1, logf);
	}
}

/* ---- what is followed ------------------------------------------------ */

static void follow_table(uint64_t va, unsigned why)
{
	if (!shadow_table(va))
		return;
	put((uint64_t[]){ va & ~4095ul, why }, 6, 2);
	put_content(va & ~4095ul, 4096);
}

static void door_cb(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t va, void *pc)
{
	struct door d;
	struct range *r;

	cpu_memory_rw_debug(qemu_get_cpu(0), va - offsetof(struct door, state), &d, sizeof(d), false);
	if (!vm_shadow)
		open_vmemmap(&d);
	if (tracing && !d.state) {
		while (nr_followed)
			drop_table(followed[0]);
		put(NULL, 2, 0);
		fflush(logf);
	}
	tracing = d.state;
	if (!tracing)
		return;
	r = malloc(d.n * sizeof(*r));
	load(0, d.ranges, r, d.n * sizeof(*r));
	put((void *)r, 1, d.n * 4);
	nr_words = 0;
	memset(word_bits, 0, sizeof(word_bits));
	for (uint64_t i = 0; i < d.n; i++) {
		if (r[i].extra < 0 && r[i].what == 64)
			continue;			/* write_protect_seq: for the plugin of races */
		if (r[i].extra < 0) {
			uint64_t a = r[i].addr & ~7ul, line = a >> 6 & 65535;

			for (unsigned k = 0; k < nr_words; k++)
				if (words[k].addr == a)
					goto known;
			if (nr_words < MAX_WORDS) {
				words[nr_words].addr = a;
				load(0, a, &words[nr_words++].old, 8);
				word_bits[line >> 3] |= 1 << (line & 7);
			}
known:			put_content(r[i].addr & ~7ul, 8);
		} else if (r[i].what == 0)
			put_content(r[i].addr, r[i].len);
		else
			follow_table(r[i].addr, 0);
	}
	free(r);
}

/* ---- stores ------------------------------------------------------------ */

static void log_store(void *pc, uint64_t va, uint64_t old, uint64_t new)
{
	uint64_t w[7] = { (uint64_t)pc, va, old, new };

	callers(w + 4);
	put(w, 3, 7);
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
			if (!tracing)
				continue;
			log_store(pc, a, was, now);
			if ((a - vmemmap0) % page_size == type_at && (was ^ now) << 32) {
				uint64_t pfn = (a - vmemmap0) / page_size, page = pfn - (ram_at >> 12);

				if ((uint32_t)now >> 24 != table_type && tables[page]) {
					put((uint64_t[]){ lin_lo + (page << 12) }, 7, 1);
					drop_table(page);
				}
			}
		}
		return;
	}
	if (!tracing)
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
					log_store(pc, a, was, now);
				}
			}
			return;
		}
	}
	if (word_bits[(va >> 6 & 65535) >> 3] >> (va >> 6 & 7) & 1) {
		for (unsigned i = 0; i < nr_words; i++)
			if (words[i].addr == (va & ~7ul)) {
				uint64_t now = 0;

				load(0, words[i].addr, &now, 8);
				if (now != words[i].old) {
					log_store(pc, words[i].addr, words[i].old, now);
					words[i].old = now;
				}
			}
	}
}

static void hook_cb(unsigned cpu, void *which)
{
	uint64_t n = (uint64_t)which, w[10] = { n };

	if (!tracing)
		return;
	for (int i = 0; i < 6; i++)
		w[1 + i] = reg(0, i);
	callers(w + 7);
	if (hooks[n].kind == 'p') {		/* pmd_install(mm, pmd, &page) */
		uint64_t page = 0;

		load(0, w[3], &page, 8);
		w[4] = lin_lo + (((page - vmemmap0) / page_size << 12) - ram_at);
		put(w, 4, 10);
		follow_table(w[2] & ~4095ul, 4);
		follow_table(w[4], 2);
		return;
	}
	put(w, 4, 10);
	if (hooks[n].kind == 's')		/* contpte_set_ptes(mm, addr, ptep, pte, nr) */
		follow_table(w[3], 3);
	else if (hooks[n].kind == 'f')		/* the first argument is a folio */
		put_content(w[1], 2 * page_size);
	else if (hooks[n].kind == 'd')		/* copy_huge_pmd(mm, mm, pmd, ...) */
		follow_table(w[3] & ~4095ul, 4);
	else if (hooks[n].kind == 'm')		/* the first argument is a structure */
		put_content(w[1], 48);
	else if (hooks[n].kind == 'v')		/* the second argument is a vma: from, to */
		put_content(w[2], 16);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool door = false;

	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *in = qemu_plugin_tb_get_insn(tb, i);
		uint64_t pc = qemu_plugin_insn_vaddr(in);
		uint32_t op;

		if (!KERNEL(pc))
			return;
		memcpy(&op, qemu_plugin_insn_data(in), 4);
		for (unsigned k = 0; k < nr_hooks; k++)
			if (hooks[k].addr == pc)
				qemu_plugin_register_vcpu_insn_exec_cb(in, hook_cb, CB_R_REGS, (void *)(uint64_t)k);
		/* op1 x1x0: loads and stores only */
		if ((op & 0x0a000000) == 0x08000000)
			qemu_plugin_register_vcpu_mem_cb(in, door ? door_cb : store_cb, CB_R_REGS, MEM_W, (void *)pc);
		door = op == HINT_DOOR;
	}
}

static void bye(qemu_plugin_id_t id, void *p)
{
	fclose(logf);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		char *v = strchr(argv[i], '=');

		if (!v)
			return -1;
		v++;
		if (!strncmp(argv[i], "log=", 4))
			logf = fopen(v, "wb");
		else if (!strncmp(argv[i], "ram=", 4))
			ram_at = strtoull(v, NULL, 0);
		else if (!strncmp(argv[i], "size=", 5))
			ram_size = strtoull(v, NULL, 0);
		else if (!strncmp(argv[i], "hooks=", 6)) {
			FILE *f = fopen(v, "r");

			while (f && nr_hooks < MAX_HOOKS &&
			       fscanf(f, "%lx %c %63s", &hooks[nr_hooks].addr, &hooks[nr_hooks].kind,
				      hooks[nr_hooks].name) == 3)
				nr_hooks++;
			if (f)
				fclose(f);
		}
	}
	if (!logf)
		return -1;
	setvbuf(logf, NULL, _IOFBF, 1 << 20);
	regs = g_byte_array_new();
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, bye, NULL);
	return 0;
}
