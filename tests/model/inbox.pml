/* The inbox of a loop and its sleep handshake.
 *
 * Stands for: executor/src/inbox.hpp  inbox::push, inbox::drain, inbox::try_sleep
 *             executor/src/loop.cpp   loop::run
 *
 * Claims: every item is run, once, in push order per producer; a loop never sleeps for good over
 * an item (it would be an invalid end state); at most one wake() per sleep.
 *
 * -DCHAIN: each producer pushes its items as one list (inbox::push of several).
 *
 * -DTEARDOWN adds the end of a loop's life: a producer calls wake() after its item is already
 * public, so the item may have run, and the loop have ended, before that call. The loop counts the
 * wake() calls it is owed (a sleep that ended with something other than SLEEPING in head) against
 * the tokens it has read, and frees its driver only when they are level.
 *
 * Mutants:
 *   MUTANT_FLAG_NO_FENCE   a `sleeping` flag beside head, stored and then head checked, no fence
 *                          (FLAG alone: the same with the fence, which is right)
 *   MUTANT_CHECK_THEN_FLAG head checked first, then the flag stored
 *   MUTANT_SLEEP_STORE     sleeps by load and store instead of CAS
 *   MUTANT_NO_WAKE         a producer that found SLEEPING wakes nobody
 *   MUTANT_PUSH_STORE      pushes by load and store
 *   MUTANT_DRAIN_STORE     drains by load and store
 *   MUTANT_NEXT_AFTER      links node.next after the CAS instead of before
 *   MUTANT_LIFO            runs the list as it is found, newest first
 *   MUTANT_CHAIN_NEWEST with CHAIN: links the newest, not the oldest, to what was in it before
 *   MUTANT_NO_OWED         with TEARDOWN: frees the driver as soon as the last item has run
 */
#if defined(MUTANT_FLAG_NO_FENCE) || defined(MUTANT_CHECK_THEN_FLAG)
#define FLAG
#endif

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef ITEMS
#define ITEMS 2 /* per producer */
#endif
#define TOTAL (PRODUCERS * ITEMS)

#define THREADS (PRODUCERS + 1) /* the loop is thread 0 */
#define HEAD 0
#define NEXT(node) (node) /* nodes are 1 .. TOTAL; node = producer * ITEMS + i + 1 */
#define SLEEPING_FLAG (TOTAL + 1)
#define CELLS (TOTAL + 2)
#include "tso.h"

#define SLEEPING 200

byte tokens;       /* the driver's eventfd: adds up until it is read */
byte timers = 1;   /* how often a timer or IO may end a sleep */
byte ran;          /* items that have run */
byte next_of[PRODUCERS]; /* per producer, the item that must run next */
byte sleeps, wakes;
bool driver_freed;

/* A system call that writes or reads an eventfd takes a lock in the kernel, so it drains the buffer. */
inline driver_wake() {
  atomic {
    buffer_empty ->
    assert(!driver_freed);
    tokens++;
    wakes++;
#ifndef FLAG
    assert(wakes <= sleeps)
#endif
  }
}

inline run_item(node) {
  d_step {
    assert(node >= 1 && node <= TOTAL);
    assert(next_of[(node - 1) / ITEMS] == (node - 1) % ITEMS);
    next_of[(node - 1) / ITEMS]++;
    ran++
  }
}

