//! A small Lisp whose values, scopes and stack frames live in the collected heap, interpreted by many
//! goroutines at once.
//!
//! ```text
//! cargo run --release -p runtime --example lisp
//! ```
//!
//! # How a machine lets itself be collected
//!
//! A guard that is held for as long as a program runs would keep all that it ever made. So the machine
//! keeps nothing on the stack of Rust: what it is doing and what comes after that are objects (a CEK
//! machine: M. Felleisen, D. Friedman, 1986). It runs some thousand steps under one guard, leaves a root
//! to its state, and goes on from there under the next. Tail calls and deep recursion cost the same as
//! ever: memory, which is collected.
//!
//! Expressions are values, as in every Lisp. Closures and scopes make cycles: `define` puts a closure
//! into the very scope that it closes over.

use std::fmt;

use runtime::Runtime;
use runtime::gc::{self, Gc, GcCell, Guard, Root, Trace};

type Value<'g> = Gc<'g, Datum<'g>>;
type Scopes<'g> = Gc<'g, Scope<'g>>;
type Frames<'g> = Option<Gc<'g, Frame<'g>>>;

#[derive(Trace)]
enum Datum<'g> {
    Nil,
    Number(i64),
    Symbol(String),
    Pair(Value<'g>, Value<'g>),
    Closure { names: Value<'g>, body: Value<'g>, scope: Scopes<'g> },
    Builtin(#[leaf] Builtin),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Builtin {
    Add,
    Subtract,
    Multiply,
    Less,
    Equal,
    Cons,
    Head,
    Tail,
    IsPair,
}

const BUILTINS: [(&str, Builtin); 9] = [
    ("+", Builtin::Add),
    ("-", Builtin::Subtract),
    ("*", Builtin::Multiply),
    ("<", Builtin::Less),
    ("=", Builtin::Equal),
    ("cons", Builtin::Cons),
    ("head", Builtin::Head),
    ("tail", Builtin::Tail),
    ("pair?", Builtin::IsPair),
];

/// Names with values, the newest first. `define` adds to it in place.
#[derive(Trace)]
struct Scope<'g> {
    names: GcCell<'g, Binding<'g>>,
    outer: Option<Scopes<'g>>,
}

#[derive(Trace)]
struct Binding<'g> {
    name: String,
    value: Value<'g>,
    older: Option<Gc<'g, Binding<'g>>>,
}

/// What to do with the value to come.
#[derive(Trace)]
struct Frame<'g> {
    then: Then<'g>,
    scope: Scopes<'g>,
    next: Frames<'g>,
}

#[derive(Trace)]
enum Then<'g> {
    /// One of two expressions is next.
    Choose(Value<'g>, Value<'g>),
    /// It gets a name.
    Define(String),
    /// It is dropped, and these follow.
    Follow(Value<'g>),
    /// It is the newest of the parts of a call, which are evaluated from left to right.
    Call { done: Value<'g>, waiting: Value<'g> },
}

/// A machine between two steps.
#[derive(Clone, Copy, Trace)]
struct State<'g> {
    doing: Doing<'g>,
    frames: Frames<'g>,
}

#[derive(Clone, Copy, Trace)]
enum Doing<'g> {
    Evaluate(Value<'g>, Scopes<'g>),
    Give(Value<'g>),
}

/// Steps under one guard.
const STEPS: usize = 2_000;

/// Runs a program: the expressions of `text`, one after the other. Returns what the last one gives, as
/// text.
pub(crate) fn run(text: &str) -> String {
    let mut state: Root<State<'static>> = {
        let guard = gc::enter();
        let program = Reader { guard: &guard, rest: text }.list();
        let frames = Some(guard.alloc(Frame {
            then: Then::Follow(program),
            scope: globals(&guard),
            next: None,
        }));
        guard.root(guard.alloc(State { doing: Doing::Give(guard.alloc(Datum::Nil)), frames }))
    };
    loop {
        let guard = gc::enter();
        let mut now = *state.get(&guard).get();
        for _ in 0..STEPS {
            now = match (now.doing, now.frames) {
                (Doing::Give(value), None) => return value.to_string(),
                (Doing::Give(value), Some(frame)) => give(&guard, value, frame.get()),
                (Doing::Evaluate(expression, scope), frames) => {
                    evaluate(&guard, expression.get(), expression, scope, frames)
                }
            };
        }
        let next = guard.root(guard.alloc(now));
        drop(guard);
        state = next;
    }
}

fn globals<'g>(guard: &'g Guard<'_>) -> Scopes<'g> {
    let scope = guard.alloc(Scope { names: GcCell::null(), outer: None });
    for (name, builtin) in BUILTINS {
        scope.get().define(guard, name.into(), guard.alloc(Datum::Builtin(builtin)));
    }
    scope
}

