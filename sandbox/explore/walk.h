/* What core.c does with states of WORDS words; included once for each number of words. */

static inline u64 OF_WORDS(hash)(const u64 *state)
{
	u64 h = 0x9e3779b97f4a7c15ull;
	for (int i = 0; i < WORDS; i++) {
		h = (h ^ state[i]) * 0xff51afd7ed558ccdull;
		h ^= h >> 29;
	}
	return h;
}

static inline u64 OF_WORDS(number)(const u64 *state, struct place place)
{
	return (state[WORDS == 1 ? 0 : place.word] >> place.shift) & place.mask;
}

/* Put the number of every state into the slots, which are empty. */
static int OF_WORDS(rehash)(struct core *c)
{
	for (u64 i = 0; i < c->n; i++) {
		u64 hash = OF_WORDS(hash)(c->states + i * WORDS), h = hash & c->slot_mask;
		while (c->slots[h])
			h = (h + 1) & c->slot_mask;
		c->slots[h] = (hash & ~NUMBER) | (i + 1);
	}
	return 1;
}

static int OF_WORDS(more_slots)(struct core *c)
{
	u64 count = c->slot_mask + 1, *slots;
	if (!allowed(c, count * 8))
		return 0;
	slots = obtain(count * 16);
	if (!slots) {
		c->no_room = 1;
		return 0;
	}
	give_back(c->slots, count * 8);
	c->bytes += count * 8;
	c->slots = slots;
	c->slot_mask = count * 2 - 1;
	return OF_WORDS(rehash)(c);
}

/*
 * Take in the states of the batch that are new.  They were put together so that memory is asked
 * for all of them before the first is looked at.
 */
static int OF_WORDS(take_in)(struct core *c)
{
	int b;
	for (b = 0; b < c->nbatch; b++) {
		u64 slot = c->slots[c->hashes[b] & c->slot_mask];
		if (slot)
			__builtin_prefetch(c->states + ((slot & NUMBER) - 1) * WORDS);
	}
	for (b = 0; b < c->nbatch; b++) {
		const u64 *state = c->batch + b * WORDS;
		u64 hash = c->hashes[b], h = hash & c->slot_mask, slot;
		int known = 0;
		while ((slot = c->slots[h])) {
			if (!((slot ^ hash) & ~NUMBER)) {
				const u64 *other = c->states + ((slot & NUMBER) - 1) * WORDS;
				known = 1;
				for (int i = 0; i < WORDS; i++)
					known &= other[i] == state[i];
				if (known)
					break;
			}
			h = (h + 1) & c->slot_mask;
		}
		if (known)
			continue;
		if (c->n == c->room && !more_states(c))
			break;
		for (int i = 0; i < WORDS; i++)
			c->states[c->n * WORDS + i] = state[i];
		c->parents[c->n] = c->from[b];
		c->slots[h] = (hash & ~NUMBER) | ++c->n;
		if (c->n * 3 > c->slot_mask * 2 && !OF_WORDS(more_slots)(c)) {
			b++;
			break;
		}
	}
	if (b < c->nbatch) { /* the rest waits for room that there is not */
		memmove(c->batch, c->batch + b * WORDS, (u64)(c->nbatch - b) * WORDS * 8);
		memmove(c->hashes, c->hashes + b, (u64)(c->nbatch - b) * 8);
		memmove(c->from, c->from + b, (u64)(c->nbatch - b) * 4);
	}
	c->nbatch -= b;
	return !c->no_room;
}

static int OF_WORDS(start)(struct core *c, const u64 *first)
{
	memcpy(c->batch, first, WORDS * 8);
	c->hashes[0] = OF_WORDS(hash)(first);
	c->from[0] = NOBODY;
	c->nbatch = 1;
	c->level_end = 1;
	c->stage = -1;
	return OF_WORDS(take_in)(c);
}

