// Command bench is the peer in Go: the workloads of ../sched and ../gc, with the standard library
// only. It takes the name of one row and prints one JSON line for each number.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rows holds every workload by its name.
var rows = map[string]func(){
	"spawn-join":      spawnJoin,
	"spawn-tree":      func() { spawnTree(14) },
	"spawn-tree-2m":   func() { spawnTree(largeDepth()) },
	"yield-2":         func() { yields(2, count(200_000)) },
	"yield-1000":      func() { yields(1000, count(400)) },
	"ping-pong-1":     func() { pingPong(1) },
	"ping-pong-2":     func() { pingPong(2) },
	"channel-1":       func() { channel(1) },
	"channel-4":       func() { channel(4) },
	"select-4":        func() { selects(128) },
	"select-4-tight":  func() { selects(0) },
	"skynet":          skynet,
	"mutex-1":         func() { locks(1) },
	"mutex-2":         func() { locks(2) },
	"parked":          func() { parked(count(100_000)) },
	"parked-1m":       func() { parked(count(1_000_000)) },
	"sleeps":          sleeps,
	"blocking":        blocking,
	"announced":       announced,
	"hand-off":        handOff,
	"idle":            idle,
	"ticker-idle":     func() { ticker(0, 0, atOnce) },
	"ticker":          func() { ticker(1, 64, atOnce) },
	"ticker-hogs":     func() { ticker(8, 0, atOnce) },
	"ticker-slept":    func() { ticker(8, 0, sleepsOnce) },
	"binary-trees-18": func() { binaryTrees(18, 1) },
	"binary-trees-21": func() { binaryTrees(21, 2) },
	"list":            func() { batches(count(1_000_000), list) },
	"graph":           func() { batches(count(1_000_000), graph) },
	"alloc-16":        func() { chains(count(20_000), chain16) },
	"alloc-64":        func() { chains(count(20_000), chain64) },
	"alloc-256":       func() { chains(count(20_000)/4, chain256) },
	"latency":         latency,
	"cycle":           cycle,
	"stack":           func() { s := &stack{}; shared(s.put, s.take) },
	"queue":           func() { q := newQueue(); shared(q.put, q.take) },
	"cache":           cache,
}

// The command line: what to run, and whether to do less of it.
var (
	row   string
	quick bool
)

func main() {
	if len(os.Args) < 2 || rows[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM ROW [--quick]")
		os.Exit(2)
	}
	row = os.Args[1]
	quick = len(os.Args) > 2 && os.Args[2] == "--quick"
	runtime.GOMAXPROCS(2)
	rows[row]()
}

// count is full, or a tenth of it in a quick run.
func count(full int) int {
	if quick {
		return max(full/10, 1)
	}
	return full
}

// timed returns how long work takes.
func timed(work func()) time.Duration {
	began := time.Now()
	work()
	return time.Since(began)
}

// medianTime warms up with one pass and returns the median time of several.
func medianTime(work func()) time.Duration {
	passes := 5
	if quick {
		passes = 3
	}
	work()
	times := make([]time.Duration, passes)
	for i := range times {
		began := time.Now()
		work()
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[passes/2]
}

// record is one printed number.
type record struct {
	Row    string  `json:"row"`
	Peer   string  `json:"peer"`
	Metric string  `json:"metric"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	Note   string  `json:"note,omitempty"`
}

func report(metric, unit string, value float64) {
	reportNoted(metric, unit, value, "")
}

func reportNoted(metric, unit string, value float64, note string) {
	line, err := json.Marshal(record{row, "go", metric, unit, value, note})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

// reportEach prints the time of one operation in nanoseconds.
func reportEach(metric string, time time.Duration, operations int) {
	report(metric, "ns", float64(time.Nanoseconds())/float64(operations))
}

// statusBytes reads a field of /proc/self/status that is given in KiB.
func statusBytes(field string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, field); found {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				panic(err)
			}
			return float64(kib) * 1024
		}
	}
	panic("no " + field)
}

// largeDepth is that of spawn-tree-2m; in a quick run there are an eighth of the goroutines.
func largeDepth() int {
	if quick {
		return 17
	}
	return 20
}

// number reads a count.
func number(text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return value
}

// processCPU is the CPU time of all threads so far.
func processCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
