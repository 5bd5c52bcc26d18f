//! Programs nobody wrote: modules of wasm-smith, and our own, which are dense in loops and awaits. One seed, one program.
//!
//! Both kinds end: wasm-smith's count fuel and trap without it; ours leave their loops without it and recurse a few levels only.
//! Neither lets the bits of a computed NaN, which Wasm leaves open, reach memory or an integer.

use super::{Action, Expected, Program, Step, Value};
use wasmi::{ExternType, ValType};

/// How much one instance of a wasm-smith module may do: loop headers and function entries, over all its invokes.
/// Also a bound of its recursion, which must not reach the end of anybody's stack.
const SMITH_FUEL: u32 = 400;

/// How many loop headers one invoke of our own programs may pass.
const OWN_FUEL: u32 = 600;

/// How many calls of themselves our own functions may have open.
const DEEPEST: u32 = 6;

/// A module by wasm-smith, of what Midair supports, without imports: it suspends where it is forced to.
pub(crate) fn smith(seed: u64) -> Result<Program, String> {
    let mut random = Random::new(seed);
    let config = wasm_smith::Config {
        allow_start_export: random.one_in(4),
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        compact_imports_enabled: false,
        disallow_traps: !random.one_in(4),
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: true,
        gc_enabled: false,
        max_data_segments: 3,
        max_element_segments: 0,
        max_funcs: 8,
        max_globals: 8,
        max_imports: 0,
        max_instructions: 300,
        max_memories: 1,
        max_memory32_bytes: 4 << 16,
        max_tables: 0,
        max_tags: 0,
        max_types: 12,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_funcs: 2,
        min_globals: 2,
        min_memories: 1,
        min_types: 4,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..wasm_smith::Config::default()
    };
    let bytes: Vec<u8> = (0..1024)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    let mut module = wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&bytes))
        .map_err(|e| e.to_string())?;
    module
        .ensure_termination(SMITH_FUEL)
        .map_err(|e| e.to_string())?;
    observed(
        format!("smith {seed}"),
        String::new(),
        module.to_bytes(),
        &mut random,
    )
}

/// A program of our own making.
pub(crate) fn own(seed: u64) -> Result<Program, String> {
    let mut random = Random::new(seed);
    let text = write_module(&mut random);
    let name = format!("own {seed}");
    let wasm = wat::parse_str(&text).map_err(|e| format!("{name}: {e}\n{text}"))?;
    observed(name, text, wasm, &mut random)
}

/// A program out of a module: each exported function is called twice, then all that can be seen is looked at.
fn observed(
    name: String,
    text: String,
    wasm: Vec<u8>,
    random: &mut Random,
) -> Result<Program, String> {
    let engine = super::oracle::engine();
    let module = wasmi::Module::new(&engine, &wasm).map_err(|e| format!("{name}: {e}\n{text}"))?;
    let mut invokes = Vec::new();
    let mut looks = Vec::new();
    let mut memory_export = String::new();
    for export in module.exports() {
        let export_name = export.name().to_owned();
        match export.ty() {
            ExternType::Func(ty) => {
                for _ in 0..2 {
                    let args = ty.params().iter().map(|ty| argument(*ty, random));
                    invokes.push(Action::Invoke {
                        export: export_name.clone(),
                        args: args.collect(),
                    });
                }
            }
            ExternType::Global(_) => looks.push(Action::Global {
                export: export_name,
            }),
            ExternType::Memory(_) => memory_export = export_name,
            ExternType::Table(_) => return Err(format!("{name}: exports a table")),
        }
    }
    // all calls share the fuel that a module of wasm-smith has, so these make only a few
    if text.is_empty() {
        let functions = u64::try_from(invokes.len() / 2).expect("a length");
        let first = usize::try_from(random.below(functions)).expect("below a length");
        invokes.rotate_left(2 * first);
        invokes.truncate(4);
    }
    looks.push(Action::Pages);
    looks.push(Action::Memory {
        address: 0,
        length: None,
    });
    Ok(Program {
        name,
        text,
        wasm,
        memory_export,
        instantiation: Expected::Open,
        steps: invokes
            .into_iter()
            .chain(looks)
            .map(|action| Step {
                line: 0,
                action,
                expected: Expected::Open,
            })
            .collect(),
        log: None,
        osr_headers: None,
    })
}

