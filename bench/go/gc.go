package main

import "time"

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

// binaryTrees is the one of the Benchmarks Game, with one mutator.
func binaryTrees() {
	depth := 18
	if quick {
		depth = 15
	}
	began, cpu := time.Now(), processCPU()
	expect(build(depth+1).count(), nodes(depth+1))
	kept := build(depth)
	for small := 4; small <= depth; small += 2 {
		many, sum := 1<<(depth-small+4), 0
		for range many {
			sum += build(small).count()
		}
		expect(sum, many*nodes(small))
	}
	expect(kept.count(), nodes(depth))
	report("wall", "s", time.Since(began).Seconds())
	report("CPU", "s", (processCPU() - cpu).Seconds())
	report("peak", "MiB", statusBytes("VmHWM:")/(1<<20))
}

// nodes is the number of nodes of a complete tree.
func nodes(depth int) int { return 2<<depth - 1 }

func expect(got, want int) {
	if got != want {
		panic("a node was lost")
	}
}
