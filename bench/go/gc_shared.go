package main

import (
	"sync/atomic"
	"time"
)

type below struct {
	value uint64
	below *below
}

// stack is Treiber's.
type stack struct{ top atomic.Pointer[below] }

func (s *stack) put(value uint64) {
	for {
		top := s.top.Load()
		if s.top.CompareAndSwap(top, &below{value, top}) {
			return
		}
	}
}

func (s *stack) take() (uint64, bool) {
	for {
		top := s.top.Load()
		if top == nil {
			return 0, false
		}
		if s.top.CompareAndSwap(top, top.below) {
			return top.value, true
		}
	}
}

type behind struct {
	value uint64
	next  atomic.Pointer[behind]
}

// queue is Michael and Scott's.
type queue struct{ head, tail atomic.Pointer[behind] }

func newQueue() *queue {
	taken, q := &behind{}, &queue{}
	q.head.Store(taken)
	q.tail.Store(taken)
	return q
}

func (q *queue) put(value uint64) {
	node := &behind{value: value}
	for {
		tail := q.tail.Load()
		if tail.next.CompareAndSwap(nil, node) {
			q.tail.CompareAndSwap(tail, node)
			return
		}
		q.tail.CompareAndSwap(tail, tail.next.Load())
	}
}

func (q *queue) take() (uint64, bool) {
	for {
		head := q.head.Load()
		first := head.next.Load()
		if first == nil {
			return 0, false
		}
		if q.tail.Load() == head {
			q.tail.CompareAndSwap(head, first)
		}
		if q.head.CompareAndSwap(head, first) {
			return first.value, true
		}
	}
}

func shared(put func(uint64), take func() (uint64, bool)) {
	each := count(5_000_000)
	began, cpu := time.Now(), processCPU()
	mutate(mutators, func(int) {
		for value := range each {
			put(uint64(value))
			if _, found := take(); !found {
				panic("a value was lost")
			}
		}
	})
	operations := 2 * mutators * each
	reportEach("wall per operation", time.Since(began), operations)
	reportEach("CPU per operation", processCPU()-cpu, operations)
}
