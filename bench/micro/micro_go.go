// The small things that Go has, too, as its users would write them; what an operation is stands in the file of each
// scenario. Without arguments it says what there is; `NAME SECONDS` measures one.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Of one operation.
type figures struct {
	Ns    float64 `json:"ns"`
	Bytes float64 `json:"bytes,omitempty"`
}

// What is measured: `n` times something. Gives how many operations that were.
type batch func(n int) int

type scenario struct {
	processors int // GOMAXPROCS
	run        func(seconds float64) figures
}

// The time of one operation, in batches that grow until one takes that long.
func timed(measure batch) func(seconds float64) figures {
	return func(seconds float64) figures {
		measure(1)
		for n := 1; ; {
			start := time.Now()
			operations := measure(n)
			taken := time.Since(start).Seconds()
			if taken >= seconds {
				return figures{Ns: taken * 1e9 / float64(operations)}
			}
			n = 1 + int(float64(n)*min(100, 1.2*seconds/max(taken, 1e-9)))
		}
	}
}

func min(a, b float64) float64 {
	if a < b {
		return a
	}
	return b
}

func max(a, b float64) float64 { return a + b - min(a, b) }

func check(right bool, wrong string) {
	if !right {
		fmt.Fprintln(os.Stderr, "micro_go:", wrong)
		os.Exit(1)
	}
}

func scaled(full int) int {
	scale, err := strconv.ParseFloat(os.Getenv("WEFT_BENCH_SCALE"), 64)
	if err != nil || scale <= 0 || scale > 1 {
		return full
	}
	return int(max(min(float64(full), 1000), float64(full)*scale))
}

// --- goroutines ---

func yield(n int) int {
	stop := false
	var other sync.WaitGroup
	other.Add(1)
	go func() {
		defer other.Done()
		for !stop {
			runtime.Gosched()
		}
	}()
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
	stop = true
	other.Wait()
	return 2 * n
}

func spawnJoin(n int) int {
	ran := 0
	for i := 0; i < n; i++ {
		done := make(chan struct{})
		go func() {
			ran++
			close(done)
		}()
		<-done
	}
	check(ran == n, "not every goroutine ran once")
	return n
}

// So many at once, n times.
func together(count int) batch {
	return func(n int) int {
		ran := 0
		for i := 0; i < n; i++ {
			var all sync.WaitGroup
			all.Add(count)
			for k := 0; k < count; k++ {
				go func() {
					ran++
					all.Done()
				}()
			}
			all.Wait()
		}
		check(ran == n*count, "not every goroutine ran once")
		return n * count
	}
}

const fan = 10

func tree(first, size int) int {
	if size == 1 {
		return first
	}
	sums := make(chan int, fan)
	size /= fan
	for i := 0; i < fan; i++ {
		go func(first int) { sums <- tree(first, size) }(first + i*size)
	}
	sum := 0
	for i := 0; i < fan; i++ {
		sum += <-sums
	}
	return sum
}

func skynet(n int) int {
	leaves := fan
	for leaves*fan <= scaled(1000000) {
		leaves *= fan
	}
	for i := 0; i < n; i++ {
		check(tree(0, leaves) == leaves*(leaves-1)/2, "the sum of the leaves is wrong")
	}
	return n * leaves
}

// --- channels ---

func roundTrips(n int) int {
	to, from := make(chan int, 1), make(chan int, 1)
	go func() {
		for v := range to {
			from <- v + 1
		}
	}()
	value := 0
	for i := 0; i < n; i++ {
		to <- value
		value = <-from
	}
	close(to)
	check(value == n, "a value was lost")
	return n
}

func withoutWait(n int) int {
	values := make(chan int, 1)
	value := 0
	for i := 0; i < n; i++ {
		values <- value + 1
		value = <-values
	}
	check(value == n, "a value was lost")
	return n
}

func choose(a, b, c, d chan int) int {
	select {
	case v := <-a:
		return v
	case v := <-b:
		return v
	case v := <-c:
		return v
	case v := <-d:
		return v
	}
}

func selectReady(n int) int {
	a, b, c, d := make(chan int, 1), make(chan int, 1), make(chan int, 1), make(chan int, 1)
	taken := 0
	for i := 0; i < n; i++ {
		c <- 1
		taken += choose(a, b, c, d)
	}
	check(taken == n, "not every select took a value")
	return n
}

func selectWaiting(n int) int {
	a, b, c, d := make(chan int), make(chan int), make(chan int), make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			c <- 1
		}
	}()
	taken := 0
	for i := 0; i < n; i++ {
		taken += choose(a, b, c, d)
	}
	check(taken == n, "not every select took a value")
	return n
}

