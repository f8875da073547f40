//! The numbers as text for people and as JSON for programs; neither allocates.

use core::fmt;

use super::Stats;

/// Names and values of all bytes that [`Stats::mapped`] is the sum of.
type Parts = [(&'static str, usize); 11];
/// Names and values of the counters.
type Steps = [(&'static str, usize); 11];

impl Stats {
    /// The uses that [`mapped`](Stats::mapped) is the sum of, by name.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// let stats = Heap::new(Os::new()).stats();
    /// assert_eq!(stats.parts().iter().map(|(_, bytes)| bytes).sum::<usize>(), stats.mapped);
    /// ```
    pub fn parts(&self) -> Parts {
        [
            ("small", self.small),
            ("holes", self.holes),
            ("large", self.large),
            ("managed", self.managed),
            ("cached", self.cached),
            ("free", self.free),
            ("released", self.released),
            ("stacks", self.stacks),
            ("metadata", self.metadata),
            ("tables", self.tables),
            ("emergency", self.emergency),
        ]
    }

    /// How often each step of the path was taken, by name, the cheapest first.
    pub fn steps(&self) -> Steps {
        [
            ("refills", self.refills),
            ("claims", self.claims),
            ("sweeps", self.sweeps),
            ("cached_takes", self.cached_takes),
            ("slot_takes", self.slot_takes),
            ("takes", self.takes),
            ("locks", self.locks),
            ("reserves", self.reserves),
            ("grows", self.grows),
            ("releases", self.releases),
            ("looks", self.looks),
        ]
    }

    /// At most so many bytes of the heap are in memory, stacks and tables left out: nobody counts
    /// which of their pages were touched. Pages that were handed out and never touched are in it.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::new::<[u8; 1 << 20]>())?;
    /// let before = heap.stats().resident_at_most();
    /// unsafe { cache.free(block) };
    /// assert_eq!(heap.stats().resident_at_most(), before);
    /// heap.release();
    /// assert_eq!(heap.stats().resident_at_most(), before - (1 << 20));
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn resident_at_most(&self) -> usize {
        self.mapped - self.released - self.holes - self.stacks - self.tables
    }

    /// One line of JSON: all fields as numbers, those of bytes under `bytes`.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// let json = Heap::new(Os::new()).stats().to_json().to_string();
    /// assert!(json.starts_with(r#"{"bytes":{"mapped":0,"small":0,"#));
    /// assert!(json.ends_with(r#""looks":0}}"#));
    /// ```
    pub fn to_json(&self) -> Json {
        Json(*self)
    }
}

/// Two columns: bytes by use and their sum, then how often each step was taken.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in self.parts() {
            writeln!(f, "{name:<16}{bytes:>16} bytes")?;
        }
        writeln!(f, "{:<16}{:>16} bytes", "mapped", self.mapped)?;
        writeln!(f, "{:<16}{:>16} bytes at most", "resident", self.resident_at_most())?;
        for (name, times) in self.steps() {
            writeln!(f, "{name:<16}{times:>16} times")?;
        }
        Ok(())
    }
}

/// [`Stats`] that print as JSON.
#[derive(Clone, Copy, Debug)]
pub struct Json(Stats);

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.0;
        write!(f, r#"{{"bytes":{{"mapped":{}"#, stats.mapped)?;
        let resident = ("resident_at_most", stats.resident_at_most());
        for (name, bytes) in stats.parts().into_iter().chain([resident]) {
            write!(f, r#","{name}":{bytes}"#)?;
        }
        f.write_str(r#"},"times":{"#)?;
        for (number, (name, times)) in stats.steps().into_iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, r#"{comma}"{name}":{times}"#)?;
        }
        f.write_str("}}")
    }
}
