//! Midair, in a way that the seed chooses: tiers, where it suspends, who polls it and what is normalized meanwhile.

use super::{
    Ended, Given, HostFailed, Kind, Seen, Step, Value, answer,
    module::{Case, Random},
    trap,
};
use midair::{
    AsContextMut, Config, Engine, Error, Event, Extern, ExternRef, ExternType, Func, FuncType,
    Global, Instance, Memory, Module, ResumptionPath, Store, Table, Tiers, Trap, Val, ValType,
};
use std::{
    future::Future,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

type Log = Vec<(usize, Vec<Value>)>;

/// Who polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drive {
    Here,
    /// Waiting frames are normalized before one poll of so many.
    Normalizing(u64),
    /// The call owns its store, and waiting frames are normalized.
    OwnedNormalizing(u64),
    /// The call owns its store, and one poll of so many happens on another thread.
    OwnedElsewhere(u64),
}

/// A way to run a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    tiers: Tiers,
    guard: bool,
    osr: (u32, u32, u32),
    on_calls: Option<u32>,
    on_resumption: Option<u32>,
    resumption: ResumptionPath,
    stress_suspend: Option<u32>,
    stress_normalize: Option<u32>,
    /// How often an import is pending: for none, it is no future.
    pending: Option<u32>,
    drive: Drive,
}

impl Way {
    pub(super) fn random(case: &Case) -> Self {
        let mut random = Random::new(case.seed ^ 0x5eed_5eed);
        let drive = match random.below(5) {
            0 => Drive::Normalizing(1 + random.below(3)),
            1 => Drive::OwnedNormalizing(1 + random.below(3)),
            2 => Drive::OwnedElsewhere(1 + random.below(20)),
            _ => Drive::Here,
        };
        let tiers = match random.below(5) {
            0 => Tiers::Tier0,
            1 => Tiers::Tier1,
            _ => Tiers::Tiered,
        };
        let resumption = match random.below(4) {
            0 => ResumptionPath::Direct,
            1 => ResumptionPath::ViaTier0,
            2 => ResumptionPath::Patchpoint,
            _ => ResumptionPath::PatchpointFp,
        };
        let mut maybe = |n: u32| (!random.one_in(2)).then(|| 1 + random.small(n));
        Self {
            tiers,
            resumption,
            drive,
            on_calls: maybe(3),
            on_resumption: maybe(4),
            stress_suspend: maybe(30),
            stress_normalize: maybe(4),
            pending: maybe(3).map(|n| n - 1),
            guard: random.one_in(2),
            osr: (
                1 + random.small(6),
                1 + random.small(4),
                1 + random.small(2),
            ),
        }
    }

