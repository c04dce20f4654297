/* Who gets a mutex that several loops use.
 *
 * Stands for: executor/src/mutex.cpp  try_lock, take_or_link, comes, unlock, pass_on, mark_of_waiters
 *
 * Agents 0 and 1 are of one loop, 2 of another. What is done inside the monitor is one step (monitor.pml and bias.pml
 * are about that), and so is each operation on its word, which are read-modify-writes: no store buffers. A request to
 * unlock may be carried out by either loop. With TIMEOUT a wait may end by itself. With OTHERS agents 1 and 2 are no
 * fibers, and wait in the line of those. With LATE agent 1 is none, and never comes when it was woken.
 * Claims: never two hold it; nobody waits for good, whenever a woken waiter gives up trying.
 *
 * Mutants:
 *   MUTANT_NO_MARK      who takes it does not say that others wait
 *   MUTANT_NOT_ARRIVED  a woken waiter that is linked again still counts as one that comes
 *   MUTANT_BLIND        who unlocks does not look whether others wait
 *   MUTANT_ONE_LINE     fibers wait for one that comes, whoever it is
 */
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define AGENTS 3
#define HOME(a) ((a) / 2)
#ifdef OTHERS
#define IS_FIBER(a) ((a) == 0)
#else
#if defined(LATE) && !defined(MUTANT_ONE_LINE)
#define IS_FIBER(a) ((a) != 1)
#else
#define IS_FIBER(a) true
#endif
#endif

bool locked, awaited, near_comes, far_comes, other_comes;
chan waiters = [AGENTS] of { byte };
chan others = [AGENTS] of { byte };
bool overtaken[AGENTS], woken[AGENTS], near[AGENTS], granted[AGENTS], resumed[AGENTS];
byte holders;

/* mark_of_waiters(), by the loop `here`. */
inline mark(here, result) {
  result = false;
#ifndef MUTANT_NO_MARK
  if
  :: others ? [first] ->
     others ? <first>;
     result = overtaken[first] || !other_comes
  :: else
  fi;
  if
  :: !result && waiters ? [first] ->
     waiters ? <first>;
     result = overtaken[first] || !(near_comes || far_comes) || (!near_comes && HOME(first) == here)
  :: else
  fi;
  first = 0
#endif
}

inline arrived(a) {
  if
  :: woken[a] && !IS_FIBER(a) -> other_comes = false
  :: woken[a] && IS_FIBER(a) && near[a] -> near_comes = false
  :: woken[a] && IS_FIBER(a) && !near[a] -> far_comes = false
  :: else
  fi;
  woken[a] = false
}

inline pass_on(here) {
  first = 0;
  if
  :: others ? [first] ->
     others ? <first>;
     if
     :: overtaken[first] ->
        others ? first;
        granted[first] = true;
        resumed[first] = true;
        given = true
     :: !overtaken[first] && !other_comes ->
        others ? first;
        woken[first] = true; other_comes = true;
        resumed[first] = true
     :: else
     fi
  :: else
  fi;
  do
  :: given || !(waiters ? [first]) -> break
  :: !given && waiters ? [first] ->
     waiters ? <first>;
     if
     :: overtaken[first] ->
        waiters ? first;
        granted[first] = true;
        resumed[first] = true;
        given = true;
        break
     :: else ->
        if
        :: HOME(first) == here && !near_comes ->
           waiters ? first;
           woken[first] = true; near[first] = true; near_comes = true;
           resumed[first] = true
        :: HOME(first) != here && !near_comes && !far_comes ->
           waiters ? first;
           woken[first] = true; near[first] = false; far_comes = true;
           resumed[first] = true
        :: else
        fi;
        break
     fi
  od;
  first = 0;
  if
  :: !given -> locked = false
  :: else
  fi;
  given = false;
  mark(here, awaited)
}

inline hold() {
  atomic { holders++; assert(holders == 1) };
  holders--
}

proctype agent(byte me) {
  byte first, rounds, given_to;
  bool given, there;
  do
  :: rounds == ROUNDS -> break
  :: else ->
     rounds++;
     overtaken[me] = false;
     there = false;
     if
     :: atomic { !locked -> locked = true; there = true }
     :: locked
     fi;
     do
     :: there -> break
     :: else ->
        atomic {
#ifdef MUTANT_NOT_ARRIVED
          if :: !overtaken[me] -> arrived(me) :: else -> woken[me] = false fi;
#else
          arrived(me);
#endif
          if
          :: locked ->
             if
             :: !IS_FIBER(me) && overtaken[me] ->
                first = len(others);
                others ! me;
                do
                :: first == 0 -> break
                :: first > 0 -> others ? given_to; others ! given_to; first--
                od;
                given_to = 0
             :: !IS_FIBER(me) && !overtaken[me] -> others ! me
             :: IS_FIBER(me) && overtaken[me] ->
                /* To the front: the others behind it, in their order. */
                first = len(waiters);
                waiters ! me;
                do
                :: first == 0 -> break
                :: first > 0 -> waiters ? given_to; waiters ! given_to; first--
                od;
                given_to = 0
             :: IS_FIBER(me) && !overtaken[me] -> waiters ! me
             fi;
             mark(HOME(me), given);
             awaited = awaited || given;
             given = false
          :: else ->
             locked = true;
             there = true;
             mark(HOME(me), awaited)
          fi
        };
        if
        :: there -> break
        :: else
        fi;
        if
        :: atomic {
             resumed[me] ->
             resumed[me] = false;
             there = granted[me];
             granted[me] = false
           }
#ifdef TIMEOUT
        :: atomic {
             !resumed[me] && waiters ?? [eval(me)] ->
             waiters ?? eval(me);
             goto gave_up
           }
        :: atomic {
             !resumed[me] && others ?? [eval(me)] ->
             others ?? eval(me);
             goto gave_up
           }
#endif
        fi;
        if
        :: there -> break
        :: else
        fi;
#ifdef LATE
        if
        :: me == 1 -> end_late: false
        :: else
        fi;
#endif
        /* comes(): tries for as long as it likes. */
        if
        :: atomic { !locked -> arrived(me); locked = true; there = true; mark(HOME(me), awaited) }
        :: overtaken[me] = true
        fi
     od;
     hold();
     if
#ifdef MUTANT_BLIND
     :: atomic { locked -> locked = false }
#else
     :: atomic { !awaited -> locked = false }
     :: atomic { pass_on(0) }
     :: atomic { pass_on(1) }
#endif
     fi;
gave_up:
     skip
  od
}

init {
  atomic { run agent(0); run agent(1); run agent(2) }
}

