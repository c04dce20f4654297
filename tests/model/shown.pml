/* Who sees a mark of a monitor without coming in may have been let through, and may destroy it.
 *
 * Stands for: executor/include/weft/monitor.hpp  look, leave_as_own, show
 *             executor/src/monitor.cpp           leave_slowly, leave_own, release_owed
 *
 * A latch of two: the home loop and another each count it down once, in any order, the other by a request that it does
 * not wait for where it finds somebody inside; a third looks, and when it sees the mark the latch is gone.
 * Whoever is the last inside may make it its loop's own, on leaving.
 * Claims: nobody touches the latch when it is gone; the third gets to see the mark.
 *
 * Mutants:
 *   MUTANT_AT_ONCE       what is shown is written when the mark is set, not when all else is done
 *   MUTANT_ALWAYS_SHOWN  what is shown counts, too, when the monitor is no loop's own
 *   MUTANT_LOOK_ONCE     who looks does not read the word again
 */
#define THREADS 3 /* 0 the home loop, 1 the other, 2 who looks */
/* 1 occupied, 2 a loop's own, 4 being taken away, 8 a request of the other, 16 the mark, 32 the other loop's own */
#define WORD 0
#define SHOWN 1
#define INSIDE 2
#define OWED 3
#define STATE 4
#define CELLS 5
#include "tso.h"

#define OCCUPIED 1
#define OWN 3
#define TAKEN_AWAY 7
#define REQUEST 8
#define MARK 16
#define OF_ITS_LOOP 32

#define PENDING 0
#define TAKEN 1
#define HOME 2
#define GIVEN 3

byte within;
byte count;
byte marks;
bool alive = true;
bool seen_it;

/* Each thread's buffer has been empty at a moment since it began. */
inline membarrier() { sb[0].n == 0; sb[1].n == 0; sb[2].n == 0 }

inline count_down() {
  assert(alive);
  atomic { within++; assert(within == 1) };
  count++;
  if
  :: count == 2 ->
     marks = MARK;
#ifdef MUTANT_AT_ONCE
     store(SHOWN, MARK)
#endif
  :: else
  fi;
  within--
}

/* By leave_slowly(). */
inline leave() {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: w & REQUEST ->
        exchange(WORD, w & 7, x);
        count_down()
     :: else ->
#ifdef MUTANT_ALWAYS_SHOWN
        store(SHOWN, marks);
#endif
        assert(alive);
        if
        :: compare_exchange(WORD, w, marks, ok)
        :: count == 2 && !(w & 2) ->
           store(SHOWN, marks);
           assert(alive);
           compare_exchange(WORD, w, OWN + OF_ITS_LOOP * me, ok)
        fi;
        if
        :: ok -> break
        :: else
        fi
     fi
  od;
  w = 0; x = 0; ok = false
}

inline release_owed() {
  load(OWED, x);
  if
  :: x == 1 ->
     exchange(OWED, 0, x);
     exchange(STATE, HOME, x);
     if
     :: x == PENDING || x == GIVEN -> leave()
     :: else
     fi
  :: else
  fi;
  x = 0
}

inline come_in_anyhow() {
  do
  :: assert(alive);
     load(WORD, w);
     if
     :: !(w & OCCUPIED) ->
        compare_exchange(WORD, w, w | OCCUPIED, ok);
        if
        :: ok -> count_down(); leave(); break
        :: else
        fi
     :: w == OWN && me != 0 ->
        compare_exchange(WORD, OWN, TAKEN_AWAY, ok);
        if
        :: ok ->
           exchange(OWED, 1, x);
           membarrier();
           load(INSIDE, x);
           if
           :: x == 1 -> exchange(STATE, GIVEN, x)
           :: else ->
              exchange(STATE, TAKEN, x);
              if
              :: x == PENDING -> exchange(WORD, OCCUPIED, x); count_down(); leave(); break
              :: else
              fi
           fi
        :: else
        fi
     :: (w & OCCUPIED) && w != OWN && me == 1 ->
        compare_exchange(WORD, w, w | REQUEST, ok);
        if
        :: ok -> break
        :: else
        fi
     :: (w & OCCUPIED) && w != OWN && me == 0 -> !(mem[WORD] & OCCUPIED) /* a request of its own would do the same */
     fi
  od;
  w = 0; x = 0; ok = false
}

proctype home() {
  byte me = 0;
  byte w, x;
  bool ok, in;
  load(WORD, w);
  if
  :: w == OWN ->
     store(INSIDE, 1);
     load(WORD, w);
     in = (w == OWN);
     if
     :: in ->
        count_down();
        assert(alive);
        store(SHOWN, marks)
     :: else
     fi;
     store(INSIDE, 0);
     release_owed()
  :: else
  fi;
  if
  :: !in -> come_in_anyhow()
  :: else
  fi
}

proctype other() {
  byte me = 1;
  byte w, x;
  bool ok;
  come_in_anyhow()
}

proctype looker() {
  byte me = 2;
  byte w, x, again;
  do
  :: load(WORD, w);
#ifdef MUTANT_ALWAYS_SHOWN
     load(SHOWN, x);
#else
     if
     :: w & 2 ->
        load(SHOWN, x);
#ifndef MUTANT_LOOK_ONCE
        load(WORD, again);
        if
        :: again != w -> x = 0
        :: else
        fi;
        again = 0
#endif
     :: else -> x = w & MARK
     fi;
#endif
     if
     :: x & MARK -> alive = false; seen_it = true; break
     :: else -> w = 0; x = 0; (mem[WORD] & MARK) || mem[SHOWN]
     fi
  od
}

proctype judge() {
  timeout;
  assert(seen_it && count == 2 && within == 0)
}

init {
  byte t;
  atomic {
    mem[WORD] = OWN;
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run home();
    run other();
    run looker();
    run judge();
    t = 0
  }
}
