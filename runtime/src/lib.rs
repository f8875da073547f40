//! Go's runtime for Rust: goroutines, channels, a collected heap, one owner of memory
