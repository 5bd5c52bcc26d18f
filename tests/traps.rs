//! Traps: where guest code stood, through suspended callers, hosts and instances; and stacks that end.

use midair::{
    AsyncCaller, Caller, Config, Engine, Error, Extern, Instance, Linker, Module, Result, Store,
    Tiers, Trap, TypedFunc, WasmBacktrace, executor::block_on,
};
use std::{
    fmt::Write as _,
    future::Future,
    pin::{Pin, pin},
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll, Waker},
};

const TIERS: [Tiers; 3] = [Tiers::Tier0, Tiers::Tier1, Tiers::Tiered];

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config)
}

/// Pending once.
#[derive(Default)]
struct Once(bool);

impl Future for Once {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap_async("host", "yield", |_, ()| Once::default())
        .unwrap();
    linker
        .func_wrap("host", "again", |mut caller: Caller<'_, ()>, n: i32| {
            let again = exported(caller.get_export("again"));
            let again = again.typed::<i32, i32>(&caller).unwrap();
            again.call(&mut caller, n)
        })
        .unwrap();
    linker.func_wrap_async("host", "nest", nest).unwrap();
    linker
}

fn exported(item: Option<Extern>) -> midair::Func {
    item.and_then(Extern::into_func).expect("it is exported")
}

/// Calls the guest again, asynchronously.
async fn nest(caller: AsyncCaller<()>, n: i32) -> Result<i32> {
    let again = exported(caller.get_export("nested")?);
    let again: TypedFunc<i32, i32> = caller.with(|caller| again.typed(&caller))??;
    caller.call_async(&again, n).await
}

fn instance(engine: &Engine, text: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker(engine).instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn names(error: &Error) -> Vec<&str> {
    let frames = error.backtrace().expect("guest code ran").frames();
    frames.iter().map(midair::FrameInfo::func_name).collect()
}

#[track_caller]
fn exhausted<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    error
}

// --- Backtraces -----------------------------------------------------------------------------------------------------------

const LAYERS: &str = r#"(module $layers
    (import "host" "yield" (func $yield))
    (memory 1)
    (func $innermost (param i32) (result i32)
        (call $yield)
        (i32.load (local.get 0)))
    (func $middle (param i32) (result i32)
        (i32.add (i32.const 1) (call $innermost (local.get 0))))
    (func (export "outer") (param i32) (result i32)
        (i32.add (i32.const 1) (call $middle (local.get 0)))))"#;

