//! Midair, in every way it can run a program: tiers, where it suspends, how it is resumed, and who drives it.

use super::{Action, Answer, Outcome, Program, Value, Way, random::Random};
use midair::{
    AsyncCaller, Awaiter, Caller, CodeKind, Config, DynamicCall, Engine, Error, Event, Extern,
    ExternRef, Func, Global, HostResult, Instance, Linker, Memory, Module, Resumption, Store, Trap,
    Val,
};
use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
};

/// What the host's functions return to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Futures that are pending so many times.
    Futures(u32),
    /// Awaiters.
    Awaiters,
}

/// Who runs the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// `call_async`, polled until it is ready; tokens are used inside `on_completed`.
    Poll,
    /// `call_async`; tokens are used after the poll.
    PollThenResume,
    /// `call_async`; the waiting frames are normalized at random between polls: one of so many.
    PollNormalized(u64),
    /// `call_async`, polled by two threads in turn.
    PollOnThreads,
    /// `start`; tokens are used inside `on_completed`, futures polled.
    Owned,
    /// `start`; tokens are used after `on_completed`, every other one on another thread.
    OwnedOnThreads,
    /// `start`; the waiting frames are normalized at random before tokens are used: one of so many.
    OwnedNormalized(u64),
    /// `start`; tokens go to the executor's queue.
    Scheduled,
    /// As `Poll`, but before each call, one is dropped at its first, second and third await.
    DropAndPoll,
    /// As `Owned`, but before each call, one is dropped while its token is out.
    DropAndOwn,
}

/// What happened while programs ran, in total.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) transitions: AtomicU64,
    pub(crate) suspended_in_tier0: AtomicU64,
    pub(crate) suspended_in_osr: AtomicU64,
    pub(crate) suspended_in_tier1: AtomicU64,
    pub(crate) resumes: AtomicU64,
    pub(crate) jumps: AtomicU64,
    pub(crate) normalized: AtomicU64,
    pub(crate) tier_ups: AtomicU64,
    pub(crate) tier0_published: AtomicU64,
    pub(crate) osr_published: AtomicU64,
    pub(crate) tier1_published: AtomicU64,
    pub(crate) not_optimized: AtomicU64,
    pub(crate) polls_elsewhere: AtomicU64,
    pub(crate) tokens: AtomicU64,
    pub(crate) tokens_elsewhere: AtomicU64,
    pub(crate) dropped_calls: AtomicU64,
    made: AtomicU64,
    dropped: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Seen {
    fn record(&self, event: &Event) {
        count(match event {
            Event::Transition { .. } => &self.transitions,
            Event::Suspend {
                kind: CodeKind::Tier0,
                ..
            } => &self.suspended_in_tier0,
            Event::Suspend {
                kind: CodeKind::Osr(_),
                ..
            } => &self.suspended_in_osr,
            Event::Suspend {
                kind: CodeKind::Tier1,
                ..
            } => &self.suspended_in_tier1,
            Event::Resume { .. } => &self.resumes,
            Event::Jump { .. } => &self.jumps,
            Event::Normalize { .. } => &self.normalized,
            Event::TierUp { .. } => &self.tier_ups,
            Event::Publish {
                kind: CodeKind::Tier0,
                ..
            } => &self.tier0_published,
            Event::Publish {
                kind: CodeKind::Osr(_),
                ..
            } => &self.osr_published,
            Event::Publish {
                kind: CodeKind::Tier1,
                ..
            } => &self.tier1_published,
            Event::NotOptimized { .. } => &self.not_optimized,
            _ => return,
        });
    }
}

/// Makes the configuration of a run.
type Configure = Box<dyn Fn(&mut Config, &mut Random) + Send + Sync>;

/// A way to run programs on Midair.
pub(crate) struct Midair {
    name: String,
    configure: Configure,
    hosts: Hosts,
    drive: Drive,
    pub(crate) seen: Arc<Seen>,
}

impl Midair {
    pub(crate) fn new(name: &str, configure: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self::random(name, move |config, _| configure(config))
    }

