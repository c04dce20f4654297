/* A monitor that has been one loop's own, is taken away from it, and becomes another loop's own.
 *
 * Stands for: executor/include/weft/monitor.hpp, executor/src/monitor.cpp  is_at_home, goes_in, take_over, enter_at
 *             executor/src/monitor.cpp                                     release_owed
 *
 * bias.pml has one home and any number of others; here each of two loops may make it its own, once, and take it away
 * from the other. What a loop has read of the monitor before it says that it is inside may be of another time.
 * Claims: never two inside; each gets in as often as it wants to.
 *
 * Mutant:
 *   MUTANT_HOME_ONCE     whose own it is, is not read again after the word
 */
#define THREADS 2
#define ROUNDS 3
#define WORD 0   /* 0 free, 1 occupied, 3 a loop's own */
#define HOME 1   /* 0 nobody's, else 1 + the loop */
#define INSIDE 2 /* and 3: of each loop */
#define OWED 4   /* and 5 */
#define STATE 6  /* and 7 */
#define CELLS 8
#include "tso.h"

#define PENDING 0
#define TAKEN 1
#define RELEASED 2
#define GIVEN 3

byte within;
bool taken_from[2]; /* its one time is over */

/* Each thread's buffer has been empty at a moment since it began. */
inline membarrier() { sb[0].n == 0; sb[1].n == 0 }

inline act() {
  atomic { within++; assert(within == 1) };
  within--
}

/* Occupied so far: free, or the caller's own. */
inline leave() {
  if
  :: exchange(WORD, 0, w)
  :: !taken_from[me] ->
     store(HOME, me + 1);
     exchange(WORD, 3, w)
  fi
}

inline release_owed() {
  load(OWED + me, x);
  if
  :: x == 1 ->
     exchange(OWED + me, 0, x);
     exchange(STATE + me, RELEASED, x);
     if
     :: x == PENDING || x == GIVEN -> store(HOME, 0); exchange(WORD, 0, w)
     :: else
     fi
  :: else
  fi
}

proctype loop(byte me) {
  byte w, x, h, i;
  bool ok, in;
  do
  :: i == ROUNDS -> break
  :: i < ROUNDS ->
     in = false;
     load(HOME, h);
     if
     :: h == me + 1 ->
        store(INSIDE + me, 1);
        load(WORD, w);
#ifndef MUTANT_HOME_ONCE
        load(HOME, h);
#endif
        in = (w == 3 && h == me + 1);
        if
        :: in -> act()
        :: else
        fi;
        store(INSIDE + me, 0);
        release_owed()
     :: else
     fi;
     do
     :: in -> break
     :: else ->
        load(WORD, w);
        if
        :: w == 0 ->
           compare_exchange(WORD, 0, 1, ok);
           if
           :: ok -> act(); leave(); in = true
           :: else
           fi
        :: w == 3 ->
           load(HOME, h);
           if
           :: h == me + 1 -> break /* by its own way */
           :: h == 2 - me ->
              compare_exchange(WORD, 3, 1, ok);
              if
              :: ok ->
                 taken_from[1 - me] = true;
                 exchange(OWED + 1 - me, 1, x);
                 membarrier();
                 load(INSIDE + 1 - me, x);
                 if
                 :: x == 1 -> exchange(STATE + 1 - me, GIVEN, x)
                 :: else ->
                    exchange(STATE + 1 - me, TAKEN, x);
                    if
                    :: x == PENDING -> store(HOME, 0); act(); leave(); in = true
                    :: else
                    fi
                 fi
              :: else
              fi
           :: else
           fi
        :: w == 1 -> mem[WORD] != 1
        fi
     od;
     if
     :: in -> i++
     :: else
     fi;
     w = 0; x = 0; h = 0; ok = false
  od
}

proctype judge() {
  timeout;
  assert(within == 0 && (mem[WORD] == 0 || mem[WORD] == 3))
}

init {
  byte t;
  atomic {
    mem[WORD] = 3;
    mem[HOME] = 1;
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. THREADS - 1) { run loop(t) }
    run judge();
    t = 0
  }
}
