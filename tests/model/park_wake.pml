/* Waiting and waking: a fiber that waits for a future with a timeout, and, with -DCPU, a CPU task
 * that parks.
 *
 * Stands for: executor/include/weft/waiter.hpp  waiter
 *             executor/src/waiter.cpp           park, wake
 *             executor/src/future_core.cpp      link, publish, unlink; future_waiter
 *             executor/src/cpu_pool.cpp         park, wake (with -DCPU)
 *
 * Claims, fibers: each waiter is woken exactly once and none is lost; a waiter woken by the source
 * sees the result; nobody reads or writes a node or waiter whose frame is gone; unlink ends.
 * Claims, CPU tasks: never on two workers at once, never lost.
 *
 * A future's head is 0, DONE, or the newest of a list of nodes that lie in the waiters' frames.
 * Whoever takes a list out of head (the completer for good, an unlinker for a moment) owns its
 * nodes, and owes each of them one of three things: fire it, push it back, or, if its waiter was
 * woken by something else, mark it unlinked as the last touch.
 *
 * Configurations: WAITERS (2), SAME_LOOP (all on loop 0; else waiter w on loop w), HOME_COMPLETER
 * (the completer is a fiber of loop 0; else a thread of its own), NO_COMPLETER (never completed,
 * each waiter times out).
 *
 * -DUNLINK_PARKS: once head is DONE, unlink does not yield until its node is marked but parks, and
 * whoever marks the node (by exchange) wakes it.
 *
 * Mutants, fibers:
 *   MUTANT_PLAIN_REMOTE    a waker on another thread fires by load and store
 *   MUTANT_HOME_NO_CHECK   a waker on the home loop stores without looking at the state first
 *   MUTANT_NO_WAIT         unlink does not wait until its node is given back
 *   MUTANT_NEXT_AFTER      node.next is read after the node was fired
 *   MUTANT_LINK_STORE      link checks DONE and then stores
 *   MUTANT_TOUCH_AFTER     a waker that won marks the node as well
 *   MUTANT_NO_HELP         an unlinker that finds DONE does not fire the nodes it holds
 *   MUTANT_KEEP_DEAD       an unlinker pushes back nodes whose waiters have timed out; two
 *                          unlinkers can then take each other's node for ever (LTL `ends`)
 *   MUTANT_RESULT_AFTER    the result is stored after DONE
 *   MUTANT_MARK_STORE      with UNLINK_PARKS: the node is marked by a store, and nobody woken
 * Mutants, CPU tasks:
 *   MUTANT_ENQUEUE_WAITING a waker enqueues a task that has not left its stack
 *   MUTANT_PARKED_EARLY    PARKED is set before the stack is left
 *   MUTANT_PARKED_STORE    PARKED is stored instead of CASed
 *   MUTANT_BOTH_WAKE       a waker does not first win the waiter
 *   MUTANT_SKIP_PARK       a task that finds its waiter woken goes on without parking: its waker's
 *                          exchange is still to come and hits the next wait
 */
#ifndef CPU

#ifndef WAITERS
#define WAITERS 2
#endif
#ifdef SAME_LOOP
#define LOOPS 1
#define HOME(w) 0
#else
#define LOOPS WAITERS
#define HOME(w) (w)
#endif
#if defined(HOME_COMPLETER) || defined(NO_COMPLETER)
#define THREADS LOOPS
#else
#define THREADS (LOOPS + 1)
#endif

#define HEAD 0
#define RESULT 1
#define STATE(w) (2 + (w))
#define NEXT(w) (2 + WAITERS + (w))
#define UNLINKED(w) (2 + 2 * WAITERS + (w))
#define CELLS (2 + 3 * WAITERS)
#include "tso.h"

/* A node's address is its waiter's number plus one. */
#define DONE 100

/* STATE */
#define WAITING 1
#define WOKEN_SOURCE 2
#define WOKEN_TIMEOUT 3

/* phase, for the model only: how far a fiber has come */
#define NEW 0
#define PARKED 1
#define UNLINKING 2
#define ENDED 3
#define DRAINING 4

/* UNLINKED is 0, 1, or with UNLINK_PARKS: */
#define ASLEEP 2

byte phase[WAITERS];
byte ready[WAITERS];  /* wake-ups on their way through inbox or ready queue */
bool alive[WAITERS];  /* the frame with waiter and node exists */
bool armed[WAITERS];  /* the timer may still fire */
bool completed;

#define touch(w) assert(alive[w])

