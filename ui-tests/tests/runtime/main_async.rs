// Goroutines block where others await.
#[runtime::main]
async fn main() {}