fn argument(ty: ValType, random: &mut Random) -> Value {
    match ty {
        ValType::I64 => Value::I64(random.integer()),
        ValType::F32 => Value::F32(random.float32().to_bits()),
        ValType::F64 => Value::F64(random.float64().to_bits()),
        _ => Value::I32(random.integer32()),
    }
}

/// The generator known as `SplitMix64`: small, seeded, the same everywhere.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let n = u64::try_from(of.len()).expect("a length");
        &of[usize::try_from(self.below(n)).expect("below a length")]
    }

    fn integer(&mut self) -> i64 {
        match self.below(4) {
            0 => *self.pick(&[0, 1, -1, i64::MIN, i64::MAX, 1 << 31, 1 << 32, -(1 << 31)]),
            1 => self.next().cast_signed(),
            _ => (self.below(41)).cast_signed() - 20,
        }
    }

    fn integer32(&mut self) -> i32 {
        let low = self.integer().cast_unsigned() & 0xffff_ffff;
        u32::try_from(low).expect("32 bits").cast_signed()
    }

    fn float32(&mut self) -> f32 {
        *self.pick(&[
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            3e9,
            -3e9,
            1e20,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::from_bits(0x7fc0_0000),
        ])
    }

    fn float64(&mut self) -> f64 {
        *self.pick(&[
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            3e9,
            -3e9,
            1e20,
            f64::MAX,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::from_bits(0x7ff8_0000_0000_0000),
        ])
    }
}

/// A type, as our own programs need it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
    F32,
    F64,
}

use Ty::{F32, F64, I32, I64};

const TYPES: [Ty; 4] = [I32, I64, F32, F64];

impl Ty {
    fn name(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
        }
    }
}

/// `(param i32 f64)`, or nothing.
fn list(keyword: &str, types: &[Ty]) -> String {
    if types.is_empty() {
        return String::new();
    }
    let names: Vec<_> = types.iter().map(|ty| ty.name()).collect();
    format!("({keyword} {})", names.join(" "))
}

/// Statements that leave the functions in the tables where they are; the tables themselves may move.
const TABLE_STATEMENTS: [&str; 4] = [
    "(table.copy $u $t (i32.const 1) (i32.const 1) (i32.const 2)) ",
    "(table.set $t (i32.const 2) (table.get $u (i32.const 2))) ",
    "(drop (table.grow $u (table.get $t (i32.const 1)) (i32.const 3))) ",
    "(table.init $t $functions (i32.const 1) (i32.const 0) (i32.const 2)) ",
];

/// What a function of our own may call.
struct Signature {
    name: String,
    params: Vec<Ty>,
    results: Vec<Ty>,
}

/// What may happen in a function.
#[derive(Clone, Copy)]
struct Licence {
    /// It may suspend.
    awaits: bool,
    /// The ways back into the guest that it may take.
    reenters: &'static [&'static str],
}

