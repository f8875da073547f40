package main

import (
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// spawnJoin: one goroutine starts 1,000 empty ones and waits for them all, again and again.
func spawnJoin() {
	const batch = 1000
	batches := count(200)
	elapsed := medianTime(func() {
		for range batches {
			var all sync.WaitGroup
			for range batch {
				all.Go(func() {})
			}
			all.Wait()
		}
	})
	reportEach("per task", elapsed, batch*batches)
}

// spawnTree: each goroutine starts two and waits for them, down to depth 0.
func spawnTree(depth int) {
	tasks := 0
	elapsed := medianTime(func() { tasks = treeOfTasks(depth) })
	if tasks != 2<<depth-1 {
		panic("a goroutine was lost")
	}
	reportEach("per task", elapsed, tasks)
}

func treeOfTasks(depth int) int {
	if depth == 0 {
		return 1
	}
	var children sync.WaitGroup
	var left, right int
	children.Go(func() { left = treeOfTasks(depth - 1) })
	children.Go(func() { right = treeOfTasks(depth - 1) })
	children.Wait()
	return left + right + 1
}

func yields(tasks, times int) {
	runtime.GOMAXPROCS(1)
	elapsed := medianTime(func() {
		var all sync.WaitGroup
		for range tasks {
			all.Go(func() {
				for range times {
					runtime.Gosched()
				}
			})
		}
		all.Wait()
	})
	reportEach("per switch", elapsed, tasks*times)
}

// pingPong passes a number to and fro over two unbuffered channels.
func pingPong(workers int) {
	runtime.GOMAXPROCS(workers)
	trips := count(200_000)
	elapsed := medianTime(func() {
		to, back := make(chan int), make(chan int)
		go func() {
			for ball := range to {
				back <- ball
			}
		}()
		for ball := range trips {
			to <- ball
			if <-back != ball {
				panic("another ball came back")
			}
		}
		close(to)
	})
	reportEach("round trip", elapsed, trips)
}

// parked measures the memory of goroutines that wait at one gate, and what it takes to create and
// to wake, run and join them: with the first touch of every page, and once more on what the first ones left.
func parked(tasks int) {
	runtime.GC()
	before, tables := statusBytes("VmRSS:"), statusBytes("VmPTE:")
	open := parkAtGate("create", tasks)
	report("resident each", "bytes", (statusBytes("VmRSS:")-before)/float64(tasks))
	report("page table each", "bytes", (statusBytes("VmPTE:")-tables)/float64(tasks))
	reportEach("wake and join", timed(open), tasks)
	open = parkAtGate("create again", tasks)
	reportEach("wake and join again", timed(open), tasks)
}

// parkAtGate creates goroutines and returns when all wait. What it returns opens the gate and joins them.
func parkAtGate(metric string, tasks int) func() {
	var arrived atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	began := time.Now()
	for range tasks {
		all.Go(func() {
			arrived.Add(1)
			<-gate
		})
	}
	for arrived.Load() < int64(tasks) {
		time.Sleep(200 * time.Microsecond)
	}
	reportEach(metric, time.Since(began), tasks)
	return func() {
		close(gate)
		all.Wait()
	}
}

// blocking: how long it takes until 64 goroutines have been blocked in the kernel for 20 ms each; and the same by calls
// of which the scheduler is not told.
func blocking() {
	total := func(sleep func(time.Duration)) float64 {
		elapsed := medianTime(func() {
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() { sleep(20 * time.Millisecond) })
			}
			all.Wait()
		})
		return elapsed.Seconds() * 1e3
	}
	report("total", "ms", total(sleepInKernel))
	report("total, raw", "ms", total(sleepUnannounced))
}

// announced: the same, the first time and later. In Go every system call is announced.
func announced() {
	pass := func() float64 {
		began := time.Now()
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() { sleepInKernel(20 * time.Millisecond) })
		}
		all.Wait()
		return time.Since(began).Seconds() * 1e3
	}
	report("first", "ms", pass())
	later := []float64{pass(), pass(), pass(), pass(), pass()}
	slices.Sort(later)
	report("later", "ms", later[2])
}

