/* A monitor that has been one loop's own, is taken away from it, and becomes another loop's own.
 *
 * Stands for: executor/include/weft/monitor.hpp, executor/src/monitor.cpp  is_at_home, goes_in, take_over, own_of
 *             executor/src/monitor.cpp                                     release_owed
 *
 * bias.pml has one home and any number of others; here each of two loops may make it its own, once, and take it away
 * from the other. What a loop has read of the monitor before it says that it is inside may be of another time.
 * Claims: never two inside; each gets in as often as it wants to.
 *
 * Mutant:
 *   MUTANT_WHOSE         the word says that it is a loop's own, and not whose; that is a word of its own, read before
 */
#define THREADS 2
#define ROUNDS 3
#define WORD 0   /* 0 free, 1 occupied, OWN(t) loop t's own */
#define HOME 1   /* MUTANT_WHOSE: 0 nobody's, else 1 + the loop */
#define INSIDE 2 /* and 3: of each loop */
#define OWED 4   /* and 5 */
#define STATE 6  /* and 7 */
#define CELLS 8
#include "tso.h"

#ifdef MUTANT_WHOSE
#define OWN(t) 3
#else
#define OWN(t) (3 + (t))
#endif

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
#ifdef MUTANT_WHOSE
     store(HOME, me + 1);
#endif
     exchange(WORD, OWN(me), w)
  fi
}

inline nobodys() {
#ifdef MUTANT_WHOSE
  store(HOME, 0)
#else
  skip
#endif
}

/* mine: as far as can be seen, it is the caller's own. theirs: the other loop's. */
inline look(mine, theirs) {
#ifdef MUTANT_WHOSE
  load(HOME, h);
  mine = (h == me + 1); theirs = (w == 3 && h == 2 - me);
#else
  load(WORD, w);
  mine = (w == OWN(me)); theirs = (w == OWN(1 - me));
#endif
  h = 0
}

inline release_owed() {
  load(OWED + me, x);
  if
  :: x == 1 ->
     exchange(OWED + me, 0, x);
     exchange(STATE + me, RELEASED, x);
     if
     :: x == PENDING || x == GIVEN -> nobodys(); exchange(WORD, 0, w)
     :: else
     fi
  :: else
  fi
}

proctype loop(byte me) {
  byte w, x, h, i;
  bool ok, in, mine, theirs;
  do
  :: i == ROUNDS -> break
  :: i < ROUNDS ->
     in = false;
     look(mine, theirs);
     if
     :: mine ->
        store(INSIDE + me, 1);
        load(WORD, w);
        in = (w == OWN(me));
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
        :: w >= 3 ->
           look(mine, theirs);
           if
           :: mine -> break /* by its own way */
           :: theirs ->
              compare_exchange(WORD, OWN(1 - me), 1, ok);
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
                    :: x == PENDING -> nobodys(); act(); leave(); in = true
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
     w = 0; x = 0; ok = false; mine = false; theirs = false
  od
}

proctype judge() {
  timeout;
  assert(within == 0 && (mem[WORD] == 0 || mem[WORD] >= 3))
}

init {
  byte t;
  atomic {
    mem[WORD] = OWN(0);
#ifdef MUTANT_WHOSE
    mem[HOME] = 1;
#endif
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    for (t : 0 .. THREADS - 1) { run loop(t) }
    run judge();
    t = 0
  }
}
