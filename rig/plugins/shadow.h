/*
 * shadow: copies of the guest's struct pages and page tables, which tell what a store changed.  Both plugins keep
 * them; the one that includes this says its name in PLUGIN.
 */
#include "qemu.h"

static uint64_t vmemmap0, page_size, table_type, type_at;
static char *vm_shadow;				/* of all struct pages; NULL until the guest has opened the door */
static char *vm_host[1024];			/* host address of each 2M of vmemmap */
static char **tables;				/* by page of RAM: the copy of a page table, or NULL */
static uint64_t *followed;			/* list of those pages */
static unsigned nr_followed, cap_followed;

/* follow the page table at a linear address; false if it is followed, or is none of the RAM */
static bool shadow_table(uint64_t va)
{
	uint64_t page = (va - lin_lo) >> 12;

	if (va < lin_lo || va >= lin_hi || tables[page])
		return false;
	if (nr_followed == cap_followed)
		followed = realloc(followed, 8 * (cap_followed = 2 * cap_followed + 64));
	followed[nr_followed++] = page;
	tables[page] = malloc(4096);
	memcpy(tables[page], ram + (page << 12), 4096);
	return true;
}

static void drop_table(uint64_t page)
{
	for (unsigned i = 0; i < nr_followed; i++)
		if (followed[i] == page) {
			followed[i] = followed[--nr_followed];
			break;
		}
	free(tables[page]);
	tables[page] = NULL;
}

static void open_vmemmap(const struct door *d)
{
	CPUState *cpu = qemu_get_cpu(0);
	uint64_t len = ram_size;

	ram = cpu_physical_memory_map(ram_at, &len, false);
	if (!ram || len != ram_size) {
		fprintf(stderr, PLUGIN ": cannot see the guest's memory\n");
		exit(1);
	}
	page_size = d->page_size;
	table_type = d->table_type;
	type_at = d->mapcount;
	vmemmap0 = d->vmemmap;
	vm_lo = d->vmemmap + (ram_at >> 12) * page_size;
	vm_hi = vm_lo + (ram_size >> 12) * page_size;
	lin_lo = d->linear + ram_at;
	lin_hi = lin_lo + ram_size;
	tables = calloc(ram_size >> 12, sizeof(*tables));
	vm_shadow = malloc(vm_hi - vm_lo);
	for (uint64_t va = vm_lo; va < vm_hi; va += 4096) {
		uint64_t pa = cpu_get_phys_page_debug(cpu, va);

		if (!(va & 0x1fffff) || va == vm_lo)
			vm_host[(va >> 21) - (vm_lo >> 21)] = ram + (pa - ram_at) - (va & 0x1fffff);
		if (ram + (pa - ram_at) != vm_host[(va >> 21) - (vm_lo >> 21)] + (va & 0x1fffff))
			fprintf(stderr, PLUGIN ": vmemmap is not mapped by 2M blocks\n");
		memcpy(vm_shadow + (va - vm_lo), ram + (pa - ram_at), 4096);
	}
}
