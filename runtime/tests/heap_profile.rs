//! A profile of the heap tells `pprof` who holds the memory: the function is found by its address, with what
//! it holds, though it ran in goroutines on stacks of their own.

use std::collections::HashMap;
use std::hint::black_box;

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

const KIB: usize = 1 << 10;
const MIB: u64 = 1 << 20;

#[inline(never)]
fn keeper(blocks: usize) -> Vec<Vec<u8>> {
    (0..blocks).map(|n| black_box(vec![n as u8; KIB])).collect()
}

/// The fields of a message: number, and the value or the bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let number = varint(&mut message);
        let length = if key & 7 == 2 { number as usize } else { 0 };
        let (bytes, rest) = message.split_at(length);
        fields.push((key >> 3, number, bytes));
        message = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let (number, rest) = bytes.split_at(end + 1);
    *bytes = rest;
    number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

fn varints(mut bytes: &[u8]) -> Vec<u64> {
    std::iter::from_fn(|| (!bytes.is_empty()).then(|| varint(&mut bytes))).collect()
}

/// Bytes in use by stacks that go through code shortly behind `function`.
fn held_by(function: usize, profile: &[u8]) -> u64 {
    let number = |message: &[u8], field| fields(message).iter().find(|f| f.0 == field).unwrap().1;
    let all = fields(profile);
    let locations: HashMap<u64, u64> = all
        .iter()
        .filter(|field| field.0 == 4)
        .map(|&(_, _, location)| (number(location, 1), number(location, 3)))
        .collect();
    let samples = all.iter().filter(|field| field.0 == 2).map(|&(_, _, sample)| {
        let parts: HashMap<_, _> =
            fields(sample).into_iter().map(|f| (f.0, varints(f.2))).collect();
        (parts[&1].clone(), parts[&2].clone())
    });
    let near = function as u64..function as u64 + 2_000;
    let through = |ids: &[u64]| ids.iter().any(|id| near.contains(&locations[id]));
    samples.filter(|(ids, _)| through(ids)).map(|(_, values)| values[3]).sum()
}

fn profile() -> Vec<u8> {
    let mut profile = Vec::new();
    runtime::profile::write_heap(&mut profile).unwrap();
    profile
}

#[test]
fn the_holder_of_memory_is_found_until_it_lets_go() {
    runtime::profile::start_heap(64 << 10).unwrap();
    let keeper_at = keeper as *const () as usize;
    let runtime = runtime::Runtime::builder().procs(2).build().unwrap();
    let held: Vec<_> = runtime.run(|| {
        let goroutines: Vec<_> = (0..8).map(|_| runtime::go(|| keeper(5_000))).collect();
        goroutines.into_iter().map(|goroutine| goroutine.join().unwrap()).collect()
    });
    let found = held_by(keeper_at, &profile());
    assert!((30 * MIB..50 * MIB).contains(&found), "{found} bytes of 40 MB");
    assert!(held.iter().flatten().enumerate().all(|(n, block)| block[7] == (n % 5_000) as u8));
    drop(held);
    let left = held_by(keeper_at, &profile());
    assert!(left < MIB, "{left} bytes are said to be held");
}

#[test]
fn pprof_is_told_the_types_and_the_program() {
    runtime::profile::start_heap(64 << 10).unwrap();
    let profile = profile();
    let texts: Vec<_> = fields(&profile)
        .into_iter()
        .filter(|field| field.0 == 6)
        .map(|field| String::from_utf8(field.2.to_vec()).unwrap())
        .collect();
    assert_eq!(texts[..3], ["", "alloc_objects", "alloc_space"]);
    let program = std::env::current_exe().unwrap();
    assert!(texts.iter().any(|text| *text == program.to_string_lossy()), "{texts:?}");
    assert_eq!(fields(&profile).iter().filter(|field| field.0 == 1).count(), 4);
}
