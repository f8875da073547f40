//! A text search engine on goroutines.
fn main() {}
