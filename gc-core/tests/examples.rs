//! The examples do what they say: each checks itself.

#[path = "../examples/doubly_linked_list.rs"]
mod doubly_linked_list;
#[path = "../examples/michael_scott_queue.rs"]
mod michael_scott_queue;
#[path = "../examples/ordered_map.rs"]
mod ordered_map;
#[path = "../examples/own_pacer.rs"]
mod own_pacer;
#[path = "../examples/policies.rs"]
mod policies;
#[path = "../examples/treiber_stack.rs"]
mod treiber_stack;
#[path = "../examples/weak_cache.rs"]
mod weak_cache;

/// One after the other: they have the same heap's name.
#[test]
fn each_example_does_what_it_says() {
    doubly_linked_list::main();
    treiber_stack::main();
    michael_scott_queue::main();
    ordered_map::main();
    weak_cache::main();
    policies::main();
    own_pacer::main();
}