/// Sibling functions call downward only; `callback` is at the bottom; each `runN` refuels and calls one of them.
fn write_module(random: &mut Random) -> String {
    let callback_awaits = random.one_in(2);
    let reenters: &[&str] = if callback_awaits {
        &["reenter"]
    } else {
        &["reenter", "reenter_sync"]
    };
    let mut functions = Vec::new();
    let callback = Signature {
        name: "callback".to_owned(),
        params: vec![I32],
        results: vec![I32],
    };
    let mut text = String::new();
    text += &Body::write(
        random,
        &callback,
        &[],
        Licence {
            awaits: callback_awaits,
            reenters: &[],
        },
    );
    for k in 0..2 + random.below(3) {
        let many = |random: &mut Random, most: &[u64]| -> Vec<Ty> {
            let n = *random.pick(most);
            (0..n).map(|_| *random.pick(&TYPES)).collect()
        };
        let signature = Signature {
            name: format!("f{k}"),
            params: many(random, &[0, 1, 2, 3, 5, 9, 14]),
            results: many(random, &[0, 1, 1, 1, 2, 3, 7]),
        };
        let licence = Licence {
            awaits: true,
            reenters,
        };
        text += &Body::write(random, &signature, &functions, licence);
        functions.push(signature);
    }
    for (
        k,
        Signature {
            name,
            params,
            results,
        },
    ) in functions.iter().enumerate()
    {
        let args: String = (0..params.len())
            .map(|p| format!(" (local.get {p})"))
            .collect();
        text += &format!(
            "  (func (export \"run{k}\") {} {}\n    (global.set $fuel (i32.const {OWN_FUEL})) (global.set $depth (i32.const 0))\n    (call ${name}{args}))\n",
            list("param", params),
            list("result", results),
        );
    }
    let data: String = (0..64)
        .map(|_| format!("\\{:02x}", random.below(256)))
        .collect();
    let globals: String = TYPES
        .iter()
        .map(|ty| {
            let ty = ty.name();
            format!("  (global $g_{ty} (export \"g_{ty}\") (mut {ty}) ({ty}.const 3))\n")
        })
        .collect();
    let imports = super::host_imports(|_| true);
    let elements: String = (0..functions.len()).map(|k| format!(" $f{k}")).collect();
    format!(
        r#"(module
{imports}  (table $t 8 8 funcref)
  (table $u 6 40 funcref)
  (elem (table $t) (i32.const 1) func{elements})
  (elem (table $u) (i32.const 1) func{elements})
  (elem $functions func{elements})
  (memory (export "memory") 1 4)
  (data (i32.const 8) "{data}")
  (global $fuel (mut i32) (i32.const {OWN_FUEL}))
  (global $depth (mut i32) (i32.const 0))
{globals}  (func $canonical_f32 (param f32) (result f32)
    (select (local.get 0) (f32.const nan) (f32.eq (local.get 0) (local.get 0))))
  (func $canonical_f64 (param f64) (result f64)
    (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))
{text}  (export "callback" (func $callback)))
"#
    )
}

/// A function while it is written.
struct Body<'a> {
    random: &'a mut Random,
    callees: &'a [Signature],
    licence: Licence,
    locals: Vec<(String, Ty)>,
    /// One for each loop so far: what is left of its turns.
    counters: usize,
    /// Labels in scope that take no values; a loop's with its counter.
    labels: Vec<(String, Option<usize>)>,
    next_label: usize,
    own: (String, Vec<Ty>),
    results: Vec<Ty>,
    /// How many more nodes it should have; beyond that there are leaves only.
    budget: u64,
    calls_left: u32,
    loop_depth: u32,
}

impl<'a> Body<'a> {
    fn write(
        random: &'a mut Random,
        signature: &Signature,
        callees: &'a [Signature],
        licence: Licence,
    ) -> String {
        let params = signature.params.iter().enumerate();
        let mut locals: Vec<_> = params.map(|(i, ty)| (format!("p{i}"), *ty)).collect();
        let first_local = locals.len();
        for (i, ty) in TYPES.iter().cycle().take(12).enumerate() {
            locals.push((format!("v{i}"), *ty));
        }
        let budget = 60 + random.below(240);
        let mut body = Body {
            random,
            callees,
            licence,
            locals,
            counters: 0,
            labels: Vec::new(),
            next_label: 0,
            own: (signature.name.clone(), signature.params.clone()),
            results: signature.results.clone(),
            budget,
            calls_left: 3,
            loop_depth: 0,
        };
        let mut code = body.statements(4);
        while body.budget > 0 {
            code += &body.statements(2);
        }
        let results = body.results.clone();
        let values = body.values(&results, 3);
        let declare = |keyword: &str, locals: &[(String, Ty)]| -> String {
            locals
                .iter()
                .map(|(name, ty)| format!(" ({keyword} ${name} {})", ty.name()))
                .collect()
        };
        let counters: String = (0..body.counters)
            .map(|k| format!(" (local $c{k} i32)"))
            .collect();
        format!(
            "  (func ${}{} {}\n   {}{counters}\n{code}    {values})\n",
            signature.name,
            declare("param", &body.locals[..first_local]),
            list("result", &results),
            declare("local", &body.locals[first_local..]),
        )
    }