    /// A way whose configuration depends on the program, at random but always the same.
    pub(crate) fn random(
        name: &str,
        configure: impl Fn(&mut Config, &mut Random) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            configure: Box::new(configure),
            hosts: Hosts::Futures(1),
            drive: Drive::Poll,
            seen: Arc::default(),
        }
    }

    pub(crate) fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    pub(crate) fn drive(mut self, drive: Drive) -> Self {
        self.drive = drive;
        self
    }

    fn instantiate(
        &self,
        engine: &Engine,
        module: &Module,
        tokens: Tokens,
    ) -> Result<(Store<Host>, Made), String> {
        let mut store = Store::new(
            engine,
            Host {
                log: Vec::new(),
                awaits: 0,
                tokens,
            },
        );
        let linker =
            linker(engine, &mut store, self.hosts, &self.seen).map_err(|e| e.to_string())?;
        let made = match finish(linker.instantiate_async(&mut store, module)) {
            Ok(instance) => Made::Instance(instance),
            Err(error) => Made::Trapped(trap(&error)?),
        };
        Ok((store, made))
    }
}

enum Made {
    Instance(Instance),
    Trapped(Answer),
}

/// What the host's functions share.
pub(crate) struct Host {
    log: Vec<i32>,
    awaits: u64,
    tokens: Tokens,
}

/// What becomes of a token.
#[derive(Clone)]
enum Tokens {
    Resume,
    Schedule,
    Keep(Kept),
}

type Kept = Arc<Mutex<Vec<Resumption>>>;

fn kept_one(kept: &Kept) -> Option<Resumption> {
    kept.lock().expect("nobody panics with it").pop()
}

impl Way for Midair {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn run(&self, program: &Program) -> Result<Outcome, String> {
        let seed = program.name.bytes().fold(7, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut random = Random::new(seed);
        let mut config = Config::new();
        // a recursion without end that suspends at every level must end soon
        config.compiler_checks(true).max_continuations(1 << 18);
        (self.configure)(&mut config, &mut random);
        let seen = Arc::clone(&self.seen);
        config.on_event(move |event| seen.record(&event));
        let engine = Engine::new(&config);
        let module = Module::new(&engine, &program.wasm).map_err(|e| e.to_string())?;

        let kept = Kept::default();
        let tokens = match self.drive {
            Drive::Poll | Drive::PollOnThreads | Drive::Owned | Drive::DropAndPoll => {
                Tokens::Resume
            }
            Drive::Scheduled => Tokens::Schedule,
            Drive::PollThenResume
            | Drive::PollNormalized(_)
            | Drive::OwnedOnThreads
            | Drive::OwnedNormalized(_)
            | Drive::DropAndOwn => Tokens::Keep(Arc::clone(&kept)),
        };
        // the start function is always polled, and its tokens are used at once
        let (mut store, made) = self.instantiate(&engine, &module, Tokens::Resume)?;
        store.data_mut().tokens = tokens;
        let mut steps = Vec::new();
        let instantiation = match made {
            Made::Trapped(trap) => trap,
            Made::Instance(instance) => {
                for step in &program.steps {
                    let answer = match &step.action {
                        Action::Invoke { export, args } => {
                            let func = instance
                                .get_func(&store, export)
                                .ok_or_else(|| format!("no function {export:?} is exported"))?;
                            let args: Vec<Val> = args.iter().copied().map(to_midair).collect();
                            if matches!(self.drive, Drive::DropAndPoll | Drive::DropAndOwn) {
                                self.drop_calls(&engine, &module, program, export, &args)?;
                            }
                            let result;
                            (store, result) = self.call(store, func, &args, &kept, &mut random)?;
                            match result {
                                Ok(values) => {
                                    Answer::Values(values.into_iter().map(from_midair).collect())
                                }
                                Err(error) => {
                                    trap(&error).map_err(|e| format!("line {}: {e}", step.line))?
                                }
                            }
                        }
                        look => take(&store, instance, program, look)?,
                    };
                    steps.push(answer);
                }
                Answer::Values(Vec::new())
            }
        };
        let Host { log, awaits, .. } = store.into_data();
        Ok(Outcome {
            instantiation,
            steps,
            log,
            awaits,
        })
    }
}

type Called = Result<(Store<Host>, Result<Vec<Val>, Error>), String>;

impl Midair {
    fn call(
        &self,
        mut store: Store<Host>,
        func: Func,
        args: &[Val],
        kept: &Kept,
        random: &mut Random,
    ) -> Called {
        let refused = |(_, error): (Store<Host>, Error)| error.to_string();
        match self.drive {
            Drive::Poll | Drive::DropAndPoll => {
                let result = finish(
                    func.call_async(&mut store, args)
                        .map_err(|e| e.to_string())?,
                );
                Ok((store, result))
            }
            Drive::PollThenResume | Drive::PollNormalized(_) => {
                let mut call = func
                    .call_async(&mut store, args)
                    .map_err(|e| e.to_string())?;
                let result = loop {
                    if let Poll::Ready(result) = Pin::new(&mut call).poll(&mut idle()) {
                        break result;
                    }
                    if let Drive::PollNormalized(n) = self.drive {
                        call.normalize(|_| random.one_in(n))
                            .map_err(|e| e.to_string())?;
                    }
                    while let Some(token) = kept_one(kept) {
                        count(&self.seen.tokens);
                        token.resume();
                    }
                };
                drop(call);
                Ok((store, result))
            }
            Drive::PollOnThreads => {
                let call = func
                    .call_async(&mut store, args)
                    .map_err(|e| e.to_string())?;
                let result = poll_on_two_threads(call, &self.seen);
                Ok((store, result))
            }
            Drive::Owned => Ok(finish(func.start(store, args).map_err(refused)?)),
            Drive::OwnedOnThreads => {
                let call = func.start(store, args).map_err(refused)?;
                Ok(resume_on_two_threads(call, kept, &self.seen))
            }
            Drive::OwnedNormalized(_) | Drive::DropAndOwn => {
                let mut call = func.start(store, args).map_err(refused)?;
                loop {
                    if let Drive::OwnedNormalized(n) = self.drive
                        && let Some(normalized) = call.normalize(|_| random.one_in(n))
                    {
                        normalized.map_err(|e| e.to_string())?;
                    }
                    while let Some(token) = kept_one(kept) {
                        count(&self.seen.tokens);
                        token.resume();
                    }
                    if let Poll::Ready(ended) = Pin::new(&mut call).poll(&mut idle()) {
                        return Ok(ended);
                    }
                }
            }
            Drive::Scheduled => Ok(midair::executor::block_on(
                func.start(store, args).map_err(refused)?,
            )),
        }
    }

