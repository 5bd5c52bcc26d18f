//! The second opinion: wasmi, whose imports answer at once.

use super::{
    EXHAUSTED, Ended, Given, HostFailed, Seen, Step, Value, answer,
    module::{Case, Random, kind},
    trap,
};
use wasmi::{
    AsContext, AsContextMut, Engine, Error, Extern, ExternRef, ExternType, Func, Global, Instance,
    Memory, Module, Nullable, Ref, Store, Table, TrapCode, Val, ValType,
};

type Log = Vec<(usize, Vec<Value>)>;

impl wasmi::errors::HostError for HostFailed {}

/// An engine that accepts what Midair is to accept, and nothing else.
pub(super) fn engine() -> Engine {
    let mut config = wasmi::Config::default();
    config
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_wide_arithmetic(false);
    Engine::new(&config)
}

pub(super) fn run(case: &Case) -> Result<Vec<Step>, String> {
    let module = Module::new(&engine(), &case.wasm).map_err(|e| e.to_string())?;
    let mut store = Store::new(module.engine(), Log::new());
    let mut random = Random::new(case.seed);
    let mut imports = Vec::new();
    // the oracle lists imports by kind, so that functions are numbered among themselves
    let mut functions = 0;
    for import in module.imports() {
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                functions += 1;
                Extern::Func(function(&mut store, functions, ty.clone()))
            }
            ExternType::Global(ty) => {
                let value = random.value(kind(ty.content()));
                let value = to_wasmi(&mut store, &value);
                Extern::Global(Global::new(&mut store, value, ty.mutability()))
            }
            ExternType::Memory(ty) => {
                Extern::Memory(Memory::new(&mut store, *ty).map_err(|e| e.to_string())?)
            }
            ExternType::Table(ty) => {
                let null = match Val::default_for_ty(ty.element().into()) {
                    Val::FuncRef(null) => Ref::Func(null),
                    Val::ExternRef(null) => Ref::Extern(null),
                    other => return Err(format!("{other:?} in a table")),
                };
                Extern::Table(Table::new(&mut store, *ty, null).map_err(|e| e.to_string())?)
            }
        });
    }
    let instance = match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => {
            return Ok(vec![Step {
                ended: ended(&error)?,
                seen: Vec::new(),
                log: std::mem::take(store.data_mut()),
            }]);
        }
    };
    let mut steps = vec![look(&mut store, instance, Ended::Values(Vec::new()))?];
    for (name, values) in &case.calls {
        let func = instance.get_func(&store, name).ok_or("it is exported")?;
        let arguments: Vec<Val> = values.iter().map(|v| to_wasmi(&mut store, v)).collect();
        let ty = func.ty(&store);
        let mut results: Vec<Val> = ty
            .results()
            .iter()
            .map(|ty| Val::default_for_ty(*ty))
            .collect();
        let done = match func.call(&mut store, &arguments, &mut results) {
            Ok(()) => Ended::Values(results.iter().map(|v| from_wasmi(&store, v)).collect()),
            Err(error) => ended(&error)?,
        };
        steps.push(look(&mut store, instance, done)?);
    }
    Ok(steps)
}

fn function(store: &mut Store<Log>, index: usize, ty: wasmi::FuncType) -> Func {
    let wanted: Vec<_> = ty.results().iter().map(|ty| kind(*ty)).collect();
    Func::new(store, ty, move |mut caller, arguments, results| {
        let values: Vec<_> = arguments.iter().map(|v| from_wasmi(&caller, v)).collect();
        let given = answer(index, &values, &wanted);
        caller.data_mut().push((index, values));
        for (result, given) in results.iter_mut().zip(given.map_err(Error::host)?) {
            *result = match given {
                Given::Argument(index) => arguments[index].clone(),
                Given::Value(value) => to_wasmi(&mut caller, &value),
            };
        }
        Ok(())
    })
}

fn look(store: &mut Store<Log>, instance: Instance, ended: Ended) -> Result<Step, String> {
    let mut seen = Vec::new();
    for export in instance.exports(&*store) {
        let name = export.name().to_owned();
        let see = match export.into_extern() {
            Extern::Func(_) => continue,
            Extern::Global(global) => Seen::Global(from_wasmi(&*store, &global.get(&*store))),
            Extern::Memory(memory) => Seen::Memory(memory.data(&*store).to_vec()),
            Extern::Table(table) => Seen::Table(
                (0..table.size(&*store))
                    .map(|index| match table.get(&*store, index) {
                        Some(Ref::Func(func)) => from_wasmi(&*store, &Val::FuncRef(func)),
                        Some(Ref::Extern(it)) => from_wasmi(&*store, &Val::ExternRef(it)),
                        None => panic!("an element below the size"),
                    })
                    .collect(),
            ),
        };
        seen.push((name, see));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Step {
        ended,
        seen,
        log: std::mem::take(store.data_mut()),
    })
}

fn ended(error: &Error) -> Result<Ended, String> {
    if error.downcast_ref::<HostFailed>().is_some() {
        return Ok(trap("host error"));
    }
    let text = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "out of bounds memory access",
        Some(TrapCode::IntegerDivisionByZero) => "integer divide by zero",
        Some(TrapCode::IntegerOverflow) => "integer overflow",
        Some(TrapCode::BadConversionToInteger) => "invalid conversion to integer",
        Some(TrapCode::StackOverflow) => EXHAUSTED,
        Some(TrapCode::TableOutOfBounds) => "out of bounds table access",
        Some(TrapCode::IndirectCallToNull) => "uninitialized element",
        Some(TrapCode::BadSignature) => "indirect call type mismatch",
        _ if error.to_string().starts_with("out of bounds table access") => {
            "out of bounds table access"
        }
        _ => return Err(error.to_string()),
    };
    Ok(trap(text))
}

fn to_wasmi(store: impl AsContextMut, value: &Value) -> Val {
    match value {
        Value::I32(x) => Val::I32(*x),
        Value::I64(x) => Val::I64(*x),
        Value::F32(x) => Val::F32(wasmi::F32::from_bits(*x)),
        Value::F64(x) => Val::F64(wasmi::F64::from_bits(*x)),
        Value::Func(_) => Val::default_for_ty(ValType::FuncRef),
        Value::Extern(None) => Val::default_for_ty(ValType::ExternRef),
        Value::Extern(Some(x)) => Val::ExternRef(Nullable::Val(ExternRef::new(store, *x))),
    }
}

fn from_wasmi(store: impl AsContext, value: &Val) -> Value {
    match value {
        Val::I32(x) => Value::I32(*x),
        Val::I64(x) => Value::I64(*x),
        Val::F32(x) => Value::F32(x.to_bits()),
        Val::F64(x) => Value::F64(x.to_bits()),
        Val::FuncRef(Nullable::Null) => Value::Func(None),
        Val::FuncRef(Nullable::Val(func)) => {
            let ty = func.ty(&store);
            Value::Func(Some(format!("{:?} -> {:?}", ty.params(), ty.results())))
        }
        Val::ExternRef(Nullable::Null) => Value::Extern(None),
        Val::ExternRef(Nullable::Val(it)) => {
            Value::Extern(it.data(&store).downcast_ref::<i32>().copied())
        }
        other => panic!("{other:?} is not enabled"),
    }
}
