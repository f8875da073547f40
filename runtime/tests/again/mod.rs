//! Programs that tests look at from outside: each is an ignored test of the same binary, run again in a process
//! of its own.

use std::process::Command;

/// The program, with nothing in its environment that speaks to the runtime.
pub(crate) fn again(program: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", program, "--ignored", "--nocapture"]);
    for variable in ["GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"] {
        command.env_remove(variable);
    }
    command
}
