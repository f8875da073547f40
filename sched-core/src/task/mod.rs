//! A goroutine: its state, its record, the handle that waits for its end.

pub mod state;
