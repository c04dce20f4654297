/* The tokens of the CPU pool: whether a worker comes for each entry of the queue.
 *
 * Stands for: executor/src/cpu_queue.hpp   offer, push, pop, has_any
 *             executor/src/cpu_runner.cpp  call_worker, take_token, use_token, serve
 *
 * Two pushers queue entries and send a token when there are fewer than workers. A worker with a token serves BATCH
 * entries and sends the token once more, or finds the queue empty and gives it up. One entry, any of them, goes on
 * until all others have been served. Claims: every entry is served, once, while no worker waits for the pool's own
 * sake; so an entry never waits behind one that is being served while another worker has nothing to do; there are never
 * more tokens than workers.
 *
 * Mutants:
 *   MUTANT_NO_LOOK     a token is given up without a look into the queue
 *   MUTANT_LOOK_FIRST  the look comes before the count
 *   MUTANT_DOWN_STORE  the count is a plain load and store
 *   MUTANT_INBOX_ONLY  the look does not see what another worker has taken in already
 *   MUTANT_NO_LOCK     the look takes no lock
 *   MUTANT_COUNT_FIRST a pusher looks at the tokens before it has pushed
 *   MUTANT_PUSH_STORE  a pusher's entry is still in its store buffer when it looks
 */
#ifndef PUSHERS
#define PUSHERS 2
#endif
#ifndef ITEMS
#define ITEMS 2 /* per pusher */
#endif
#ifndef BATCH
#define BATCH 2
#endif
#define WORKERS 2
#define TOTAL (PUSHERS * ITEMS)

#define THREADS (WORKERS + PUSHERS) /* the workers first */
#define INBOX 0                     /* how many entries; a list in truth */
#define TOKENS 1
#define LANES 2
#define CELLS 3
#include "tso.h"

byte sent;    /* tokens with oneTBB, which hands each to a worker that is free */
byte served;  /* entries that have been begun with */
bool locked;
bool long_one; /* the entry that takes long has begun */
byte pushers_done;

inline lock() {
  atomic { buffer_empty && !locked -> locked = true }
}
inline unlock() {
  atomic { buffer_empty -> locked = false }
}

inline take_token(ok) {
  load(TOKENS, x);
  do
  :: x >= WORKERS -> ok = false; break
  :: x < WORKERS ->
     compare_exchange(TOKENS, x, x + 1, ok);
     if
     :: ok -> break
     :: else -> load(TOKENS, x)
     fi
  od;
  x = 0
}

inline push_one() {
#ifdef MUTANT_PUSH_STORE
  load(INBOX, x);
  store(INBOX, x + 1);
#else
  d_step { buffer_empty -> mem[INBOX] = mem[INBOX] + 1 }
#endif
  x = 0
}

proctype pusher(byte me) {
  byte i, x;
  bool ok;
  do
  :: i == ITEMS -> break
  :: i < ITEMS ->
#ifdef MUTANT_COUNT_FIRST
     take_token(ok);
     push_one();
#else
     push_one();
     take_token(ok);
#endif
     if
     :: ok -> atomic { buffer_empty -> sent++ }
     :: else
     fi;
     ok = false;
     i++
  od;
  atomic { buffer_empty -> pushers_done++ }
}

/* cpu_queue::pop(): what has come is taken in, then the first of it is taken out. */
inline pop(ok) {
  lock();
  load(INBOX, x);
  if
  :: x != 0 ->
     exchange(INBOX, 0, x);
     load(LANES, y);
     store(LANES, x + y)
  :: else
  fi;
  load(LANES, y);
  ok = y != 0;
  if
  :: ok -> store(LANES, y - 1)
  :: else
  fi;
  unlock();
  x = 0;
  y = 0
}

inline look(ok) {
#ifndef MUTANT_NO_LOCK
  lock();
#endif
  load(INBOX, x);
#ifdef MUTANT_INBOX_ONLY
  ok = x != 0;
#else
  load(LANES, y);
  ok = x != 0 || y != 0;
#endif
#ifndef MUTANT_NO_LOCK
  unlock();
#endif
  x = 0;
  y = 0
}

inline count_down() {
#ifdef MUTANT_DOWN_STORE
  load(TOKENS, x);
  store(TOKENS, x - 1);
#else
  d_step { buffer_empty -> mem[TOKENS] = mem[TOKENS] - 1 }
#endif
  x = 0
}

proctype worker(byte me) {
  byte left, x, y;
  bool ok;
  do
  :: atomic { served == TOTAL && sent == 0 -> break }
  :: atomic { sent > 0 -> sent-- };
     assert(mem[TOKENS] <= WORKERS);
     left = BATCH;
     do
     :: left == 0 -> break
     :: left > 0 ->
        pop(ok);
        if
        :: !ok -> break
        :: ok ->
           left--;
           ok = false;
           served++;
           assert(served <= TOTAL);
           if
           :: atomic { !long_one -> long_one = true }; served == TOTAL /* it ends last */
           :: skip
           fi
        fi
     od;
     if
     :: left == 0 -> atomic { buffer_empty -> sent++ }
     :: else ->
        left = 0;
#if defined(MUTANT_NO_LOOK)
        count_down();
        ok = false;
#elif defined(MUTANT_LOOK_FIRST)
        look(ok);
        count_down();
#else
        count_down();
        look(ok);
#endif
        if
        :: ok ->
           take_token(ok);
           if
           :: ok -> atomic { buffer_empty -> sent++ }
           :: else
           fi
        :: else
        fi
     fi;
     ok = false
  od
}

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. WORKERS - 1) { run worker(t) }
    for (t : WORKERS .. THREADS - 1) { run pusher(t) }
    t = 0
  }
  /* an entry that nobody serves ends as an invalid end state: a worker that waits for a token */
  pushers_done == PUSHERS && served == TOTAL
}
