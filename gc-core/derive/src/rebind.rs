//! Replaces the guard's lifetime in a type.
//!
//! `GcCell<'g, Node<'g, T>>` becomes
//! `GcCell<'another_guard, Node<'another_guard, <T as Rebind>::At<'another_guard>>>`. This is syntax, and an alias
//! can defeat it; so the generated code never trusts the result, it asserts by trait that it is what `Rebind` says.

use crate::expand::Shape;
use syn::{
    Lifetime, Type, TypePath, parse_quote,
    visit_mut::{self, VisitMut},
};

/// The lifetime that takes the guard's place. Messages of the compiler name it.
pub(crate) fn at() -> Lifetime {
    parse_quote!('another_guard)
}

struct Replace<'a> {
    shape: &'a Shape<'a>,
    rebind: bool,
}

impl VisitMut for Replace<'_> {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if self.rebind && Some(&*lifetime) == self.shape.lifetime {
            *lifetime = at();
        }
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(TypePath { qself: None, path }) = ty
            && let Some(name) = path.get_ident()
        {
            if name == "Self" {
                *ty = if self.rebind { self.shape.rebound() } else { self.shape.itself() };
                return;
            }
            if self.rebind && self.shape.traced.contains(&name) {
                *ty = self.shape.parameter_at(name);
                return;
            }
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// The type with `Self` spelled out, so that it can be named outside the definition.
pub(crate) fn spelled(shape: &Shape<'_>, ty: &Type) -> Type {
    replaced(shape, ty, false)
}

/// The type under the lifetime [`at`].
pub(crate) fn rebound(shape: &Shape<'_>, ty: &Type) -> Type {
    replaced(shape, ty, true)
}

fn replaced(shape: &Shape<'_>, ty: &Type, rebind: bool) -> Type {
    let mut ty = ty.clone();
    Replace { shape, rebind }.visit_type_mut(&mut ty);
    ty
}