inline make_ready(w) {
  d_step { assert(alive[w] && ready[w] == 0 && phase[w] == PARKED); ready[w]++ }
}

#ifdef UNLINK_PARKS
inline mark_unlinked(w, s) {
  atomic {
    touch(w);
#ifdef MUTANT_MARK_STORE
    store(UNLINKED(w), 1);
#else
    exchange(UNLINKED(w), 1, s);
#endif
    if
    :: s == ASLEEP -> assert(phase[w] == DRAINING && ready[w] == 0); ready[w]++
    :: else
    fi
  };
  s = 0
}
#else
inline mark_unlinked(w, s) {
  atomic { touch(w); store(UNLINKED(w), 1) }
}
#endif

/* Wakes the waiter of a node that this thread owns. The inbox push is a CAS, hence buffer_empty. */
inline fire(w, s, ok) {
  if
  :: HOME(w) == me ->
     atomic { touch(w); load(STATE(w), s) };
     if
#ifdef MUTANT_HOME_NO_CHECK
     :: true ->
#else
     :: s == WAITING ->
#endif
        atomic { touch(w); store(STATE(w), WOKEN_SOURCE) };
        make_ready(w)
#ifndef MUTANT_HOME_NO_CHECK
     :: else -> mark_unlinked(w, s)
#endif
     fi
  :: else ->
#ifdef MUTANT_PLAIN_REMOTE
     atomic { touch(w); load(STATE(w), s); ok = (s == WAITING) };
     if
     :: ok -> store(STATE(w), WOKEN_SOURCE)
     :: else
     fi;
#else
     atomic { touch(w); compare_exchange(STATE(w), WAITING, WOKEN_SOURCE, ok) };
#endif
     if
     :: ok ->
        atomic { buffer_empty -> make_ready(w) }
#ifdef MUTANT_TOUCH_AFTER
        ; mark_unlinked(w, s)
#endif
     :: else -> mark_unlinked(w, s)
     fi
  fi;
  s = 0; ok = false
}

inline fire_all(p, n, s, ok) {
  do
  :: p == 0 -> break
  :: p != 0 ->
#ifdef MUTANT_NEXT_AFTER
     fire(p - 1, s, ok);
     atomic { touch(p - 1); load(NEXT(p - 1), p) }
#else
     atomic { touch(p - 1); load(NEXT(p - 1), n) };
     fire(p - 1, s, ok);
     p = n; n = 0
#endif
  od
}

inline complete(p, n, s, ok) {
#ifndef MUTANT_RESULT_AFTER
  store(RESULT, 1);
#endif
  exchange(HEAD, DONE, p);
#ifdef MUTANT_RESULT_AFTER
  store(RESULT, 1);
#endif
  fire_all(p, n, s, ok)
}

/* A fiber runs until its first wait: makes its frame, links, parks. */
inline start(w, l, s, ok) {
  alive[w] = true;
  store(STATE(w), WAITING);
  do
  :: load(HEAD, l);
     if
     :: l == DONE -> /* no wait */
        load(RESULT, s);
        assert(s == 1);
        atomic { alive[w] = false; phase[w] = ENDED };
        break
     :: else
     fi;
     store(NEXT(w), l);
#ifdef MUTANT_LINK_STORE
     atomic { phase[w] = PARKED; armed[w] = true };
     store(HEAD, w + 1);
     break
#else
     atomic {
       compare_exchange(HEAD, l, w + 1, ok);
       if
       :: ok -> phase[w] = PARKED; armed[w] = true; break
       :: else
       fi
     }
#endif
  od;
  l = 0; s = 0; ok = false
}

/* The fiber comes back from its wait through the inbox or the ready queue. */
inline resume(w, s) {
  ready[w]--;
  if
  :: phase[w] == DRAINING -> skip
  :: else ->
     load(STATE(w), s);
     assert(s == WOKEN_SOURCE);
     load(RESULT, s);
     assert(s == 1)
  fi;
  atomic { alive[w] = false; armed[w] = false; phase[w] = ENDED };
  s = 0
}

/* The timer, or a cancellation: on the home loop only. */
inline expire(w, ok) {
  armed[w] = false;
  atomic {
    touch(w);
    compare_exchange(STATE(w), WAITING, WOKEN_TIMEOUT, ok);
    if
    :: ok -> assert(phase[w] == PARKED && ready[w] == 0); phase[w] = UNLINKING
    :: else
    fi
  };
  ok = false
}