    fn spend(&mut self) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0
    }

    fn label(&mut self, prefix: &str) -> String {
        self.next_label += 1;
        format!("{prefix}{}", self.next_label)
    }

    fn local(&mut self, ty: Ty) -> String {
        let of_type: Vec<_> = self.locals.iter().filter(|(_, t)| *t == ty).collect();
        self.random.pick(&of_type).0.clone()
    }

    fn values(&mut self, types: &[Ty], depth: u32) -> String {
        let values: Vec<_> = types.iter().map(|ty| self.value(*ty, depth)).collect();
        values.join(" ")
    }

    /// The sinks of as many values as a block or call has left on the stack, last first.
    fn sinks(&mut self, types: &[Ty]) -> String {
        types
            .iter()
            .rev()
            .map(|ty| match self.random.below(4) {
                0 => "(drop) ".to_owned(),
                1 => format!("(global.set $g_{}) ", ty.name()),
                _ => format!("(local.set ${}) ", self.local(*ty)),
            })
            .collect()
    }

    fn statements(&mut self, most: u64) -> String {
        let mut code = String::new();
        for _ in 0..1 + self.random.below(most) {
            let statement = self.statement();
            code += "    ";
            code += &statement;
            code.push('\n');
        }
        code
    }

    fn statement(&mut self) -> String {
        let ty = *self.random.pick(&TYPES);
        if !self.spend() {
            return format!("(local.set ${} {})", self.local(ty), self.leaf(ty));
        }
        match self.random.below(24) {
            0 => format!("(global.set $g_{} {})", ty.name(), self.value(ty, 3)),
            1 | 2 => self.store(ty),
            3 => format!("(drop {})", self.value(ty, 3)),
            4..=8 => self.loop_statement(),
            9 | 10 => {
                let condition = self.value(I32, 3);
                let then = self.statements(2);
                let otherwise = if self.random.one_in(2) {
                    format!("(else\n{})", self.statements(2))
                } else {
                    String::new()
                };
                format!("(if {condition} (then\n{then}){otherwise})")
            }
            11 => {
                let label = self.label("b");
                self.labels.push((label.clone(), None));
                let before = self.statements(2);
                let condition = self.value(I32, 3);
                let after = self.statements(2);
                self.labels.pop();
                format!("(block ${label}\n{before}(br_if ${label} {condition})\n{after})")
            }
            12 => self.branch_table(),
            13 => self.branch(),
            14 | 15 => self.call_statement(),
            16 if self.licence.awaits => "(call $yield)".to_owned(),
            17 if self.licence.awaits => {
                let address = self.address();
                let value = self.value(I32, 2);
                format!("(call $poke {address} {value})")
            }
            18 if self.licence.awaits && self.random.one_in(3) => {
                let local = self.local(I32);
                format!("(local.set ${local} (call $grow (i32.const 1)))")
            }
            18 if self.random.one_in(3) => "(drop (memory.grow (i32.const 1)))".to_owned(),
            19 if self.random.one_in(3) => format!("(call $log {})", self.value(I32, 2)),
            20 if self.random.one_in(12) => {
                let condition = self.value(I32, 2);
                let trap = match self.random.below(4) {
                    0 if self.licence.awaits => "(call $await_fail (i32.const 5))",
                    1 => "(call $fail (i32.const 6))",
                    _ => "(unreachable)",
                };
                format!("(if (i32.eq {condition} (i32.const 1)) (then {trap}))")
            }
            21 if self.random.one_in(6) => {
                let condition = self.value(I32, 2);
                let results = self.results.clone();
                let values = self.values(&results, 2);
                format!("(if (i32.eq {condition} (i32.const 2)) (then (return {values})))")
            }
            _ => {
                let value = self.value(ty, 4);
                format!("(local.set ${} {value})", self.local(ty))
            }
        }
    }

    /// A branch to a label in scope, if there is one: a loop only goes on while it may.
    fn branch(&mut self) -> String {
        let condition = self.value(I32, 2);
        if self.labels.is_empty() {
            return format!("(drop {condition})");
        }
        let (label, counter) = self.random.pick(&self.labels).clone();
        match counter {
            Some(counter) => format!(
                "(br_if ${label} (i32.and (i32.ne {condition} (i32.const 0)) {}))",
                may_turn(counter)
            ),
            None => format!("(br_if ${label} {condition})"),
        }
    }

    fn branch_table(&mut self) -> String {
        let arms = 1 + self.random.below(4);
        let labels: Vec<_> = (0..arms).map(|_| self.label("t")).collect();
        // now and then some arms cannot be reached
        let mut targets = labels.clone();
        if self.random.one_in(6) {
            targets.truncate(1);
        }
        for _ in 0..self.random.below(5) {
            targets.insert(0, self.random.pick(&targets).clone());
        }
        let targets: String = targets.iter().map(|label| format!(" ${label}")).collect();
        let index = self.value(I32, 3);
        let mut code = format!("(br_table{targets} {index})");
        for label in labels {
            code = format!("(block ${label} {code})\n{}", self.statements(1));
        }
        code
    }

    /// A loop of at most a dozen turns: plain, with a value beneath it, or with values that it carries around.
    fn loop_statement(&mut self) -> String {
        if self.loop_depth == 3 {
            let local = self.local(I32);
            return format!("(local.set ${local} {})", self.value(I32, 2));
        }
        self.loop_depth += 1;
        let counter = self.counters;
        self.counters += 1;
        let label = self.label("l");
        let turns = 1 + self.random.below(12);
        let start = format!("(local.set $c{counter} (i32.const {turns}))\n    ");
        let head = format!(
            "(local.set $c{counter} (i32.sub (local.get $c{counter}) (i32.const 1)))
    (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))\n"
        );
        let again = may_turn(counter);
        let n = 1 + self.random.below(3);
        let types: Vec<_> = (0..n).map(|_| *self.random.pick(&TYPES)).collect();
        let code = match self.random.below(3) {
            0 => {
                self.labels.push((label.clone(), Some(counter)));
                let body = self.statements(4);
                self.labels.pop();
                format!("{start}(loop ${label}\n    {head}{body}    (br_if ${label} {again}))")
            }
            1 => {
                let out = self.label("x");
                let beneath = self.values(&types, 2);
                self.labels.push((out.clone(), None));
                self.labels.push((label.clone(), Some(counter)));
                let body = self.statements(4);
                self.labels.pop();
                self.labels.pop();
                let sinks = self.sinks(&types);
                format!(
                    "{beneath} {start}(block ${out} (loop ${label}\n    {head}{body}    (br_if ${out} (i32.eqz {again})) (br ${label})))\n    {sinks}"
                )
            }
            _ => {
                let first = self.values(&types, 2);
                let entering = self.sinks(&types);
                let body = self.statements(4);
                let next = self.values(&types, 2);
                let sinks = self.sinks(&types);
                let (params, results) = (list("param", &types), list("result", &types));
                format!(
                    "{start}{first}\n    (loop ${label} {params} {results}\n    {head}    {entering}\n{body}    {next}\n    (br_if ${label} {again}))\n    {sinks}"
                )
            }
        };
        self.loop_depth -= 1;
        code
    }

    fn call_statement(&mut self) -> String {
        if self.licence.awaits && self.random.one_in(4) {
            let (name, params, results): (_, &[Ty], &[Ty]) = if self.random.one_in(2) {
                ("await_two", &[I32, I64], &[I64, I32])
            } else {
                (
                    "await_mix8",
                    &[I32, I64, F32, F64, I32, I64, F32, F64],
                    &[F64, F32, I64, I32, F64, F32, I64, I32],
                )
            };
            let args = self.values(params, 2);
            let sinks = self.sinks(results);
            return format!("(call ${name} {args}) {sinks}");
        }
        if self.random.one_in(4) {
            return self.recursion();
        }
        if self.callees.is_empty() || self.calls_left == 0 {
            return self.branch();
        }
        self.calls_left -= 1;
        let callees = self.callees;
        let callee = self.random.pick(callees);
        let args = self.values(&callee.params, 2);
        let sinks = self.sinks(&callee.results);
        let call = self.call(&callee.name, &callee.params, &callee.results, &args);
        let tables = if self.random.one_in(3) {
            self.random.pick(&TABLE_STATEMENTS)
        } else {
            ""
        };
        format!("{tables}{call} {sinks}")
    }

    /// A call by name, or through one of the tables.
    fn call(&mut self, name: &str, params: &[Ty], results: &[Ty], args: &str) -> String {
        let Some(index) = name.strip_prefix('f').filter(|_| self.random.one_in(2)) else {
            return format!("(call ${name} {args})");
        };
        let table = *self.random.pick(&["$t", "$u"]);
        let ty = format!("{} {}", list("param", params), list("result", results));
        // element 0 is null
        let index = match self.random.below(60) {
            0 => "(i32.const 0)".to_owned(),
            1 => "(i32.const -1)".to_owned(),
            n if n < 30 => format!("(i32.add (i32.const {index}) (i32.const 1))"),
            _ => {
                format!("(i32.sub (i32.const {index}) (i32.or (global.get $depth) (i32.const -1)))")
            }
        };
        format!("(call_indirect {table} {ty} {args} {index})")
    }

    /// A call of itself, unless there are enough of them already.
    fn recursion(&mut self) -> String {
        let (name, params) = self.own.clone();
        let results = self.results.clone();
        let args = self.values(&params, 2);
        let sinks = self.sinks(&results);
        let call = self.call(&name, &params, &results, &args);
        format!(
            "(if (i32.lt_s (global.get $depth) (i32.const {DEEPEST})) (then
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    {call} {sinks}
    (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))))"
        )
    }

    fn address(&mut self) -> String {
        match self.random.below(120) {
            0 => "(i32.const 65533)".to_owned(),
            1..=30 => format!("(i32.const {})", self.random.below(64)),
            _ => format!("(i32.and {} (i32.const 127))", self.value(I32, 2)),
        }
    }

    fn canonical(&mut self, ty: Ty, depth: u32) -> String {
        format!("(call $canonical_{} {})", ty.name(), self.value(ty, depth))
    }

    fn store(&mut self, ty: Ty) -> String {
        let address = self.address();
        let offset = self.random.below(64);
        let (op, value) = match ty {
            I32 => {
                let op = *self
                    .random
                    .pick(&["i32.store", "i32.store8", "i32.store16"]);
                (op, self.value(I32, 3))
            }
            I64 => {
                let ops = ["i64.store", "i64.store8", "i64.store16", "i64.store32"];
                let op = *self.random.pick(&ops);
                (op, self.value(I64, 3))
            }
            F32 => ("f32.store", self.canonical(F32, 3)),
            F64 => ("f64.store", self.canonical(F64, 3)),
        };
        format!("({op} offset={offset} {address} {value})")
    }

    fn leaf(&mut self, ty: Ty) -> String {
        match self.random.below(6) {
            0 | 1 => match ty {
                I32 => format!("(i32.const {})", self.random.integer32()),
                I64 => format!("(i64.const {})", self.random.integer()),
                F32 => format!("(f32.const {})", float(f64::from(self.random.float32()))),
                F64 => format!("(f64.const {})", float(self.random.float64())),
            },
            2 => format!("(global.get $g_{})", ty.name()),
            _ => format!("(local.get ${})", self.local(ty)),
        }
    }

    fn value(&mut self, ty: Ty, depth: u32) -> String {
        if depth == 0 || !self.spend() {
            return self.leaf(ty);
        }
        let depth = depth - 1;
        let t = ty.name();
        match self.random.below(20) {
            0..=2 => self.leaf(ty),
            3 => {
                let value = self.value(ty, depth);
                format!("(local.tee ${} {value})", self.local(ty))
            }
            4 | 5 if self.licence.awaits => {
                format!("(call $await_{t} {})", self.value(ty, depth))
            }
            6 => {
                let condition = self.value(I32, depth);
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                format!("(if (result {t}) {condition} (then {a}) (else {b}))")
            }
            7 => {
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                let condition = self.value(I32, depth);
                format!("(select {a} {b} {condition})")
            }
            8 => {
                let label = self.label("v");
                let value = self.value(ty, depth);
                let condition = self.value(I32, depth);
                let statement = self.statements(1);
                let other = self.value(ty, depth);
                format!(
                    "(block ${label} (result {t}) (br_if ${label} {value} {condition}) (drop)\n{statement}    {other})"
                )
            }
            9 => {
                // two values of one block, the operands of one operator
                let (a, b) = (self.value(ty, depth), self.value(ty, depth));
                let op = if matches!(ty, F32 | F64) {
                    "max"
                } else {
                    "sub"
                };
                format!("({t}.{op} (block (result {t} {t}) {a} {b}))")
            }
            10 => {
                let op = match ty {
                    I32 => *self.random.pick(&[
                        "i32.load",
                        "i32.load8_s",
                        "i32.load8_u",
                        "i32.load16_s",
                        "i32.load16_u",
                    ]),
                    I64 => *self.random.pick(&[
                        "i64.load",
                        "i64.load8_s",
                        "i64.load8_u",
                        "i64.load16_s",
                        "i64.load16_u",
                        "i64.load32_s",
                        "i64.load32_u",
                    ]),
                    F32 => "f32.load",
                    F64 => "f64.load",
                };
                let address = self.address();
                format!("({op} offset={} {address})", self.random.below(64))
            }
            11 => self.call_value(ty, depth),
            12 | 13 => self.unary(ty, depth),
            _ => self.binary(ty, depth),
        }
    }

    fn call_value(&mut self, ty: Ty, depth: u32) -> String {
        if ty == I32 {
            let mut hosts = vec!["add1", "ready"];
            if self.loop_depth < 2 {
                hosts.extend(self.licence.reenters);
            }
            let host = *self.random.pick(&hosts);
            return format!("(call ${host} {})", self.value(I32, depth));
        }
        let callees = self.callees;
        let fitting: Vec<_> = callees.iter().filter(|c| c.results == [ty]).collect();
        if fitting.is_empty() || self.calls_left == 0 {
            return self.unary(ty, depth);
        }
        self.calls_left -= 1;
        let callee = *self.random.pick(&fitting);
        let args = self.values(&callee.params, depth);
        self.call(&callee.name, &callee.params, &callee.results, &args)
    }

    fn unary(&mut self, ty: Ty, depth: u32) -> String {
        const INTEGER: [&str; 5] = ["clz", "ctz", "popcnt", "extend8_s", "extend16_s"];
        const FLOAT: [&str; 7] = ["abs", "neg", "sqrt", "ceil", "floor", "trunc", "nearest"];
        let t = ty.name();
        let (op, from) = match (ty, self.random.below(8)) {
            (I32, 0) => ("wrap_i64", I64),
            (I32, 1) => (
                *self.random.pick(&["trunc_sat_f32_s", "trunc_sat_f32_u"]),
                F32,
            ),
            (I32, 2) => (
                *self.random.pick(&["trunc_sat_f64_s", "trunc_sat_f64_u"]),
                F64,
            ),
            (I32, 3) => return format!("(i32.reinterpret_f32 {})", self.canonical(F32, depth)),
            (I32, 4) => ("eqz", I32),
            (I64, 0 | 1) => (*self.random.pick(&["extend_i32_s", "extend_i32_u"]), I32),
            (I64, 2) => (
                *self.random.pick(&["trunc_sat_f64_s", "trunc_sat_f64_u"]),
                F64,
            ),
            (I64, 3) => return format!("(i64.reinterpret_f64 {})", self.canonical(F64, depth)),
            (I64, 4) => ("extend32_s", I64),
            (I64, 5) if self.random.one_in(8) => ("trunc_f32_s", F32),
            (I32 | I64, _) => (*self.random.pick(&INTEGER), ty),
            (F32, 0) => ("demote_f64", F64),
            (F64, 0) => ("promote_f32", F32),
            (F32, 1) => ("reinterpret_i32", I32),
            (F64, 1) => ("reinterpret_i64", I64),
            (F32 | F64, 2) => (*self.random.pick(&["convert_i32_s", "convert_i32_u"]), I32),
            (F32 | F64, 3) => (*self.random.pick(&["convert_i64_s", "convert_i64_u"]), I64),
            (F32 | F64, _) => (*self.random.pick(&FLOAT), ty),
        };
        format!("({t}.{op} {})", self.value(from, depth))
    }

    fn binary(&mut self, ty: Ty, depth: u32) -> String {
        const INTEGER: [&str; 11] = [
            "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr",
        ];
        const DIVISION: [&str; 4] = ["div_s", "div_u", "rem_s", "rem_u"];
        const FLOAT: [&str; 6] = ["add", "sub", "mul", "div", "min", "max"];
        let t = ty.name();
        if ty == I32 && self.random.one_in(3) {
            // a comparison, of whatever type
            let of = *self.random.pick(&TYPES);
            let op = if matches!(of, F32 | F64) {
                *self.random.pick(&["eq", "ne", "lt", "gt", "le", "ge"])
            } else {
                *self.random.pick(&[
                    "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u",
                ])
            };
            let (a, b) = (self.value(of, depth), self.value(of, depth));
            return format!("({}.{op} {a} {b})", of.name());
        }
        let a = self.value(ty, depth);
        match ty {
            F32 | F64 if self.random.one_in(8) => {
                format!("({t}.copysign {a} {})", self.canonical(ty, depth))
            }
            F32 | F64 => {
                let b = self.value(ty, depth);
                format!("({t}.{} {a} {b})", self.random.pick(&FLOAT))
            }
            I32 | I64 if self.random.one_in(6) => {
                let b = self.value(ty, depth);
                let op = self.random.pick(&DIVISION);
                if self.random.one_in(40) {
                    format!("({t}.{op} {a} {b})")
                } else {
                    // neither zero nor -1
                    format!("({t}.{op} {a} ({t}.or ({t}.and {b} ({t}.const 15)) ({t}.const 1)))")
                }
            }
            I32 | I64 => {
                let b = self.value(ty, depth);
                format!("({t}.{} {a} {b})", self.random.pick(&INTEGER))
            }
        }
    }
}

/// Whether a loop may turn again: it has turns left, and there is fuel.
fn may_turn(counter: usize) -> String {
    format!(
        "(i32.and (i32.gt_s (local.get $c{counter}) (i32.const 0)) (i32.gt_s (global.get $fuel) (i32.const 0)))"
    )
}

/// A float as the text format writes it.
fn float(x: f64) -> String {
    if x.is_nan() {
        "nan".to_owned()
    } else {
        format!("{x:?}")
    }
}
