//! The examples do what they say: each checks itself.

#[path = "../examples/failing_source.rs"]
mod failing_source;
#[path = "../examples/fixed_region.rs"]
mod fixed_region;
#[path = "../examples/global_allocator.rs"]
mod global_allocator;
#[path = "../examples/toy_collector.rs"]
mod toy_collector;

/// One after the other: the global allocator's looks at the account of the process.
#[test]
fn each_example_does_what_it_says() {
    fixed_region::main().unwrap();
    failing_source::main();
    global_allocator::main();
    toy_collector::main().unwrap();
}
