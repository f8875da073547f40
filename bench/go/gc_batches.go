package main

import "time"

const seed = 0x9e37_79b9_7f4a_7c15

// random is the next number of xorshift64.
func random(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

// batches builds ten of something, one after the other, and reports the CPU time of each object.
func batches(nodes int, one func(nodes int, seed uint64)) {
	cpu := processCPU()
	for n := range 10 {
		one(nodes, seed*uint64(n+1))
	}
	reportEach("CPU per object", processCPU()-cpu, nodes*10)
	reportPeak()
}

type item struct {
	number        uint64
	before, after *item
}

func list(nodes int, _ uint64) {
	first := &item{}
	last := first
	for number := 1; number < nodes; number++ {
		next := &item{number: uint64(number)}
		next.before = last
		last.after = next
		last = next
	}
	sum := uint64(0)
	for at := first; at != nil; at = at.after {
		sum += at.number
	}
	for at := last; at != nil; at = at.before {
		sum += at.number
	}
	expect(int(sum), nodes*(nodes-1))
}

type vertex struct {
	number uint64
	edges  [2]*vertex
}

func graph(nodes int, seed uint64) {
	all := make([]*vertex, nodes)
	for number := range all {
		all[number] = &vertex{number: uint64(number)}
	}
	for _, node := range all {
		for edge := range node.edges {
			node.edges[edge] = all[int(random(&seed)%uint64(nodes))]
		}
	}
	at, sum := all[0], uint64(0)
	for step := range nodes {
		at = at.edges[step%2]
		sum += at.number
	}
	sink = sum
}

// sink keeps results that nobody looks at.
var sink uint64

type link16 struct {
	next  *link16
	words [1]uint64
}

type link64 struct {
	next  *link64
	words [7]uint64
}

type link256 struct {
	next  *link256
	words [31]uint64
}

// chains allocates chains of a thousand objects and reports the CPU time of each object.
func chains(chains int, one func(number int)) {
	cpu := processCPU()
	for range chains {
		one(1000)
	}
	reportEach("CPU per object", processCPU()-cpu, chains*1000)
	reportPeak()
}

func chain16(objects int) {
	var next *link16
	for number := range objects {
		next = &link16{next: next, words: [1]uint64{uint64(number)}}
	}
	sink = next.words[0]
}

func chain64(objects int) {
	var next *link64
	for number := range objects {
		next = &link64{next: next, words: [7]uint64{uint64(number)}}
	}
	sink = next.words[0]
}

func chain256(objects int) {
	var next *link256
	for number := range objects {
		next = &link256{next: next, words: [31]uint64{uint64(number)}}
	}
	sink = next.words[0]
}

// microseconds, for reports.
func microseconds(time time.Duration) float64 { return float64(time.Nanoseconds()) / 1e3 }
