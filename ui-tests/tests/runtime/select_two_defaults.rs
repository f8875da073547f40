// One default at most.
fn main() {
    let (_tx, rx) = runtime::chan::bounded::<u8>(1);
    runtime::select! {
        recv(&rx) -> _ => (),
        default => (),
        default => (),
    }
}