    /// Drops calls while they wait; the instance must work afterwards, and nothing of the host may be left.
    fn drop_calls(
        &self,
        engine: &Engine,
        module: &Module,
        program: &Program,
        export: &str,
        args: &[Val],
    ) -> Result<(), String> {
        let stateless = ["memory", "global", "log"]
            .iter()
            .all(|word| !program.text.contains(word));
        for k in 1..=3 {
            let kept = Kept::default();
            let seen = Arc::new(Seen::default());
            let fresh = |tokens: Tokens| -> Result<(Store<Host>, Instance), String> {
                let mut store = Store::new(
                    engine,
                    Host {
                        log: Vec::new(),
                        awaits: 0,
                        tokens: Tokens::Resume,
                    },
                );
                let linker =
                    linker(engine, &mut store, self.hosts, &seen).map_err(|e| e.to_string())?;
                let instance = finish(linker.instantiate_async(&mut store, module))
                    .map_err(|e| e.to_string())?;
                store.data_mut().tokens = tokens;
                Ok((store, instance))
            };
            let balanced = || {
                let (made, dropped) = (of(&seen.made), of(&seen.dropped));
                if made == dropped {
                    Ok(())
                } else {
                    Err(format!("await {k}: {made} made, {dropped} dropped"))
                }
            };
            let (mut store, instance) = fresh(Tokens::Keep(Arc::clone(&kept)))?;
            let func = instance.get_func(&store, export).ok_or("it is exported")?;
            if self.drive == Drive::DropAndOwn {
                let mut call = func.start(store, args).map_err(|(_, e)| e.to_string())?;
                let mut ended = false;
                for _ in 1..k {
                    while let Some(token) = kept_one(&kept) {
                        token.resume();
                    }
                    ended = Pin::new(&mut call).poll(&mut idle()).is_ready();
                    if ended {
                        break;
                    }
                }
                if ended || call.is_finished() {
                    continue;
                }
                count(&self.seen.dropped_calls);
                // the token first, last, or meanwhile on another thread
                match (k, kept_one(&kept)) {
                    (1, Some(token)) => {
                        drop(call);
                        balanced()?;
                        token.resume();
                    }
                    (2, Some(token)) => {
                        drop(call);
                        std::thread::scope(|scope| {
                            scope.spawn(move || token.resume());
                        });
                    }
                    (_, token) => {
                        drop(call);
                        drop(token);
                    }
                }
                balanced()?;
                continue;
            }
            let mut call = func
                .call_async(&mut store, args)
                .map_err(|e| e.to_string())?;
            let mut ended = None;
            for _ in 0..k {
                if let Poll::Ready(result) = Pin::new(&mut call).poll(&mut idle()) {
                    ended = Some(result);
                    break;
                }
            }
            drop(call);
            if ended.is_some() {
                return Ok(());
            }
            count(&self.seen.dropped_calls);
            balanced()?;
            drop(kept_one(&kept));
            store.data_mut().tokens = Tokens::Resume;
            let again = finish(
                func.call_async(&mut store, args)
                    .map_err(|e| e.to_string())?,
            );
            balanced()?;
            if stateless {
                let (mut store, instance) = fresh(Tokens::Resume)?;
                let func = instance.get_func(&store, export).ok_or("it is exported")?;
                let expected = finish(
                    func.call_async(&mut store, args)
                        .map_err(|e| e.to_string())?,
                );
                let (again, expected) = (answer(again)?, answer(expected)?);
                if !again.agrees_with(&expected) {
                    return Err(format!(
                        "dropped at await {k}, then {again:?} against {expected:?}"
                    ));
                }
            } else {
                answer(again)?;
            }
        }
        Ok(())
    }
}

fn answer(result: Result<Vec<Val>, Error>) -> Result<Answer, String> {
    match result {
        Ok(values) => Ok(Answer::Values(
            values.into_iter().map(from_midair).collect(),
        )),
        Err(error) => trap(&error),
    }
}

fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Polls until it is ready: in these ways, everything that is waited for comes by polling.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..100_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut idle()) {
            return output;
        }
    }
    panic!("a call that hangs");
}

