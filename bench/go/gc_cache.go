package main

import (
	"sync/atomic"
	"time"
	"weak"
)

const (
	pages  = 1 << 16
	recent = 1 << 12
)

// A value of the cache; the first word is its key.
type page struct{ words [6]uint64 }

// A cache that keeps nothing alive, and two mutators that keep what they looked up last.
func cache() {
	table := make([]atomic.Pointer[weak.Pointer[page]], pages)
	each := count(2_000_000)
	var hits atomic.Uint64
	began, cpu := time.Now(), processCPU()
	mutate(mutators, func(number int) {
		state, found := uint64(seed)+uint64(number), uint64(0)
		kept := make([]*page, recent)
		for step := range each {
			random(&state)
			key := (state >> 32 & state) % pages
			var value *page
			if known := table[key].Load(); known != nil {
				value = known.Value()
			}
			if value != nil {
				found++
			} else {
				value = &page{}
				value.words[0] = key
				known := weak.Make(value)
				table[key].Store(&known)
			}
			if value.words[0] != key {
				panic("another's value")
			}
			kept[step%recent] = value
		}
		hits.Add(found)
	})
	reportEach("wall per operation", time.Since(began), mutators*each)
	reportEach("CPU per operation", processCPU()-cpu, mutators*each)
	reportPeak()
	report("not found", "%", 100-float64(hits.Load())*100/float64(mutators*each))
}
