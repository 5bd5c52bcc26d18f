//! Guarded memories: a fault of guest code is a trap, every other fault goes where it went before.

#![expect(
    clippy::fn_to_numeric_cast_any,
    reason = "the system takes handlers as numbers"
)]

use midair::{Config, Engine, Instance, Linker, Memory, Module, Result, Store, Tiers, Trap};
use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

const TIERS: [Tiers; 3] = [Tiers::Tier0, Tiers::Tier1, Tiers::Tiered];

/// Loads and stores at every distance; all of them say what they have done.
const ACCESSES: &str = r#"(module
    (memory (export "memory") 1 3)
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
    (func (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
    (func (export "far") (param i32) (result i32) (i32.load8_u offset=0xffffffff (local.get 0)))
    (func (export "farther") (param i32) (i64.store offset=0xfffffff9 (local.get 0) (i64.const 1)))
    (func (export "half") (param i32) (result i32) (i32.load offset=0x7fffffff (local.get 0)))
    (func (export "dropped") (param i32) (drop (i64.load offset=8 (local.get 0))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "loop") (param $from i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $from))))
            (local.set $from (i32.add (local.get $from) (i32.const 4)))
            (br $again))
        (unreachable)))"#;

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config)
}

fn instance(engine: &Engine, text: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine)
        .instantiate(&mut store, &module)
        .unwrap();
    (store, instance)
}

#[track_caller]
fn out_of_bounds<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    assert!(error.backtrace().is_some_and(|trace| {
        let offset = trace.frames()[0].module_offset();
        offset.is_some_and(|offset| offset > 0)
    }));
}

#[test]
fn every_access_beyond_the_memory_traps_and_the_instance_goes_on() {
    for (guard, tiers) in [true, false]
        .into_iter()
        .flat_map(|g| TIERS.map(|t| (g, t)))
    {
        let engine = engine(|config| {
            config.tiers(tiers).memory_guard(guard).osr_after(1, 1, 1);
        });
        let (mut store, instance) = instance(&engine, ACCESSES);
        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
        let store64 = instance
            .get_typed_func::<(i32, i64), ()>(&store, "store")
            .unwrap();
        let grow = instance.get_typed_func::<i32, i32>(&store, "grow").unwrap();
        for pages in 1..=3 {
            let end = pages << 16;
            for at in [end - 8, end - 9, 0] {
                store64.call(&mut store, (at, -1)).unwrap();
                assert_eq!(load.call(&mut store, at).unwrap(), -1);
                store64.call(&mut store, (at, 0)).unwrap();
            }
            for at in [end - 7, end - 1, end, end + 1, i32::MAX, i32::MIN, -8, -1] {
                out_of_bounds(load.call(&mut store, at));
                out_of_bounds(store64.call(&mut store, (at, -1)));
            }
            // what crosses the end writes nothing
            assert_eq!(load.call(&mut store, end - 8).unwrap(), 0);
            for name in ["far", "half"] {
                let far = instance.get_typed_func::<i32, i32>(&store, name).unwrap();
                for at in [0, 1, end, i32::MIN, -1] {
                    out_of_bounds(far.call(&mut store, at));
                }
            }
            for name in ["farther", "dropped"] {
                let far = instance.get_typed_func::<i32, ()>(&store, name).unwrap();
                for at in [end, i32::MIN, -1] {
                    out_of_bounds(far.call(&mut store, at));
                }
            }
            let endless = instance.get_typed_func::<i32, i32>(&store, "loop").unwrap();
            out_of_bounds(endless.call(&mut store, 0));
            assert_eq!(
                grow.call(&mut store, 1).unwrap(),
                if pages < 3 { pages } else { -1 }
            );
        }
    }
}

