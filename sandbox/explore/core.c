/*
 * Walks decision tables over packed states, breadth first; knows nothing of kernels.
 *
 * A state is a few words of 64 bits, in which each number has a fixed place.  Every CPU has a table
 * for each of its nodes: look at the number in one place, go on with the child of its value, and so
 * to a leaf, which says which bits change.  Where a table ends the walk comes back to its caller,
 * who adds what is missing and calls again.  States are kept whole, each with the one it was
 * reached from, and found again through a hash table of their numbers.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

enum { CPUS = 4, BATCH = 256, MOST_WORDS = 32, MOST_FOUND = 32, MOST_PLACES = 64 * MOST_WORDS };
enum { DONE, MISSING, BUDGET, BROKEN, NO_ROOM };
enum { TABLE, LEAF, GUARD }; /* the lowest bits of where a tree is; 0: it is missing */
enum { STEP, WAITS, NO_MORE };
#define NUMBER 0xffffffffull /* of a slot: a state's number plus 1; above it a part of its hash */
#define MISSED (~0ull)
#define NOBODY 0xffffffffu
#define MOST_STATES (1ull << 30)

/* Where a number lies in a state; at the head of each table, its children behind it. */
struct place { u8 word, shift; u16 unused; u32 mask; };
struct leaf { u32 changes, stages, verdict; u16 nchanges, nstages; u32 kind; };
struct change { u64 mask; u32 word, unused; };

struct core {
	int words, cpus, choices;
	struct place *places;
	u32 nplaces;
	u32 *roots[CPUS + 1];
	u64 nroots[CPUS + 1];
	u32 *pool;
	u64 npool, room_pool;
	struct leaf *leaves;
	u32 nleaves, room_leaves;
	struct change *changes;
	u32 nchanges, room_changes;
	u32 *stages;
	u32 nstages, room_stages;

	u64 *states;
	u32 *parents;
	u64 n, room;
	u64 *slots;
	u64 slot_mask;
	u64 bytes, most_bytes;
	int no_room;

	u64 at;           /* the state that is gone on from, */
	int cpu, choice;  /* by whom, */
	int missing_cpu, missing_choice; /* the slot that a table was missing for, */
	int64_t stage;    /* or the stage; -1: none */
	u64 missed[MOST_WORDS];
	int alive, went;
	u64 level_end, depth, transitions, ndeadlocks, deadlock;
	u64 *finals;
	u64 nfinals, room_finals;
	u64 *hits, *hit_states;
	u8 *hit_cpus;
	u32 room_hits, nbroken;

	/* By CPU and other CPU: beside which nodes of that one the event of a node may go first. */
	u64 *alone[CPUS][CPUS];
	u32 alone_rows[CPUS][CPUS], alone_columns[CPUS][CPUS];
	int reducing, only; /* the CPU that goes alone from the present state; -1: all of them */
	/* With a bound on preemptions: where a state says whose event was the last, */
	u32 turn;
	int bounded, all_seen, preempting; /* whether such moves are being done, */
	u64 preemptions, most_preemptions, first, last; /* from the states [first, last). */

	u64 batch[BATCH * MOST_WORDS], hashes[BATCH];
	u32 from[BATCH];
	int nbatch;
};

/* -- memory -------------------------------------------------------------------------------- */

static const u64 BIG = 1 << 21;

