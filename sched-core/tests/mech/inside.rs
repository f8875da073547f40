//! What a goroutine may call: threads, names, random state, backtraces, children.
//!
//! Each step of a goroutine here is on another kernel thread; [`hop`] makes sure of it.

use std::backtrace::Backtrace;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::ToSocketAddrs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::driver::{hop, in_both_modes};

#[test]
fn it_is_one_thread_for_its_whole_life_and_no_other() {
    in_both_modes(|driver| {
        let seen = Arc::new(Mutex::new(HashSet::from([thread::current().id()])));
        for _ in 0..10 {
            let seen = seen.clone();
            driver.run_migrating(move || {
                let (handle, id) = (thread::current(), thread::current().id());
                for _ in 0..5 {
                    hop();
                    assert_eq!(thread::current().id(), id);
                    // A permit for itself, left on one kernel thread and found on another.
                    handle.unpark();
                    hop();
                    thread::park();
                }
                assert!(seen.lock().unwrap().insert(id), "another thread's id");
            });
        }
    });
}

#[test]
fn threads_that_it_starts_are_joined_elsewhere() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let mut numbers = [1, 2, 3, 4];
            let (send, receive) = mpsc::channel();
            let child = thread::spawn(move || receive.iter().sum::<i32>());
            hop();
            thread::scope(|scope| {
                for number in &mut numbers {
                    scope.spawn(|| *number *= 10);
                }
                hop();
            });
            hop();
            numbers.into_iter().for_each(|number| send.send(number).unwrap());
            drop(send);
            hop();
            assert_eq!(child.join().unwrap(), 100);
            assert!(thread::spawn(|| std::panic::resume_unwind(Box::new(()))).join().is_err());
        });
    });
}

#[test]
fn names_are_looked_up() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            for _ in 0..3 {
                let found = ("localhost", 80).to_socket_addrs().unwrap().collect::<Vec<_>>();
                assert!(found.iter().any(|address| address.ip().is_loopback()), "{found:?}");
                hop();
                // The resolver's error is thread-local, and this name exists nowhere (RFC 6761).
                assert!(("name.invalid", 80).to_socket_addrs().is_err());
                hop();
            }
        });
    });
}

/// Two resolve at once, on two threads, a name that exists nowhere as well: where a name server is set, each asks it.
#[test]
fn names_are_looked_up_at_once() {
    let body = || {
        for _ in 0..3 {
            assert!(("name.invalid", 80).to_socket_addrs().is_err());
            assert!(("localhost", 80).to_socket_addrs().is_ok());
        }
    };
    in_both_modes(|driver| {
        std::thread::scope(|scope| {
            scope.spawn(|| driver.run(body));
            scope.spawn(|| driver.run(body));
        });
    });
}

#[test]
fn random_state_is_drawn_once_and_counted_on() {
    in_both_modes(|driver| {
        let firsts = Arc::new(Mutex::new(HashSet::new()));
        for _ in 0..4 {
            let firsts = firsts.clone();
            driver.run_migrating(move || {
                // std keeps two random keys in a thread-local, and adds one for each map.
                let hashes = (0..10)
                    .map(|_| {
                        hop();
                        RandomState::new().hash_one(0)
                    })
                    .collect::<HashSet<_>>();
                assert_eq!(hashes.len(), 10, "no two maps have the same keys");
                let mut map = HashMap::new();
                for key in 0..100 {
                    map.insert(key, key * key);
                    if key % 10 == 0 {
                        hop();
                    }
                }
                assert!((0..100).all(|key| map[&key] == key * key));
                let mut firsts = firsts.lock().unwrap();
                assert!(hashes.into_iter().all(|hash| firsts.insert(hash)), "nor in others");
            });
        }
    });
}

#[test]
fn backtraces_of_errors_and_panics_reach_the_goroutines_beginning() {
    #[inline(never)]
    fn marked_frame() -> String {
        hop();
        let text = Backtrace::force_capture().to_string();
        std::hint::black_box(text)
    }
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let text = marked_frame();
            assert!(text.contains("marked_frame") && text.contains("body_of"), "{text}");
        });
    });
}

#[test]
fn children_are_started_fed_and_waited_for() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let output = Command::new("echo").arg("hello").output().unwrap();
            assert_eq!(output.stdout, b"hello\n");
            hop();
            let mut child =
                Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            hop();
            drop(child.stdin.take());
            hop();
            assert!(child.wait().unwrap().success());
            hop();
            assert!(Command::new("/nowhere/no-such-program").output().is_err());
        });
    });
}

/// Both keep std from `posix_spawn`: it forks, and runs code in the child before `exec`.
#[test]
fn children_are_started_by_fork_with_code_before_exec_and_with_a_user() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "umask"]);
            // SAFETY: a system call that changes the child alone.
            unsafe {
                shell.pre_exec(|| {
                    libc::umask(0o123);
                    Ok(())
                })
            };
            hop();
            assert_eq!(shell.output().unwrap().stdout, b"0123\n");
            hop();
            // SAFETY: no memory is passed.
            let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
            let mut shell = Command::new("sh");
            shell.args(["-c", "id -u; id -g"]).uid(user).gid(group);
            hop();
            let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
            assert_eq!(said, format!("{user}\n{group}\n"));
            hop();
            let mut fails = Command::new("true");
            // SAFETY: it does nothing but fail.
            unsafe { fails.pre_exec(|| Err(ErrorKind::Other.into())) };
            hop();
            assert_eq!(fails.status().unwrap_err().kind(), ErrorKind::InvalidInput);
        });
    });
}
