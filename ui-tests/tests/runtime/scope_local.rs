// A scoped goroutine must not borrow what the closure owns: it dies before the goroutine is waited for.
fn main() {
    let rt = runtime::Runtime::new().unwrap();
    rt.scope(|s| {
        let text = String::from("x");
        s.go(|| text.len());
    });
}
