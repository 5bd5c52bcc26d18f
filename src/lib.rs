//! An async executor whose tasks can be compiled at run time.
//!
//! Guest functions come as core WebAssembly, start in a baseline compiler, are replaced while they run by optimized code when
//! their loops get hot, and await any Rust future in the middle of such a loop. A suspended call is not a stack: it is a
//! short chain of small heap objects, and resuming it is a jump.
//!
//! The names and the order of arguments follow wasmtime's embedding API where they can.
//!
//! # Examples
//! ```
//! use midair::{Engine, Linker, Module, Store};
//!
//! # fn main() -> midair::Result<()> {
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"(module
//!     (import "host" "next" (func $next (result i32)))
//!     (func (export "sum") (param $n i32) (result i32) (local $sum i32)
//!         (loop $again
//!             (local.set $sum (i32.add (local.get $sum) (call $next)))
//!             (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
//!         (local.get $sum)))"#)?;
//! let mut linker = Linker::new(&engine);
//! linker.func_wrap_async("host", "next", |_caller, ()| async { 7 })?;
//! let mut store = Store::new(&engine, ());
//! let sum = linker.instantiate(&mut store, &module)?.get_typed_func::<i32, i32>(&store, "sum")?;
//! assert_eq!(midair::executor::block_on(sum.call_async(&mut store, 6))?, 42);
//! # Ok(()) }
//! ```

mod config;

mod engine;

mod module;

mod types;

mod serialize;

mod linker;

mod pre;

mod host;

mod store;

mod instance;

mod mapping;
mod memory;

mod table;

mod func_ref;

mod references;

mod values;

mod call;

mod dispatch;

mod async_caller;

mod resumption;

mod task_context;

mod helpers;

mod error;

pub use async_caller::{AsyncCaller, NestedCall};
pub use call::{CallFuture, DynamicCall, DynamicCallFuture, TypedFunc};
pub use config::{Config, ResumptionPath, Tiers};
pub use engine::Engine;
pub use error::{
    CannotSuspend, CompileError, DeserializeError, Error, FrameInfo, LinkError, NotCurrent, Result,
    Trap, WasmBacktrace,
};
pub use host::{Awaiter, HostResult, IntoFunc};
pub use instance::{Export, Extern, Func, Instance};
pub use linker::Linker;
pub use memory::{Global, Memory, MemoryAccessError, PAGE};
pub use module::Module;
pub use pre::InstancePre;
pub use references::ExternRef;
pub use resumption::{Call, Resumption};
pub use store::{AsContext, AsContextMut, Caller, Store};
pub use table::Table;
pub use types::{ExportType, ExternType, GlobalType, ImportType, MemoryType};
pub use values::{Val, WasmParams, WasmResults, WasmTy};

pub use midair_executor as executor;
pub use midair_jit::{
    code::draft::CodeKind,
    error::NotOptimized,
    observe::events::Event,
    runtime::functions::Job,
    wasm::module::TableType,
    wasm::types::{FuncIndex, FuncType, ValType, WasmOffset},
};

/// The program in README.md is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