/* The leaf of a state; 0 where the table ends. */
static inline const struct leaf *OF_WORDS(leaf_of)(struct core *c, u32 ref, const u64 *state)
{
	while ((ref & 3) != LEAF) {
		const u32 *tree = c->pool + (ref >> 2);
		if (!ref)
			return 0;
		if ((ref & 3) == TABLE) {
			struct place place;
			memcpy(&place, tree, sizeof place);
			ref = tree[2 + OF_WORDS(number)(state, place)];
		} else {
			const u64 *condition = (const u64 *)(tree + 2);
			u64 differ = 0;
			for (u32 n = tree[1]; n; n--, condition += 3)
				differ |= (state[WORDS == 1 ? 0 : condition[0]] & condition[1]) ^
					  condition[2];
			if (differ)
				return 0;
			ref = tree[0];
		}
	}
	return c->leaves + (ref >> 2);
}

static inline void OF_WORDS(change)(struct core *c, const struct leaf *leaf, u64 *state)
{
	const struct change *change = c->changes + leaf->changes;
	for (int i = 0; i < leaf->nchanges; i++)
		state[WORDS == 1 ? 0 : change[i].word] ^= change[i].mask;
}

/*
 * Do what follows the event of a leaf.  The number of things that broke, which are in *found*; -1
 * where a table ends.
 */
static inline int OF_WORDS(follow)(struct core *c, const struct leaf *leaf, u64 *state, u32 *found)
{
	int count = 0;
	if (leaf->verdict)
		found[count++] = leaf->verdict;
	for (int i = 0; i < leaf->nstages; i++) {
		u32 stage = c->stages[leaf->stages + i];
		const struct leaf *more = OF_WORDS(leaf_of)(c, c->roots[CPUS][stage], state);
		if (!more) {
			memcpy(c->missed, state, WORDS * 8);
			c->stage = stage;
			return -1;
		}
		OF_WORDS(change)(c, more, state);
		if (more->verdict && count < MOST_FOUND)
			found[count++] = more->verdict;
	}
	return count;
}

static void OF_WORDS(note)(struct core *c, int k, const u32 *found, int count)
{
	for (int i = 0; i < count; i++) {
		if (!c->hits[found[i]]++) {
			c->hit_states[found[i]] = c->at;
			c->hit_cpus[found[i]] = (u8)k;
			c->nbroken++;
		}
	}
}

/* No CPU can go on: all are through, or they wait for each other. */
static void OF_WORDS(nobody_went)(struct core *c)
{
	if (c->alive) {
		if (!c->ndeadlocks++)
			c->deadlock = c->at;
		return;
	}
	GROW(c->finals, c->nfinals, c->room_finals, 1);
	c->finals[c->nfinals++] = c->at;
}

/*
 * All states with so many preemptions are known: go on with those moves out of them that are one
 * more, and then with the states that these lead to.  0 when there is nothing left to do.
 */
static int OF_WORDS(next_round)(struct core *c)
{
	if (!c->preempting) {
		if (c->preemptions == c->most_preemptions)
			return 0;
		c->last = c->n;
		c->at = c->first;
	} else {
		c->first = c->at = c->last;
		c->preemptions++;
		if (c->at >= c->n) {
			c->all_seen = 1;
			return 0;
		}
	}
	c->preempting = !c->preempting;
	return 1;
}

/* Whether an event of CPU k is of the kind that is done now; -1 where a table ends. */
static inline int OF_WORDS(has_turn)(struct core *c, int k, const u64 *state)
{
	int last = (int)OF_WORDS(number)(state, c->places[c->turn]) - 1, could = 0;
	if (last >= 0 && last != k) {
		const u32 *roots = c->roots[last] +
				   OF_WORDS(number)(state, c->places[last]) * c->choices;
		for (int choice = 0; choice < c->choices && !could; choice++) {
			const struct leaf *leaf = OF_WORDS(leaf_of)(c, roots[choice], state);
			if (!leaf) {
				c->missing_cpu = last;
				c->missing_choice = choice;
				return -1;
			}
			if (leaf->kind == NO_MORE)
				break;
			could = leaf->kind == STEP;
		}
	}
	return could == c->preempting;
}

