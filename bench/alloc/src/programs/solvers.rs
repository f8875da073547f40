//! Programs of one thread: two that live by tiny blocks, and one that hardly allocates.

use std::hint::black_box;

use bench_alloc::block::Random;
use harness::Request;

/// An expression. Its numbers are lists of digits, as those of a solver with exact arithmetic.
#[derive(Clone)]
enum Expr {
    Number(Vec<u32>),
    X,
    Sum(Box<(Expr, Expr)>),
    Product(Box<(Expr, Expr)>),
}

impl Expr {
    fn small(number: u32) -> Self {
        Expr::Number(vec![number])
    }

    fn random(random: &mut Random, depth: usize) -> Self {
        match random.below(if depth == 0 { 2 } else { 6 }) {
            0 => Expr::small(1 + random.below(9) as u32),
            1 => Expr::X,
            n => {
                let both =
                    Box::new((Expr::random(random, depth - 1), Expr::random(random, depth - 1)));
                if n % 2 == 0 { Expr::Sum(both) } else { Expr::Product(both) }
            }
        }
    }

    fn derivative(&self) -> Self {
        match self {
            Expr::Number(_) => Expr::small(0),
            Expr::X => Expr::small(1),
            Expr::Sum(both) => Expr::Sum(Box::new((both.0.derivative(), both.1.derivative()))),
            Expr::Product(both) => Expr::Sum(Box::new((
                Expr::Product(Box::new((both.0.derivative(), both.1.clone()))),
                Expr::Product(Box::new((both.0.clone(), both.1.derivative()))),
            ))),
        }
    }

    fn is(&self, small: u32) -> bool {
        matches!(self, Expr::Number(digits) if digits.len() == 1 && digits[0] == small)
    }

    fn simplified(self) -> Self {
        match self {
            Expr::Sum(both) => match (both.0.simplified(), both.1.simplified()) {
                (a, b) if a.is(0) => b,
                (a, b) if b.is(0) => a,
                (Expr::Number(a), Expr::Number(b)) => Expr::Number(add(&a, &b)),
                both => Expr::Sum(Box::new(both)),
            },
            Expr::Product(both) => match (both.0.simplified(), both.1.simplified()) {
                (a, b) if a.is(0) || b.is(0) => Expr::small(0),
                (a, b) if a.is(1) => b,
                (a, b) if b.is(1) => a,
                (Expr::Number(a), Expr::Number(b)) => Expr::Number(multiply(&a, &b)),
                both => Expr::Product(Box::new(both)),
            },
            other => other,
        }
    }

    /// Its value at `x`, exactly.
    fn value(&self, x: &[u32]) -> Vec<u32> {
        match self {
            Expr::Number(digits) => digits.clone(),
            Expr::X => x.to_vec(),
            Expr::Sum(both) => add(&both.0.value(x), &both.1.value(x)),
            Expr::Product(both) => multiply(&both.0.value(x), &both.1.value(x)),
        }
    }
}

fn add(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (mut sum, mut carry) = (Vec::with_capacity(a.len().max(b.len())), 0_u64);
    for at in 0..a.len().max(b.len()) {
        let digit = |of: &[u32]| u64::from(of.get(at).copied().unwrap_or(0));
        carry += digit(a) + digit(b);
        sum.push(carry as u32);
        carry >>= 32;
    }
    if carry > 0 {
        sum.push(carry as u32);
    }
    sum
}

fn multiply(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut product = vec![0_u32; a.len() + b.len()];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0_u64;
        for (j, &y) in b.iter().enumerate() {
            carry += u64::from(product[i + j]) + u64::from(x) * u64::from(y);
            product[i + j] = carry as u32;
            carry >>= 32;
        }
        product[i + b.len()] = carry as u32;
    }
    while product.len() > 1 && product.last() == Some(&0) {
        product.pop();
    }
    product
}

/// Differentiates expressions, simplifies and evaluates them: trees of tiny nodes, short-lived.
pub(crate) fn symbolic(request: &Request) {
    let mut random = Random::new(11);
    for _ in 0..request.count(40_000) {
        let expression = Expr::random(&mut random, 7);
        let first = expression.derivative().simplified();
        let second = first.derivative().simplified();
        black_box((first.value(&[3]), second.value(&[5])));
    }
}

