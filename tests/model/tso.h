/* x86-TSO for Promela, which by itself is sequentially consistent.
 *
 * A thread's plain store goes into its own FIFO store buffer and reaches memory later, when its
 * flusher takes it there. A load sees the thread's own buffer first (newest entry), then memory.
 * An atomic read-modify-write and a seq_cst fence first wait until the own buffer is empty. Loads
 * stay in order, as on x86, so acquire costs nothing here and release is a plain store.
 *
 * A model defines THREADS and CELLS before including this file, keeps its shared words in
 * mem[], gives each proctype a local `byte me` (its buffer), and runs flusher(t) for each thread.
 * -DSC makes stores immediate: the plain interleaving semantics, to show that a mutant
 * needs the store buffer to fail.
 */
#define SB 2 /* entries per store buffer; a full buffer blocks the next store */

byte mem[CELLS];

typedef store_buffer {
  byte n;
  byte cell[SB];
  byte val[SB]
};
store_buffer sb[THREADS];

#define buffer_empty (sb[me].n == 0)

/* The value of a cell as thread t sees it now; an expression, so it can stand in a guard. */
#define seen(t, c)                                          \
  ((sb[t].n == 2 && sb[t].cell[1] == (c)) -> sb[t].val[1] : \
   ((sb[t].n >= 1 && sb[t].cell[0] == (c)) -> sb[t].val[0] : mem[c]))

inline load(c, r) { r = seen(me, c) }

#ifdef SC
inline store(c, v) { mem[c] = v }
#else
inline store(c, v) {
  d_step {
    sb[me].n < SB ->
    sb[me].cell[sb[me].n] = c;
    sb[me].val[sb[me].n] = v;
    sb[me].n++
  }
}
#endif

inline fence() { buffer_empty }

inline exchange(c, v, old) {
  d_step { buffer_empty -> old = mem[c]; mem[c] = v }
}

inline compare_exchange(c, expected, v, ok) {
  d_step {
    buffer_empty ->
    if
    :: mem[c] == (expected) -> mem[c] = v; ok = true
    :: else -> ok = false
    fi
  }
}

inline fetch_or(c, bits, old) {
  d_step { buffer_empty -> old = mem[c]; mem[c] = mem[c] | (bits) }
}

inline fetch_and(c, bits, old) {
  d_step { buffer_empty -> old = mem[c]; mem[c] = mem[c] & (bits) }
}

/* One per thread, so that weak fairness empties every buffer in the end. Vacated entries are
 * zeroed: equal buffers must be equal states. */
proctype flusher(byte t) {
end:
  do
  :: d_step {
       sb[t].n > 0 ->
       mem[sb[t].cell[0]] = sb[t].val[0];
       sb[t].cell[0] = sb[t].cell[1];
       sb[t].val[0] = sb[t].val[1];
       sb[t].cell[1] = 0;
       sb[t].val[1] = 0;
       sb[t].n--
     }
  od
}
