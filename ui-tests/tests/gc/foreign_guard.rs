use gc_core::Heap;

gc_core::tag! { struct One; }
gc_core::tag! { struct Two; }

fn main() {
    let (one, two) = (Heap::<One>::new().unwrap(), Heap::<Two>::new().unwrap());
    let root = { let guard = one.enter(); guard.root(guard.alloc(1u64)) };
    let guard = two.enter();
    println!("{}", *root.get(&guard));
}
