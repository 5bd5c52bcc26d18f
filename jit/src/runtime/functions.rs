//! The functions of a module and the code versions each has; compilations as values.

use super::context::{FuncEntry, VmLayout};
use crate::{
    arch::x86_64::stubs,
    code::{
        cache::{CodeAddr, CodeCache},
        draft::CodeKind,
        pc_table::PcTable,
        published::PublishedCode,
    },
    error::{CompileError, NotOptimized},
    ir::value::Entry,
    observe::{
        dump::{self, Dump},
        events::{Event, Observer},
        listing::Listing,
        perf_map,
    },
    options::CompileOptions,
    patchpoint::policy::Policy,
    suspension::point::CanonicalLayout,
    tier0, tier1,
    wasm::{
        liveness::Liveness,
        module::Module,
        types::{FuncIndex, ValType, WasmOffset},
    },
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

/// What all modules of an engine share.
pub struct Shared {
    /// What the compilers need to know.
    pub options: CompileOptions,
    /// When code is replaced.
    pub policy: Policy,
    /// Code by address.
    pub pc_table: Arc<PcTable>,
    /// Who is told of events.
    pub observer: Observer,
    /// Where compilations that were triggered go. It may run them at once.
    pub compile: Box<dyn Fn(Job) + Send + Sync>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What was compiled, and what was not.
#[derive(Debug, Default)]
pub struct Counters {
    /// Functions compiled by tier-0.
    pub tier0: AtomicU64,
    /// OSR bodies made.
    pub osr: AtomicU64,
    /// Functions compiled by tier-1.
    pub tier1: AtomicU64,
    not_optimized: Mutex<HashMap<NotOptimized, u64>>,
}

impl Counters {
    /// How often each reason kept a function or loop from being optimized.
    pub fn not_optimized(&self) -> HashMap<NotOptimized, u64> {
        self.not_optimized.lock().clone()
    }
}

/// Loops of one function whose OSR code may turn out too large before the others are not tried any more.
const MAX_TOO_LARGE: u32 = 8;

/// The code versions of one function.
#[derive(Debug, Default)]
struct Versions {
    tier0: OnceLock<Arc<PublishedCode>>,
    osr: RwLock<HashMap<WasmOffset, Arc<PublishedCode>>>,
    tier1: OnceLock<Result<Arc<PublishedCode>, NotOptimized>>,
    liveness: OnceLock<Arc<Liveness>>,
    /// Loops whose OSR code turned out too large.
    too_large: AtomicU32,
    /// Held while this function is compiled, so that it is compiled once.
    compiling: Mutex<()>,
}

/// A module with its code: lives as long as anything that may run it or is parked in it.
#[derive(Debug)]
pub struct CompiledModule {
    /// The module.
    pub module: Module,
    /// Where its globals and imports lie in a context.
    pub layout: VmLayout,
    /// What all modules of the engine share.
    pub shared: Arc<Shared>,
    /// What was compiled.
    pub counters: Counters,
    entries: Box<[FuncEntry]>,
    versions: Box<[Versions]>,
    cache: CodeCache,
}

/// A compilation: run it here, or on another thread while guest code goes on.
#[derive(Debug)]
pub struct Job {
    module: Arc<CompiledModule>,
    func: FuncIndex,
    kind: JobKind,
}

#[derive(Clone, Copy, Debug)]
enum JobKind {
    Osr(WasmOffset),
    Tier1,
}

impl Job {
    /// Compiles and publishes; whoever waits for the code finds it by its counters.
    pub fn run(self) {
        match self.kind {
            JobKind::Osr(offset) => drop(self.module.osr(self.func, offset)),
            JobKind::Tier1 => drop(self.module.tier1(self.func)),
        }
    }

    /// The function it compiles, by name.
    pub fn function_name(&self) -> String {
        self.module.module.name(self.func)
    }
}

impl CompiledModule {
    /// Prepares a module: no function is compiled yet, each has a stub that will.
    ///
    /// # Errors
    /// [`CompileError::Resource`] when the system refuses memory for the stubs.
    pub fn new(
        module: Module,
        layout: VmLayout,
        shared: Arc<Shared>,
    ) -> Result<Arc<Self>, CompileError> {
        let cache = CodeCache::new();
        let first = module.imported_functions as usize;
        let count = module.functions.len();
        let mut lazy = stubs::lazy_stubs(
            &layout,
            module.imported_functions,
            u32::try_from(count).expect("counted in 32 bits"),
        );
        let base = if lazy.bytes.is_empty() {
            CodeAddr(0)
        } else {
            cache.publish(&mut lazy.bytes, |_, _| ())?
        };
        let entries = (0..count)
            .map(|func| FuncEntry {
                code: AtomicUsize::new(base.at(lazy.entries[func]).0),
                call_counter: AtomicU32::new(shared.policy.call_threshold.max(1)),
                resume_counter: AtomicU32::new(shared.policy.resume_threshold.max(1)),
            })
            .collect();
        let versions = (0..count - first).map(|_| Versions::default()).collect();
        Ok(Arc::new(Self {
            module,
            layout,
            shared,
            counters: Counters::default(),
            entries,
            versions,
            cache,
        }))
    }

    /// One entry per function, for contexts.
    pub fn entries(&self) -> &[FuncEntry] {
        &self.entries
    }

    /// Bytes of machine code made so far.
    pub fn code_bytes(&self) -> usize {
        self.cache.bytes()
    }

    fn versions(&self, func: FuncIndex) -> &Versions {
        &self.versions[func.index() - self.module.imported_functions as usize]
    }

    fn liveness(&self, func: FuncIndex) -> Result<Arc<Liveness>, CompileError> {
        let cell = &self.versions(func).liveness;
        if let Some(liveness) = cell.get() {
            return Ok(Arc::clone(liveness));
        }
        let liveness = Arc::new(Liveness::compute(&self.module, func)?);
        Ok(Arc::clone(cell.get_or_init(|| liveness)))
    }

    /// The function's tier-0 code, compiled if it is not yet.
    ///
    /// # Errors
    /// What the compiler or the code cache say.
    pub fn tier0(&self, func: FuncIndex) -> Result<Arc<PublishedCode>, CompileError> {
        let versions = self.versions(func);
        if let Some(code) = versions.tier0.get() {
            return Ok(Arc::clone(code));
        }
        let _one = versions.compiling.lock();
        if let Some(code) = versions.tier0.get() {
            return Ok(Arc::clone(code));
        }
        let liveness = self.liveness(func)?;
        let draft = tier0::compile(
            &self.module,
            func,
            &self.layout,
            &self.shared.options,
            &liveness,
        )?;
        let code = self.publish(draft, None)?;
        versions
            .tier0
            .set(Arc::clone(&code))
            .expect("only set under the lock");
        self.counters.tier0.fetch_add(1, Ordering::Relaxed);
        Ok(code)
    }

    fn publish(
        &self,
        draft: crate::code::draft::CodeDraft,
        tier0_resume_entry: Option<CodeAddr>,
    ) -> Result<Arc<PublishedCode>, CompileError> {
        let name = self.module.name(draft.func);
        let code = PublishedCode::publish(draft, name, &self.cache, tier0_resume_entry)?;
        self.shared.pc_table.insert(&code);
        if self.shared.options.perf_map {
            perf_map::add(
                code.address.0,
                code.len,
                &dump::title(code.kind, &code.name),
            );
        }
        if self.dumps(&code.name, |stages| stages.listing) {
            dump::print(&self.listing(&code).to_string());
        }
        self.shared.observer.record(|| Event::Publish {
            func: code.func,
            kind: code.kind,
            bytes: code.len,
        });
        Ok(code)
    }

    /// Whether a stage of that function is printed.
    fn dumps(&self, name: &str, stage: impl Fn(&Dump) -> bool) -> bool {
        let options = &self.shared.options;
        stage(&options.dump) && options.only.as_deref().is_none_or(|only| only == name)
    }

    /// The code as text.
    pub fn listing<'a>(&'a self, code: &'a PublishedCode) -> Listing<'a> {
        let listing = Listing::published(code).layout(&self.layout);
        match (code.kind, self.versions(code.func).tier0.get()) {
            (CodeKind::Osr(_), Some(tier0)) => listing.tier0(tier0),
            _ => listing,
        }
    }

    /// What a call of `func` should reach: its tier-1 code if there is some or if the policy starts there, else tier-0's.
    /// The entry table says so afterwards.
    ///
    /// # Errors
    /// What tier-0 says.
    pub fn compile_entry(&self, func: FuncIndex) -> Result<CodeAddr, CompileError> {
        if self.shared.policy.tier1_first
            && let Ok(code) = self.tier1(func)
        {
            return Ok(code.entry);
        }
        let code = self.tier0(func)?;
        let entry = &self.entries[func.index()].code;
        let stub = entry.load(Ordering::Relaxed);
        // tier-1 code published meanwhile must not be lost
        if !self.has_tier1(func) {
            let _ =
                entry.compare_exchange(stub, code.entry.0, Ordering::Release, Ordering::Relaxed);
        }
        Ok(code.entry)
    }

    /// Whether tier-1 code of the function is published.
    pub fn has_tier1(&self, func: FuncIndex) -> bool {
        matches!(self.versions(func).tier1.get(), Some(Ok(_)))
    }

    /// The function's tier-1 code, compiled if it is not yet, and from now on what calls reach.
    ///
    /// # Errors
    /// Why it is not optimized; tier-0 goes on.
    pub fn tier1(&self, func: FuncIndex) -> Result<Arc<PublishedCode>, NotOptimized> {
        let versions = self.versions(func);
        if let Some(code) = versions.tier1.get() {
            return code.clone();
        }
        let _one = versions.compiling.lock();
        let result = versions
            .tier1
            .get_or_init(|| {
                let result = self.make_optimized(func, CodeKind::Tier1, &[], None);
                match &result {
                    Ok(_) => drop(self.counters.tier1.fetch_add(1, Ordering::Relaxed)),
                    Err(reason) => self.count_not_optimized(func, *reason),
                }
                result
            })
            .clone();
        if let Ok(code) = &result {
            self.entries[func.index()]
                .code
                .store(code.entry.0, Ordering::Release);
        }
        result
    }

    /// The OSR code that starts at a loop header, compiled if it is not yet. Its patchpoint knows it from then on.
    ///
    /// # Errors
    /// Why it is not optimized; tier-0 goes on.
    pub fn osr(
        &self,
        func: FuncIndex,
        offset: WasmOffset,
    ) -> Result<Arc<PublishedCode>, NotOptimized> {
        let versions = self.versions(func);
        if let Some(code) = versions.osr.read().get(&offset) {
            return Ok(Arc::clone(code));
        }
        let tier0 = versions
            .tier0
            .get()
            .expect("a patchpoint lies in tier-0 code");
        let patchpoint = tier0
            .patchpoints
            .iter()
            .find(|patchpoint| patchpoint.offset == offset)
            .expect("asked for by a patchpoint of this code");
        let _one = versions.compiling.lock();
        if let Some(code) = versions.osr.read().get(&offset) {
            return Ok(Arc::clone(code));
        }
        // Finding out takes time, and neighbours share their fate: a function of a thousand such loops must not take it a
        // thousand times.
        let made = if versions.too_large.load(Ordering::Relaxed) >= MAX_TOO_LARGE {
            Err(NotOptimized::TooLarge)
        } else {
            self.make_optimized(func, CodeKind::Osr(offset), &patchpoint.stack, Some(tier0))
        };
        if let Err(NotOptimized::TooLarge) = made {
            versions.too_large.fetch_add(1, Ordering::Relaxed);
        }
        match made {
            Ok(code) => {
                self.counters.osr.fetch_add(1, Ordering::Relaxed);
                versions.osr.write().insert(offset, Arc::clone(&code));
                patchpoint.publish(code.entry.0, code.frame_size);
                Ok(code)
            }
            Err(reason) => {
                patchpoint.invalidate();
                self.count_not_optimized(func, reason);
                Err(reason)
            }
        }
    }

    /// OSR code that exists, by the table the old resume path reads: under the shared lock.
    pub fn published_osr(&self, func: FuncIndex, offset: WasmOffset) -> Option<Arc<PublishedCode>> {
        self.versions(func).osr.read().get(&offset).cloned()
    }

    fn make_optimized(
        &self,
        func: FuncIndex,
        kind: CodeKind,
        stack: &[ValType],
        tier0: Option<&Arc<PublishedCode>>,
    ) -> Result<Arc<PublishedCode>, NotOptimized> {
        let options = &self.shared.options;
        if options
            .only
            .as_deref()
            .is_some_and(|only| only != self.module.name(func))
        {
            return Err(NotOptimized::Excluded);
        }
        let liveness = self
            .liveness(func)
            .map_err(|_| NotOptimized::UnreachableEntry)?;
        let entry = match kind {
            CodeKind::Osr(offset) => Entry::Osr(offset),
            CodeKind::Tier0 | CodeKind::Tier1 => Entry::Top,
        };
        let request = tier1::pipeline::Request {
            module: &self.module,
            func,
            entry,
            liveness: &liveness,
            osr_stack: stack,
            tier0_frame_size: tier0.map_or(0, |code| code.frame_size),
            layout: &self.layout,
            options,
        };
        let draft = tier1::pipeline::compile(&request)?;
        let resume_entry = tier0.and_then(|code| code.resume_entry);
        self.publish(draft, resume_entry)
            .map_err(|_| NotOptimized::CodeMemory)
    }

    fn count_not_optimized(&self, func: FuncIndex, reason: NotOptimized) {
        *self
            .counters
            .not_optimized
            .lock()
            .entry(reason)
            .or_default() += 1;
        self.shared
            .observer
            .record(|| Event::NotOptimized { func, reason });
    }

    /// The tier-0 code of `func` with the site that has this canonical layout.
    ///
    /// # Errors
    /// What tier-0 says.
    pub fn tier0_site(
        &self,
        layout: &CanonicalLayout,
    ) -> Result<(Arc<PublishedCode>, usize), CompileError> {
        let code = self.tier0(layout.func)?;
        let index = code
            .sites
            .iter()
            .position(|site| site.layout == *layout)
            .expect("every tier has the same suspension points, with the same canonical layouts");
        Ok((code, index))
    }

    /// Asks for tier-1 code; where it is made is the engine's to say.
    pub fn request_tier1(self: &Arc<Self>, func: FuncIndex) {
        if self.versions(func).tier1.get().is_none() {
            (self.shared.compile)(Job {
                module: Arc::clone(self),
                func,
                kind: JobKind::Tier1,
            });
        }
    }

    /// Asks for OSR code.
    pub fn request_osr(self: &Arc<Self>, func: FuncIndex, offset: WasmOffset) {
        (self.shared.compile)(Job {
            module: Arc::clone(self),
            func,
            kind: JobKind::Osr(offset),
        });
    }
}

impl Drop for CompiledModule {
    fn drop(&mut self) {
        for versions in &mut self.versions {
            let osr = versions.osr.get_mut();
            let tier1 = versions.tier1.get().and_then(|code| code.as_ref().ok());
            for code in versions
                .tier0
                .get()
                .into_iter()
                .chain(tier1)
                .chain(osr.values())
            {
                self.shared.pc_table.remove(code);
            }
        }
    }
}

impl CompiledModule {
    /// Whether `code` is a version of one of this module's functions.
    pub fn owns(&self, code: &PublishedCode) -> bool {
        self.cache.contains(code.address)
    }
}
