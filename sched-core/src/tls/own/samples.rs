//! Two threads, looked at from inside: what libc writes into the header of a thread that brings
//! its own stack, as our goroutines do, and not into that of any other.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, zeroed};
use core::ops::Range;
use core::ptr::null_mut;
use std::io;

use super::arch::thread_pointer;
use super::glibc::{Reason, debugger_offset, private, running_header};
use crate::tls::words;

const STACK_BYTES: usize = 128 * 1024;

/// What both threads agree on, and the headers in which they differ.
pub(super) struct Samples {
    /// The scheduler's words, from the thread pointer.
    pub(super) words: isize,
    /// `__resp`, from the thread pointer, and what it points to, from the header.
    pub(super) resolver: (isize, usize),
    /// The first block of values of pthread keys, from the header.
    pub(super) first_values: usize,
    /// The byte that libc sets when a key gets a value.
    pub(super) keys_used: usize,
    /// The thread's id, and its node in libc's list of threads.
    pub(super) tid: usize,
    pub(super) list: usize,
    /// The stack given to `own`, and where its header was.
    stack: usize,
    own_header: usize,
    own: Vec<u8>,
    plain: Vec<u8>,
}

/// What a thread writes down about itself.
struct Sample {
    resp: isize,
    /// Where its header is.
    at: usize,
    header: Vec<u8>,
    words: isize,
    resolver: usize,
    first_values: usize,
    /// The kernel's id of the thread.
    tid: i32,
    /// Where its node in libc's list of threads should be, and whether one is there.
    list: usize,
    linked: Result<bool, Errno>,
    /// A key to set, and the byte that changed when it was set.
    key: libc::pthread_key_t,
    keys_used: Option<usize>,
}

/// The bytes right behind the values of pthread keys: `specific_used`, the mark of a user's stack,
/// and others.
fn flags() -> Result<Range<usize>, Reason> {
    const KEY_BLOCKS: usize = 32;
    let flags = debugger_offset(c"_thread_db_pthread_specific")? + KEY_BLOCKS * 8;
    Ok(flags..flags + 8)
}

impl Samples {
    /// Starts the two threads and compares them.
    pub(super) fn take(pthread_bytes: usize) -> Result<Samples, Reason> {
        let resp = (private(c"__resp")?.as_ptr() as isize).wrapping_sub(thread_pointer() as isize);
        let stack = Stack::new()?;
        let own = Sample::run(pthread_bytes, resp, Some(&stack))?;
        let plain = Sample::run(pthread_bytes, resp, None)?;
        if own.places() != plain.places() || own.places().1.max(own.places().2) >= pthread_bytes {
            return Err("two threads disagree about where their TLS is");
        }
        let tid = debugger_offset(c"_thread_db_pthread_tid")?;
        if !own.notes_its_tid(tid) || !plain.notes_its_tid(tid) {
            return Err("a thread's id is not where libc says");
        }
        if !own.linked.map_err(no_pipe)? || !plain.linked.map_err(no_pipe)? {
            return Err("a thread is not in libc's list where libc says");
        }
        Ok(Samples {
            words: own.words,
            resolver: (resp, own.resolver),
            first_values: own.first_values,
            keys_used: own.keys_used.ok_or("libc does not note that a thread has used a key")?,
            tid,
            list: own.list,
            stack: stack.0,
            own_header: own.at,
            own: own.header,
            plain: plain.header,
        })
    }

