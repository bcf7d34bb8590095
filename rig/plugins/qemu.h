/*
 * qemu: what both plugins use of QEMU 7.2, declared here as its headers are not installed, and how they read the
 * guest: registers of a vCPU, memory by the linear map or through the debugger's door.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plugin interface, as far as used ------------------------- */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { CB_NO_REGS, CB_R_REGS, CB_RW_REGS };
enum { MEM_R = 1, MEM_W };
typedef void (*mem_cb_t)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *);
typedef void (*exec_cb_t)(unsigned, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, exec_cb_t, int, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_cb_t, int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, mem_cb_t, int, int, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
EXPORT int qemu_plugin_version = 1;

/* ---- not public, but exported by the binary ------------------------ */
typedef struct CPUState CPUState;
typedef struct { uint8_t *data; unsigned len; } GByteArray;
GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *, unsigned);
CPUState *qemu_get_cpu(int);
int aarch64_cpu_gdb_read_register(CPUState *, GByteArray *, int);
int cpu_memory_rw_debug(CPUState *, uint64_t, void *, uint64_t, bool);
void *cpu_physical_memory_map(uint64_t, uint64_t *, bool);
uint64_t cpu_get_phys_page_debug(CPUState *, uint64_t);
void cpu_stop_current(void);
void cpu_resume(CPUState *);
void cpu_loop_exit_noexc(CPUState *) __attribute__((noreturn));
extern int singlestep;

/* ---- the guest ------------------------------------------------------ */
#define KERNEL(va)	((va) >> 48 == 0xffff)
#define HINT_DOOR	0xd5032d7fu		/* hint #0x6b */

struct door { uint64_t ranges, n, vmemmap, linear, page_size, table_type, mapcount, state; };
struct range { uint64_t addr, len, what; int64_t extra; };

static char *ram;				/* the guest's memory */
static uint64_t ram_at = 0x40000000, ram_size = 0x40000000;
static uint64_t vm_lo, vm_hi, lin_lo, lin_hi;	/* struct pages and linear map of the RAM */
static GByteArray *regs;

static uint64_t reg(unsigned cpu, int n)
{
	uint64_t v = 0;

	g_byte_array_set_size(regs, 0);
	aarch64_cpu_gdb_read_register(qemu_get_cpu(cpu), regs, n);
	memcpy(&v, regs->data, 8);
	return v;
}

static bool load(unsigned cpu, uint64_t va, void *to, uint64_t n)
{
	if (va >= lin_lo && va + n <= lin_hi) {
		memcpy(to, ram + (va - lin_lo), n);
		return true;
	}
	return !cpu_memory_rw_debug(qemu_get_cpu(cpu), va, to, n, false);
}
