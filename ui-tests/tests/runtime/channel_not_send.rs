// A channel of values that are not `Send` stays on its thread.
fn main() {
    let (tx, rx) = runtime::chan::bounded::<std::rc::Rc<u8>>(1);
    std::thread::spawn(move || drop(tx));
    drop(rx);
}