    pub(super) fn baseline() -> Self {
        Self {
            tiers: Tiers::Tier0,
            guard: false,
            osr: (1, 1, 1),
            on_calls: None,
            on_resumption: None,
            resumption: ResumptionPath::Direct,
            stress_suspend: None,
            stress_normalize: None,
            pending: None,
            drive: Drive::Here,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{self:?}")
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .compiler_checks(true)
            .max_continuations(1 << 18)
            .tiers(self.tiers)
            .memory_guard(self.guard)
            .osr_after(self.osr.0, self.osr.1, self.osr.2)
            .tier_up_on_calls(self.on_calls)
            .tier_up_on_resumption(self.on_resumption)
            .resumption(self.resumption)
            .stress_suspend(self.stress_suspend.and_then(NonZeroU32::new))
            .stress_normalize(self.stress_normalize.and_then(NonZeroU32::new));
        config
    }
}

/// What was seen, and how often it suspended.
pub(super) fn run(case: &Case, way: &Way) -> Result<(Vec<Step>, u64), String> {
    let suspended = Arc::new(AtomicU64::new(0));
    let mut config = way.config();
    let counter = Arc::clone(&suspended);
    config.on_event(move |event| {
        if matches!(event, Event::Suspend { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let engine = Engine::new(&config);
    let module = Module::new(&engine, &case.wasm).map_err(|e| e.to_string())?;
    let mut store = Store::new(&engine, Log::new());
    let mut random = Random::new(case.seed);
    let imports = imports(&mut store, &module, way, &mut random).map_err(|e| e.to_string())?;
    let made = finish(Instance::new_async(&mut store, &module, &imports));
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let instance = match made {
        Ok(instance) => instance,
        Err(error) => {
            let step = Step {
                ended: ended(&error)?,
                seen: Vec::new(),
                log: std::mem::take(store.data_mut()),
            };
            return Ok((vec![step], of(&suspended)));
        }
    };
    let mut steps = vec![look(&mut store, instance, Ended::Values(Vec::new()))];
    for (name, values) in &case.calls {
        let func = instance.get_func(&store, name).ok_or("it is exported")?;
        let arguments: Vec<Val> = values.iter().map(|v| to_midair(&mut store, v)).collect();
        let result;
        (store, result) = call(store, func, &arguments, way, &mut random)?;
        let done = match result {
            Ok(values) => Ended::Values(values.iter().map(|v| from_midair(&store, v)).collect()),
            Err(error) => ended(&error)?,
        };
        if random.one_in(2) {
            store.gc();
        }
        steps.push(look(&mut store, instance, done));
    }
    Ok((steps, of(&suspended)))
}

type Called = Result<(Store<Log>, Result<Vec<Val>, Error>), String>;

fn call(
    mut store: Store<Log>,
    func: Func,
    arguments: &[Val],
    way: &Way,
    random: &mut Random,
) -> Called {
    match way.drive {
        Drive::Here | Drive::Normalizing(_) => {
            let call = func.call_async(&mut store, arguments);
            let mut call = call.map_err(|e| e.to_string())?;
            let result = loop {
                if let Poll::Ready(result) = Pin::new(&mut call).poll(&mut idle()) {
                    break result;
                }
                if let Drive::Normalizing(n) = way.drive {
                    call.normalize(|_| random.one_in(n))
                        .map_err(|e| e.to_string())?;
                }
            };
            drop(call);
            Ok((store, result))
        }
        Drive::OwnedNormalizing(_) | Drive::OwnedElsewhere(_) => {
            let call = func.start(store, arguments);
            let mut call = call.map_err(|(_, e)| e.to_string())?;
            loop {
                let polled = match way.drive {
                    Drive::OwnedElsewhere(n) if random.one_in(n) => std::thread::scope(|scope| {
                        let poll = || Pin::new(&mut call).poll(&mut idle());
                        scope.spawn(poll).join().expect("it does not panic")
                    }),
                    _ => Pin::new(&mut call).poll(&mut idle()),
                };
                if let Poll::Ready(ended) = polled {
                    return Ok(ended);
                }
                if let Drive::OwnedNormalizing(n) = way.drive
                    && let Some(normalized) = call.normalize(|_| random.one_in(n))
                {
                    normalized.map_err(|e| e.to_string())?;
                }
            }
        }
    }
}

fn imports(
    store: &mut Store<Log>,
    module: &Module,
    way: &Way,
    random: &mut Random,
) -> Result<Vec<Extern>, Error> {
    let mut imports: Vec<Extern> = Vec::new();
    let mut functions = 0;
    for import in module.imports() {
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                functions += 1;
                function(store, functions, ty, way.pending)?.into()
            }
            ExternType::Global(ty) => {
                let value = random.value(kind(ty.content()));
                let value = to_midair(&mut *store, &value);
                Global::new(&mut *store, value, ty.is_mutable()).into()
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, ty.minimum(), ty.maximum())?.into(),
            ExternType::Table(ty) => {
                let null = Val::null(ty.element).expect("tables have references");
                Table::new(&mut *store, *ty, null)?.into()
            }
            other => panic!("{other:?} is not enabled"),
        });
    }
    Ok(imports)
}

fn function(
    store: &mut Store<Log>,
    index: usize,
    ty: &FuncType,
    pending: Option<u32>,
) -> Result<Func, Error> {
    let wanted: Vec<_> = ty.results.iter().map(|ty| kind(*ty)).collect();
    let work = move |mut caller: midair::Caller<'_, Log>, arguments: &[Val]| {
        let values: Vec<_> = arguments.iter().map(|v| from_midair(&caller, v)).collect();
        let given = answer(index, &values, &wanted);
        caller.data_mut().push((index, values));
        let given = given.map_err(Error::new)?;
        let results = given
            .into_iter()
            .map(|given| match given {
                Given::Argument(index) => arguments[index].clone(),
                Given::Value(value) => to_midair(&mut caller, &value),
            })
            .collect::<Vec<_>>();
        if index.is_multiple_of(2) {
            caller.gc();
        }
        Ok::<_, Error>(results)
    };
    let Some(pending) = pending else {
        return Func::new(store, ty.clone(), move |caller, arguments, results| {
            results.clone_from_slice(&work(caller, arguments)?);
            Ok(())
        });
    };
    let work = Arc::new(work);
    Func::new_async(
        store,
        ty.clone(),
        move |caller: midair::AsyncCaller<Log>, arguments| {
            let work = Arc::clone(&work);
            async move {
                let results = caller.with(|caller| work(caller, &arguments))??;
                Pause(pending).await;
                Ok(results)
            }
        },
    )
}

fn look(store: &mut Store<Log>, instance: Instance, ended: Ended) -> Step {
    let exports: Vec<_> = instance
        .exports(&*store)
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .collect();
    let mut seen = Vec::new();
    for (name, export) in exports {
        let see = match export {
            Extern::Global(global) => Seen::Global(from_midair(&*store, &global.get(&*store))),
            Extern::Memory(memory) => Seen::Memory(memory.data(&*store).to_vec()),
            Extern::Table(table) => Seen::Table(
                (0..table.size(&*store))
                    .map(|index| {
                        let element = table.get(&*store, index);
                        from_midair(&*store, &element.expect("below the size"))
                    })
                    .collect(),
            ),
            _ => continue,
        };
        seen.push((name, see));
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    Step {
        ended,
        seen,
        log: std::mem::take(store.data_mut()),
    }
}

fn ended(error: &Error) -> Result<Ended, String> {
    if let Some(failed) = error.downcast_ref::<HostFailed>() {
        Ok(trap(&failed.to_string()))
    } else if let Some(of_guest) = error.downcast_ref::<Trap>() {
        Ok(trap(&of_guest.to_string()))
    } else {
        Err(format!("{error:?}"))
    }
}

fn kind(ty: ValType) -> Kind {
    match ty {
        ValType::I32 => Kind::I32,
        ValType::I64 => Kind::I64,
        ValType::F32 => Kind::F32,
        ValType::F64 => Kind::F64,
        ValType::FuncRef => Kind::Func,
        ValType::ExternRef => Kind::Extern,
    }
}

fn to_midair(store: impl AsContextMut, value: &Value) -> Val {
    match value {
        Value::I32(x) => Val::I32(*x),
        Value::I64(x) => Val::I64(*x),
        Value::F32(x) => Val::F32(*x),
        Value::F64(x) => Val::F64(*x),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(number) => Val::ExternRef(number.map(|x| ExternRef::new(store, x))),
    }
}

fn from_midair(store: &impl midair::AsContext, value: &Val) -> Value {
    match value {
        Val::I32(x) => Value::I32(*x),
        Val::I64(x) => Value::I64(*x),
        Val::F32(x) => Value::F32(*x),
        Val::F64(x) => Value::F64(*x),
        Val::FuncRef(func) => Value::Func(func.as_ref().map(|func| {
            let ty = func.ty(store);
            format!("{:?} -> {:?}", &*ty.params, &*ty.results)
        })),
        Val::ExternRef(it) => Value::Extern(it.as_ref().map(|it| {
            let data = it.data(store).expect("it is of this store");
            *data.downcast_ref::<i32>().expect("all are numbers")
        })),
    }
}

fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Polls until it is ready: everything that is waited for comes by polling.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut idle()) {
            return output;
        }
    }
}

/// Pending so many times.
struct Pause(u32);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
