//! The second opinion: the wasmi interpreter, whose host functions do synchronously what Midair's await.

use super::{Action, Answer, Outcome, Program, Value, Way, directives::TABLE_TRAP};
use std::fmt;
use wasmi::{
    Caller, Engine, Error, Extern, ExternRef, Func, Global, Instance, Linker, Memory, MemoryType,
    Module, Mutability, Nullable, Store, Val,
};

/// The way through wasmi.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wasmi;

/// What the host functions share.
#[derive(Debug, Default)]
struct Host {
    log: Vec<i32>,
    awaits: u64,
}

/// The error of `host.fail` and its kin.
#[derive(Debug)]
struct HostFailed(i32);

impl fmt::Display for HostFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host error {}", self.0)
    }
}

impl std::error::Error for HostFailed {}

impl wasmi::errors::HostError for HostFailed {}

fn failed(code: i32) -> Error {
    Error::host(HostFailed(code))
}

impl Way for Wasmi {
    fn name(&self) -> String {
        "wasmi".to_owned()
    }

    fn run(&self, program: &Program) -> Result<Outcome, String> {
        let engine = engine();
        let module = Module::new(&engine, &program.wasm).map_err(|e| e.to_string())?;
        let mut linker = linker(&engine).map_err(|e| e.to_string())?;
        let mut store = Store::new(&engine, Host::default());
        define_state(&mut linker, &mut store).map_err(|e| e.to_string())?;
        let mut steps = Vec::new();
        let instantiation = match linker.instantiate_and_start(&mut store, &module) {
            Ok(instance) => {
                for step in &program.steps {
                    let answer = take(&mut store, instance, program, &step.action)
                        .map_err(|e| format!("line {}: {e}", step.line))?;
                    steps.push(answer);
                }
                Answer::Values(Vec::new())
            }
            Err(error) => trap(&error)?,
        };
        let Host { log, awaits } = store.into_data();
        Ok(Outcome {
            instantiation,
            steps,
            log,
            awaits,
        })
    }
}

/// An engine that accepts what Midair is to accept, and nothing else.
pub(crate) fn engine() -> Engine {
    let mut config = wasmi::Config::default();
    config
        .wasm_extended_const(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false);
    Engine::new(&config)
}

fn take(
    store: &mut Store<Host>,
    instance: Instance,
    program: &Program,
    action: &Action,
) -> Result<Answer, String> {
    match action {
        Action::Invoke { export, args } => {
            let func = instance
                .get_func(&*store, export)
                .ok_or_else(|| format!("no function {export:?} is exported"))?;
            let ty = func.ty(&*store);
            let args: Vec<Val> = args.iter().copied().map(to_wasmi).collect();
            if !ty.params().iter().copied().eq(args.iter().map(Val::ty)) {
                return Err(format!("{export:?} takes {:?}", ty.params()));
            }
            let mut results: Vec<Val> = ty
                .results()
                .iter()
                .map(|ty| Val::default_for_ty(*ty))
                .collect();
            match func.call(store, &args, &mut results) {
                Ok(()) => results
                    .iter()
                    .map(from_wasmi)
                    .collect::<Result<_, _>>()
                    .map(Answer::Values),
                Err(error) => trap(&error),
            }
        }
        Action::Memory { address, length } => {
            let memory = instance
                .get_memory(&*store, &program.memory_export)
                .ok_or("no memory is exported")?;
            let data = memory.data(&*store);
            let end = length.map_or(data.len(), |length| address.saturating_add(length));
            data.get(*address..end)
                .map(|bytes| Answer::Bytes(bytes.to_vec()))
                .ok_or_else(|| format!("{address}..{end} lies outside the memory"))
        }
        Action::Pages => instance
            .get_memory(&*store, &program.memory_export)
            .map(|memory| Answer::Pages(memory.size(&*store)))
            .ok_or_else(|| "no memory is exported".to_owned()),
        Action::Global { export } => {
            let global = instance
                .get_global(&*store, export)
                .ok_or_else(|| format!("no global {export:?} is exported"))?;
            from_wasmi(&global.get(&*store)).map(|value| Answer::Values(vec![value]))
        }
    }
}

fn trap(error: &Error) -> Result<Answer, String> {
    use wasmi::TrapCode;
    if let Some(failed) = error.downcast_ref::<HostFailed>() {
        return Ok(Answer::Trap(failed.to_string()));
    }
    let text = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "out of bounds memory access",
        Some(TrapCode::IntegerDivisionByZero) => "integer divide by zero",
        Some(TrapCode::IntegerOverflow) => "integer overflow",
        Some(TrapCode::BadConversionToInteger) => "invalid conversion to integer",
        Some(TrapCode::StackOverflow) => "call stack exhausted",
        Some(TrapCode::TableOutOfBounds) => TABLE_TRAP,
        Some(TrapCode::IndirectCallToNull) => "uninitialized element",
        Some(TrapCode::BadSignature) => "indirect call type mismatch",
        // an element segment that does not fit
        _ if error.to_string().starts_with("out of bounds table access") => TABLE_TRAP,
        _ => return Err(error.to_string()),
    };
    Ok(Answer::Trap(text.to_owned()))
}

fn to_wasmi(value: Value) -> Val {
    match value {
        Value::I32(x) => Val::I32(x),
        Value::I64(x) => Val::I64(x),
        Value::F32(x) => Val::F32(wasmi::F32::from_bits(x)),
        Value::F64(x) => Val::F64(wasmi::F64::from_bits(x)),
    }
}

fn from_wasmi(value: &Val) -> Result<Value, String> {
    match value {
        Val::I32(x) => Ok(Value::I32(*x)),
        Val::I64(x) => Ok(Value::I64(*x)),
        Val::F32(x) => Ok(Value::F32(x.to_bits())),
        Val::F64(x) => Ok(Value::F64(x.to_bits())),
        other => Err(format!("{other:?} is of no type the corpus knows")),
    }
}

