use gc_core::Trace;

#[derive(Trace)]
struct Wrap<T> {
    value: T,
}

impl<T> Drop for Wrap<T> {
    fn drop(&mut self) {}
}

fn main() {}
