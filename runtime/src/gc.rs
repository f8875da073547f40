//! stub
use std::time::Duration;
pub(crate) fn request_all() {}
pub(crate) fn since_collection() -> Option<Duration> { None }
