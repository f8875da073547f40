//! `derive(Trace)` for gc-core
