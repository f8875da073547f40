//! Guards, and how long collections wait for them.

use std::time::Duration;

use bench_gc::holders::Guards;

use super::Collected;

impl Guards for Collected {
    fn hold(&self, work: impl FnOnce()) {
        let _guard = self.heap.enter();
        work();
    }

    fn ask(&self) {
        self.heap.request();
    }

    fn ended(&self) -> u64 {
        self.heap.stats().cycles
    }

    fn waited(&self, percent: f64) -> Duration {
        self.heap.stats().waits.percentile(percent)
    }

    fn sleep(time: Duration) {
        crate::sleep(time);
    }
}
