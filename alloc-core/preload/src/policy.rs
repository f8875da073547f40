//! Which policy gives memory back: `ALLOC_SCAVENGE` in the environment.
//!
//! | value | policy |
//! |---|---|
//! | `age` | what was free for a second: the default |
//! | `share` | all but a tenth of what is in use, for one per cent of a processor's time |
//! | `eager` | all of it, every ten milliseconds |
//! | `never` | nothing, and no thread is started |
//!
//! It is asked for once, at the first allocation: later another thread may be changing the environment. Another value
//! is taken for `age`, and a line on standard error says so.

use core::ffi::CStr;

use alloc_core::scavenge::{ByAge, CpuShare, Eager, Never, Plan, ScavengePolicy, Sight};

/// One of alloc-core's.
#[derive(Clone, Copy)]
pub(crate) enum Policy {
    Age,
    Share,
    Eager,
    Never,
}

/// Written, without an allocation, for a value that has no meaning.
const ODD: &str = "alloc_preload: ALLOC_SCAVENGE takes age, share, eager or never: taken for age\n";

impl Policy {
    /// The one that the environment asks for.
    pub(crate) fn by_environment() -> Self {
        // SAFETY: the name ends with a zero. Whoever changes the environment beside the first allocation of the
        // process is the one thread that there is.
        let value = unsafe { libc::getenv(c"ALLOC_SCAVENGE".as_ptr()) };
        if value.is_null() {
            return Policy::Age;
        }
        // SAFETY: a text that ends with a zero, and stays: see above.
        match unsafe { CStr::from_ptr(value) }.to_bytes() {
            b"" | b"age" => Policy::Age,
            b"share" => Policy::Share,
            b"eager" => Policy::Eager,
            b"never" => Policy::Never,
            _ => {
                // SAFETY: the text has so many bytes.
                unsafe { libc::write(libc::STDERR_FILENO, ODD.as_ptr().cast(), ODD.len()) };
                Policy::Age
            }
        }
    }
}

impl ScavengePolicy for Policy {
    fn plan(&mut self, sight: &Sight) -> Plan {
        match self {
            Policy::Age => ByAge::default().plan(sight),
            Policy::Share => { CpuShare::GO }.plan(sight),
            Policy::Eager => Eager.plan(sight),
            Policy::Never => Never.plan(sight),
        }
    }
}
