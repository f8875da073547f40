use gc_core::Trace;

#[derive(Trace)]
union Either {
    number: u64,
    float: f64,
}

fn main() {}
