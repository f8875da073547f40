// A scoped goroutine's handle must not leave the scope.
fn main() {
    let rt = runtime::Runtime::new().unwrap();
    let text = String::from("x");
    let handle = rt.scope(|s| s.go(|| text.len()));
    drop(handle);
}
