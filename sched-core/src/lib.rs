//! Go's GMP scheduler: goroutines with their own stack and thread-local storage
