//! A signal writes the list of goroutines, and the program goes on.
//!
//! The program runs itself once for each case: a signal is a matter of the whole process.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use runtime::{BuildError, Builder, JoinHandle, Runtime, Status, chan};

const CASE: &str = "DUMP_ON_CASE";
/// Whether goroutines are kernel threads.
const THREADS: &str = "DUMP_ON_THREADS";

fn builder() -> Builder {
    Builder::new().procs(2).kernel_threads(std::env::var_os(THREADS).is_some())
}

fn runtime() -> Runtime {
    builder().dump_on(libc::SIGQUIT).build().unwrap()
}

#[inline(never)]
fn waits_here(rx: &chan::Receiver<u64>) -> u64 {
    let value = rx.recv().unwrap();
    std::hint::black_box(value)
}

#[inline(never)]
fn computes_here(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::black_box(());
    }
}

fn until(true_at_last: impl Fn() -> bool) {
    while !true_at_last() {
        std::thread::yield_now();
    }
}

/// A goroutine that waits for what is sent.
fn waiter(rt: &Runtime) -> (chan::Sender<u64>, JoinHandle<u64>) {
    let (tx, rx) = chan::rendezvous();
    let waits = rt.go(move || waits_here(&rx));
    let waiting = |status| matches!(status, Status::Waiting { .. });
    until(|| rt.goroutines().iter().any(|one| waiting(one.status)));
    (tx, waits)
}

/// Tells the parent that all is as it shall be, and waits until it has seen enough.
fn show() {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn signal_this_thread(signal: i32) {
    // SAFETY: no memory is passed. (`raise` would ask libc which thread this is.)
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal) };
}

/// One that waits, and as many that compute as there are processors: no goroutine could write the list.
fn busy() {
    let rt = runtime();
    let (tx, waits) = waiter(&rt);
    let stop = Arc::new(AtomicBool::new(false));
    let go = |stop: Arc<AtomicBool>| rt.go(move || computes_here(&stop));
    let computing = [go(Arc::clone(&stop)), go(Arc::clone(&stop))];
    let running = |status| matches!(status, Status::Running { .. });
    until(|| rt.goroutines().iter().filter(|one| running(one.status)).count() == 2);
    show();
    stop.store(true, Ordering::Relaxed);
    computing.into_iter().for_each(|one| one.join().unwrap());
    tx.send(7).unwrap();
    assert_eq!(waits.join().unwrap(), 7);
}

/// The signal hits a goroutine, which notices nothing.
fn on_goroutine() {
    let rt = runtime();
    rt.run(|| {
        // SAFETY: this goroutine's own.
        unsafe { *libc::__errno_location() = libc::EXDEV };
        signal_this_thread(libc::SIGQUIT);
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, libc::EXDEV);
        show();
    });
}

/// Each of two runtimes writes its own.
fn two() {
    let all = [runtime(), runtime()];
    let waiting = all.each_ref().map(waiter);
    show();
    for (tx, waits) in waiting {
        tx.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), 7);
    }
}

/// The handler that was there before is called as well.
fn chained() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: i32) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler counts.
    unsafe { libc::signal(libc::SIGQUIT, count as *const () as libc::sighandler_t) };
    let rt = runtime();
    signal_this_thread(libc::SIGQUIT);
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    show();
    drop(rt);
    signal_this_thread(libc::SIGQUIT);
    assert_eq!(CALLS.load(Ordering::Relaxed), 2);
}

/// When the runtime has ended, the signal ends the process.
fn ended() {
    drop(runtime());
    show();
}

/// In a child of a fork nobody would hear it.
fn forked() {
    let rt = runtime();
    // SAFETY: the child does what may be done after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            signal_this_thread(libc::SIGQUIT);
        }
    }
    let mut status = 0;
    // SAFETY: our own child and variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGQUIT, "{status}");
    drop(rt);
}

/// Signals that mean something else.
fn refused() {
    for signal in [0, -1, 65, libc::SIGKILL, libc::SIGSEGV, libc::SIGURG, libc::SIGCHLD] {
        let error = builder().dump_on(signal).build().unwrap_err();
        assert!(matches!(error, BuildError::Signal(_)), "{signal}: {error}");
        assert!(error.to_string().ends_with("SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM"));
    }
}

