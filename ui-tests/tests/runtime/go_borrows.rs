// `go` must not borrow.
fn main() {
    let text = String::from("x");
    runtime::go(|| text.len());
}
