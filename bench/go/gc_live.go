package main

import (
	"math/bits"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	height   = 18
	subtree  = 4
	mutators = 2
)

// big is a node of 64 bytes.
type big struct {
	children [2]*big
	words    [6]uint64
}

func buildBig(depth int) *big {
	word := uint64(depth)
	node := &big{words: [6]uint64{word, word, word, word, word, word}}
	if depth > 0 {
		node.children = [2]*big{buildBig(depth - 1), buildBig(depth - 1)}
	}
	return node
}

func (tree *big) replace(height int, path uint64) {
	at := tree
	for level := range height - 1 {
		at = at.children[path>>level&1]
	}
	at.children[path>>(height-1)&1] = buildBig(subtree)
}

func liveHeight() int {
	if quick {
		return height - 4
	}
	return height
}

// delays counts times in buckets that are a sixty-fourth wide.
type delays struct {
	counts [64 * 64]uint64
	max    time.Duration
}

func (d *delays) record(delay time.Duration) {
	n := uint64(delay)
	shift := max(bits.Len64(n)-7, 0)
	d.counts[shift*64+int(n>>shift)]++
	d.max = max(d.max, delay)
}

func (d *delays) quantile(q float64) time.Duration {
	total := uint64(0)
	for _, count := range d.counts {
		total += count
	}
	rest := total - uint64(float64(total)*q)
	for bucket := len(d.counts) - 1; ; bucket-- {
		if d.counts[bucket] >= rest {
			shift := max(bucket/64-1, 0)
			return time.Duration(uint64(bucket-shift*64) << shift)
		}
		rest -= d.counts[bucket]
	}
}

func latency() {
	long := 10 * time.Second
	if quick {
		long = time.Second
	}
	tree := buildBig(liveHeight() + subtree)
	var all [mutators]delays
	collectorBefore, busyBefore := cpuClasses()
	before, cpu, began := collections(), processCPU(), time.Now()
	mutate(mutators, func(number int) {
		state := seed + uint64(number)
		begun, now := time.Now(), time.Now()
		for now.Sub(begun) < long {
			tree.replace(liveHeight(), random(&state)>>8&^1|uint64(number))
			then := now
			now = time.Now()
			all[number].record(now.Sub(then))
		}
	})
	wall, cpu := time.Since(began), processCPU()-cpu
	operations := uint64(0)
	for _, each := range all[1:] {
		for bucket, count := range each.counts {
			all[0].counts[bucket] += count
		}
		all[0].max = max(all[0].max, each.max)
	}
	for _, count := range all[0].counts {
		operations += count
	}
	reportEach("wall per operation", wall, int(operations))
	reportEach("CPU per operation", cpu, int(operations))
	report("p99.9", "µs", microseconds(all[0].quantile(0.999)))
	report("p99.99", "µs", microseconds(all[0].quantile(0.9999)))
	report("max", "µs", microseconds(all[0].max))
	reportPeak()
	report("collections", "", float64(collections()-before))
	collector, busy := cpuClasses()
	report("collector's share", "%", 100*(collector-collectorBefore)/(busy-busyBefore))
	runtime.KeepAlive(tree)
}

// cpuClasses is the collector's CPU time and that of the whole process, by the runtime's own account, which
// it brings up to date at the end of each collection. Sweep is not the collector's there.
func cpuClasses() (collector, busy float64) {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	total, idle := samples[1].Value.Float64(), samples[2].Value.Float64()
	return samples[0].Value.Float64(), total - idle
}

func collections() uint32 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.NumGC
}

func cycle() {
	tree := buildBig(liveHeight() + subtree)
	state := uint64(seed)
	for range 1 << liveHeight() {
		tree.replace(liveHeight(), random(&state)>>8)
	}
	runtime.GC()
	passes := 5
	if quick {
		passes = 3
	}
	began, cpu := time.Now(), processCPU()
	for range passes {
		runtime.GC()
	}
	wall, cpu := time.Since(began), processCPU()-cpu
	report("CPU", "s", cpu.Seconds()/float64(passes))
	report("wall", "s", wall.Seconds()/float64(passes))
	runtime.KeepAlive(tree)
}
