//! What modules and stores share: configuration, stubs, the epoch.

use crate::{
    config::{Config, Tiers},
    error::Result,
    module::Module,
};
use midair_jit::{
    arch::x86_64::stubs,
    code::{cache::CodeCache, pc_table::PcTable},
    error::CompileError,
    runtime::{
        context::VmContext,
        functions::{CompiledModule, Job, Shared},
    },
    wasm::types::{FuncType, ValType},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    fmt,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What modules and stores share. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    stub_code: CodeCache,
    /// Read whenever a function is asked for by its type, written once per type.
    stubs: RwLock<HashMap<FuncType, Stubs>>,
    /// Modules that give a host function to a store, by the function's type.
    host_modules: Mutex<HashMap<FuncType, HostModule>>,
    /// Every type of a function that a module of this engine has, with its id.
    type_ids: RwLock<HashMap<FuncType, u32>>,
    epoch: AtomicU64,
    /// Stores that have an epoch deadline, by their id.
    deadlines: Mutex<HashMap<u64, Deadline>>,
}

/// Addresses of the stubs of one function type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stubs {
    pub(crate) entry: usize,
    pub(crate) host: usize,
}

/// A module without its engine, which would own it and be owned by it.
struct HostModule {
    code: Arc<CompiledModule>,
    transfer_words: u32,
}

struct Deadline {
    epoch: u64,
    contexts: Vec<NonNull<VmContext>>,
}

// SAFETY: only the atomic checkpoint words behind these pointers are used, under the lock of the map, and a store takes its
// contexts off the map before it frees them.
unsafe impl Send for Deadline {}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(&Config::new())
    }
}

impl Engine {
    /// An engine so configured.
    pub fn new(config: &Config) -> Self {
        let mut options = config.compile.clone();
        let mut policy = config.policy.clone();
        policy.tier1_first = config.tiers == Tiers::Tier1;
        if config.tiers != Tiers::Tiered {
            options.patchpoints = false;
            options.count_calls = false;
        }
        options.count_resumes =
            config.tiers == Tiers::Tiered && config.tier_up_on_resumption.is_some();
        policy.resume_threshold = config
            .tier_up_on_resumption
            .unwrap_or(1)
            .clamp(1, i32::MAX.cast_unsigned());
        let compile: Box<dyn Fn(Job) + Send + Sync> = match config.compile_with.clone() {
            Some(run) => Box::new(move |job| run(job)),
            None => Box::new(Job::run),
        };
        let shared = Arc::new(Shared {
            options,
            policy,
            pc_table: Arc::new(PcTable::default()),
            observer: config.observer(),
            compile,
        });
        Self {
            inner: Arc::new(EngineInner {
                config: config.clone(),
                shared,
                stub_code: CodeCache::new(),
                stubs: RwLock::default(),
                host_modules: Mutex::default(),
                type_ids: RwLock::default(),
                epoch: AtomicU64::new(0),
                deadlines: Mutex::default(),
            }),
        }
    }

    /// Advances the epoch. Guests of stores whose deadline is reached trap at their next loop header or function entry.
    ///
    /// Any thread may call it, but not a signal handler: it takes a lock.
    pub fn increment_epoch(&self) {
        let epoch = self.inner.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        for deadline in self.inner.deadlines.lock().values() {
            if deadline.epoch <= epoch {
                deadline.set_checkpoints();
            }
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Relaxed)
    }

    /// Sets a store's deadline that many epochs from now.
    pub(crate) fn set_deadline(
        &self,
        store: u64,
        delta: u64,
        contexts: impl Iterator<Item = NonNull<VmContext>>,
    ) {
        let mut deadlines = self.inner.deadlines.lock();
        let deadline = Deadline {
            epoch: self.epoch().saturating_add(delta),
            contexts: contexts.collect(),
        };
        if deadline.epoch <= self.epoch() {
            deadline.set_checkpoints();
        }
        deadlines.insert(store, deadline);
    }

    /// A store with a deadline has a new instance.
    pub(crate) fn add_context(&self, store: u64, context: NonNull<VmContext>) {
        let mut deadlines = self.inner.deadlines.lock();
        if let Some(deadline) = deadlines.get_mut(&store) {
            deadline.contexts.push(context);
            if deadline.epoch <= self.epoch() {
                deadline.set_checkpoints();
            }
        }
    }

    pub(crate) fn deadline_reached(&self, store: u64) -> bool {
        self.inner
            .deadlines
            .lock()
            .get(&store)
            .is_some_and(|deadline| deadline.epoch <= self.epoch())
    }

    pub(crate) fn remove_deadline(&self, store: u64) {
        self.inner.deadlines.lock().remove(&store);
    }

    /// The id of a function type, equal for equal types of all modules.
    pub(crate) fn type_id(&self, ty: &FuncType) -> u32 {
        if let Some(&known) = self.inner.type_ids.read().get(ty) {
            return known;
        }
        let mut ids = self.inner.type_ids.write();
        let next = u32::try_from(ids.len()).expect("fewer types than bytes");
        *ids.entry(ty.clone()).or_insert(next)
    }

    /// The stubs of a function type, made when first asked for.
    pub(crate) fn stubs(&self, ty: &FuncType) -> Result<Stubs, CompileError> {
        if let Some(&known) = self.inner.stubs.read().get(ty) {
            return Ok(known);
        }
        let mut stubs = self.inner.stubs.write();
        // perhaps another thread has made them meanwhile
        if let Some(&known) = stubs.get(ty) {
            return Ok(known);
        }
        let publish = |mut bytes: Vec<u8>| self.inner.stub_code.publish(&mut bytes, |_, _| ());
        let made = Stubs {
            entry: publish(stubs::entry_stub(ty))?.0,
            host: publish(stubs::host_stub(ty))?.0,
        };
        stubs.insert(ty.clone(), made);
        Ok(made)
    }

    /// The module that imports one function of that type and exports it.
    pub(crate) fn host_module(&self, ty: &FuncType) -> Result<Module> {
        let mut modules = self.inner.host_modules.lock();
        if let Some(known) = modules.get(ty) {
            let HostModule {
                code,
                transfer_words,
            } = known;
            return Ok(Module::from_code(self, Arc::clone(code), *transfer_words));
        }
        let list = |keyword: &str, types: &[ValType]| -> String {
            let types = types.iter().map(|ty| format!(" ({keyword} {ty})"));
            types.collect()
        };
        let text = format!(
            r#"(module (import "" "" (func{}{})) (export "host function" (func 0)))"#,
            list("param", &ty.params),
            list("result", &ty.results),
        );
        let module = Module::new(self, text)?;
        let known = HostModule {
            code: Arc::clone(&module.inner.code),
            transfer_words: module.inner.transfer_words,
        };
        modules.insert(ty.clone(), known);
        Ok(module)
    }

    /// Whether both are the same engine.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.inner, &b.inner)
    }
}

impl Deadline {
    fn set_checkpoints(&self) {
        for context in &self.contexts {
            // SAFETY: on the map, so alive; only the atomic is used.
            let checkpoint = unsafe { &(*context.as_ptr()).checkpoint };
            checkpoint.store(1, Ordering::Relaxed);
        }
    }
}
