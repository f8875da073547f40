//! The example does what it says.

#[path = "../examples/thread_pool.rs"]
mod thread_pool;

#[test]
fn a_pool_whose_threads_block_gets_its_permits_back() {
    thread_pool::main();
}
