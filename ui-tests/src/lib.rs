//! Programs that must not compile: `tests/gc` and `tests/runtime`, each with what the compiler says. What must
//! compile is in `gc-core/tests/shapes.rs`.
//!
//! A package of its own: all that a package names, for its benches too, is built a second time for its cases.
