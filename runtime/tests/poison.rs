//! With `GODEBUG=gcpoison=1` a dead object reads as poison, and the program ends that writes to one. The tests
//! run themselves again and read what is written.

mod again;

use std::process::Output;

use again::again;
use runtime::gc::{self, Root, Trace};

#[derive(Trace)]
struct Ledger {
    lines: [u64; 6],
}

/// Keeps the address of an object beyond its death, as no safe code can; and if `GC_POISON_WRITES` is set,
/// writes there. Then its memory is used again.
#[test]
#[ignore = "run by the tests below"]
fn program() {
    let rt = runtime::Runtime::new().unwrap();
    rt.run(|| {
        let (_kept, dead): (Root<Ledger>, _) = {
            let guard = gc::enter();
            let kept = guard.root(guard.alloc(Ledger { lines: [1; 6] }));
            (kept, std::ptr::from_ref(guard.alloc(Ledger { lines: [2; 6] }).get()))
        };
        while gc::collect().unwrap().cycle < 2 {}
        // The span stays for the one that is kept, so the memory of the dead one is there.
        let line = dead.cast::<u64>().cast_mut().wrapping_add(3);
        // SAFETY: as above; reading and writing there is the mistake that is to be found.
        unsafe {
            println!("reads {:#x}", line.read());
            if std::env::var_os("GC_POISON_WRITES").is_some() {
                line.write(7);
            }
        }
        let guard = gc::enter();
        (0..4096).for_each(|n| assert_eq!(guard.alloc(Ledger { lines: [n; 6] }).lines[5], n));
        println!("ends well");
    });
}

/// What the program says, and how it ends.
fn run(debug: &str, writes: bool) -> (Output, String) {
    let mut program = again("program");
    program.env("GODEBUG", debug);
    if writes {
        program.env("GC_POISON_WRITES", "1");
    }
    let output = program.output().unwrap();
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat();
    (output, said)
}

#[test]
fn a_write_to_a_dead_object_is_found_and_its_type_named() {
    let (output, said) = run("gcpoison=1", true);
    assert!(!output.status.success() && !said.contains("ends well"), "{said}");
    let told = said.lines().find(|line| line.starts_with("gc: write after free: ")).expect(&said);
    assert!(told.contains(" at byte 24 of 48 ") && told.ends_with("Ledger"), "{told}");
}

#[test]
fn a_dead_object_reads_as_poison() {
    let (output, said) = run("gcpoison=1", false);
    assert!(output.status.success() && said.contains("ends well"), "{said}");
    assert!(said.contains("reads 0xdbdbdbdbdbdbdbdb"), "{said}");
}

#[test]
fn without_it_nothing_is_filled_or_found() {
    let (output, said) = run("gcpoison=0", true);
    assert!(output.status.success() && said.contains("ends well"), "{said}");
    assert!(said.contains("reads 0x2\n"), "{said}");
}