#[test]
fn an_empty_memory_is_guarded_too() {
    let engine = engine(|_| ());
    let (mut store, instance) = instance(
        &engine,
        r#"(module (memory 0)
            (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#,
    );
    let load = instance.get_typed_func::<i32, i32>(&store, "load").unwrap();
    for at in [0, 1, -1] {
        out_of_bounds(load.call(&mut store, at));
    }
}

#[test]
fn a_full_memory_reaches_to_its_last_byte() {
    for guard in [true, false] {
        let engine = engine(|config| {
            config.memory_guard(guard);
        });
        let before = resident();
        let (mut store, instance) = instance(
            &engine,
            r#"(module (memory 65536)
                (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#,
        );
        let load = instance.get_typed_func::<i32, i32>(&store, "load").unwrap();
        assert_eq!(load.call(&mut store, -4).unwrap(), 0);
        for at in [-3, -1] {
            out_of_bounds(load.call(&mut store, at));
        }
        // 4 GiB of zeros that nobody has touched take no room
        assert!(resident() - before < 256 << 20, "guard: {guard}");
    }
}

/// Bytes of this process that are in memory.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("the second word");
    4096 * pages.parse::<i64>().expect("a number")
}

#[test]
fn memories_of_hundreds_of_instances_fit() {
    let engine = engine(|_| ());
    let module = Module::new(&engine, ACCESSES).unwrap();
    let linker: Linker<()> = Linker::new(&engine);
    let mut all: Vec<_> = (0..600)
        .map(|n| {
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let write = instance
                .get_typed_func::<(i32, i64), ()>(&store, "store")
                .unwrap();
            write.call(&mut store, (65528, n)).unwrap();
            (store, instance)
        })
        .collect();
    for (n, (store, instance)) in (0..).zip(&mut all) {
        let load = instance
            .get_typed_func::<i32, i64>(&mut *store, "load")
            .unwrap();
        assert_eq!(load.call(&mut *store, 65528).unwrap(), n);
        out_of_bounds(load.call(&mut *store, 65529));
    }
}

#[test]
fn threads_trap_while_others_publish_and_free_code() {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others: Vec<_> = TIERS
            .into_iter()
            .map(|tiers| {
                let done = &done;
                scope.spawn(move || {
                    let mut rounds = 0;
                    while !done.load(Ordering::Relaxed) || rounds < 3 {
                        let engine = engine(|config| {
                            config.tiers(tiers);
                        });
                        let (mut store, instance) = instance(&engine, ACCESSES);
                        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
                        out_of_bounds(load.call(&mut store, -1));
                        rounds += 1;
                    }
                })
            })
            .collect();
        let engine = engine(|_| ());
        let (mut store, instance) = instance(&engine, ACCESSES);
        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
        for _ in 0..3000 {
            out_of_bounds(load.call(&mut store, 65536));
        }
        done.store(true, Ordering::Relaxed);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn a_thread_without_an_alternate_stack_traps_too() {
    std::thread::spawn(|| {
        let engine = engine(|_| ());
        let (mut store, instance) = instance(&engine, ACCESSES);
        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
        let none = libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        let mut before = none;
        // SAFETY: this thread's own alternate stack, on which nothing runs; it is given back below.
        let taken = unsafe { libc::sigaltstack(&raw const none, &raw mut before) };
        assert_eq!(taken, 0);
        for _ in 0..10 {
            out_of_bounds(load.call(&mut store, -1));
        }
        // SAFETY: as it was.
        unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) };
    })
    .join()
    .unwrap();
}

// --- Other faults: each in a process of its own ---------------------------------------------------------------------------

const CHILD: &str = "MIDAIR_TEST_CHILD";

/// Runs the test of that name in a child, where `is_child` is true.
fn in_child(test: &str) -> (ExitStatus, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status, text)
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Makes a guarded memory, lets a guest trap, and gives the address of a guard page.
fn guard_installed() -> (Store<()>, usize) {
    let engine = engine(|_| ());
    let (mut store, instance) = instance(&engine, ACCESSES);
    let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
    out_of_bounds(load.call(&mut store, -1));
    let memory: Memory = instance.get_memory(&store, "memory").unwrap();
    let behind = memory.data(&store).as_ptr().addr() + (2 << 16);
    (store, behind)
}

