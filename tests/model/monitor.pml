/* The monitor: getting inside, leaving a request, carrying requests out, leaving.
 *
 * Stands for: executor/include/weft/monitor.hpp  monitor::try_enter, leave, perform
 *             executor/src/monitor.cpp           monitor::enter_or_leave, leave_slowly, begin, retract
 *
 * Claims: never are two inside; what was done inside is visible inside; every request is carried out, once; the requests
 * of one thread in its order.
 *
 * -DDESTROY models a semaphore without permits: thread 0 acquires and destroys it when it has the permit, thread 1
 * releases. Nobody touches the word after that, and the acquirer is not left waiting.
 * -DRETRACT has thread 0 leave or make a request to wait, and then, its wait being over, one that takes it back, while
 * the others come and go: at the end nobody is in the list.
 *
 * Mutants:
 *   MUTANT_LEAVE_STORE  leaves by a plain store
 *   MUTANT_NO_RECHECK   leaves without looking whether a request came meanwhile
 *   MUTANT_ENTER_STORE  enters by load and store
 *   MUTANT_LEFT_STORE   leaves a request by load and store
 *   MUTANT_NEXT_AFTER   links the older request after the CAS
 *   MUTANT_DRAIN_STORE  takes the requests by load and store
 *   MUTANT_LIFO         with RETRACT: carries out the newest request first
 *   MUTANT_WAKE_INSIDE  with DESTROY: resumes an agent before leaving
 */
#if defined(DESTROY)
#define AGENTS 2
#elif !defined(AGENTS)
#define AGENTS 3
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define REQUESTS (AGENTS * ROUNDS + 1)

#define THREADS AGENTS
#define WORD 0       /* 0: free; 1: occupied; 1 + r: occupied, r is the newest request that was left */
#define NEXT(r) (r)  /* requests are 1 .. REQUESTS */
#define DATA (REQUESTS + 1)
#define LISTED (REQUESTS + 2)
#define CELLS (REQUESTS + 3)
#include "tso.h"

bool alive = true;
byte inside;               /* how many are */
byte carried[REQUESTS + 1]; /* how often a request was carried out */
bool granted;              /* DESTROY: the acquirer has its permit */
bool resumed;              /* and was told */

/* What is done inside: a plain read, change and write. */
inline carry_out(r) {
  assert(carried[r] == 0);
#ifdef DESTROY
  if
  :: r == 1 -> /* acquire */
     load(DATA, d);
     if
     :: d > 0 -> store(DATA, d - 1); granted = true; if :: me != 0 -> wake = true :: else -> resumed = true fi
     :: else -> store(LISTED, 1)
     fi
  :: else -> /* release */
     load(LISTED, d);
     if
     :: d == 1 -> store(LISTED, 0); granted = true; if :: me != 0 -> wake = true :: else -> resumed = true fi
     :: else -> load(DATA, d); store(DATA, d + 1)
     fi
  fi;
#else
  load(DATA, d);
  store(DATA, d + 1);
#ifdef RETRACT
  if
  :: r == 1 -> store(LISTED, 1)
  :: r == REQUESTS -> store(LISTED, 0)
  :: else
  fi;
#endif
#endif
  d = 0;
  carried[r]++;
#ifdef MUTANT_WAKE_INSIDE
  if
  :: wake -> resumed = true; wake = false
  :: else
  fi
#endif
}

/* Enters (entered = true), or leaves r. */
inline enter_or_leave(r) {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: w == 0 ->
#ifdef MUTANT_ENTER_STORE
        store(WORD, 1); entered = true; break
#else
        compare_exchange(WORD, 0, 1, ok);
        if
        :: ok -> entered = true; break
        :: else
        fi
#endif
     :: else ->
#ifdef MUTANT_LEFT_STORE
        store(NEXT(r), w - 1); store(WORD, 1 + r); entered = false; break
#else
#ifndef MUTANT_NEXT_AFTER
        store(NEXT(r), w - 1);
#endif
        compare_exchange(WORD, w, 1 + r, ok);
        if
        :: ok ->
#ifdef MUTANT_NEXT_AFTER
           store(NEXT(r), w - 1);
#endif
           entered = false; break
        :: else
        fi
#endif
     fi
  od;
  w = 0; ok = false
}

inline leave() {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: w > 1 ->
#ifdef MUTANT_DRAIN_STORE
        store(WORD, 1);
#else
        exchange(WORD, 1, w);
#endif
        w--;
        do
        :: w == 0 -> break
        :: w != 0 ->
#ifdef MUTANT_LIFO
           carry_out(w);
#endif
           assert(n < REQUESTS); list[n] = w; n++;
           load(NEXT(w), w)
        od;
        do
        :: n == 0 -> break
        :: n > 0 ->
           n--;
#ifndef MUTANT_LIFO
           carry_out(list[n]);
#endif
           list[n] = 0
        od
     :: else ->
        inside--;
#ifdef MUTANT_LEAVE_STORE
        store(WORD, 0); ok = true;
#else
        compare_exchange(WORD, 1, 0, ok);
#ifdef MUTANT_NO_RECHECK
        if
        :: !ok -> store(WORD, 0); ok = true
        :: else
        fi;
#endif
#endif
        if
        :: ok -> break
        :: else -> inside++
        fi
     fi
  od;
  w = 0; ok = false;
  /* The word may be gone now. */
  if
  :: wake -> resumed = true; wake = false
  :: else
  fi
}

inline perform(r) {
  enter_or_leave(r);
  if
  :: entered ->
     atomic { inside++; assert(inside == 1) };
     carry_out(r);
     leave()
  :: else
  fi;
  entered = false
}

proctype agent(byte me) {
  byte w, d, n, i;
  byte list[REQUESTS];
  bool ok, entered, wake;
#ifdef DESTROY
  if
  :: me == 0 ->
     perform(1);
     resumed; /* waits */
     assert(granted);
     alive = false
  :: else -> perform(2)
  fi
#else
  do
  :: i == ROUNDS -> break
  :: i < ROUNDS ->
     perform(me * ROUNDS + i + 1);
     i++
  od;
#ifdef RETRACT
  if
  :: me == 0 -> perform(REQUESTS)
  :: else
  fi
#endif
#endif
}

/* At the end, all buffers empty: nothing was lost. */
proctype judge() {
  byte r;
  timeout;
#ifdef DESTROY
  assert(!alive && granted);
#else
  assert(mem[WORD] == 0);
#ifdef RETRACT
  assert(mem[DATA] == REQUESTS && mem[LISTED] == 0);
#else
  assert(mem[DATA] == REQUESTS - 1);
#endif
#endif
}

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. AGENTS - 1) { run agent(t) }
    run judge();
    t = 0
  }
}