static void *obtain(u64 bytes)
{
#ifdef __linux__
	if (bytes >= BIG) {
		void *p = mmap(0, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return 0;
		madvise(p, bytes, MADV_HUGEPAGE);
		return p;
	}
#endif
	return calloc(1, bytes);
}

static void give_back(void *p, u64 bytes)
{
	if (!p)
		return;
#ifdef __linux__
	if (bytes >= BIG) {
		munmap(p, bytes);
		return;
	}
#endif
	free(p);
}

/* Longer memory with the same beginning; 0, and nothing changed, if there is none. */
static void *longer(void *p, u64 old, u64 new)
{
	void *q;
#ifdef __linux__
	if (old >= BIG) {
		q = mremap(p, old, new, MREMAP_MAYMOVE);
		return q == MAP_FAILED ? 0 : q;
	}
#endif
	q = obtain(new);
	if (q) {
		memcpy(q, p, old);
		give_back(p, old);
	}
	return q;
}

static int allowed(struct core *c, u64 more)
{
	if (c->bytes + more > c->most_bytes) {
		c->no_room = 1;
		return 0;
	}
	return 1;
}

/* Room for as many states again; 0 if there is none. */
static int more_states(struct core *c)
{
	u64 size = (u64)c->words * 8, room = c->room * 2;
	void *p;
	if (room > MOST_STATES || !allowed(c, c->room * (size + 4))) {
		c->no_room = 1;
		return 0;
	}
	p = longer(c->states, c->room * size, room * size);
	if (!p) {
		c->no_room = 1;
		return 0;
	}
	c->states = p;
	p = longer(c->parents, c->room * 4, room * 4);
	if (!p) { /* the states keep what they have got: it is not counted on */
		c->no_room = 1;
		return 0;
	}
	c->parents = p;
	c->bytes += c->room * (size + 4);
	c->room = room;
	return 1;
}

#define GROW(array, count, room, need)                                           \
	while ((u64)(count) + (need) > (u64)(room)) {                            \
		(room) *= 2;                                                     \
		(array) = realloc((array), (u64)(room) * sizeof *(array));       \
	}

#define JOIN(a, b) a##_##b
#define JOINED(a, b) JOIN(a, b)
#define OF_WORDS(name) JOINED(name, WORDS)
#define WORDS 1
#include "walk.h"
#undef WORDS
#define WORDS 2
#include "walk.h"
#undef WORDS
#define WORDS 3
#include "walk.h"
#undef WORDS
#define WORDS 4
#include "walk.h"
#undef WORDS
#define WORDS 5
#include "walk.h"
#undef WORDS
#define WORDS 6
#include "walk.h"
#undef WORDS
#define WORDS 7
#include "walk.h"
#undef WORDS
#define WORDS 8
#include "walk.h"
#undef WORDS
#define WORDS 10
#include "walk.h"
#undef WORDS
#define WORDS 12
#include "walk.h"
#undef WORDS
#define WORDS 16
#include "walk.h"
#undef WORDS
#define WORDS 24
#include "walk.h"
#undef WORDS
#define WORDS 32
#include "walk.h"
#undef WORDS

#define DISPATCH(c, name, ...)                                                   \
	switch ((c)->words) {                                                    \
	case 1: return name##_1(__VA_ARGS__);                                    \
	case 2: return name##_2(__VA_ARGS__);                                    \
	case 3: return name##_3(__VA_ARGS__);                                    \
	case 4: return name##_4(__VA_ARGS__);                                    \
	case 5: return name##_5(__VA_ARGS__);                                    \
	case 6: return name##_6(__VA_ARGS__);                                    \
	case 7: return name##_7(__VA_ARGS__);                                    \
	case 8: return name##_8(__VA_ARGS__);                                    \
	case 10: return name##_10(__VA_ARGS__);                                  \
	case 12: return name##_12(__VA_ARGS__);                                  \
	case 16: return name##_16(__VA_ARGS__);                                  \
	case 24: return name##_24(__VA_ARGS__);                                  \
	default: return name##_32(__VA_ARGS__);                                  \
	}

static int rehash(struct core *c) { DISPATCH(c, rehash, c) }
static int start(struct core *c, const u64 *first) { DISPATCH(c, start, c, first) }
static int walk(struct core *c, u64 budget, int stop) { DISPATCH(c, walk, c, budget, stop) }

/* -- making it ----------------------------------------------------------------------------- */

struct core *core_new(int cpus, int choices, u64 most_bytes)
{
	struct core *c = calloc(1, sizeof *c);
	if (!c)
		return 0;
	c->cpus = cpus;
	c->choices = choices;
	c->most_bytes = most_bytes;
	c->only = -1;
	c->room_pool = 1 << 16;
	c->pool = calloc(c->room_pool, 4);
	c->room_leaves = c->room_changes = c->room_stages = c->room_hits = 1024;
	c->leaves = malloc(c->room_leaves * sizeof *c->leaves);
	c->changes = malloc(c->room_changes * sizeof *c->changes);
	c->stages = malloc(c->room_stages * 4);
	c->hits = calloc(c->room_hits, 8);
	c->hit_states = calloc(c->room_hits, 8);
	c->hit_cpus = calloc(c->room_hits, 1);
	c->room_finals = 1024;
	c->finals = malloc(c->room_finals * 8);
	return c;
}

void core_free(struct core *c)
{
	give_back(c->states, c->room * c->words * 8);
	give_back(c->parents, c->room * 4);
	give_back(c->slots, (c->slot_mask + 1) * 8);
	for (int k = 0; k <= CPUS; k++)
		free(c->roots[k]);
	for (int k = 0; k < CPUS; k++)
		for (int j = 0; j < CPUS; j++)
			free(c->alone[k][j]);
	free(c->places);
	free(c->pool);
	free(c->leaves);
	free(c->changes);
	free(c->stages);
	free(c->hits);
	free(c->hit_states);
	free(c->hit_cpus);
	free(c->finals);
	free(c);
}

/* What moves together from one word to another. */
struct move { u8 from, to; int by; u64 mask; };

/* Write every state anew: numbers that stay beside each other are moved at once. */
static void rewrite(struct core *c, int words, u32 n, const u8 *word, const u8 *shift, u64 *states)
{
	struct move moves[MOST_PLACES];
	u32 count = 0;
	for (u32 p = 0; p < n; p++) {
		const struct place *was = c->places + p;
		int by = (int)shift[p] - (int)was->shift;
		u64 mask = (u64)was->mask << was->shift;
		u32 m = 0;
		while (m < count && !(moves[m].from == was->word && moves[m].to == word[p] &&
				      moves[m].by == by))
			m++;
		if (m == count)
			moves[count++] = (struct move){was->word, word[p], by, 0};
		moves[m].mask |= mask;
	}
	for (u64 i = 0; i < c->n; i++) {
		const u64 *from = c->states + i * c->words;
		u64 *to = states + i * words;
		for (u32 m = 0; m < count; m++) {
			u64 part = from[moves[m].from] & moves[m].mask;
			to[moves[m].to] |= moves[m].by < 0 ? part >> -moves[m].by
							   : part << moves[m].by;
		}
	}
}

/*
 * Give every number a place: states are written anew, tables are forgotten.  Places 0 to CPUs - 1
 * are those of nodes.  0 if there is no memory for it.
 */
int core_lay_out(struct core *c, int words, u32 n, const u8 *word, const u8 *shift, const u8 *bits)
{
	struct place *places = malloc(n * sizeof *places);
	u64 room = c->room ? c->room : 1 << 14;
	u64 *states = obtain(room * words * 8);
	u32 same = c->nplaces < n ? c->nplaces : n;
	if (!places || !states || n > MOST_PLACES)
		return 0;
	for (u32 p = 0; p < n; p++)
		places[p] = (struct place){word[p], shift[p], 0, (u32)((1ull << bits[p]) - 1)};
	rewrite(c, words, same, word, shift, states);
	if (!c->room) {
		c->room = room;
		c->parents = obtain(room * 4);
		c->slot_mask = (1 << 15) - 1;
		c->bytes = room * 4 + (c->slot_mask + 1) * 8;
	} else {
		give_back(c->states, c->room * c->words * 8);
		give_back(c->slots, (c->slot_mask + 1) * 8);
		c->bytes -= c->room * c->words * 8;
		free(c->places);
	}
	c->bytes += room * words * 8;
	c->states = states;
	c->words = words;
	c->places = places;
	c->nplaces = n;
	for (int k = 0; k <= CPUS; k++) {
		free(c->roots[k]);
		c->nroots[k] = k < c->cpus ? (u64)c->choices << bits[k] : 1024;
		c->roots[k] = calloc(c->nroots[k], 4);
	}
	memset(c->pool, 0, c->room_pool * 4);
	c->npool = 2;
	c->nleaves = c->nchanges = c->nstages = 0;
	c->slots = obtain((c->slot_mask + 1) * 8);
	return c->slots && rehash(c);
}

static void room_for_stage(struct core *c, u64 stage)
{
	u64 old = c->nroots[CPUS];
	if (stage < old)
		return;
	while (stage >= c->nroots[CPUS])
		c->nroots[CPUS] *= 2;
	c->roots[CPUS] = realloc(c->roots[CPUS], c->nroots[CPUS] * 4);
	memset(c->roots[CPUS] + old, 0, (c->nroots[CPUS] - old) * 4);
}

/* What a slot of a CPU begins with; k of the number of CPUs: the stage of that number. */
void core_root(struct core *c, int k, u64 slot, u32 ref)
{
	if (k == c->cpus) {
		room_for_stage(c, slot);
		k = CPUS;
	}
	c->roots[k][slot] = ref;
}

static u32 from_pool(struct core *c, u64 need)
{
	u64 old = c->room_pool;
	u32 at = (u32)c->npool;
	GROW(c->pool, c->npool, c->room_pool, need);
	memset(c->pool + old, 0, (c->room_pool - old) * 4);
	c->npool += (need + 1) & ~1ull;
	return at;
}

/* A table that looks at a place; its children are missing. */
u32 core_table(struct core *c, u32 place)
{
	u32 at = from_pool(c, 4 + (u64)c->places[place].mask);
	memcpy(c->pool + at, c->places + place, sizeof *c->places);
	return at << 2 | TABLE;
}

/* What goes on with its one child if so many words have, under a mask, a value. */
u32 core_guard(struct core *c, u32 n, const u64 *conditions)
{
	u32 at = from_pool(c, 2 + (u64)n * 6);
	c->pool[at + 1] = n;
	memcpy(c->pool + at + 2, conditions, (u64)n * 24);
	return at << 2 | GUARD;
}

void core_child(struct core *c, u32 parent, u32 number, u32 ref)
{
	c->pool[(parent >> 2) + ((parent & 3) == GUARD ? 0 : 2 + number)] = ref;
}

u32 core_leaf(struct core *c, int kind, u32 verdict, int n, const u8 *word, const u64 *mask,
	      int nstages, const u32 *stages)
{
	u32 old = c->room_hits;
	GROW(c->leaves, c->nleaves, c->room_leaves, 1);
	GROW(c->changes, c->nchanges, c->room_changes, n);
	GROW(c->stages, c->nstages, c->room_stages, nstages);
	while (verdict >= c->room_hits)
		c->room_hits *= 2;
	if (old < c->room_hits) {
		u64 more = c->room_hits - old;
		c->hits = realloc(c->hits, (u64)c->room_hits * 8);
		c->hit_states = realloc(c->hit_states, (u64)c->room_hits * 8);
		c->hit_cpus = realloc(c->hit_cpus, c->room_hits);
		memset(c->hits + old, 0, more * 8);
	}
	c->leaves[c->nleaves] =
		(struct leaf){c->nchanges, c->nstages, verdict, (u16)n, (u16)nstages, (u32)kind};
	for (int i = 0; i < n; i++)
		c->changes[c->nchanges++] = (struct change){mask[i], word[i], 0};
	for (int i = 0; i < nstages; i++) {
		room_for_stage(c, stages[i]);
		c->stages[c->nstages++] = stages[i];
	}
	return c->nleaves++ << 2 | LEAF;
}

/* -- walking ------------------------------------------------------------------------------- */

int core_start(struct core *c, const u64 *first) { return start(c, first); }

/* Let events go first: for each node of CPU k a row of bits, one for each node of CPU j. */
void core_alone(struct core *c, int k, int j, u32 rows, u32 columns, const u64 *bits)
{
	u64 bytes = (u64)rows * ((columns + 63) / 64) * 8;
	free(c->alone[k][j]);
	c->alone[k][j] = malloc(bytes ? bytes : 1);
	memcpy(c->alone[k][j], bits, bytes);
	c->alone_rows[k][j] = rows;
	c->alone_columns[k][j] = columns;
	c->reducing = 1;
}

/*
 * Walk no schedule with more preemptions than that: switches from a CPU that could go on.  Place
 * *turn* of a state is the number of the CPU whose event was the last, from 1.
 */
void core_bound(struct core *c, u32 turn, u64 most)
{
	c->bounded = 1;
	c->turn = turn;
	c->most_preemptions = most;
}

/* Go on until there are so many states, or, if told to stop, until something broke. */
int core_run(struct core *c, u64 budget, int stop) { return walk(c, budget, stop); }

/* -- asking -------------------------------------------------------------------------------- */

u64 core_ask(struct core *c, int what)
{
	switch (what) {
	case 0: return c->n;
	case 1: return c->transitions;
	case 2: return c->depth;
	case 3: return c->nfinals;
	case 4: return c->ndeadlocks;
	case 5: return c->deadlock;
	case 6: return c->bytes;
	case 7: return c->at;
	case 8: return (u64)c->missing_cpu;
	case 9: return (u64)c->missing_choice;
	case 10: return (u64)c->stage;
	case 11: return c->preemptions;
	case 12: return (u64)c->all_seen;
	default: return c->npool * 4 + c->nleaves * sizeof *c->leaves;
	}
}

u64 core_final(struct core *c, u64 i) { return c->finals[i]; }

u32 core_parent(struct core *c, u64 state) { return c->parents[state]; }

/* The number in every place of a state; of MISSED: that which a stage was missing for. */
void core_numbers(struct core *c, u64 state, u32 *out)
{
	const u64 *from = state == MISSED ? c->missed : c->states + state * c->words;
	for (u32 p = 0; p < c->nplaces; p++)
		out[p] = (u32)(from[c->places[p].word] >> c->places[p].shift) & c->places[p].mask;
}

/* How often something broke; where first, if at all. */
u64 core_hit(struct core *c, u32 verdict, u64 *state, u64 *cpu)
{
	if (verdict >= c->room_hits)
		return 0;
	*state = c->hit_states[verdict];
	*cpu = c->hit_cpus[verdict];
	return c->hits[verdict];
}
