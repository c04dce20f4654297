/* The control of a cancel scope whose owner runs off the loops: who tells its keeper, and who tells it to let go.
 *
 * Stands for: executor/src/cancel_scope.cpp  scope_control::cancel, reschedule, poke, post_to, run, tend, enter, leave
 *             executor/src/runtime.cpp       stop_if_quiet (the loop ends when nothing owns it any more)
 *
 * The owner enters and leaves; one other thread puts the deadline off, another cancels; the keeper, a loop, has the
 * timer. Claims: when all is over no timer is set, and the control is freed, once; nobody posts to a loop that has
 * ended; the control is in the inbox once.
 *
 * Mutants:
 *   MUTANT_NOT_TOLD      leave() posts nothing
 *   MUTANT_TOLD_FIRST    leave() reads told_ before it takes keeper_ away
 *   MUTANT_LATE_COUNT    a poker raises in_flight after it has read keeper_
 *   MUTANT_CLEAR_LATE    run() says that it is out of the inbox after it has looked
 *   MUTANT_NO_HOLD       the control in the inbox is not held
 */
#define THREADS 4 /* 0 the keeper, 1 the owner, 2 who reschedules, 3 who cancels */
#define ASKED 0
#define KEEPER 1
#define TOLD 2
#define POSTED 3
#define IN_FLIGHT 4
#define HOLDERS 5
#define CELLS 6
#include "tso.h"

byte mail;          /* the control in the keeper's inbox */
bool ended;         /* the keeper */
bool task = true;   /* the owner's task runs, and keeps the runtime */
bool alarm;
bool freed;

inline add(c, amount, old) { d_step { buffer_empty -> old = mem[c]; mem[c] = mem[c] + amount } }

inline hold() { add(HOLDERS, 1, x); assert(x > 0 && !freed) }
inline release() {
  add(HOLDERS, 255, x);
  if
  :: x == 1 -> assert(!freed && !alarm && mail == 0); freed = true
  :: else
  fi
}

inline post_to() {
  exchange(POSTED, 1, x);
  if
  :: x == 1 -> add(IN_FLIGHT, 255, x)
  :: else ->
#ifndef MUTANT_NO_HOLD
     hold();
#endif
     assert(!ended && mail == 0);
     mail++
  fi
}

inline poke() {
  load(KEEPER, x);
  if
  :: x == 0 /* enter() sees what was asked */
  :: else ->
#ifndef MUTANT_LATE_COUNT
     add(IN_FLIGHT, 1, x);
#endif
     exchange(TOLD, 1, x);
     load(KEEPER, x);
#ifdef MUTANT_LATE_COUNT
     y = x;
     add(IN_FLIGHT, 1, x);
     x = y; y = 0;
#endif
     if
     :: x == 1 -> post_to()
     :: else -> add(IN_FLIGHT, 255, x)
     fi
  fi;
  x = 0
}

inline tend() {
  load(KEEPER, k);
  load(ASKED, a);
  if
  :: alarm -> alarm = false; release()
  :: else
  fi;
  if
  :: k == 1 && a == 0 -> alarm = true; hold()
  :: else
  fi;
  k = 0; a = 0
}

proctype keeper() {
  byte me = 0;
  byte x, k, a;
  do
  :: mail > 0 -> mail--;
#ifndef MUTANT_CLEAR_LATE
     exchange(POSTED, 0, x);
#endif
     tend();
#ifdef MUTANT_CLEAR_LATE
     exchange(POSTED, 0, x);
#endif
     add(IN_FLIGHT, 255, x);
#ifndef MUTANT_NO_HOLD
     release()
#endif
  :: atomic { mail == 0 && !task && mem[IN_FLIGHT] == 0 && buffer_empty -> ended = true; break }
  od
}

proctype owner() {
  byte me = 1;
  byte x, y;
  hold(); /* of the scope */
  exchange(KEEPER, 1, x);
  load(ASKED, x);
  if
  :: x == 1 -> poke()
  :: else
  fi;
  /* It is inside here. */
#ifdef MUTANT_TOLD_FIRST
  load(TOLD, y);
#endif
  exchange(KEEPER, 0, x);
#if !defined(MUTANT_NOT_TOLD)
#ifndef MUTANT_TOLD_FIRST
  load(TOLD, y);
#endif
  if
  :: y == 1 -> add(IN_FLIGHT, 1, x); post_to()
  :: else
  fi;
#endif
  release();
  release(); /* its handle */
  atomic { buffer_empty -> task = false }
}

proctype rescheduler() {
  byte me = 2;
  byte x, y;
  poke();
  release()
}

proctype canceller() {
  byte me = 3;
  byte x, y;
  bool ok;
  compare_exchange(ASKED, 0, 1, ok);
  hold();
  poke();
  release();
  release()
}

proctype judge() {
  timeout;
  assert(ended && freed && !alarm && mail == 0)
}

init {
  byte t;
  atomic {
    mem[HOLDERS] = 3; /* a handle each: the owner's, the rescheduler's, the canceller's */
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run keeper();
    run owner();
    run rescheduler();
    run canceller();
    run judge();
    t = 0
  }
}