fn poll_on_two_threads<F: Future + Send>(future: F, seen: &Seen) -> F::Output
where
    F::Output: Send,
{
    std::thread::scope(|scope| {
        let (there, from_here) = mpsc::channel::<Pin<Box<F>>>();
        let (back, from_there) = mpsc::channel();
        scope.spawn(move || {
            for mut future in from_here {
                count(&seen.polls_elsewhere);
                let polled = future.as_mut().poll(&mut idle());
                back.send((future, polled)).expect("it waits for it");
            }
        });
        let mut future = Box::pin(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut idle()) {
                return output;
            }
            there.send(future).expect("it waits for it");
            let polled;
            (future, polled) = from_there.recv().expect("it answers");
            if let Poll::Ready(output) = polled {
                return output;
            }
        }
    })
}

fn resume_on_two_threads(
    mut call: DynamicCall<Host>,
    kept: &Kept,
    seen: &Seen,
) -> (Store<Host>, Result<Vec<Val>, Error>) {
    std::thread::scope(|scope| {
        let (there, from_here) = mpsc::channel::<Resumption>();
        let (back, from_there) = mpsc::channel();
        scope.spawn(move || {
            for token in from_here {
                count(&seen.tokens_elsewhere);
                token.resume();
                back.send(()).expect("it waits for it");
            }
        });
        let mut elsewhere = true;
        loop {
            while let Some(token) = kept_one(kept) {
                if elsewhere {
                    there.send(token).expect("it waits for it");
                    from_there.recv().expect("it answers");
                } else {
                    count(&seen.tokens);
                    token.resume();
                }
                elsewhere = !elsewhere;
            }
            if let Poll::Ready(ended) = Pin::new(&mut call).poll(&mut idle()) {
                return ended;
            }
        }
    })
}

fn take(
    store: &Store<Host>,
    instance: Instance,
    program: &Program,
    action: &Action,
) -> Result<Answer, String> {
    let memory = || {
        instance
            .get_memory(store, &program.memory_export)
            .ok_or_else(|| "no memory is exported".to_owned())
    };
    match action {
        Action::Invoke { .. } => Err("not something to look at".to_owned()),
        Action::Memory { address, length } => {
            let memory = memory()?;
            let data = memory.data(store);
            let end = length.map_or(data.len(), |length| address.saturating_add(length));
            data.get(*address..end)
                .map(|bytes| Answer::Bytes(bytes.to_vec()))
                .ok_or_else(|| format!("{address}..{end} lies outside the memory"))
        }
        Action::Pages => Ok(Answer::Pages(u64::from(memory()?.size(store)))),
        Action::Global { export } => {
            let global = instance
                .get_global(store, export)
                .ok_or_else(|| format!("no global {export:?} is exported"))?;
            Ok(Answer::Values(vec![from_midair(global.get(store))]))
        }
    }
}

fn trap(error: &Error) -> Result<Answer, String> {
    let text = if let Some(failed) = error.downcast_ref::<HostFailed>() {
        failed.to_string()
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        let text = trap.to_string();
        text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
    } else {
        return Err(format!("{error:?}"));
    };
    Ok(Answer::Trap(text))
}

