/* A task_group: who counts, who drains it, and when its owner may let it go.
 *
 * Stands for: executor/src/task_group.cpp  count_one, count_down, admit, ended, join
 *
 * The owner spawns a child and joins. The child spawns another while the group drains, and both end with an error that
 * the owner is to see. A stranger, for which the owner waits before it lets the group go, spawns at any time, perhaps
 * too late. Claims: the group drains once, and only when every child that was admitted has ended; the owner then sees
 * what each has left; who comes too late is refused; nobody touches the group when it is gone.
 *
 * Mutants:
 *   MUTANT_NO_OWN_COUNT   the owner does not count itself
 *   MUTANT_BLIND          count_one() adds without looking whether the group has drained
 *   MUTANT_COUNT_STORE    count_one() loads and stores
 *   MUTANT_DOWN_STORE     count_down() loads and stores
 *   MUTANT_ERROR_AFTER    a child leaves its error after it was counted down
 *   MUTANT_COUNT_IN_CHILD a child is counted when it starts, and not by who spawns it
 */
#define THREADS 5 /* 0 the owner, 1 its child, 2 that one's child, 3 the stranger, 4 the stranger's child */
#define PENDING 0
#define DRAINED 1
#define ERROR 2 /* and the four after it, by thread */
#define CELLS 7
#include "tso.h"

bool alive = true;
bool admitted[THREADS];
bool ended[THREADS];
bool stranger_done;
byte drains;

inline count_one(ok) {
  load(PENDING, x);
  do
#ifndef MUTANT_BLIND
  :: x == 0 -> ok = false; break
  :: x > 0 ->
#else
  :: true ->
#endif
     assert(alive);
#ifdef MUTANT_COUNT_STORE
     store(PENDING, x + 1); ok = true;
#else
     compare_exchange(PENDING, x, x + 1, ok);
#endif
     if
     :: ok -> break
     :: else -> load(PENDING, x)
     fi
  od;
  x = 0
}

inline count_down() {
  assert(alive);
#ifdef MUTANT_DOWN_STORE
  load(PENDING, x); store(PENDING, x - 1);
#else
  d_step { buffer_empty -> x = mem[PENDING]; mem[PENDING] = mem[PENDING] - 1 }
#endif
  if
  :: x == 1 ->
     assert(alive);
     drains++;
     assert(drains == 1);
     assert(!admitted[1] || ended[1]);
     assert(!admitted[2] || ended[2]);
     assert(!admitted[4] || ended[4]);
     exchange(DRAINED, 1, x)
  :: else
  fi;
  x = 0
}

/* Who spawns has counted it, and starts it. */
inline spawn(child, ok) {
#ifndef MUTANT_COUNT_IN_CHILD
  count_one(ok);
#else
  ok = true;
#endif
  if
  :: ok -> admitted[child] = true
  :: else
  fi
}

inline end_child() {
#ifdef MUTANT_ERROR_AFTER
  ended[me] = true;
  count_down();
  store(ERROR + me, 1)
#else
  store(ERROR + me, 1);
  ended[me] = true;
  count_down()
#endif
}

proctype child(byte me; bool parent) {
  byte x;
  bool ok;
end: /* one that was refused never starts */
  admitted[me];
#ifdef MUTANT_COUNT_IN_CHILD
  count_one(ok);
#endif
  if
  :: parent -> spawn(2, ok); assert(ok)
  :: else
  fi;
  end_child()
}

proctype stranger() {
  byte me = 3;
  byte x;
  bool ok;
  spawn(4, ok);
  atomic { buffer_empty -> stranger_done = true }
}

proctype owner() {
  byte me = 0;
  byte x;
  bool ok;
  spawn(1, ok);
  assert(ok);
#ifndef MUTANT_NO_OWN_COUNT
  count_down();
#endif
  seen(me, DRAINED) == 1;
  load(ERROR + 1, x);
  assert(x == 1);
  load(ERROR + 2, x);
  assert(x == 1);
  if
  :: admitted[4] -> load(ERROR + 4, x); assert(x == 1)
  :: else
  fi;
  stranger_done;
  alive = false
}

proctype judge() {
  timeout;
  assert(!alive && drains == 1);
  assert(!admitted[4] || ended[4])
}

init {
  byte t;
  atomic {
#ifndef MUTANT_NO_OWN_COUNT
    mem[PENDING] = 1;
#endif
    for (t : 0 .. THREADS - 1) { run flusher(t) }
    run owner();
    run child(1, true);
    run child(2, false);
    run child(4, false);
    run stranger();
    run judge();
    t = 0
  }
}
