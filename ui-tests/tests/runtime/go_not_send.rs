// What a goroutine captures must be `Send`.
fn main() {
    let shared = std::rc::Rc::new(1);
    runtime::go(move || *shared);
}