// ticks is what the ticker says and the measuring goroutine reads.
type ticks struct {
	sync.Mutex
	recording bool
	lateness  []time.Duration
	next      time.Time
}

func (t *ticks) expect(deadline time.Time) {
	t.Lock()
	defer t.Unlock()
	t.next = deadline
}

func (t *ticks) woke() {
	t.Lock()
	defer t.Unlock()
	if t.recording {
		t.lateness = append(t.lateness, time.Since(t.next))
	}
}

// ticker measures how late a goroutine is that sleeps for 1 ms, beside hogs that compute for ever, after
// what is in first, and blockers that block in the kernel for 20 ms at a time.
func ticker(hogs, blockers int, first func()) {
	var t ticks
	go func() {
		for {
			t.expect(time.Now().Add(time.Millisecond))
			time.Sleep(time.Millisecond)
			t.woke()
		}
	}()
	for range blockers {
		go block(20 * time.Millisecond)
	}
	for range hogs {
		go func() {
			first()
			hog()
		}()
	}
	run := 4 * time.Second
	if quick {
		run = time.Second
	}
	sleepInKernel(200 * time.Millisecond)
	t.recordFor(run)
	os.Exit(0)
}

// atOnce is what a hog does first that does nothing else.
func atOnce() {}

// sleepsOnce is what one does that has waited for the timers before it computes.
func sleepsOnce() { time.Sleep(time.Millisecond) }

func hog() {
	for {
	}
}

func block(each time.Duration) {
	for {
		sleepInKernel(each)
	}
}

// handOff: a goroutine blocks on the only processor, and another is ready.
func handOff() {
	runtime.GOMAXPROCS(1)
	delays := make([]time.Duration, count(200))
	for i := range delays {
		var blocked sync.WaitGroup
		blocked.Go(func() {
			var began, ran time.Time
			var other sync.WaitGroup
			other.Go(func() { ran = time.Now() })
			began = time.Now()
			sleepInKernel(20 * time.Millisecond)
			other.Wait()
			delays[i] = ran.Sub(began)
		})
		blocked.Wait()
	}
	slices.Sort(delays)
	for _, each := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
		report(each.name, "ms", microseconds(quantile(delays, each.q))/1e3)
	}
}

// sleepInKernel is a system call of which the scheduler knows nothing but that it is one.
func sleepInKernel(span time.Duration) {
	left := syscall.NsecToTimespec(span.Nanoseconds())
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

// sleepUnannounced is one of which it does not know that either.
func sleepUnannounced(span time.Duration) {
	left := syscall.NsecToTimespec(span.Nanoseconds())
	for {
		_, _, errno := syscall.RawSyscall(syscall.SYS_NANOSLEEP,
			uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

// recordFor must not depend on timers, so it sleeps in the kernel.
func (t *ticks) recordFor(run time.Duration) {
	t.Lock()
	t.lateness = make([]time.Duration, 0, 2*run.Milliseconds())
	t.recording = true
	t.Unlock()
	sleepInKernel(run)
	t.Lock()
	defer t.Unlock()
	t.recording = false
	t.report(run)
}

func (t *ticks) report(run time.Duration) {
	number := len(t.lateness)
	if unfinished := time.Since(t.next); unfinished > 0 {
		t.lateness = append(t.lateness, unfinished)
	}
	slices.Sort(t.lateness)
	note := ""
	if quantile(t.lateness, 1) > run/2 {
		note = "frozen"
	}
	milliseconds := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	reportNoted("late p50", "ms", milliseconds(quantile(t.lateness, 0.5)), note)
	reportNoted("late p99", "ms", milliseconds(quantile(t.lateness, 0.99)), note)
	reportNoted("late max", "ms", milliseconds(quantile(t.lateness, 1)), note)
	report("time per tick", "ms", milliseconds(run)/float64(max(number, 1)))
}

// quantile is the nearest rank in a sorted slice.
func quantile(sorted []time.Duration, q float64) time.Duration {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}