impl<'g> Scope<'g> {
    fn define(&self, guard: &'g Guard<'_>, name: String, value: Value<'g>) {
        let older = self.names.load();
        self.names.set(guard, Some(guard.alloc(Binding { name, value, older })));
    }

    fn find(&self, name: &str) -> Value<'g> {
        let mut binding = self.names.load();
        while let Some(found) = binding {
            if found.name == name {
                return found.value;
            }
            binding = found.older;
        }
        self.outer.unwrap_or_else(|| panic!("{name} has no value")).get().find(name)
    }
}

/// One step of evaluating an expression.
fn evaluate<'g>(
    guard: &'g Guard<'_>,
    datum: &Datum<'g>,
    expression: Value<'g>,
    scope: Scopes<'g>,
    frames: Frames<'g>,
) -> State<'g> {
    let give = |value| State { doing: Doing::Give(value), frames };
    let push = |then, expression| State {
        doing: Doing::Evaluate(expression, scope),
        frames: Some(guard.alloc(Frame { then, scope, next: frames })),
    };
    let Datum::Pair(head, parts) = datum else {
        return match datum {
            Datum::Symbol(name) => give(scope.get().find(name)),
            _ => give(expression),
        };
    };
    let parts = parts.get();
    match head.get() {
        Datum::Symbol(name) if name == "quote" => give(parts.head()),
        Datum::Symbol(name) if name == "if" => {
            let (one, other) = (parts.tail().get(), parts.tail().get().tail().get());
            push(Then::Choose(one.head(), other.head()), parts.head())
        }
        Datum::Symbol(name) if name == "define" => {
            let Datum::Symbol(name) = parts.head().get() else { panic!("define: no name") };
            push(Then::Define(name.clone()), parts.tail().get().head())
        }
        Datum::Symbol(name) if name == "lambda" => {
            let (names, body) = (parts.head(), parts.tail());
            give(guard.alloc(Datum::Closure { names, body, scope }))
        }
        _ => {
            let Datum::Pair(_, waiting) = datum else { unreachable!("it is a pair") };
            let done = guard.alloc(Datum::Nil);
            push(Then::Call { done, waiting: *waiting }, *head)
        }
    }
}

/// One step with a value that is there.
fn give<'g>(guard: &'g Guard<'_>, value: Value<'g>, frame: &Frame<'g>) -> State<'g> {
    let (scope, next) = (frame.scope, frame.next);
    let evaluate = |expression, frames| State { doing: Doing::Evaluate(expression, scope), frames };
    let push = |then| Some(guard.alloc(Frame { then, scope, next }));
    match &frame.then {
        Then::Choose(one, other) => {
            evaluate(if matches!(value.get(), Datum::Nil) { *other } else { *one }, next)
        }
        Then::Define(name) => {
            scope.get().define(guard, name.clone(), value);
            State { doing: Doing::Give(value), frames: next }
        }
        Then::Follow(rest) => match rest.get() {
            Datum::Pair(last, end) if matches!(end.get(), Datum::Nil) => evaluate(*last, next),
            Datum::Pair(head, rest) => evaluate(*head, push(Then::Follow(*rest))),
            _ => State { doing: Doing::Give(value), frames: next },
        },
        Then::Call { done, waiting } => {
            let done = guard.alloc(Datum::Pair(value, *done));
            match waiting.get() {
                Datum::Pair(head, rest) => {
                    evaluate(*head, push(Then::Call { done, waiting: *rest }))
                }
                _ => call(guard, done, next),
            }
        }
    }
}

/// Calls a function; it and its arguments are on a list, the last first.
fn call<'g>(guard: &'g Guard<'_>, mut done: Value<'g>, next: Frames<'g>) -> State<'g> {
    let mut arguments = Vec::new();
    while let Datum::Pair(head, tail) = done.get() {
        arguments.push(*head);
        done = *tail;
    }
    let function = arguments.pop().expect("a call has a function");
    arguments.reverse();
    match function.get() {
        Datum::Builtin(builtin) => {
            State { doing: Doing::Give(apply(guard, *builtin, &arguments)), frames: next }
        }
        Datum::Closure { names, body, scope } => {
            let scope = guard.alloc(Scope { names: GcCell::null(), outer: Some(*scope) });
            let (mut names, mut arguments) = (*names, arguments.into_iter());
            while let Datum::Pair(name, rest) = names.get() {
                let Datum::Symbol(name) = name.get() else { panic!("{} is no name", **name) };
                let value = arguments.next().unwrap_or_else(|| panic!("no value for {name}"));
                scope.get().define(guard, name.clone(), value);
                names = *rest;
            }
            let then = Then::Follow(*body);
            let frames = Some(guard.alloc(Frame { then, scope, next }));
            State { doing: Doing::Give(function), frames }
        }
        other => panic!("{other} is no function"),
    }
}