type Mix8 = (f64, f32, i64, i32, f64, f32, i64, i32);

fn linker(engine: &Engine) -> Result<Linker<Host>, wasmi::errors::LinkerError> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "add1", |x: i32| x.wrapping_add(1))?;
    linker.func_wrap("host", "log", |mut caller: Caller<'_, Host>, x: i32| {
        caller.data_mut().log.push(x);
    })?;
    linker.func_wrap("host", "fail", |x: i32| -> Result<(), Error> {
        Err(failed(x))
    })?;
    linker.func_wrap("host", "ready", |x: i32| x)?;
    linker.func_wrap("host", "await_i32", |caller: Caller<'_, Host>, x: i32| {
        awaited(caller, x)
    })?;
    linker.func_wrap("host", "await_i64", |caller: Caller<'_, Host>, x: i64| {
        awaited(caller, x)
    })?;
    // floats travel as bits: not even a signaling NaN may change on the way
    linker.func_wrap(
        "host",
        "await_f32",
        |caller: Caller<'_, Host>, x: wasmi::F32| awaited(caller, x),
    )?;
    linker.func_wrap(
        "host",
        "await_f64",
        |caller: Caller<'_, Host>, x: wasmi::F64| awaited(caller, x),
    )?;
    linker.func_wrap("host", "yield", |caller: Caller<'_, Host>| {
        awaited(caller, ());
    })?;
    linker.func_wrap(
        "host",
        "await_two",
        |caller: Caller<'_, Host>, a: i32, b: i64| awaited(caller, (b, a)),
    )?;
    linker.func_wrap(
        "host",
        "await_mix8",
        |caller: Caller<'_, Host>,
         a: i32,
         b: i64,
         c: f32,
         d: f64,
         e: i32,
         f: i64,
         g: f32,
         h: f64|
         -> Mix8 { awaited(caller, (h, g, f, e, d, c, b, a)) },
    )?;
    linker.func_wrap(
        "host",
        "await_fail",
        |caller: Caller<'_, Host>, x: i32| -> Result<(), Error> {
            awaited(caller, ());
            Err(failed(x))
        },
    )?;
    linker.func_wrap(
        "host",
        "grow",
        |mut caller: Caller<'_, Host>, pages: i32| -> Result<i32, Error> {
            caller.data_mut().awaits += 1;
            let memory = memory(&caller)?;
            let old = memory.grow(&mut caller, u64::from(pages.cast_unsigned()));
            Ok(old
                .ok()
                .and_then(|old| i32::try_from(old).ok())
                .unwrap_or(-1))
        },
    )?;
    linker.func_wrap(
        "host",
        "poke",
        |mut caller: Caller<'_, Host>, address: i32, value: i32| -> Result<(), Error> {
            caller.data_mut().awaits += 1;
            let memory = memory(&caller)?;
            let at = usize::try_from(address.cast_unsigned()).map_err(|_| failed(address))?;
            memory
                .write(&mut caller, at, &value.to_le_bytes())
                .map_err(|_| failed(address))
        },
    )?;
    linker.func_wrap("host", "ref", |mut caller: Caller<'_, Host>, x: i32| {
        Nullable::Val(ExternRef::new(&mut caller, x))
    })?;
    linker.func_wrap(
        "host",
        "unref",
        |caller: Caller<'_, Host>, reference: Nullable<ExternRef>| match reference {
            Nullable::Null => Ok(-1),
            Nullable::Val(reference) => {
                let number = reference.data(&caller).downcast_ref::<i32>().copied();
                number.ok_or_else(|| Error::new("no number"))
            }
        },
    )?;
    linker.func_wrap(
        "host",
        "await_ref",
        |caller: Caller<'_, Host>, x: Nullable<ExternRef>| awaited(caller, x),
    )?;
    linker.func_wrap(
        "host",
        "await_func",
        |caller: Caller<'_, Host>, x: Nullable<Func>| awaited(caller, x),
    )?;
    linker.func_wrap("host", "reenter", reenter)?;
    linker.func_wrap("host", "reenter_sync", reenter)?;
    Ok(linker)
}

/// The memory and the globals of module `host`.
fn define_state(linker: &mut Linker<Host>, store: &mut Store<Host>) -> Result<(), Error> {
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(4)))?;
    memory
        .write(&mut *store, 0, &[1, 2, 3, 4])
        .map_err(|e| Error::new(e.to_string()))?;
    linker.define("host", "memory", memory)?;
    for (name, value, mutability) in [
        ("counter", Val::I32(7), Mutability::Var),
        ("base", Val::I32(16), Mutability::Const),
        ("limit", Val::I64(1 << 40), Mutability::Const),
        ("ratio", Val::F64(0.5.into()), Mutability::Const),
        ("bias", Val::F32((-1.0).into()), Mutability::Var),
    ] {
        let global = Global::new(&mut *store, value, mutability);
        linker.define("host", name, global)?;
    }
    Ok(())
}

fn awaited<R>(mut caller: Caller<'_, Host>, result: R) -> R {
    caller.data_mut().awaits += 1;
    result
}

fn memory(caller: &Caller<'_, Host>) -> Result<Memory, Error> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::new("the caller exports no `memory`"))
}

fn reenter(mut caller: Caller<'_, Host>, x: i32) -> Result<i32, Error> {
    let callback = caller
        .get_export("callback")
        .and_then(Extern::into_func)
        .ok_or_else(|| Error::new("the caller exports no `callback`"))?;
    let callback = callback.typed::<i32, i32>(&caller)?;
    let y = callback.call(&mut caller, x)?;
    Ok(y.wrapping_add(1))
}
