//! Go's runtime for Rust: goroutines, channels, a collected heap, one owner of memory

pub mod chan;
mod current;
mod seam;
pub mod select;
pub mod sync;
mod time;
mod wait;

pub use time::{sleep, sleep_until};
