//! Functions as values: the records that references point to, one per function of an instance that can be named.

use crate::{
    engine::Engine,
    instance::{Func, InstanceInner, word_at},
    module::Module,
};
use midair_jit::{
    arch::x86_64::cross_instance::{CrossCall, cross_call},
    runtime::context::{FuncRef, ImportEntry, VmContext},
    wasm::types::FuncIndex,
};
use std::{ptr::NonNull, sync::Arc};

/// A record behind a context, with what other instances need to call it.
#[repr(C)]
pub(crate) struct FuncRecord {
    func: FuncRef,
    crossing: CrossCall,
}

/// What a function of this instance is to others.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    owner: *const VmContext,
    local: *const midair_jit::runtime::context::FuncEntry,
}

impl Origin {
    /// That of a host function.
    pub(crate) const HOST: Self = Self {
        owner: std::ptr::null(),
        local: std::ptr::null(),
    };
}

impl Func {
    /// Its record, if it can be named as a value.
    pub(crate) fn record(self) -> Option<NonNull<FuncRef>> {
        // SAFETY: callers hold the store.
        let instance = unsafe { self.instance.as_ref() };
        instance.record(self.instance, self.index)
    }

    /// Where it comes from.
    pub(crate) fn origin(self) -> Origin {
        self.record().map_or(Origin::HOST, |record| {
            // SAFETY: callers hold the store; written when the instance was made.
            let &FuncRef { owner, local, .. } = unsafe { record.as_ref() };
            Origin { owner, local }
        })
    }
}

impl InstanceInner {
    /// The record of a function, if it can be named as a value.
    pub(crate) fn record(&self, this: NonNull<Self>, func: FuncIndex) -> Option<NonNull<FuncRef>> {
        let offset = self.module.inner.code.layout.func_refs[func.index()]?;
        Some(word_at(this, offset).cast())
    }
}

/// Writes all records of a new instance, whose import entries are there.
///
/// # Safety
/// The instance is fresh, and `origins` has one entry per imported function.
pub(crate) unsafe fn write_records(
    this: NonNull<InstanceInner>,
    module: &Module,
    origins: &[Origin],
) {
    let code = &module.inner.code;
    let context: NonNull<VmContext> = this.cast();
    for (offset, index) in code.layout.func_refs.iter().zip(0..) {
        let Some(offset) = *offset else { continue };
        let record = word_at(this, offset).cast::<FuncRecord>();
        let type_id = code.layout.type_ids[code.module.functions[index as usize].index()];
        let crossing = CrossCall {
            context: context.as_ptr(),
            entry: &raw const code.entries()[index as usize],
        };
        let func = if let Some(origin) = origins.get(index as usize) {
            let entry = word_at(this, code.layout.import(index)).cast::<ImportEntry>();
            // SAFETY: within the instance, written before.
            let &ImportEntry { code, environment } = unsafe { entry.as_ref() };
            FuncRef {
                code,
                environment,
                owner: origin.owner,
                local: origin.local,
                type_id,
                index,
                home: context.as_ptr(),
            }
        } else {
            let enter: unsafe extern "C" fn() = cross_call;
            // SAFETY: within the instance.
            let environment = unsafe { &raw const (*record.as_ptr()).crossing };
            #[expect(
                clippy::fn_to_numeric_cast_any,
                reason = "machine code is called by address"
            )]
            FuncRef {
                code: enter as usize,
                environment: environment.expose_provenance(),
                owner: context.as_ptr(),
                local: crossing.entry,
                type_id,
                index,
                home: context.as_ptr(),
            }
        };
        // SAFETY: within the instance.
        unsafe { record.write(FuncRecord { func, crossing }) };
    }
}

/// Ids of a module's types, equal for equal types of the engine's modules.
pub(crate) fn type_ids(engine: &Engine, types: &[Arc<crate::FuncType>]) -> Box<[u32]> {
    types.iter().map(|ty| engine.type_id(ty)).collect()
}
