//! What `#[runtime::main]` and `#[runtime::test]` call.

use std::panic;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use crate::runtime::Runtime;

/// How long goroutines may outlive the test that started them.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `main` on a goroutine. When it returns the program ends, as in Go: nobody waits for other
/// goroutines, and their threads end with the process.
#[track_caller]
pub fn main_with<T: Termination + 'static>(main: fn() -> T) -> ExitCode {
    let runtime = start();
    let result = runtime.go(move || main().report()).join();
    std::mem::forget(runtime);
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Runs a test on a goroutine, and fails if others are left some seconds after its end.
#[track_caller]
pub fn test_with<T: Termination + 'static>(test: fn() -> T) -> ExitCode {
    let runtime = start();
    match runtime.go(move || test().report()).join() {
        Ok(code) => {
            let end = runtime.shutdown(Some(GRACE));
            assert!(end.is_complete(), "{GRACE:?} after the test's end {end}");
            code
        }
        Err(payload) => {
            // What the panic left waiting is of no interest.
            std::mem::forget(runtime);
            panic::resume_unwind(payload)
        }
    }
}

fn start() -> Runtime {
    Runtime::new().unwrap_or_else(|error| panic!("cannot start the runtime: {error}"))
}
