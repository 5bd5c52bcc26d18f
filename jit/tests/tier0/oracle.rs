//! wasmi, behind the same questions as the machine.

use crate::machine::{Outcome, import_results};
use midair_jit::{
    ir::value::TrapCode,
    wasm::types::{FuncType, ValType},
};
use wasmi::{Engine, Instance, Linker, Module, Store, Val};

pub(crate) struct Oracle {
    store: Store<()>,
    instance: Instance,
}

impl Oracle {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = wat::parse_str(text).expect("the text is well-formed");
        Self::from_bytes(&bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, bytes).expect("the module is valid");
        let mut linker = <Linker<()>>::new(&engine);
        for import in module.imports() {
            let ty = import.ty().func().expect("functions only").clone();
            let ours = FuncType {
                params: ty.params().iter().map(our_type).collect(),
                results: ty.results().iter().map(our_type).collect(),
            };
            linker
                .func_new(
                    import.module(),
                    import.name(),
                    ty,
                    move |_, args, results| {
                        let args: Vec<u64> = args.iter().map(bits).collect();
                        let answers = import_results(&ours, &args);
                        for ((result, &ty), bits) in
                            results.iter_mut().zip(&ours.results).zip(answers)
                        {
                            *result = value(ty, bits);
                        }
                        Ok(())
                    },
                )
                .expect("each import once");
        }
        let mut store = Store::new(&engine, ());
        let instance = linker
            .instantiate_and_start(&mut store, &module)
            .expect("it can be instantiated");
        Self { store, instance }
    }

    /// Bits of an exported global.
    pub(crate) fn global(&self, name: &str) -> u64 {
        let global = self.instance.get_global(&self.store, name);
        bits(&global.expect("it is exported").get(&self.store))
    }

    /// The exported memory.
    pub(crate) fn memory(&self, name: &str) -> &[u8] {
        let memory = self.instance.get_memory(&self.store, name);
        memory.expect("it is exported").data(&self.store)
    }

    /// Calls an export. A trap has no offset here.
    pub(crate) fn call(&mut self, name: &str, args: &[u64]) -> Outcome {
        let func = self
            .instance
            .get_func(&self.store, name)
            .unwrap_or_else(|| panic!("no export {name}"));
        let ty = func.ty(&self.store);
        let args: Vec<Val> = ty
            .params()
            .iter()
            .zip(args)
            .map(|(ty, &bits)| value(our_type(ty), bits))
            .collect();
        let mut results: Vec<Val> = ty
            .results()
            .iter()
            .map(|&ty| Val::default_for_ty(ty))
            .collect();
        match func.call(&mut self.store, &args, &mut results) {
            Ok(()) => Outcome::Returned(results.iter().map(bits).collect()),
            Err(error) => {
                use wasmi::TrapCode as Theirs;
                let code = match error.as_trap_code() {
                    Some(Theirs::UnreachableCodeReached) => TrapCode::Unreachable,
                    Some(Theirs::MemoryOutOfBounds) => TrapCode::MemoryOutOfBounds,
                    Some(Theirs::IntegerDivisionByZero) => TrapCode::IntegerDivisionByZero,
                    Some(Theirs::IntegerOverflow) => TrapCode::IntegerOverflow,
                    Some(Theirs::BadConversionToInteger) => TrapCode::BadConversionToInteger,
                    Some(Theirs::StackOverflow) => TrapCode::StackOverflow,
                    _ => panic!("{error}"),
                };
                Outcome::Trapped(code as u32, 0)
            }
        }
    }
}

fn our_type(ty: &wasmi::ValType) -> ValType {
    match ty {
        wasmi::ValType::I32 => ValType::I32,
        wasmi::ValType::I64 => ValType::I64,
        wasmi::ValType::F32 => ValType::F32,
        wasmi::ValType::F64 => ValType::F64,
        other => panic!("{other:?}"),
    }
}

fn bits(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(value) => u64::from(value.to_bits()),
        Val::F64(value) => value.to_bits(),
        other => panic!("{other:?}"),
    }
}

fn value(ty: ValType, bits: u64) -> Val {
    let low = || u32::try_from(bits & 0xffff_ffff).expect("masked");
    match ty {
        ValType::I32 => Val::I32(low().cast_signed()),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(wasmi::F32::from_bits(low())),
        ValType::F64 => Val::F64(wasmi::F64::from_bits(bits)),
        ValType::FuncRef | ValType::ExternRef => panic!("{ty} is not a number"),
    }
}