fn to_midair(value: Value) -> Val {
    match value {
        Value::I32(x) => Val::I32(x),
        Value::I64(x) => Val::I64(x),
        Value::F32(x) => Val::F32(x),
        Value::F64(x) => Val::F64(x),
    }
}

fn from_midair(value: Val) -> Value {
    match value {
        Val::I32(x) => Value::I32(x),
        Val::I64(x) => Value::I64(x),
        Val::F32(x) => Value::F32(x),
        Val::F64(x) => Value::F64(x),
        Val::FuncRef(_) | Val::ExternRef(_) => panic!("programs of the corpus return numbers"),
    }
}

// --- The host -----------------------------------------------------------------------------------------------------------

/// The error of `host.fail` and its kin.
#[derive(Clone, Copy, Debug)]
struct HostFailed(i32);

impl fmt::Display for HostFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host error {}", self.0)
    }
}

impl std::error::Error for HostFailed {}

/// Something of the host that must be dropped once.
struct Live(Arc<Seen>);

impl Live {
    fn new(seen: &Arc<Seen>) -> Self {
        count(&seen.made);
        Self(Arc::clone(seen))
    }
}

impl Clone for Live {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        count(&self.0.dropped);
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

/// An awaiter that is never completed at first.
struct Wait<R, O> {
    result: R,
    finish: fn(R) -> O,
    tokens: Tokens,
    _live: Live,
}

impl<R: Clone, O> Clone for Wait<R, O> {
    fn clone(&self) -> Self {
        Self {
            result: self.result.clone(),
            finish: self.finish,
            tokens: self.tokens.clone(),
            _live: self._live.clone(),
        }
    }
}

impl<R: Clone + Send + 'static, O: HostResult + 'static> Awaiter for Wait<R, O> {
    type Output = O;

    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(self, resumption: Resumption) {
        match &self.tokens {
            Tokens::Resume => resumption.resume(),
            Tokens::Schedule => resumption.schedule(),
            Tokens::Keep(kept) => kept.lock().expect("nobody panics with it").push(resumption),
        }
    }

    fn get_result(self) -> O {
        (self.finish)(self.result)
    }
}

type Mix8 = (f64, f32, i64, i32, f64, f32, i64, i32);

/// Defines one host function that waits: as a future, or as an awaiter.
struct Definer<'l> {
    linker: &'l mut Linker<Host>,
    hosts: Hosts,
    seen: Arc<Seen>,
}

impl Definer<'_> {
    fn define<P, R, O>(
        &mut self,
        name: &str,
        work: fn(Caller<'_, Host>, P) -> R,
        finish: fn(R) -> O,
    ) -> Result<(), Error>
    where
        P: midair::WasmParams,
        R: Clone + Send + 'static,
        O: HostResult + Send + 'static,
    {
        let seen = Arc::clone(&self.seen);
        match self.hosts {
            Hosts::Futures(pending) => {
                self.linker.func_wrap_async(
                    "host",
                    name,
                    move |caller: AsyncCaller<Host>, params: P| {
                        let live = Live::new(&seen);
                        async move {
                            caller.with(|mut caller| caller.data_mut().awaits += 1)?;
                            let result = caller.with(|caller| work(caller, params))?;
                            Pause(pending).await;
                            drop(live);
                            finish(result).into_result()
                        }
                    },
                )?;
            }
            Hosts::Awaiters => {
                self.linker.func_awaiter(
                    "host",
                    name,
                    move |mut caller: Caller<'_, Host>, params: P| {
                        caller.data_mut().awaits += 1;
                        let tokens = caller.data().tokens.clone();
                        Wait {
                            result: work(caller, params),
                            finish,
                            tokens,
                            _live: Live::new(&seen),
                        }
                    },
                )?;
            }
        }
        Ok(())
    }
}

