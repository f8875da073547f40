//! Goroutines that say hello, and a channel that brings it together.
//!
//! `cargo run -p runtime --example hello`

use runtime::{chan, go};

#[runtime::main]
fn main() {
    let (tx, rx) = chan::bounded(0);
    for name in ["Ada", "Grace", "Barbara"] {
        let tx = tx.clone();
        go(move || tx.send(format!("hello from {name}")).expect("main receives"));
    }
    drop(tx);
    let mut greetings: Vec<String> = rx.iter().collect();
    greetings.sort();
    for greeting in &greetings {
        println!("{greeting}");
    }
    assert_eq!(greetings.len(), 3);
}