/// A fault of Rust code at that address.
fn fault_at(address: usize) -> u8 {
    // SAFETY: none: this is the fault that the test is about.
    unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

/// Makes `action` what is done about the signal.
fn dispose(action: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: all zeros is a valid value.
    let mut new = unsafe { std::mem::zeroed::<libc::sigaction>() };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: callers give a handler of the type that the flags promise.
    let done = unsafe { libc::sigaction(libc::SIGSEGV, &raw const new, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_fault_of_rust_code_kills_the_process() {
    if is_child() {
        let (_store, behind) = guard_installed();
        // even where a guest would trap
        fault_at(behind);
        unreachable!("that was a fault");
    }
    let (status, text) = in_child("a_fault_of_rust_code_kills_the_process");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}: {text}");
}

#[test]
fn a_fault_of_rust_code_kills_the_process_whatever_the_disposition_was() {
    for disposition in [libc::SIG_DFL, libc::SIG_IGN] {
        let name = "a_fault_of_rust_code_kills_the_process_whatever_the_disposition_was";
        if let Ok(which) = std::env::var("MIDAIR_TEST_DISPOSITION") {
            dispose(which.parse().unwrap(), 0);
            let (_store, _) = guard_installed();
            fault_at(16);
            unreachable!("that was a fault");
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("MIDAIR_TEST_DISPOSITION", disposition.to_string())
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{disposition}");
    }
}

#[test]
fn a_signal_that_was_ignored_is_ignored_when_it_is_sent() {
    if is_child() {
        dispose(libc::SIG_IGN, 0);
        let (_store, _) = guard_installed();
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGSEGV) };
        // SAFETY: ends the child.
        unsafe { libc::_exit(41) };
    }
    let (status, text) = in_child("a_signal_that_was_ignored_is_ignored_when_it_is_sent");
    assert_eq!(status.code(), Some(41), "{text}");
}

#[test]
fn a_signal_that_was_sent_kills_by_default() {
    if is_child() {
        dispose(libc::SIG_DFL, 0);
        let (_store, _) = guard_installed();
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(libc::SIGSEGV) };
        // SAFETY: ends the child.
        unsafe { libc::_exit(41) };
    }
    let (status, text) = in_child("a_signal_that_was_sent_kills_by_default");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{text}");
}

static WANTED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn with_information(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the system's.
    let info = unsafe { &*info };
    // SAFETY: a fault has one.
    let address = unsafe { info.si_addr() }.addr();
    let right =
        signal == libc::SIGSEGV && address == WANTED.load(Ordering::Relaxed) && !context.is_null();
    // SAFETY: ends the child.
    unsafe { libc::_exit(if right { 42 } else { 1 }) };
}

unsafe extern "C" fn without_information(signal: libc::c_int) {
    // SAFETY: ends the child.
    unsafe { libc::_exit(if signal == libc::SIGSEGV { 43 } else { 1 }) };
}

#[test]
fn a_handler_of_before_gets_faults_of_rust_code_as_it_would_have() {
    if is_child() {
        let handler: unsafe extern "C" fn(_, _, _) = with_information;
        dispose(handler as libc::sighandler_t, libc::SA_SIGINFO);
        let (_store, behind) = guard_installed();
        WANTED.store(behind, Ordering::Relaxed);
        fault_at(behind);
        unreachable!("that was a fault");
    }
    let (status, text) = in_child("a_handler_of_before_gets_faults_of_rust_code_as_it_would_have");
    assert_eq!(status.code(), Some(42), "{text}");
}

#[test]
fn a_handler_of_before_that_wants_no_information_gets_none() {
    if is_child() {
        let handler: unsafe extern "C" fn(_) = without_information;
        dispose(handler as libc::sighandler_t, 0);
        let (_store, behind) = guard_installed();
        fault_at(behind);
        unreachable!("that was a fault");
    }
    let (status, text) = in_child("a_handler_of_before_that_wants_no_information_gets_none");
    assert_eq!(status.code(), Some(43), "{text}");
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn counting(_signal: libc::c_int) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_of_before_that_wanted_one_signal_gets_one() {
    if is_child() {
        let handler: unsafe extern "C" fn(_) = counting;
        dispose(handler as libc::sighandler_t, libc::SA_RESETHAND);
        let (_store, behind) = guard_installed();
        // the handler returns, the fault is raised again, and nobody wants it
        fault_at(behind);
        unreachable!("that was a fault");
    }
    let (status, text) = in_child("a_handler_of_before_that_wanted_one_signal_gets_one");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{text}");
}

#[test]
fn a_handler_of_before_that_returns_is_called_for_each_signal() {
    if is_child() {
        let handler: unsafe extern "C" fn(_) = counting;
        dispose(handler as libc::sighandler_t, libc::SA_NODEFER);
        let (_store, _) = guard_installed();
        for _ in 0..3 {
            // SAFETY: sends a signal to this thread.
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        let calls = i32::try_from(CALLS.load(Ordering::Relaxed)).unwrap();
        // SAFETY: ends the child.
        unsafe { libc::_exit(50 + calls) };
    }
    let (status, text) = in_child("a_handler_of_before_that_returns_is_called_for_each_signal");
    assert_eq!(status.code(), Some(53), "{text}");
}

#[test]
fn where_address_space_is_refused_the_error_names_the_option() {
    if is_child() {
        let limit = libc::rlimit {
            rlim_cur: 4 << 30,
            rlim_max: 4 << 30,
        };
        // SAFETY: limits this child.
        let limited = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(limited, 0);
        let engine1 = engine(|_| ());
        let module = Module::new(&engine1, ACCESSES).unwrap();
        let mut store = Store::new(&engine1, ());
        let refused = Linker::new(&engine1).instantiate(&mut store, &module);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("Config::memory_guard(false)"), "{text}");
        let engine = engine(|config| {
            config.memory_guard(false);
        });
        let (mut store, instance) = instance(&engine, ACCESSES);
        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
        out_of_bounds(load.call(&mut store, -1));
        // SAFETY: ends the child.
        unsafe { libc::_exit(44) };
    }
    let (status, text) = in_child("where_address_space_is_refused_the_error_names_the_option");
    assert_eq!(status.code(), Some(44), "{text}");
}

#[test]
fn without_guards_no_handler_is_installed() {
    if is_child() {
        let engine = engine(|config| {
            config.memory_guard(false);
        });
        let disposition = || {
            // SAFETY: all zeros is a valid value to be overwritten.
            let mut now = unsafe { std::mem::zeroed::<libc::sigaction>() };
            // SAFETY: only reads the disposition.
            unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut now) };
            now.sa_sigaction
        };
        let before = disposition();
        let (mut store, instance) = instance(&engine, ACCESSES);
        let load = instance.get_typed_func::<i32, i64>(&store, "load").unwrap();
        out_of_bounds(load.call(&mut store, -1));
        assert_eq!(disposition(), before);
        guard_installed();
        assert_ne!(disposition(), before);
        // SAFETY: ends the child.
        unsafe { libc::_exit(45) };
    }
    let (status, text) = in_child("without_guards_no_handler_is_installed");
    assert_eq!(status.code(), Some(45), "{text}");
}