/* The CPU that goes alone from a state; -1: none does. */
static inline int OF_WORDS(goes_alone)(struct core *c, const u64 *state)
{
	u32 nodes[CPUS];
	for (int k = 0; k < c->cpus; k++)
		nodes[k] = (u32)OF_WORDS(number)(state, c->places[k]);
	for (int k = 0; k < c->cpus; k++) {
		const struct leaf *leaf;
		int j;
		for (j = 0; j < c->cpus; j++) {
			u32 columns = c->alone_columns[k][j], node = nodes[j];
			if (j == k)
				continue;
			if (nodes[k] >= c->alone_rows[k][j] || node >= columns)
				break;
			if (!(c->alone[k][j][(u64)nodes[k] * ((columns + 63) / 64) + node / 64] >>
			      (node % 64) & 1))
				break;
		}
		if (j < c->cpus)
			continue;
		leaf = OF_WORDS(leaf_of)(c, c->roots[k][(u64)nodes[k] * c->choices], state);
		if (leaf && leaf->kind == STEP)
			return k;
	}
	return -1;
}

static inline void OF_WORDS(take_turn)(struct core *c, int k, const u64 *state, u64 *after)
{
	const struct place *turn = c->places + c->turn;
	u64 change = OF_WORDS(number)(state, *turn) ^ (u64)(k + 1);
	after[WORDS == 1 ? 0 : turn->word] ^= change << turn->shift;
}

static int OF_WORDS(walk)(struct core *c, u64 budget, int stop)
{
	u32 before = c->nbroken;
	c->no_room = 0;
	for (;;) {
		u64 state[WORDS];
		if (c->at >= c->level_end || c->at >= c->n ||
		    (c->preempting && c->at >= c->last)) {
			if (!OF_WORDS(take_in)(c))
				return NO_ROOM;
			if (c->at >= c->n || (c->preempting && c->at >= c->last)) {
				if (!c->bounded || !OF_WORDS(next_round)(c))
					return DONE;
				continue;
			}
			if (c->at >= c->level_end) {
				c->level_end = c->n;
				c->depth++;
			}
		}
		if (c->n >= budget && !c->cpu && !c->choice)
			return OF_WORDS(take_in)(c) ? BUDGET : NO_ROOM;
		if (stop && c->nbroken > before)
			return OF_WORDS(take_in)(c) ? BROKEN : NO_ROOM;
		memcpy(state, c->states + c->at * WORDS, WORDS * 8);
		if (c->reducing && !c->cpu && !c->choice && !c->alive)
			c->only = OF_WORDS(goes_alone)(c, state);
		for (; c->cpu < c->cpus; c->cpu++, c->choice = 0) {
			if (c->only >= 0 && c->cpu != c->only)
				continue;
			const int k = c->cpu, turn = c->bounded ? OF_WORDS(has_turn)(c, k, state) : 1;
			if (turn < 0) {
				c->stage = -1;
				return OF_WORDS(take_in)(c) ? MISSING : NO_ROOM;
			}
			const u32 *roots =
				c->roots[k] + OF_WORDS(number)(state, c->places[k]) * c->choices;
			for (; c->choice < c->choices; c->choice++) {
				u32 found[MOST_FOUND + 1];
				u64 *after = c->batch + c->nbatch * WORDS;
				const struct leaf *leaf =
					OF_WORDS(leaf_of)(c, roots[c->choice], state);
				int count;
				c->stage = -1;
				c->missing_cpu = k;
				c->missing_choice = c->choice;
				if (!leaf)
					return OF_WORDS(take_in)(c) ? MISSING : NO_ROOM;
				if (leaf->kind == NO_MORE)
					break;
				c->alive = 1;
				if (leaf->kind == WAITS || !turn)
					continue;
				memcpy(after, state, WORDS * 8);
				OF_WORDS(change)(c, leaf, after);
				count = OF_WORDS(follow)(c, leaf, after, found);
				if (count < 0)
					return OF_WORDS(take_in)(c) ? MISSING : NO_ROOM;
				if (count)
					OF_WORDS(note)(c, k, found, count);
				if (c->bounded)
					OF_WORDS(take_turn)(c, k, state, after);
				c->went = 1;
				c->transitions++;
				c->hashes[c->nbatch] = OF_WORDS(hash)(after);
				c->from[c->nbatch] = (u32)(c->at << 2 | k);
				__builtin_prefetch(c->slots +
						   (c->hashes[c->nbatch] & c->slot_mask));
				if (++c->nbatch == BATCH && !OF_WORDS(take_in)(c)) {
					c->choice++;
					return NO_ROOM;
				}
			}
		}
		if (!c->went && !c->preempting)
			OF_WORDS(nobody_went)(c);
		c->alive = c->went = 0;
		c->cpu = 0;
		c->at++;
	}
}
