//! [`Make`]: how a builder keeps a policy, of which each of its runtimes gets one of its own.

use std::fmt;
use std::sync::Arc;

/// Makes policies of the kind `P`, a trait's.
pub(crate) struct Make<P: ?Sized>(Arc<dyn Fn() -> Box<P> + Send + Sync>);

impl<P: ?Sized> Make<P> {
    /// By this function, which is the user's.
    pub(crate) fn by(make: impl Fn() -> Box<P> + Send + Sync + 'static) -> Self {
        Make(Arc::new(make))
    }

    /// A new one. Calls user code.
    pub(crate) fn make(&self) -> Box<P> {
        (self.0)()
    }
}

impl<P: ?Sized> Clone for Make<P> {
    fn clone(&self) -> Self {
        Make(Arc::clone(&self.0))
    }
}

impl<P: ?Sized> fmt::Debug for Make<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Make")
    }
}