    /// Where the header holds address and size of the thread's stack.
    pub(super) fn stack_block(&self) -> Result<usize, Reason> {
        let noted = |at: usize, word: usize| self.own[at..at + 8] == word.to_ne_bytes();
        let mut found = (self.tid.next_multiple_of(8)..self.own.len().saturating_sub(16))
            .step_by(8)
            .filter(|&at| noted(at, self.stack) && noted(at + 8, STACK_BYTES));
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            _ => Err("a thread's stack is not noted where it was"),
        }
    }

    /// Where the header has an empty robust list: two words that hold the address of the second.
    pub(super) fn robust_list(&self) -> Result<usize, Reason> {
        let holds = |at: usize, word: usize| self.own[at..at + 8] == word.to_ne_bytes();
        let mut found = (8..self.own.len().saturating_sub(16)).step_by(8).filter(|&at| {
            let head = self.own_header + at;
            at != self.list && at != self.list + 8 && holds(at - 8, head) && holds(at, head)
        });
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            _ => Err("a thread's robust list is not where glibc keeps it"),
        }
    }

    /// Where and how the header says that the stack is the user's.
    pub(super) fn user_stack(&self) -> Result<(usize, u8), Reason> {
        let mut found = flags()?.filter(|&at| self.own.get(at) != self.plain.get(at));
        match (found.next(), found.next()) {
            (Some(at), None) => Ok((at, self.own[at])),
            _ => Err("a thread with a stack of its own is not marked as such"),
        }
    }
}

impl Sample {
    fn run(pthread_bytes: usize, resp: isize, stack: Option<&Stack>) -> Result<Sample, Reason> {
        let mut key = 0;
        // SAFETY: a key of our own, without a destructor.
        if unsafe { libc::pthread_key_create(&mut key, None) } != 0 {
            return Err("no pthread key for a probe");
        }
        let list = debugger_offset(c"_thread_db_pthread_list")?;
        let mut sample = Sample { key, list, ..Sample::blank(pthread_bytes, resp) };
        // SAFETY: plain data, which `pthread_attr_init` fills in.
        let mut attr = unsafe { zeroed::<libc::pthread_attr_t>() };
        let mut thread = MaybeUninit::uninit();
        // SAFETY: `attr` is initialised before use; the thread gets the sample for as long as it
        // runs, which `join` waits for.
        let failed = unsafe {
            libc::pthread_attr_init(&mut attr);
            if let Some(stack) = stack {
                libc::pthread_attr_setstack(&mut attr, stack.0 as *mut c_void, STACK_BYTES);
            }
            let made = libc::pthread_create(
                thread.as_mut_ptr(),
                &attr,
                look,
                (&raw mut sample).cast::<c_void>(),
            );
            libc::pthread_attr_destroy(&mut attr);
            let failed = made != 0 || libc::pthread_join(thread.assume_init(), null_mut()) != 0;
            libc::pthread_key_delete(key);
            failed
        };
        if failed {
            return Err("a thread could not be started");
        }
        let specific = debugger_offset(c"_thread_db_pthread_specific")?;
        let pointer = sample.header.get(specific..specific + 8).ok_or("odd place of keys")?;
        let values = pointer.iter().rev().fold(0, |word, byte| word << 8 | usize::from(*byte));
        sample.first_values = values.wrapping_sub(sample.at);
        Ok(sample)
    }

    fn blank(pthread_bytes: usize, resp: isize) -> Sample {
        Sample {
            resp,
            at: 0,
            header: vec![0; pthread_bytes],
            words: 0,
            resolver: 0,
            first_values: 0,
            tid: 0,
            list: 0,
            linked: Ok(false),
            key: 0,
            keys_used: None,
        }
    }

    fn notes_its_tid(&self, at: usize) -> bool {
        self.header.get(at..at + 4) == Some(&self.tid.to_ne_bytes())
    }

    /// What must be the same in all threads: the words, the resolver's state, values of keys, and
    /// the mark that there are some.
    fn places(&self) -> (isize, usize, usize, Option<usize>) {
        (self.words, self.resolver, self.first_values, self.keys_used)
    }
}