#[test]
fn a_trap_behind_a_resumption_shows_the_parked_callers_with_their_names_and_operators() {
    let mut seen = Vec::new();
    for (guard, tiers) in [true, false]
        .into_iter()
        .flat_map(|g| TIERS.map(|t| (g, t)))
    {
        let engine = engine(|config| {
            config.tiers(tiers).memory_guard(guard);
        });
        let (mut store, instance) = instance(&engine, LAYERS);
        let outer = instance
            .get_typed_func::<i32, i32>(&store, "outer")
            .unwrap();
        assert_eq!(block_on(outer.call_async(&mut store, 0)).unwrap(), 2);
        let error = block_on(outer.call_async(&mut store, -1)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
        assert_eq!(names(&error), ["innermost", "middle", "outer"]);
        let mut text = String::new();
        write!(text, "{error:?}").unwrap();
        seen.push(text);
    }
    // the offsets of `i32.load` and of two calls, the same in every tier
    assert_eq!(
        seen[0],
        "wasm trap: out of bounds memory access\n\
         wasm backtrace:\n    0:    0x42 - layers!innermost\n    1:    0x4c - layers!middle\n    2:    0x56 - layers!outer"
    );
    assert!(seen.iter().all(|text| *text == seen[0]), "{seen:#?}");
}

#[test]
fn a_backtrace_is_found_by_a_downcast_and_a_module_without_a_name_has_none() {
    let engine = engine(|_| ());
    let (mut store, instance) = instance(&engine, r#"(module (func (export "f") unreachable))"#);
    let f = instance.get_typed_func::<(), ()>(&store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    let backtrace: &WasmBacktrace = error.downcast_ref().expect("guest code ran");
    assert_eq!(Some(backtrace), error.backtrace());
    assert!(error.is::<WasmBacktrace>() && error.is::<Trap>());
    let frame = &backtrace.frames()[0];
    assert_eq!((frame.func_name(), frame.module_name()), ("f", None));
    assert_eq!(format!("{error}"), "wasm trap: unreachable");
    assert!(format!("{error:?}").ends_with(" - f"));
}

#[test]
fn a_trap_beneath_host_functions_shows_the_guests_that_called_them() {
    let text = r#"(module $m
        (import "host" "again" (func $host (param i32) (result i32)))
        (import "host" "nest" (func $nest (param i32) (result i32)))
        (func $again (export "again") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $host (i32.sub (local.get 0) (i32.const 1))))
        (func $nested (export "nested") (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $nest (i32.sub (local.get 0) (i32.const 1))))
        (func $start (export "start") (param i32) (result i32) (call $again (local.get 0)))
        (func $begin (export "begin") (param i32) (result i32) (call $nested (local.get 0))))"#;
    for tiers in TIERS {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let (mut store, instance) = instance(&engine, text);
        let start = instance
            .get_typed_func::<i32, i32>(&store, "start")
            .unwrap();
        let error = start.call(&mut store, 2).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
        assert_eq!(names(&error), ["again", "again", "again", "start"]);
        let begin = instance
            .get_typed_func::<i32, i32>(&store, "begin")
            .unwrap();
        let error = block_on(begin.call_async(&mut store, 2)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
        assert_eq!(names(&error), ["nested", "nested", "nested", "begin"]);
    }
}

#[test]
fn a_backtrace_runs_through_instances() {
    let engine = engine(|_| ());
    let inner = Module::new(
        &engine,
        r#"(module $inner (func $fails (export "fails") (i32.div_u (i32.const 1) (i32.const 0)) drop))"#,
    )
    .unwrap();
    let outer = Module::new(
        &engine,
        r#"(module $outer (import "inner" "fails" (func $fails))
            (func $calls (export "calls") (call $fails)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let mut linker: Linker<()> = Linker::new(&engine);
    let first = linker.instantiate(&mut store, &inner).unwrap();
    linker.instance(&mut store, "inner", first).unwrap();
    let second = linker.instantiate(&mut store, &outer).unwrap();
    let calls = second.get_typed_func::<(), ()>(&store, "calls").unwrap();
    let error = calls.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    let frames = error.backtrace().unwrap().frames();
    let named: Vec<_> = frames
        .iter()
        .map(|frame| (frame.module_name().unwrap(), frame.func_name()))
        .collect();
    assert_eq!(named, [("inner", "fails"), ("outer", "calls")]);
}

// --- Stacks that end ------------------------------------------------------------------------------------------------------

/// Runs `body` on a thread with that much stack.
fn on_a_stack_of<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(bytes)
            .spawn_scoped(scope, body)
            .unwrap()
            .join()
            .unwrap()
    })
}

/// Runs `body` on a thread with 64 KiB of stack and not a byte more (a thread of the standard library may be given a larger
/// one that has been used before), above a page that cannot be touched; and without an alternate stack.
fn on_a_tiny_stack(body: impl FnOnce() + Send) {
    type Body<'a> = Option<Box<dyn FnOnce() + Send + 'a>>;
    extern "C" fn run(body: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: what was given to `pthread_create`, alive until the thread is joined.
        let body = unsafe { &mut *body.cast::<Body<'_>>() }.take().unwrap();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
        std::ptr::without_provenance_mut(usize::from(done))
    }
    const SIZE: usize = 64 << 10;
    const PAGE: usize = 4096;
    let mut body: Body<'_> = Some(Box::new(body));
    let mut done = std::ptr::null_mut();
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one life of a thread, argued for as a whole"
    )]
    // SAFETY: a mapping of our own, larger than the stack by a page that is made inaccessible; attributes that are initialized
    // before they are used; a thread that is joined before what it uses is gone.
    unsafe {
        let memory = libc::mmap(
            std::ptr::null_mut(),
            SIZE + PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(memory, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(memory, PAGE, libc::PROT_NONE), 0);
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
        let low = memory.byte_add(PAGE);
        assert_eq!(
            libc::pthread_attr_setstack(&raw mut attributes, low, SIZE),
            0
        );
        let mut thread = std::mem::zeroed();
        let argument = (&raw mut body).cast();
        assert_eq!(
            libc::pthread_create(&raw mut thread, &raw const attributes, run, argument),
            0
        );
        assert_eq!(libc::pthread_join(thread, &raw mut done), 0);
        libc::pthread_attr_destroy(&raw mut attributes);
        libc::munmap(memory, SIZE + PAGE);
    }
    assert!(!done.is_null(), "the thread panicked");
}

const DEEP: &str = r#"(module
    (import "host" "yield" (func $yield))
    (import "host" "again" (func $host (param i32) (result i32)))
    (func $endless (export "endless") (result i32) (i32.add (call $endless) (i32.const 1)))
    (func $parks (export "parks") (param i32) (result i32)
        (call $yield)
        (if (result i32) (local.get 0)
            (then (i32.add (call $parks (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (call $endless))))
    (func (export "fine") (param i32) (result i32)
        (call $yield)
        (if (result i32) (local.get 0)
            (then (i32.add (call $parks_only (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (i32.const 0))))
    (func $parks_only (param i32) (result i32)
        (call $yield)
        (if (result i32) (local.get 0)
            (then (i32.add (call $parks_only (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (i32.const 0))))
    (func $again (export "again") (param i32) (result i32) (call $host (local.get 0)))
    (func (export "seven") (result i32) (i32.const 7)))"#;

#[test]
fn exhaustion_right_after_the_resumption_of_a_deep_parked_recursion_is_a_trap() {
    const DEPTH: i32 = 100_000;
    for tiers in TIERS {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let (mut store, instance) = instance(&engine, DEEP);
        let parks = instance
            .get_typed_func::<i32, i32>(&store, "parks")
            .unwrap();
        let fine = instance.get_typed_func::<i32, i32>(&store, "fine").unwrap();
        for stack in [256 << 10, 2 << 20] {
            let error = on_a_stack_of(stack, || {
                exhausted(block_on(parks.call_async(&mut store, DEPTH)))
            });
            let names = names(&error);
            assert_eq!(names[0], "endless");
            assert_eq!(names.len(), 100);
            // the same depth without the trap, on the same store
            let sum = on_a_stack_of(stack, || block_on(fine.call_async(&mut store, DEPTH)));
            assert_eq!(sum.unwrap(), DEPTH);
        }
    }
}

#[test]
fn a_parked_recursion_traps_behind_few_frames_with_all_its_callers() {
    let engine = engine(|_| ());
    let (mut store, instance) = instance(
        &engine,
        r#"(module
            (import "host" "yield" (func $yield))
            (func $fails (call $yield) unreachable)
            (func $parks (export "parks") (param i32)
                (if (i32.eqz (local.get 0)) (then (call $fails)))
                (call $parks (i32.sub (local.get 0) (i32.const 1)))))"#,
    );
    let parks = instance.get_typed_func::<i32, ()>(&store, "parks").unwrap();
    let error = block_on(parks.call_async(&mut store, 5)).unwrap_err();
    assert_eq!(
        names(&error),
        [
            "fails", "parks", "parks", "parks", "parks", "parks", "parks"
        ]
    );
}

#[test]
fn on_a_stack_too_small_for_guest_code_every_way_into_it_traps() {
    for tiers in TIERS {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let (mut store, instance) = instance(&engine, DEEP);
        let seven = instance.get_typed_func::<(), i32>(&store, "seven").unwrap();
        let fine = instance.get_typed_func::<i32, i32>(&store, "fine").unwrap();
        for _ in 0..2 {
            on_a_tiny_stack(|| {
                exhausted(seven.call(&mut store, ()));
                exhausted(block_on(fine.call_async(&mut store, 3)));
            });
            assert_eq!(seven.call(&mut store, ()).unwrap(), 7);
            // parked on this thread, resumed on one that has no room
            let mut call = pin!(fine.call_async(&mut store, 3));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut cx).is_pending());
            on_a_tiny_stack(|| {
                let mut cx = Context::from_waker(Waker::noop());
                match call.as_mut().poll(&mut cx) {
                    Poll::Ready(result) => drop(exhausted(result)),
                    Poll::Pending => panic!("nothing is waited for"),
                }
            });
        }
    }
}

#[test]
fn guests_and_hosts_that_call_each_other_without_end_trap() {
    for tiers in TIERS {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let (mut store, instance) = instance(&engine, DEEP);
        let again = instance
            .get_typed_func::<i32, i32>(&store, "again")
            .unwrap();
        let seven = instance.get_typed_func::<(), i32>(&store, "seven").unwrap();
        for stack in [256 << 10, 1 << 20] {
            on_a_stack_of(stack, || {
                let error = exhausted(again.call(&mut store, 1));
                assert!(names(&error).iter().all(|name| *name == "again"));
                assert_eq!(seven.call(&mut store, ()).unwrap(), 7);
            });
        }
    }
}

const NESTED: &str = r#"(module
    (import "host" "yield" (func $yield))
    (import "host" "nest" (func $nest (param i32) (result i32)))
    (func (export "nested") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $nest (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (call $yield) (i32.const 0))))
    (func (export "seven") (result i32) (i32.const 7)))"#;

#[test]
fn calls_nested_by_host_futures_without_end_trap() {
    for tiers in TIERS {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let (mut store, instance) = instance(&engine, NESTED);
        let nested = instance
            .get_typed_func::<i32, i32>(&store, "nested")
            .unwrap();
        let seven = instance.get_typed_func::<(), i32>(&store, "seven").unwrap();
        on_a_stack_of(512 << 10, || {
            exhausted(block_on(nested.call_async(&mut store, -1)));
            assert_eq!(block_on(nested.call_async(&mut store, 10)).unwrap(), 10);
            assert_eq!(seven.call(&mut store, ()).unwrap(), 7);
        });
    }
}

/// Calls nested so deep that they need a large stack to be polled.
fn nested_deep(
    store: &mut Store<()>,
    instance: Instance,
    small: impl FnOnce(NestedCall<'_>) + Send,
) {
    let nested = instance
        .get_typed_func::<i32, i32>(&*store, "nested")
        .unwrap();
    on_a_stack_of(256 << 20, || {
        let mut call = Box::pin(nested.call_async(store, 5000));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        on_a_stack_of(256 << 10, || small(call));
    });
}

type NestedCall<'a> = Pin<Box<dyn Future<Output = Result<i32>> + Send + 'a>>;

#[test]
fn calls_nested_on_a_large_stack_trap_when_they_are_polled_on_a_small_one() {
    let engine = engine(|_| ());
    let (mut store, instance) = instance(&engine, NESTED);
    nested_deep(&mut store, instance, |mut call| {
        let mut cx = Context::from_waker(Waker::noop());
        match call.as_mut().poll(&mut cx) {
            Poll::Ready(result) => drop(exhausted(result)),
            Poll::Pending => panic!("nothing is waited for"),
        }
    });
    let nested = instance
        .get_typed_func::<i32, i32>(&store, "nested")
        .unwrap();
    assert_eq!(block_on(nested.call_async(&mut store, 10)).unwrap(), 10);
}

static DROPS: AtomicU32 = AtomicU32::new(0);

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn calls_nested_on_a_large_stack_are_dropped_on_a_small_one_each_once() {
    let engine = engine(|_| ());
    let module = Module::new(&engine, NESTED).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    linker
        .func_wrap_async("host", "yield", |_, ()| Once::default())
        .unwrap();
    linker
        .func_wrap_async(
            "host",
            "nest",
            |caller: AsyncCaller<()>, n: i32| async move {
                let _counted = Counted;
                nest(caller, n).await
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    nested_deep(&mut store, instance, |call| drop(call));
    assert_eq!(DROPS.load(Ordering::Relaxed), 5000);
    let nested = instance
        .get_typed_func::<i32, i32>(&store, "nested")
        .unwrap();
    assert_eq!(block_on(nested.call_async(&mut store, 10)).unwrap(), 10);
}