fn apply<'g>(guard: &'g Guard<'_>, builtin: Builtin, arguments: &[Value<'g>]) -> Value<'g> {
    let &[one, .., other] = arguments else {
        let one = arguments.first().unwrap_or_else(|| panic!("{builtin:?} of nothing"));
        return match builtin {
            Builtin::Head => one.get().head(),
            Builtin::Tail => one.get().tail(),
            Builtin::IsPair => truth(guard, matches!(one.get(), Datum::Pair(..))),
            _ => panic!("{builtin:?} takes two values"),
        };
    };
    let numbers = || (one.get().number(), other.get().number());
    match builtin {
        Builtin::Add => guard.alloc(Datum::Number(numbers().0 + numbers().1)),
        Builtin::Subtract => guard.alloc(Datum::Number(numbers().0 - numbers().1)),
        Builtin::Multiply => guard.alloc(Datum::Number(numbers().0.wrapping_mul(numbers().1))),
        Builtin::Less => truth(guard, numbers().0 < numbers().1),
        Builtin::Equal => truth(guard, numbers().0 == numbers().1),
        Builtin::Cons => guard.alloc(Datum::Pair(one, other)),
        Builtin::Head | Builtin::Tail | Builtin::IsPair => panic!("{builtin:?} takes one value"),
    }
}

fn truth<'g>(guard: &'g Guard<'_>, is: bool) -> Value<'g> {
    guard.alloc(if is { Datum::Number(1) } else { Datum::Nil })
}

impl<'g> Datum<'g> {
    fn head(&self) -> Value<'g> {
        let Self::Pair(head, _) = self else { panic!("{self} has no head") };
        *head
    }

    fn tail(&self) -> Value<'g> {
        let Self::Pair(_, tail) = self else { panic!("{self} has no tail") };
        *tail
    }

    fn number(&self) -> i64 {
        let Self::Number(number) = self else { panic!("{self} is no number") };
        *number
    }
}

impl fmt::Display for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("()"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Pair(head, tail) => {
                write!(f, "({}", head.get())?;
                let mut rest = *tail;
                while let Self::Pair(head, tail) = rest.get() {
                    write!(f, " {}", head.get())?;
                    rest = *tail;
                }
                f.write_str(")")
            }
            Self::Closure { .. } => f.write_str("<closure>"),
            Self::Builtin(builtin) => write!(f, "<{builtin:?}>"),
        }
    }
}

/// Reads text into values.
struct Reader<'r, 'g, 'h> {
    guard: &'g Guard<'h>,
    rest: &'r str,
}

impl<'g> Reader<'_, 'g, '_> {
    /// The values up to a closing parenthesis or the end.
    fn list(&mut self) -> Value<'g> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() || self.skip(')') {
            return self.guard.alloc(Datum::Nil);
        }
        let head = if self.skip('(') { self.list() } else { self.atom() };
        let tail = self.list();
        self.guard.alloc(Datum::Pair(head, tail))
    }

    fn skip(&mut self, sign: char) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn atom(&mut self) -> Value<'g> {
        let ends = |sign: char| sign.is_whitespace() || sign == '(' || sign == ')';
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        let symbol = || Datum::Symbol(word.into());
        self.guard.alloc(word.parse().map_or_else(|_| symbol(), Datum::Number))
    }
}

const PROGRAM: &str = "
    (define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2))))))
    (define count (lambda (from to) (if (< from to) (cons from (count (+ from 1) to)) (quote ()))))
    (define map (lambda (f list)
        (if (pair? list) (cons (f (head list)) (map f (tail list))) (quote ()))))
    (define sum (lambda (list so-far)
        (if (pair? list) (sum (tail list) (+ so-far (head list))) so-far)))
    (define repeat (lambda (n last)
        (if (= n 0) last (repeat (- n 1) (sum (map (lambda (x) (* x x)) (count 0 100)) 0)))))
    (cons (fib 13) (cons (repeat 40 0) (map fib (count 0 10))))";

pub(crate) fn main() {
    assert_eq!(run("(+ 1 (* 2 3))"), "7");
    let rt = Runtime::new().expect("a runtime can be made");
    let (goroutines, collections) = rt.run(|| {
        let before = gc::stats().cycles;
        let machines: Vec<_> = (0..8).map(|_| runtime::go(|| run(PROGRAM))).collect();
        let count = machines.len();
        for machine in machines {
            let result = machine.join().expect("no machine panics");
            assert_eq!(result, "(233 328350 0 1 1 2 3 5 8 13 21 34)");
        }
        (count, gc::stats().cycles - before)
    });
    assert!(collections > 0, "each has made megabytes of lists");
    println!("{goroutines} interpreters agree; {collections} collections meanwhile");
}
