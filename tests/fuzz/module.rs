//! One seed, one module with its calls: everything that Midair supports may be in it.

use super::{Kind, Value};
use wasmi::{ExternType, ValType};

/// A module and what is done with it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) wasm: Vec<u8>,
    /// Whether the generator lets instructions trap; otherwise `unreachable` and imports only.
    pub(super) may_trap: bool,
    /// Exported functions, with what they get.
    pub(super) calls: Vec<(String, Vec<Value>)>,
}

impl Case {
    pub(super) fn new(seed: u64) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let may_trap = random.one_in(3);
        let tables = random.one_in(8);
        let config = wasm_smith::Config {
            allow_start_export: random.one_in(4),
            bulk_memory_enabled: true,
            canonicalize_nans: true,
            compact_imports_enabled: false,
            disallow_traps: !may_trap,
            exceptions_enabled: false,
            export_everything: true,
            extended_const_enabled: true,
            gc_enabled: false,
            max_data_segments: 4,
            max_element_segments: 6,
            max_elements: 8,
            max_funcs: 8,
            max_globals: 8,
            max_imports: if random.one_in(3) { 0 } else { 8 },
            max_instructions: 300,
            max_memories: 1,
            max_memory32_bytes: 4 << 16,
            max_table_elements: 24,
            max_tables: if tables { 0 } else { 4 },
            max_tags: 0,
            max_types: 12,
            memory64_enabled: false,
            memory_max_size_required: true,
            min_element_segments: if tables { 0 } else { 2 },
            min_funcs: 2,
            min_globals: 2,
            min_memories: u32::from(!random.one_in(6)),
            min_tables: if tables { 0 } else { 2 },
            min_types: 4,
            reference_types_enabled: true,
            relaxed_simd_enabled: false,
            simd_enabled: false,
            table_max_size_required: true,
            tail_call_enabled: true,
            threads_enabled: false,
            wide_arithmetic_enabled: false,
            ..wasm_smith::Config::default()
        };
        let fuel = if random.one_in(4) { 2000 } else { 300 };
        // some bytes are no module
        let mut module = loop {
            let bytes: Vec<u8> = (0..1024)
                .flat_map(|_| random.next().to_le_bytes())
                .collect();
            let mut bytes = arbitrary::Unstructured::new(&bytes);
            match wasm_smith::Module::new(config.clone(), &mut bytes) {
                Ok(module) => break module,
                Err(arbitrary::Error::IncorrectFormat) => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        module.ensure_termination(fuel).map_err(|e| e.to_string())?;
        let wasm = module.to_bytes();
        let known =
            wasmi::Module::new(&super::oracle::engine(), &wasm).map_err(|e| e.to_string())?;
        let mut calls = Vec::new();
        for export in known.exports() {
            if let ExternType::Func(ty) = export.ty() {
                for _ in 0..2 {
                    let params = ty.params().iter();
                    let values = params.map(|ty| random.value(kind(*ty))).collect();
                    calls.push((export.name().to_owned(), values));
                }
            }
        }
        // all calls share the fuel, so that only the first few get far
        for last in (1..calls.len()).rev() {
            let bound = u64::try_from(last + 1).expect("a length");
            calls.swap(
                last,
                usize::try_from(random.below(bound)).expect("below a length"),
            );
        }
        calls.truncate(6);
        Ok(Self {
            seed,
            wasm,
            may_trap,
            calls,
        })
    }
}

pub(super) fn kind(ty: ValType) -> Kind {
    match ty {
        ValType::I32 => Kind::I32,
        ValType::I64 => Kind::I64,
        ValType::F32 => Kind::F32,
        ValType::F64 => Kind::F64,
        ValType::FuncRef => Kind::Func,
        ValType::ExternRef => Kind::Extern,
        ValType::V128 => panic!("vectors are not enabled"),
    }
}

/// The generator known as `SplitMix64`: small, seeded, the same everywhere.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A number below `n`, which is not zero.
    pub(super) fn small(&mut self, n: u32) -> u32 {
        u32::try_from(self.below(n.into())).expect("below 32 bits")
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => 1i64.wrapping_shl(self.small(64)).wrapping_sub(1),
            1 => self.next().cast_signed(),
            _ => self.below(41).cast_signed() - 20,
        }
    }

    fn float(&mut self) -> f64 {
        let all = [
            0.0,
            -0.0,
            1.5,
            -1.0,
            3e9,
            -1e20,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from_bits(0x7ff8_0000_0000_0000),
        ];
        all[usize::try_from(self.below(10)).expect("small")]
    }

    /// A value. A function is null.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "random numbers and floats of all sizes"
    )]
    pub(super) fn value(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::I32 => Value::I32(self.integer() as i32),
            Kind::I64 => Value::I64(self.integer()),
            Kind::F32 => {
                let float = self.float() as f32;
                let quiet = if float.is_nan() {
                    f32::from_bits(0x7fc0_0000)
                } else {
                    float
                };
                Value::F32(quiet.to_bits())
            }
            Kind::F64 => Value::F64(self.float().to_bits()),
            Kind::Func => Value::Func(None),
            Kind::Extern => Value::Extern(if self.one_in(3) {
                None
            } else {
                Some(self.below(5) as i32)
            }),
        }
    }
}