/* One attempt of unlink; the fiber yields between two. */
inline unlink(w, l, n, s, ok, p, first, last, found) {
  load(UNLINKED(w), s);
  if
  :: s == 1 -> found = true
  :: else ->
     load(HEAD, l);
     if
#ifdef UNLINK_PARKS
     :: l == 0 -> skip
     :: l == DONE -> /* the node's owner will mark it: nobody pushes back any more */
        atomic {
          compare_exchange(UNLINKED(w), 0, ASLEEP, ok);
          if
          :: ok -> phase[w] = DRAINING
          :: else -> found = true
          fi;
          ok = false
        }
#else
     :: l == 0 || l == DONE -> skip /* somebody owns the node, and will mark it or push it back */
#endif
     :: else ->
        compare_exchange(HEAD, l, 0, ok);
        p = (ok -> l : 0);
        ok = false;
        do
        :: p == 0 -> break
        :: p != 0 ->
           atomic { touch(p - 1); load(NEXT(p - 1), n) };
           atomic { touch(p - 1); load(STATE(p - 1), s) };
           if
           :: p - 1 == w -> found = true
#ifndef MUTANT_KEEP_DEAD
           :: p - 1 != w && s != WAITING -> mark_unlinked(p - 1, s)
           :: p - 1 != w && s == WAITING ->
#else
           :: p - 1 != w ->
#endif
              if
              :: first == 0 -> first = p
              :: else -> atomic { touch(last - 1); store(NEXT(last - 1), p) }
              fi;
              last = p
           fi;
           p = n
        od;
        n = 0; s = 0;
        if
        :: first != 0 ->
           do
           :: load(HEAD, l);
              if
              :: l == DONE ->
#ifndef MUTANT_NO_HELP
                 atomic { touch(last - 1); store(NEXT(last - 1), 0) };
                 p = first;
                 fire_all(p, n, s, ok);
#endif
                 break
              :: else ->
                 atomic { touch(last - 1); store(NEXT(last - 1), l) };
                 compare_exchange(HEAD, l, first, ok);
                 if
                 :: ok -> break
                 :: else
                 fi
              fi
           od
        :: else
        fi
     fi
  fi;
#ifdef MUTANT_NO_WAIT
  found = true;
#endif
  atomic {
    if
    :: found -> alive[w] = false; phase[w] = ENDED
    :: else
    fi;
    l = 0; n = 0; s = 0; p = 0; first = 0; last = 0; ok = false; found = false
  }
}

/* Whether another attempt of unlink could find something new. The yield between attempts is
 * modelled as waiting for this, so that a node nobody gives back is an invalid end state. */
#ifdef UNLINK_PARKS
#define unlink_may(w) (seen(me, UNLINKED(w)) == 1 || seen(me, HEAD) != 0)
#else
#define unlink_may(w) \
  (seen(me, UNLINKED(w)) == 1 || (seen(me, HEAD) != 0 && seen(me, HEAD) != DONE))
#endif

#define act_start(w) HOME(w) == me && phase[w] == NEW
#define act_resume(w) HOME(w) == me && ready[w] > 0
#define act_expire(w) HOME(w) == me && phase[w] == PARKED && armed[w]
#define act_unlink(w) HOME(w) == me && phase[w] == UNLINKING && unlink_may(w)
#define ended(w) (HOME(w) != me || phase[w] == ENDED)

#if WAITERS > 2
#define all_ended (ended(0) && ended(1) && ended(2))
#else
#define all_ended (ended(0) && ended(1))
#endif

#ifdef HOME_COMPLETER
#define completer_left (me == 0 && !completed)
#else
#define completer_left false
#endif

/* A loop runs one thing at a time, from wait to wait. */
proctype loop(byte me) {
  byte w, l, n, s, p, first, last;
  bool ok, found;
  do
  :: atomic { completer_left -> completed = true }; complete(p, n, s, ok)
  :: atomic { act_start(0) -> w = 0 }; start(w, l, s, ok)
  :: atomic { act_start(1) -> w = 1 }; start(w, l, s, ok)
  :: atomic { act_resume(0) -> w = 0 }; resume(w, s)
  :: atomic { act_resume(1) -> w = 1 }; resume(w, s)
  :: atomic { act_expire(0) -> w = 0 }; expire(w, ok)
  :: atomic { act_expire(1) -> w = 1 }; expire(w, ok)
  :: atomic { act_unlink(0) -> w = 0 }; unlink(w, l, n, s, ok, p, first, last, found)
  :: atomic { act_unlink(1) -> w = 1 }; unlink(w, l, n, s, ok, p, first, last, found)
#if WAITERS > 2
  :: atomic { act_start(2) -> w = 2 }; start(w, l, s, ok)
  :: atomic { act_resume(2) -> w = 2 }; resume(w, s)
  :: atomic { act_expire(2) -> w = 2 }; expire(w, ok)
  :: atomic { act_unlink(2) -> w = 2 }; unlink(w, l, n, s, ok, p, first, last, found)
#endif
  :: all_ended && !completer_left -> break
  od;
  for (w : 0 .. WAITERS - 1) { assert(HOME(w) != me || ready[w] == 0) }
}