// --- locks ---

func uncontended(lock, unlock func()) batch {
	return func(n int) int {
		sum := 0
		for i := 0; i < n; i++ {
			lock()
			sum++
			unlock()
		}
		check(sum == n, "a round was lost")
		return n
	}
}

// Held shortly, with a yield now and then; held over a yield, so that it is handed on; or held shortly by those that
// never yield.
const (
	shortly = iota
	overAYield
	withoutYield
)

func contended(contenders, how int) batch {
	return func(n int) int {
		var m sync.Mutex
		var all sync.WaitGroup
		sum := 0
		all.Add(contenders)
		for c := 0; c < contenders; c++ {
			go func() {
				defer all.Done()
				for i := 0; i < n; i++ {
					m.Lock()
					sum++
					if how == overAYield {
						runtime.Gosched()
					}
					m.Unlock()
					if how == shortly && i%16 == 0 {
						runtime.Gosched()
					}
				}
			}()
		}
		all.Wait()
		check(sum == n*contenders, "the lock does not exclude")
		return n * contenders
	}
}

// --- time ---

func timerCancelled(n int) int {
	stopped := 0
	for i := 0; i < n; i++ {
		if time.NewTimer(time.Hour).Stop() {
			stopped++
		}
	}
	check(stopped == n, "a timer was not cancelled")
	return n
}

func amongOthers(count int, measure batch) batch {
	return func(n int) int {
		others := make([]*time.Timer, count)
		for i := range others {
			others[i] = time.NewTimer(2*time.Hour + time.Duration(i*7919%count)*time.Microsecond)
		}
		operations := measure(n)
		for _, other := range others {
			other.Stop()
		}
		return operations
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func resident() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			kilobytes, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kilobytes * 1024
		}
	}
	return 0
}

// `Ns` is CPU time here, for the rest is waiting.
func sleepers(float64) figures {
	count := scaled(1000000)
	memory, cpu := resident(), cpuSeconds()
	wakeAt := time.Now().Add(time.Second + time.Duration(count)*20*time.Microsecond)
	var all sync.WaitGroup
	woken := 0
	all.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			time.Sleep(time.Until(wakeAt))
			woken++
			all.Done()
		}()
	}
	runtime.Gosched()
	memory = resident() - memory
	check(time.Now().Before(wakeAt), "the first one woke before the last one slept")
	all.Wait()
	check(woken == count, "not every sleeper woke")
	return figures{Ns: (cpuSeconds() - cpu) * 1e9 / float64(count), Bytes: memory / float64(count)}
}

func main() {
	var m sync.Mutex
	var shared sync.RWMutex
	scenarios := map[string]scenario{
		"yield":                       {1, timed(yield)},
		"spawn_join":                  {1, timed(spawnJoin)},
		"spawn_many":                  {1, timed(together(scaled(1000000)))},
		"gather_1000":                 {1, timed(together(1000))},
		"skynet_one_loop":             {1, timed(skynet)},
		"skynet_two_loops":            {2, timed(skynet)},
		"channel_one_loop":            {1, timed(roundTrips)},
		"channel_without_wait":        {1, timed(withoutWait)},
		"select_of_4_ready":           {1, timed(selectReady)},
		"select_of_4_waiting":         {1, timed(selectWaiting)},
		"mutex_uncontended":           {1, timed(uncontended(m.Lock, m.Unlock))},
		"shared_mutex_uncontended":    {1, timed(uncontended(shared.RLock, shared.RUnlock))},
		"mutex_1_on_one_loop":         {1, timed(contended(1, shortly))},
		"mutex_4_on_one_loop":         {1, timed(contended(4, shortly))},
		"mutex_8_on_one_loop":         {1, timed(contended(8, shortly))},
		"mutex_handed_on_4":           {1, timed(contended(4, overAYield))},
		"mutex_handed_on_8":           {1, timed(contended(8, overAYield))},
		"mutex_8_on_two_loops":        {2, timed(contended(8, withoutYield))},
		"timer_cancelled":             {1, timed(timerCancelled)},
		"timer_cancelled_among_10000": {1, timed(amongOthers(10000, timerCancelled))},
		"sleepers":                    {1, sleepers},
	}
	if len(os.Args) < 3 {
		names := make([]string, 0, len(scenarios))
		for name := range scenarios {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	wanted, known := scenarios[os.Args[1]]
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	check(known && err == nil, "usage: micro_go [NAME SECONDS]")
	runtime.GOMAXPROCS(wanted.processors)
	json.NewEncoder(os.Stdout).Encode(wanted.run(seconds))
}
