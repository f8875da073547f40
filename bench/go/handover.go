package main

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// sumOf is the sum of what is sent if so many senders send the numbers from 0 on, values in all.
func sumOf(senders, values int) int {
	n := values / senders
	return senders * (n * (n - 1) / 2)
}

// channel: senders and as many receivers share one channel of capacity 128.
func channel(pairs int) {
	values := count(1_000_000)
	elapsed := medianTime(func() {
		ch := make(chan int, 128)
		var senders, receivers sync.WaitGroup
		for range pairs {
			senders.Go(func() {
				for n := range values / pairs {
					ch <- n
				}
			})
		}
		sums := make([]int, pairs)
		for i := range pairs {
			receivers.Go(func() {
				for n := range ch {
					sums[i] += n
				}
			})
		}
		senders.Wait()
		close(ch)
		receivers.Wait()
		sum := 0
		for _, part := range sums {
			sum += part
		}
		if sum != sumOf(pairs, values) {
			panic("a value was lost")
		}
	})
	reportEach("per value", elapsed, values)
}

// selects: one goroutine receives from whichever of four channels is ready.
func selects(capacity int) {
	values := count(500_000)
	elapsed := medianTime(func() {
		var chs [4]chan int
		for i := range chs {
			chs[i] = make(chan int, capacity)
			go func() {
				for n := range values / 4 {
					chs[i] <- n
				}
			}()
		}
		sum, n := 0, 0
		for range values / 4 * 4 {
			select {
			case n = <-chs[0]:
			case n = <-chs[1]:
			case n = <-chs[2]:
			case n = <-chs[3]:
			}
			sum += n
		}
		if sum != sumOf(4, values) {
			panic("a value was lost")
		}
	})
	reportEach("per value", elapsed, values)
}

// skynet: a million goroutines in a tree of ten.
func skynet() {
	leaves := 1_000_000
	if quick {
		leaves /= 10
	}
	elapsed := medianTime(func() {
		ch := make(chan int, 1)
		go skynetNode(ch, 0, leaves)
		if <-ch != leaves*(leaves-1)/2 {
			panic("a goroutine was lost")
		}
	})
	report("total", "ms", elapsed.Seconds()*1e3)
	report("peak", "MiB", statusBytes("VmHWM:")/(1<<20))
}

func skynetNode(to chan int, number, leaves int) {
	if leaves == 1 {
		to <- number
		return
	}
	ch := make(chan int, 10)
	for child := range 10 {
		go skynetNode(ch, number+child*leaves/10, leaves/10)
	}
	sum := 0
	for range 10 {
		sum += <-ch
	}
	to <- sum
}

// locks: 64 goroutines take one lock in turn.
func locks(workers int) {
	runtime.GOMAXPROCS(workers)
	const tasks = 64
	times := count(20_000)
	elapsed := medianTime(func() {
		var lock sync.Mutex
		var all sync.WaitGroup
		sum := 0
		for range tasks {
			all.Go(func() {
				for range times {
					lock.Lock()
					sum++
					lock.Unlock()
				}
			})
		}
		all.Wait()
		if sum != tasks*times {
			panic("an addition was lost")
		}
	})
	reportEach("per lock", elapsed, tasks*times)
}

// sleeps: 200,000 goroutines sleep for 1 to 100 ms each. The median pass, and the lateness in it.
func sleeps() {
	tasks := count(200_000)
	late := make([]time.Duration, tasks)
	type result struct{ total, p99 time.Duration }
	passes := 5
	if quick {
		passes = 3
	}
	results := make([]result, 0, passes)
	for pass := range passes + 1 {
		began := time.Now()
		var all sync.WaitGroup
		for number := range tasks {
			all.Go(func() {
				span := time.Duration(number*37%100+1) * time.Millisecond
				deadline := time.Now().Add(span)
				time.Sleep(span)
				late[number] = time.Since(deadline)
			})
		}
		all.Wait()
		total := time.Since(began)
		sorted := slices.Clone(late)
		slices.Sort(sorted)
		if pass > 0 {
			results = append(results, result{total, quantile(sorted, 0.99)})
		}
	}
	slices.SortFunc(results, func(a, b result) int { return int(a.total - b.total) })
	median := results[passes/2]
	report("total", "ms", median.total.Seconds()*1e3)
	report("late p99", "ms", median.p99.Seconds()*1e3)
}

// idle: what the scheduler does that has nothing to do. The goroutine that looks sleeps in the kernel.
func idle() {
	var all sync.WaitGroup
	for range 10_000 {
		all.Go(func() {})
	}
	all.Wait()
	for range 4 {
		all.Go(func() { sleepInKernel(time.Millisecond) })
	}
	all.Wait()
	span := 10 * time.Second
	if quick {
		span /= 10
	}
	runtime.LockOSThread()
	sleepInKernel(5 * time.Second)
	switches, cpu := switchesOfOthers(), processCPU()
	sleepInKernel(span)
	report("wake-ups", "count", switchesOfOthers()-switches)
	report("CPU", "µs", float64((processCPU()-cpu).Microseconds()))
}

// switchesOfOthers counts the context switches so far of all threads but this one.
func switchesOfOthers() float64 {
	own, err := os.Readlink("/proc/thread-self")
	if err != nil {
		panic(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(err)
	}
	sum := 0.0
	for _, thread := range threads {
		if strings.HasSuffix(own, "/"+thread.Name()) {
			continue
		}
		status, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if _, count, found := strings.Cut(line, "ctxt_switches:"); found {
				sum += number(strings.TrimSpace(count))
			}
		}
	}
	return sum
}
