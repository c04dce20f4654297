/* A monitor that has become one loop's own, and is taken away from it.
 *
 * Stands for: executor/include/weft/monitor.hpp, executor/src/monitor.cpp  goes_in, leaves_debts, leave_own, take_over
 *             executor/src/monitor.cpp                                     release_owed
 *
 * The home loop enters with plain stores and loads; the others (REVOKERS of them) take the bias away first, with
 * membarrier(2), and then go by the ordinary protocol (monitor.pml), here with a bit in the word for each request.
 * Claims: never two inside; every request is carried out once; with DESTROY, in which a revoker destroys the monitor
 * as soon as it finds that the home loop has done the last thing it does to it, nobody touches it after that.
 *
 * Mutants:
 *   MUTANT_NO_BARRIER    no membarrier
 *   MUTANT_CHECK_FIRST   the home loop looks at the bias before it says that it is inside
 *   MUTANT_OWED_LATE     what is owed is published after the barrier
 *   MUTANT_NO_CLAIM      whoever finds the home loop outside takes over, without asking whether that has released it
 *   MUTANT_NOT_GIVEN     who finds it inside relies on it, and the home loop does not look at what it owes
 *   MUTANT_LOOK_BACK     the home loop looks at the monitor's word, and not at what it owes, after it has left (DESTROY)
 */
#ifndef REVOKERS
#define REVOKERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define THREADS 3 /* 0 the home loop */
#define WORD 0    /* 1 occupied, 2 biased, 4 << t a request of thread t */
#define INSIDE 1
#define OWED 2
#define STATE 3
#define DATA 4
#define CELLS 5
#include "tso.h"

#define PENDING 0
#define TAKEN 1
#define HOME 2
#define GIVEN 3

byte within;
byte done[THREADS];
bool alive = true;

/* Each thread's buffer has been empty at a moment since it began. */
inline membarrier() {
#ifndef MUTANT_NO_BARRIER
  sb[0].n == 0; sb[1].n == 0; sb[2].n == 0
#else
  skip
#endif
}

inline act(t) {
  assert(alive);
  atomic { within++; assert(within == 1) };
  done[t]++;
  if
  :: t == 0 && done[0] == ROUNDS -> store(DATA, 1)
  :: else
  fi;
  within--
}

/* By the ordinary protocol. */
inline leave() {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: w > 1 ->
        exchange(WORD, 1, w);
        if :: w & 4 -> act(0) :: else fi;
        if :: w & 8 -> act(1) :: else fi;
        if :: w & 16 -> act(2) :: else fi
     :: else ->
        compare_exchange(WORD, 1, 0, ok);
        if :: ok -> break :: else fi
     fi
  od;
  w = 0; ok = false
}

inline release_owed() {
  load(OWED, x);
  if
  :: x == 1 ->
     exchange(OWED, 0, x);
     if
     :: x == 1 ->
        exchange(STATE, HOME, x);
        if
        :: x == PENDING || x == GIVEN -> leave()
        :: else
        fi
     :: else
     fi
  :: else
  fi;
  x = 0
}

inline take_over(taken) {
  assert(alive);
  compare_exchange(WORD, 3, 1, ok);
  if
  :: ok ->
#ifndef MUTANT_OWED_LATE
     exchange(OWED, 1, x);
#endif
     membarrier();
#ifdef MUTANT_OWED_LATE
     exchange(OWED, 1, x);
#endif
     load(INSIDE, x);
     if
     :: x == 1 -> exchange(STATE, GIVEN, x)
     :: else ->
#ifdef MUTANT_NO_CLAIM
        taken = true
#else
        exchange(STATE, TAKEN, x);
        taken = (x == PENDING)
#endif
     fi
  :: else
  fi;
  x = 0; ok = false
}

/* act(), now or by whoever is inside. */
inline perform(t) {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: w == 0 ->
        compare_exchange(WORD, 0, 1, ok);
        if
        :: ok -> act(t); leave(); break
        :: else
        fi
     :: (w & 1) && !(w & 2) ->
        compare_exchange(WORD, w, w | (4 << t), ok);
        if
        :: ok -> break
        :: else
        fi
     :: w & 2 ->
        take_over(taken);
        if
        :: taken -> act(t); leave(); break
        :: else
        fi
     fi
  od;
  taken = false; w = 0; ok = false
}

proctype home() {
  byte me = 0;
  byte w, x, i;
  bool ok, taken, in;
  do
  :: i == ROUNDS -> break
  :: i < ROUNDS ->
     assert(alive);
     load(WORD, w);
     in = false;
     if
     :: w & 2 ->
#ifdef MUTANT_CHECK_FIRST
        in = true;
        store(INSIDE, 1);
#else
        store(INSIDE, 1);
        load(WORD, w);
        in = (w & 2) > 0;
#endif
        if
        :: in -> act(0)
        :: else
        fi;
        store(INSIDE, 0);
#ifdef MUTANT_LOOK_BACK
        assert(alive);
        load(WORD, w);
        if
        :: !(w & 2) -> release_owed()
        :: else
        fi;
#else
#ifndef MUTANT_NOT_GIVEN
        release_owed();
#endif
#endif
     :: else
     fi;
     w = 0;
     if
     :: !in -> perform(0)
     :: else
     fi;
     i++;
     done[0] == i /* waits; what is owed does not wait for that */
  od
}

proctype revoker(byte me) {
  byte w, x;
  bool ok, taken;
  perform(me);
#ifdef DESTROY
  /* As with a lock: gets in when the home loop has done all that it does, and that is the end of the monitor. */
  done[0] == ROUNDS && done[me] > 0;
  compare_exchange(WORD, 0, 1, ok);
  if
  :: ok -> alive = false
  :: else
  fi
#endif
}

proctype judge() {
  timeout;
#ifndef DESTROY
  assert(done[0] == ROUNDS && done[1] + done[2] == REVOKERS);
  assert(mem[WORD] == 0 || mem[WORD] == 3);
#endif
}

init {
  byte t;
  atomic {
    mem[WORD] = 3;
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run home();
    for (t : 1 .. REVOKERS) { run revoker(t) }
    run judge();
    t = 0
  }
}