#if !defined(HOME_COMPLETER) && !defined(NO_COMPLETER)
proctype completer(byte me) {
  byte p, n, s;
  bool ok;
  complete(p, n, s, ok);
  completed = true
}
#endif

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. LOOPS - 1) { run loop(t) }
#if !defined(HOME_COMPLETER) && !defined(NO_COMPLETER)
    run completer(LOOPS);
#endif
    t = 0
  }
}

#ifdef LIVENESS
#if WAITERS > 2
#define every_phase(p) (phase[0] == p && phase[1] == p && phase[2] == p)
#else
#define every_phase(p) (phase[0] == p && phase[1] == p)
#endif
ltl ends { <> every_phase(ENDED) }
#endif

#else /* CPU */

#define WORKERS 2
#define WAITS 2 /* how often the task waits */
#define THREADS (WORKERS + 2)
#define PARK 0           /* the task's park word */
#define WAITER(i) (1 + (i)) /* the waiter of its i-th wait */
#define CELLS (1 + WAITS)
#include "tso.h"

/* PARK */
#define RUNNING 0
#define PARKED 1
#define WOKEN 2

byte queued = 1;     /* times the task is in the pool's queue */
bool on_stack;       /* somebody runs on the task's stack */
byte waits;          /* waits begun */
bool linked[WAITS];  /* the i-th waiter is where its wakers can find it */
bool done;

inline enter_stack() {
  atomic { assert(!on_stack); on_stack = true }
}

proctype worker(byte me) {
  byte s;
  bool ok;
  do
  :: atomic { queued > 0 -> queued-- };
  run_task:
     enter_stack();
     if
     :: waits > 0 -> /* this wait was ended by one of its own wakers */
        load(WAITER(waits - 1), s);
        assert(s == 1);
        s = 0
     :: else
     fi;
     if
     :: waits == WAITS ->
        atomic { on_stack = false; done = true }
     :: else ->
        store(PARK, RUNNING);
        atomic { buffer_empty -> linked[waits] = true; waits++ };
#ifdef MUTANT_SKIP_PARK
        load(WAITER(waits - 1), s);
        if
        :: s == 1 -> on_stack = false; goto run_task
        :: else
        fi;
#endif
#ifdef MUTANT_PARKED_EARLY
        compare_exchange(PARK, RUNNING, PARKED, ok);
        on_stack = false;
#else
        on_stack = false; /* on the worker's own stack from here */
#ifdef MUTANT_PARKED_STORE
        store(PARK, PARKED); ok = true;
#else
        compare_exchange(PARK, RUNNING, PARKED, ok);
#endif
#endif
        if
        :: ok -> ok = false /* the task is its waker's: no touch */
        :: else ->
           load(PARK, s);
           assert(s == WOKEN);
           s = 0;
           goto run_task
        fi
     fi
  :: atomic { done -> assert(queued == 0) }; break
  od
}

/* The source and the timer. */
proctype waker(byte me) {
  byte i, old;
  bool ok;
  do
  :: i == WAITS -> break
  :: i < WAITS ->
     linked[i];
#ifdef MUTANT_BOTH_WAKE
     exchange(WAITER(i), 1, old);
     ok = true;
#else
     compare_exchange(WAITER(i), 0, 1, ok);
#endif
     if
     :: ok ->
        exchange(PARK, WOKEN, old);
        if
#ifdef MUTANT_ENQUEUE_WAITING
        :: old == PARKED || old == RUNNING -> queued++
#else
        :: old == PARKED -> queued++
#endif
        :: else /* the parker will see it */
        fi
     :: else
     fi;
     i++; ok = false; old = 0
  od
}

init {
  byte t;
  atomic {
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. WORKERS - 1) { run worker(t) }
    for (t : WORKERS .. THREADS - 1) { run waker(t) }
    t = 0
  }
}
#endif