fn linker(
    engine: &Engine,
    store: &mut Store<Host>,
    hosts: Hosts,
    seen: &Arc<Seen>,
) -> Result<Linker<Host>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "add1", |x: i32| x.wrapping_add(1))?;
    linker.func_wrap("host", "log", |mut caller: Caller<'_, Host>, x: i32| {
        caller.data_mut().log.push(x);
    })?;
    linker.func_wrap("host", "fail", |x: i32| -> Result<(), HostFailed> {
        Err(HostFailed(x))
    })?;
    linker.func_wrap("host", "ref", |mut caller: Caller<'_, Host>, x: i32| {
        let made = ExternRef::new(&mut caller, x);
        caller.gc();
        Some(made)
    })?;
    linker.func_wrap(
        "host",
        "unref",
        |mut caller: Caller<'_, Host>, reference: Option<ExternRef>| -> Result<i32, Error> {
            caller.gc();
            let Some(reference) = reference else {
                return Ok(-1);
            };
            let number = reference.data(&caller)?.downcast_ref::<i32>().copied();
            number.ok_or_else(|| Error::msg("no number"))
        },
    )?;
    linker.func_wrap_async("host", "ready", |_, x: i32| async move { x })?;
    linker.func_wrap_async("host", "reenter", reenter)?;
    linker.func_wrap(
        "host",
        "reenter_sync",
        |mut caller: Caller<'_, Host>, x: i32| -> Result<i32, Error> {
            let callback = caller.get_export("callback").and_then(Extern::into_func);
            let callback =
                callback.ok_or_else(|| Error::msg("the caller exports no `callback`"))?;
            let callback = callback.typed::<i32, i32>(&caller)?;
            Ok(callback.call(&mut caller, x)?.wrapping_add(1))
        },
    )?;

    let mut definer = Definer {
        linker: &mut linker,
        hosts,
        seen: Arc::clone(seen),
    };
    definer.define("await_i32", |_, x: i32| x, |x| x)?;
    definer.define("await_i64", |_, x: i64| x, |x| x)?;
    definer.define("await_f32", |_, x: f32| x, |x| x)?;
    definer.define("await_f64", |_, x: f64| x, |x| x)?;
    definer.define("yield", |_, ()| (), |()| ())?;
    definer.define("await_two", |_, (a, b): (i32, i64)| (b, a), |x| x)?;
    definer.define(
        "await_mix8",
        |_, (a, b, c, d, e, f, g, h): (i32, i64, f32, f64, i32, i64, f32, f64)| -> Mix8 {
            (h, g, f, e, d, c, b, a)
        },
        |x| x,
    )?;
    definer.define(
        "await_ref",
        |mut caller, x: Option<ExternRef>| {
            caller.gc();
            x
        },
        |x| x,
    )?;
    definer.define(
        "await_func",
        |mut caller, x: Option<Func>| {
            caller.gc();
            x
        },
        |x| x,
    )?;
    definer.define(
        "await_fail",
        |_, x: i32| x,
        |x| -> Result<(), Error> { Err(HostFailed(x).into()) },
    )?;
    definer.define(
        "grow",
        |mut caller, pages: i32| -> Option<i32> {
            let memory = caller.get_export("memory").and_then(Extern::into_memory)?;
            let old = memory.grow(&mut caller, pages.cast_unsigned());
            Some(
                old.ok()
                    .and_then(|old| i32::try_from(old).ok())
                    .unwrap_or(-1),
            )
        },
        |old| old.ok_or_else(|| Error::msg("the caller exports no `memory`")),
    )?;
    definer.define(
        "poke",
        |mut caller, (address, value): (i32, i32)| -> Result<(), i32> {
            let memory = caller
                .get_export("memory")
                .and_then(Extern::into_memory)
                .ok_or(address)?;
            let at = usize::try_from(address.cast_unsigned()).map_err(|_| address)?;
            memory
                .write(&mut caller, at, &value.to_le_bytes())
                .map_err(|_| address)
        },
        |done| done.map_err(|address| Error::new(HostFailed(address))),
    )?;

    let memory = Memory::new(&mut *store, 1, Some(4))?;
    memory.write(&mut *store, 0, &[1, 2, 3, 4])?;
    linker.define("host", "memory", Extern::Memory(memory))?;
    for (name, value, mutable) in [
        ("counter", Val::I32(7), true),
        ("base", Val::I32(16), false),
        ("limit", Val::I64(1 << 40), false),
        ("ratio", Val::from(0.5f64), false),
        ("bias", Val::from(-1.0f32), true),
    ] {
        let global = Global::new(&mut *store, value, mutable);
        linker.define("host", name, Extern::Global(global))?;
    }
    Ok(linker)
}

async fn reenter(caller: AsyncCaller<Host>, x: i32) -> Result<i32, Error> {
    let callback = caller.get_export("callback")?.and_then(Extern::into_func);
    let callback = callback.ok_or_else(|| Error::msg("the caller exports no `callback`"))?;
    let callback = caller.with(|caller| callback.typed::<i32, i32>(&caller))??;
    Ok(caller.call_async(&callback, x).await?.wrapping_add(1))
}