extern "C" fn look(sample: *mut c_void) -> *mut c_void {
    let tp = thread_pointer();
    // SAFETY: `run` lends the sample to this thread; a thread's header is as long as libc says.
    unsafe {
        let sample = &mut *sample.cast::<Sample>();
        let at = running_header(sample.header.len());
        let header = core::slice::from_raw_parts(at as *const u8, sample.header.len());
        sample.at = at;
        sample.header.copy_from_slice(header);
        sample.words = (core::ptr::from_ref(words()) as isize).wrapping_sub(tp as isize);
        let state = *(tp.wrapping_add_signed(sample.resp) as *const usize);
        sample.resolver = state.wrapping_sub(at);
        sample.tid = libc::gettid();
        // Threads that come and go change the neighbours' links under us, for moments.
        let mut looks = (0..1000).map(|_| is_list_node(at + sample.list));
        sample.linked = looks.find(|look| *look != Ok(false)).unwrap_or(Ok(false));
        sample.keys_used = change_by_a_key(sample);
    }
    null_mut()
}

/// Whether a node `{ next, prev }` of a circular list lies here: its neighbours name it.
fn is_list_node(node: usize) -> Result<bool, Errno> {
    const WORD: usize = size_of::<usize>();
    let pipe = Pipe::new()?;
    let read = |at: usize, offset| pipe.read_word(at.wrapping_add(offset));
    let (next, prev) = (read(node, 0), read(node, WORD));
    let named_by = |at: Option<usize>, offset| at.and_then(|at| read(at, offset));
    Ok(named_by(next, WORD) == Some(node) && named_by(prev, 0) == Some(node))
}

/// The kernel's reason.
type Errno = c_int;

/// Why a thread could not be looked at. Leaked: once per process.
fn no_pipe(errno: Errno) -> Reason {
    format!("no pipe for a probe: {}", io::Error::from_raw_os_error(errno)).leak()
}

/// Words go through it where what is said to be a pointer may be none: the kernel says `EFAULT` where we would
/// die, and every sandbox has pipes.
struct Pipe([c_int; 2]);

impl Pipe {
    fn new() -> Result<Pipe, Errno> {
        let mut ends = [0; 2];
        // SAFETY: the kernel writes to our variable.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0 {
            return Ok(Pipe(ends));
        }
        // SAFETY: the thread's own.
        Err(unsafe { *libc::__errno_location() })
    }

    /// The word at `address`, if there is memory.
    fn read_word(&self, address: usize) -> Option<usize> {
        const WORD: usize = size_of::<usize>();
        let mut word = 0usize;
        // SAFETY: the kernel writes to our variable, and reads what it can at `address`.
        let whole = unsafe {
            libc::write(self.0[1], address as *const c_void, WORD) == WORD as isize
                && libc::read(self.0[0], (&raw mut word).cast(), WORD) == WORD as isize
        };
        whole.then_some(word)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // SAFETY: ours.
        let _ = self.0.map(|end| unsafe { libc::close(end) });
    }
}

/// Gives a key a value: the one flag behind the keys that went from 0 to 1.
///
/// # Safety
///
/// On the sample's thread, whose header has just been copied.
unsafe fn change_by_a_key(sample: &Sample) -> Option<usize> {
    // SAFETY: the sample's own key; the value only has to be something.
    unsafe { libc::pthread_setspecific(sample.key, core::ptr::dangling()) };
    // SAFETY: within the header.
    let byte = |at: usize| unsafe { ((sample.at + at) as *const u8).read_volatile() };
    let mut changed = flags().ok()?.filter(|&at| sample.header.get(at) != Some(&byte(at)));
    match (changed.next(), changed.next()) {
        (Some(at), None) if byte(at) == 1 => Some(at),
        _ => None,
    }
}

/// A stack that is given back when the thread on it is gone.
struct Stack(usize);

impl Stack {
    fn new() -> Result<Stack, Reason> {
        let access: c_int = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches nobody's memory.
        let base = unsafe { libc::mmap(null_mut(), STACK_BYTES, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            Err("no memory for a probe")
        } else {
            Ok(Stack(base as usize))
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: our mapping; its thread has been joined.
        unsafe { libc::munmap(self.0 as *mut c_void, STACK_BYTES) };
    }
}
