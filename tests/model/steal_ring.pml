/* The ring that loops steal from, and the handshake between an owner that pushed and loops that
 * are about to sleep.
 *
 * Stands for: executor/src/steal_ring.hpp  steal_ring::push, steal_ring::pop, steal_ring::steal
 *             executor/src/scheduler.cpp   loop_core::share, tell_idle, sleep, leave_idle: the idle mask
 *
 * One owner pushes ITEMS items into a ring of SLOTS and pops some of them or none; two thieves
 * steal. An item that was taken may keep its loop busy for ever, and the owner is busy for ever
 * once it has pushed all, so nobody may count on anybody else coming back to look.
 *
 * Claims: each item is taken once and none is lost; no loop sleeps for good while an item is in
 * the ring (it would be an invalid end state); a thief never copies more than half a ring.
 *
 * Three rules are easy to miss:
 *   - head is read before tail, so by then the pair may be from different times and t - h
 *     larger than the ring; such a pair is read again.
 *   - a steal that lost its CAS says nothing about the ring being empty. In the check before
 *     sleep it is repeated until it got something or saw the ring empty.
 *   - a loop that takes its own idle bit back and finds it claimed holds a wake-up that was meant
 *     for a searcher. If it goes on to run something, it hands the wake-up on.
 *
 * Mutants:
 *   MUTANT_NO_FENCE    no fence between the push and the read of the idle mask
 *   MUTANT_TAIL_FIRST  tail is stored before the slot
 *   MUTANT_NO_RECHECK  a thief does not look again after it has set its bit
 *   MUTANT_STEAL_STORE a thief advances head by a plain store
 *   MUTANT_POP_STORE   the owner advances head by a plain store
 *   MUTANT_NO_FULL     push does not check for a full ring
 *   MUTANT_NO_BOUND    steal believes any pair of head and tail
 *   MUTANT_GIVE_UP     a steal that lost its CAS counts as an empty ring
 *   MUTANT_NO_HAND_ON  a loop that goes on to run something keeps the wake-up to itself
 *   MUTANT_NO_CLAIM    the owner wakes whoever it saw in the mask, without clearing the bit
 */
#ifndef ITEMS
#define ITEMS 4
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#define THIEVES 2
#define THREADS (THIEVES + 1) /* the owner is thread 0 */

#define HEAD 0
#define TAIL 1
#define IDLE 2 /* the idle mask: bit 1 << thief */
#define SLOT(i) (3 + (i) % SLOTS)
#define CELLS (3 + SLOTS)
#include "tso.h"

byte token[THREADS];    /* each loop's driver; stays until it is read */
byte events = 1;        /* how often IO or a timer may end a sleep */
bool taken[ITEMS + 1];  /* items are 1 .. ITEMS */
bool pushed_all;

inline take(x) {
  assert(x >= 1 && x <= ITEMS && !taken[x]);
  taken[x] = true
}

#define BIT(t) (1 << (t))

/* Wakes one idle loop, if there is one. After a push a fence comes first. */
inline wake_one(m, c) {
  load(IDLE, m);
  do
  :: m == 0 -> break
  :: else ->
     c = ((m & BIT(1)) -> 1 : 2);
#ifdef MUTANT_NO_CLAIM
     if
     :: token[c] == 0 -> token[c] = 1
     :: else
     fi;
     break
#else
     fetch_and(IDLE, (255 - BIT(c)), m);
     if
     :: m & BIT(c) -> token[c] = 1; break
     :: else -> m = m & (255 - BIT(c)) /* it took its bit back: it is awake */
     fi
#endif
  od;
  m = 0; c = 0
}

/* The owner takes one item; skips when the ring is empty. */
inline pop() {
  do
  :: load(HEAD, h);
     if
     :: h == t -> break
     :: else
     fi;
     load(SLOT(h), x);
#ifdef MUTANT_POP_STORE
     store(HEAD, h + 1);
     take(x);
     break
#else
     atomic {
       compare_exchange(HEAD, h, h + 1, ok);
       if
       :: ok -> take(x); break
       :: else
       fi
     }
#endif
  od;
  h = 0; x = 0; ok = false
}