/// A name, what the child does, and what the parent sees of it.
type Case = (&'static str, fn(), fn(Shown));

const CASES: [Case; 7] = [
    ("busy", busy, sees_busy),
    ("on goroutine", on_goroutine, |shown| shown.sees(1, 1).ends()),
    ("two", two, |shown| shown.ready().signal().sees(2, 1).ends()),
    ("chained", chained, |shown| shown.sees(1, 0).ends()),
    ("ended", ended, |shown| shown.dies_of(libc::SIGQUIT)),
    ("forked", forked, Shown::ends),
    ("refused", refused, Shown::ends),
];

/// A child that runs a case.
struct Shown {
    child: Child,
    out: Box<dyn BufRead>,
    err: Box<dyn BufRead>,
}

impl Shown {
    fn start(case: &str, threads: bool) -> Shown {
        let mut again = Command::new(std::env::current_exe().unwrap());
        if threads {
            again.env(THREADS, "1");
        }
        let pipes = again.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.env(CASE, case).spawn().unwrap();
        let out = Box::new(BufReader::new(child.stdout.take().unwrap()));
        let err = Box::new(BufReader::new(child.stderr.take().unwrap()));
        Shown { child, out, err }
    }

    /// Waits until the child is ready.
    fn ready(mut self) -> Shown {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self
    }

    fn signal(self) -> Shown {
        let process = i32::try_from(self.child.id()).unwrap();
        // SAFETY: our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(process, libc::SIGQUIT) }, 0);
        self
    }

    /// Reads a list: a line that says how many goroutines there are, and each of them after an empty line.
    fn list(&mut self) -> String {
        let mut list = String::new();
        let mut gaps = None;
        while gaps != Some(0) {
            let before = list.len();
            assert_ne!(self.err.read_line(&mut list).unwrap(), 0, "{list}");
            let line = &list[before..];
            gaps = match gaps {
                None => Some(1 + count_in(line)),
                Some(left) => Some(left - usize::from(line == "\n")),
            };
        }
        list
    }

    /// Reads so many lists, of so many goroutines each.
    fn sees(mut self, lists: usize, goroutines: usize) -> Shown {
        for _ in 0..lists {
            let list = self.list();
            assert_eq!(count_in(&list), goroutines, "{list}");
        }
        self
    }

    /// Asks until a list has all of this. (A thread that gets no processor shows no calls.)
    fn shows_at_last(mut self, parts: &[&str]) -> Shown {
        loop {
            self = self.signal();
            let list = self.list();
            if parts.iter().all(|part| list.contains(part)) {
                return self;
            }
        }
    }

    /// Lets it go on; what it says until its end.
    fn said_at_the_end(mut self, well: impl Fn(ExitStatus) -> bool) -> String {
        // One that has ended reads nothing.
        let _ = self.child.stdin.take().unwrap().write_all(b"\n");
        let mut said = String::new();
        self.err.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert!(well(status), "{status}: {said}");
        said
    }

    fn ends(self) {
        let _ = self.said_at_the_end(|status| status.success());
    }

    fn dies_of(self, signal: i32) {
        let _ = self.ready().signal().said_at_the_end(|status| status.signal() == Some(signal));
    }
}

/// How many goroutines the first line tells of.
fn count_in(list: &str) -> usize {
    let rest = list.strip_prefix("runtime: SIGQUIT: ").unwrap_or_else(|| panic!("{list}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn sees_busy(shown: Shown) {
    let states = ["SIGQUIT: 3 goroutines; 0 futures wait\n", "[receive, ", "[running, "];
    let parts = [&states[..], &["waits_here", "computes_here"]].concat();
    // As often as it is asked for.
    shown.ready().shows_at_last(&parts).shows_at_last(&parts).ends();
}

fn main() {
    // SAFETY: plain data; a signal that ends a child shall leave no file. And it shall end it: a shell has what runs in
    // its background ignore SIGQUIT.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
        libc::signal(libc::SIGQUIT, libc::SIG_DFL);
    }
    if let Ok(case) = std::env::var(CASE) {
        let (_, body, _) = CASES.iter().find(|(name, ..)| *name == case).unwrap();
        return body();
    }
    for threads in [false, true] {
        for (case, _, look) in CASES {
            println!("{case}, {}", if threads { "kernel threads" } else { "own stacks" });
            look(Shown::start(case, threads));
        }
    }
    println!("{} passed, 0 failed", 2 * CASES.len());
}