/// A set of cubes of a Boolean function: two bits for each variable of each.
type Cover = Vec<Box<[u64]>>;

fn cover(random: &mut Random, cubes: usize, words: usize) -> Cover {
    (0..cubes).map(|_| (0..words).map(|_| random.next() | random.next()).collect()).collect()
}

/// The cubes that two covers have in common, without those that lie within another.
fn intersect(a: &Cover, b: &Cover) -> Cover {
    let mut common = Cover::new();
    for x in a {
        for y in b {
            let cube: Box<[u64]> = x.iter().zip(y).map(|(x, y)| x & y).collect();
            let empty = cube.iter().any(|word| (word | word >> 1) & 0x5555 != 0x5555);
            if !empty && !common.iter().rev().take(8).any(|other| within(&cube, other)) {
                common.push(cube);
            }
        }
    }
    common
}

fn within(inner: &[u64], outer: &[u64]) -> bool {
    inner.iter().zip(outer).all(|(inner, outer)| inner & !outer == 0)
}

/// Minimises covers, in part: arrays of small vectors that are built, filtered and dropped.
pub(crate) fn cubes(request: &Request) {
    let mut random = Random::new(12);
    for round in 0..request.count(12_000) {
        let words = 1 + round % 5;
        let (a, b) = (cover(&mut random, 60, words), cover(&mut random, 60, words));
        let mut common = intersect(&a, &b);
        common.sort_unstable_by_key(|cube| cube.iter().map(|word| word.count_ones()).sum::<u32>());
        common.truncate(60);
        black_box(intersect(&common, &a));
    }
}

const NODES: usize = 8;

/// A cell of space: its mass, its centre of mass, and what lies in its eighths.
#[derive(Default)]
struct Space {
    mass: f64,
    centre: [f64; 3],
    parts: [Option<Box<Space>>; NODES],
    body: bool,
}

impl Space {
    fn add(&mut self, at: [f64; 3], middle: [f64; 3], half: f64) {
        let before = self.mass;
        if self.mass > 0.0 && self.body && half > 1e-6 {
            self.body = false;
            self.put_below(self.centre, middle, half);
        }
        if before > 0.0 && half > 1e-6 {
            self.put_below(at, middle, half);
        } else {
            self.body = true;
        }
        self.mass += 1.0;
        for (centre, at) in self.centre.iter_mut().zip(at) {
            *centre += (at - *centre) / self.mass;
        }
    }

    fn put_below(&mut self, at: [f64; 3], middle: [f64; 3], half: f64) {
        let (mut part, mut inner) = (0, middle);
        for (axis, inner) in inner.iter_mut().enumerate() {
            let up = at[axis] > *inner;
            part |= usize::from(up) << axis;
            *inner += if up { half / 2.0 } else { -half / 2.0 };
        }
        self.parts[part].get_or_insert_default().add(at, inner, half / 2.0);
    }

    /// The pull at a place; a cell that is far away counts as one body.
    fn pull(&self, at: [f64; 3], half: f64) -> f64 {
        let distance =
            (0..3).map(|axis| (self.centre[axis] - at[axis]).powi(2)).sum::<f64>() + 0.01;
        if self.body || half * half < 0.25 * distance {
            return self.mass / (distance * distance.sqrt());
        }
        self.parts.iter().flatten().map(|part| part.pull(at, half / 2.0)).sum()
    }
}

/// Bodies that pull each other, by a tree of space for each step (Barnes and Hut 1986).
pub(crate) fn barnes(request: &Request) {
    let mut random = Random::new(13);
    let mut bodies: Vec<[f64; 3]> = (0..4_000)
        .map(|_| [0; 3].map(|_| random.below(1 << 20) as f64 / f64::from(1 << 20)))
        .collect();
    for _ in 0..request.count(300) {
        let mut space = Space::default();
        bodies.iter().for_each(|&body| space.add(body, [0.5; 3], 0.5));
        for body in &mut bodies {
            let pull = space.pull(*body, 0.5);
            body.iter_mut().for_each(|place| *place = (*place + pull * 1e-9).fract());
        }
    }
    black_box(bodies);
}
