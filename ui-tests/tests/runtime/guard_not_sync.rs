// A shared guard of a `Cell` must not reach another thread.
fn main() {
    let mutex = runtime::sync::Mutex::new(std::cell::Cell::new(1));
    let guard = mutex.lock();
    std::thread::scope(|s| {
        s.spawn(|| guard.set(2));
    });
}