proctype producer(byte me) {
  byte i, node, old;
  bool ok;
#ifdef CHAIN
  /* all but the oldest are linked beforehand; what follows pushes the list in the oldest's name */
  do
  :: i == ITEMS - 1 -> break
  :: i < ITEMS - 1 ->
     i++;
     store(NEXT((me - 1) * ITEMS + i + 1), (me - 1) * ITEMS + i)
  od;
  i = 0;
#define NEWEST (me * ITEMS)
#define PUSHED ITEMS
#else
#define NEWEST node
#define PUSHED 1
#endif
  do
  :: i == ITEMS -> break
  :: i < ITEMS ->
     node = (me - 1) * ITEMS + i + 1;
     do
     :: load(HEAD, old);
#ifdef MUTANT_PUSH_STORE
        store(NEXT(node), (old == SLEEPING -> 0 : old));
        store(HEAD, node);
        break
#else
#ifdef MUTANT_CHAIN_NEWEST
        store(NEXT(NEWEST), (old == SLEEPING -> 0 : old));
#elif !defined(MUTANT_NEXT_AFTER)
        store(NEXT(node), (old == SLEEPING -> 0 : old));
#endif
        compare_exchange(HEAD, old, NEWEST, ok);
        if
        :: ok -> break
        :: else
        fi
#endif
     od;
#ifdef MUTANT_NEXT_AFTER
     store(NEXT(node), (old == SLEEPING -> 0 : old));
#endif
#ifdef FLAG
     load(SLEEPING_FLAG, old);
     if
     :: old == 1 -> driver_wake()
     :: else
     fi;
#elif !defined(MUTANT_NO_WAKE)
     if
     :: old == SLEEPING -> driver_wake()
     :: else
     fi;
#endif
     i = i + PUSHED; node = 0; old = 0; ok = false
  od
}

proctype loop() {
  byte me = 0;
  byte l, n, owed, read;
  byte list[TOTAL];
  bool slept;
  do
  :: ran == TOTAL -> break
  :: ran < TOTAL ->
     if
     :: skip /* busy: drain without sleeping */
     :: /* try_sleep */
#ifdef FLAG
#ifdef MUTANT_CHECK_THEN_FLAG
        load(HEAD, l);
        store(SLEEPING_FLAG, 1);
#else
        store(SLEEPING_FLAG, 1);
#ifndef MUTANT_FLAG_NO_FENCE
        fence();
#endif
        load(HEAD, l);
#endif
        slept = (l == 0); l = 0;
#elif defined(MUTANT_SLEEP_STORE)
        load(HEAD, l);
        if
        :: l == 0 -> store(HEAD, SLEEPING); slept = true
        :: else
        fi;
        sleeps++; l = 0;
#else
        atomic {
          compare_exchange(HEAD, 0, SLEEPING, slept);
          if
          :: slept -> sleeps++
          :: else
          fi
        }
#endif
        if
        :: slept -> /* driver::poll: the only place a loop blocks */
           if
           :: atomic { buffer_empty && tokens > 0 -> read = read + tokens; tokens = 0 }
           :: atomic { buffer_empty && timers > 0 -> timers-- }
           fi
        :: else
        fi;
#ifdef FLAG
        store(SLEEPING_FLAG, 0)
#endif
     fi;
     /* drain */
#ifdef MUTANT_DRAIN_STORE
     load(HEAD, l);
     store(HEAD, 0);
#else
     exchange(HEAD, 0, l);
#endif
     if
     :: slept && l != SLEEPING -> owed++
     :: else
     fi;
     slept = false;
     if
     :: l == SLEEPING -> l = 0
     :: else
     fi;
     do
     :: l == 0 -> break
     :: l != 0 ->
        assert(n < TOTAL);
#ifdef MUTANT_LIFO
        run_item(l);
#endif
        list[n] = l; n++;
        load(NEXT(l), l)
     od;
     do
     :: n == 0 -> break
     :: n > 0 ->
        n--;
#ifndef MUTANT_LIFO
        run_item(list[n]);
#endif
        list[n] = 0
     od
  od;
#ifdef TEARDOWN
#ifndef MUTANT_NO_OWED
  do
  :: atomic { tokens > 0 -> read = read + tokens; tokens = 0 }
  :: read == owed -> break
  od;
#endif
  driver_freed = true
#endif
}

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run loop();
    for (t : 1 .. PRODUCERS) { run producer(t) }
    t = 0
  }
}
