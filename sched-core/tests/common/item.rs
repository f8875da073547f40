//! Something to queue: a number in a box.

use std::ptr::NonNull;

use sched_core::policy::{Class, Item};
use sched_core::queue::{
    Handle,
    list::{Link, Linked},
};

pub(crate) struct Numbered {
    pub(crate) number: u32,
    pub(crate) class: Class,
    link: Link<Numbered>,
}

pub(crate) struct Ref(pub(crate) Box<Numbered>);

// SAFETY: the box's own round trip.
unsafe impl Handle for Ref {
    type Target = Numbered;

    fn into_raw(self) -> NonNull<Numbered> {
        self.0.into_raw()
    }

    unsafe fn from_raw(raw: NonNull<Numbered>) -> Self {
        // SAFETY: the caller's promise is the same.
        Ref(unsafe { Box::from_raw(raw.as_ptr()) })
    }
}

// SAFETY: one link, used by the queues alone; a box is the one handle.
unsafe impl Linked for Ref {
    fn link(item: &Numbered) -> &Link<Numbered> {
        &item.link
    }
}

impl Item for Ref {
    fn class(&self) -> Class {
        self.0.class
    }
}

/// One with this number.
pub(crate) fn item(number: u32) -> Ref {
    Ref(Box::new(Numbered { number, class: Class::Normal, link: Link::new() }))
}