proctype owner(byte me) {
  byte i = 1;
  byte h, t, x, m, c;
  bool ok;
  do
  :: i > ITEMS -> break
  :: i <= ITEMS ->
     load(HEAD, h);
     if
#ifndef MUTANT_NO_FULL
     :: t - h == SLOTS -> h = 0; pop() /* full: it runs one itself */
     :: else ->
#else
     :: true ->
#endif
        h = 0;
#ifdef MUTANT_TAIL_FIRST
        store(TAIL, t + 1);
        store(SLOT(t), i);
#else
        store(SLOT(t), i);
        store(TAIL, t + 1);
#endif
        t++; i++;
#ifndef MUTANT_NO_FENCE
        fence();
#endif
        wake_one(m, c);
        if
        :: pop()
        :: skip
        fi
     fi
  od;
  pushed_all = true
}

/* One attempt at half the ring: got and, if that is 0, lost says whether the CAS failed. */
inline try_steal() {
  load(HEAD, h);
  load(TAIL, t);
  n = (t - h + 1) / 2;
#ifndef MUTANT_NO_BOUND
  if
  :: t - h > SLOTS -> n = 0; lost = true /* head has moved since */
  :: else
  fi;
#endif
  if
  :: n > 0 ->
     assert(n <= (SLOTS + 1) / 2);
     x = 0;
     do
     :: x < n -> load(SLOT(h + x), loot[x]); x++
     :: else -> break
     od;
#ifdef MUTANT_STEAL_STORE
     store(HEAD, h + n);
     ok = true;
     atomic {
#else
     atomic {
       compare_exchange(HEAD, h, h + n, ok);
#endif
       if
       :: ok ->
          got = n;
          do
          :: x > 0 -> x--; take(loot[x]); loot[x] = 0
          :: else -> break
          od
       :: else ->
          lost = true;
          do
          :: x > 0 -> x--; loot[x] = 0
          :: else -> break
          od
       fi
     }
  :: else
  fi;
  h = 0; t = 0; n = 0; x = 0; ok = false
}

inline steal() {
  got = 0;
  do
  :: lost = false;
     try_steal();
#ifdef MUTANT_GIVE_UP
     break
#else
     if
     :: lost /* again */
     :: else -> break
     fi
#endif
  od;
  lost = false
}

/* Takes the own idle bit back; claimed says that somebody has sent us a wake-up. */
inline leave_idle() {
  fetch_and(IDLE, (255 - BIT(me)), m);
  claimed = !(m & BIT(me));
  m = 0
}

/* Before it runs something, a loop with a claimed bit sees to it that the ring is looked after. */
inline hand_on() {
#ifndef MUTANT_NO_HAND_ON
  if
  :: claimed ->
     load(HEAD, h);
     load(TAIL, t);
     if
     :: h != t -> wake_one(m, c)
     :: else
     fi;
     h = 0; t = 0
  :: else
  fi;
#endif
  claimed = false
}

proctype thief(byte me) {
  byte h, t, n, x, m, c, got;
  byte loot[(ITEMS + 1) / 2];
  bool ok, lost, claimed;
search:
  steal();
  if
  :: got > 0 -> got = 0; goto run_it
  :: else
  fi;
  fetch_or(IDLE, BIT(me), m);
  m = 0;
#ifndef MUTANT_NO_RECHECK
  steal();
  if
  :: got > 0 ->
     got = 0;
     leave_idle();
     hand_on();
     goto run_it
  :: else
  fi;
#endif
  /* asleep in driver::poll */
  if
  :: atomic { buffer_empty && token[me] > 0 -> token[me] = 0 }
     leave_idle();
     claimed = false; /* it goes searching, which is what the wake-up is for */
     goto search
  :: atomic { buffer_empty && events > 0 -> events-- }
     leave_idle();
     hand_on();
     goto run_it /* a fiber whose IO is ready */
  :: atomic { pushed_all && sb[0].n == 0 && mem[HEAD] == mem[TAIL] && token[me] == 0 ->
       for (x : 1 .. ITEMS) { assert(taken[x]) }
       x = 0
     }
     goto out
  fi;
run_it:
  if
  :: goto search
  :: goto out /* it never comes back */
  fi;
out:
  skip
}

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run owner(0);
    for (t : 1 .. THIEVES) { run thief(t) }
    t = 0
  }
}
