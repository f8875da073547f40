package main

import (
	"sync"
	"time"
)

// node is a link of a binary tree that holds nothing else.
type node struct{ left, right *node }

func build(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{build(depth - 1), build(depth - 1)}
}

func (n *node) count() int {
	if n.left == nil {
		return 1
	}
	return n.left.count() + n.right.count() + 1
}

// binaryTrees is the one of the Benchmarks Game, whose trees of each depth so many mutators share.
func binaryTrees(depth, mutators int) {
	if quick {
		depth -= 3
	}
	began, cpu := time.Now(), processCPU()
	expect(build(depth+1).count(), nodes(depth+1))
	kept := build(depth)
	for small := 4; small <= depth; small += 2 {
		many := 1 << (depth - small + 4)
		sums := make([]int, mutators)
		mutate(mutators, func(number int) {
			sum := 0
			for range many / mutators {
				sum += build(small).count()
			}
			sums[number] = sum
		})
		sum := 0
		for _, each := range sums {
			sum += each
		}
		expect(sum, many*nodes(small))
	}
	expect(kept.count(), nodes(depth))
	report("wall", "s", time.Since(began).Seconds())
	report("CPU", "s", (processCPU() - cpu).Seconds())
	reportPeak()
}

// mutate calls work(0) to work(count - 1), each on a goroutine of its own, and waits for all.
func mutate(count int, work func(number int)) {
	if count == 1 {
		work(0)
		return
	}
	var group sync.WaitGroup
	for number := range count {
		group.Go(func() { work(number) })
	}
	group.Wait()
}

func reportPeak() { report("peak", "MiB", statusBytes("VmHWM:")/(1<<20)) }

// nodes is the number of nodes of a complete tree.
func nodes(depth int) int { return 2<<depth - 1 }

func expect(got, want int) {
	if got != want {
		panic("a node was lost")
	}
}
