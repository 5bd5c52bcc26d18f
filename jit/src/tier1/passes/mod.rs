//! Passes over the IR; each says whether it changed something.

#![forbid(unsafe_code)]

use crate::ir::value::{BinaryOp, Function, InstData, Value};

pub mod redundant_params;

pub mod simplify;

pub mod number_values;

pub mod hoist;

pub mod dead_code;

pub mod blocks;

pub mod critical_edges;

pub mod layout;

/// Whether a pass changed the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It did.
    Yes,
    /// It did not.
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

/// Values that stand for others.
#[derive(Debug)]
pub(super) struct Replacements {
    by: Vec<Value>,
    any: bool,
}

impl Replacements {
    pub(super) fn new(func: &Function) -> Self {
        Self {
            by: (0..func.values.len()).map(Value::new).collect(),
            any: false,
        }
    }

    /// What stands for a value; values made later stand for themselves.
    pub(super) fn resolve(&mut self, value: Value) -> Value {
        let mut root = value;
        while let Some(&by) = self.by.get(root.index())
            && by != root
        {
            root = by;
        }
        let mut at = value;
        while at != root {
            at = std::mem::replace(&mut self.by[at.index()], root);
        }
        root
    }

    pub(super) fn replace(&mut self, value: Value, by: Value) {
        let by = self.resolve(by);
        debug_assert_ne!(self.resolve(value), by, "a value cannot stand for itself");
        self.by[value.index()] = by;
        self.any = true;
    }

    /// Rewrites all operands; whether there was something to rewrite.
    pub(super) fn apply(mut self, func: &mut Function) -> bool {
        if self.any {
            for block in 0..func.blocks.len() {
                for at in 0..func.blocks[block].insts.len() {
                    let inst = func.blocks[block].insts[at];
                    func.insts[inst.index()]
                        .data
                        .for_each_operand_mut(|value| *value = self.resolve(*value));
                }
            }
        }
        self.any
    }
}

/// Whether an instruction neither traps nor leaves nor reads or writes what can change: it may run earlier, or never.
pub(super) fn is_pure(func: &Function, data: &InstData) -> bool {
    match data {
        InstData::Const { .. } | InstData::Select { .. } => true,
        InstData::Unary { op, .. } => !op.can_trap(),
        InstData::Binary { op, args } => {
            !op.can_trap() || divides_safely(*op, func.constant(args[1]))
        }
        _ => false,
    }
}

/// Whether it may be removed when its result is not used.
pub(super) fn is_removable(func: &Function, data: &InstData) -> bool {
    data.is_removable() || is_pure(func, data)
}

/// Whether a division or remainder by a constant cannot trap.
fn divides_safely(op: BinaryOp, divisor: Option<u64>) -> bool {
    use BinaryOp as B;
    let Some(divisor) = divisor else { return false };
    let minus_one = match op.types().0 {
        crate::ir::value::Type::I32 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    divisor != 0 && (divisor != minus_one || !matches!(op, B::I32DivS | B::I64DivS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{text::parse, verify::verify_function};

    /// Runs passes over text and gives the text of what they leave.
    fn run(text: &str, passes: &[fn(&mut Function) -> Changed]) -> String {
        let mut func = parse(text);
        verify_function(&func).expect("the test is well-formed");
        for pass in passes {
            let _ = pass(&mut func);
            verify_function(&func).expect("the pass leaves a well-formed function");
        }
        let text = func.to_string();
        text.lines()
            .skip(1)
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("; ")
    }

    #[test]
    fn a_parameter_that_never_changes_goes() {
        let text = "function 0 (i32, i32) -> (i32) top
            block0(v0: i32, v1: i32): jump block1(v0, v1)
            block1(v2: i32, v3: i32): v4 = I32Sub v3, v2 branch v4, block1(v2, v4), block2
            block2: return v2";
        assert_eq!(
            run(text, &[redundant_params::run]),
            "block0(v0: i32, v1: i32):; jump block1(v1); block1(v3: i32):; v4 = I32Sub v3, v0; \
             branch v4, block1(v4), block2; block2:; return v0"
        );
    }

    #[test]
    fn a_check_is_dropped_behind_a_wider_one_even_across_a_call() {
        let text = "function 0 (i32) -> (i32) top
            block0(v0: i32): bounds_check v0, 8
              call 1 () -> () () call @0x9 [local0 i32 = v0 | ]
              bounds_check v0, 8 bounds_check v0, 12 bounds_check v0, 4
              v1 = memory_base v2 = I32Load v1, v0, 4
              v3 = memory_base v4 = I32Load v3, v0, 4
              I32Store v3, v0, 0, v4 v5 = I32Load v3, v0, 4 v6 = I32Load v3, v0, 0
              v7 = I32Add v5, v6 v8 = I32Add v7, v2 return v8";
        assert_eq!(
            run(text, &[number_values::run]),
            "block0(v0: i32):; bounds_check v0, 8; call 1 () -> () () call @0x9 [local0 i32 = v0 | ]; \
             bounds_check v0, 12; v1 = memory_base; v2 = I32Load v1, v0, 4; I32Store v1, v0, 0, v2; \
             v5 = I32Load v1, v0, 4; v7 = I32Add v5, v2; v8 = I32Add v7, v2; return v8"
        );
    }

    #[test]
    fn checks_of_tables_hold_for_ever_and_elements_until_a_table_is_written() {
        let text = "function 0 (i32, funcref) -> (funcref) top
            block0(v0: i32, v1: funcref): table_check 0 v0 UndefinedElement
              v2 = table_load funcref 0 v0 func_check v2 1
              table_check 0 v0 TableOutOfBounds v3 = table_load funcref 0 v0 func_check v3 1 func_check v3 2
              table_check 1 v0 TableOutOfBounds
              call_ref v3 () -> () () call @0x9 [local0 i32 = v0, local1 funcref = v1 | ]
              table_check 0 v0 UndefinedElement v4 = table_load funcref 0 v0 func_check v2 1 func_check v4 1
              table_store 1 v0, v1 v5 = table_load funcref 1 v0 v6 = table_load funcref 0 v0
              table_fill 0 (v0, v5, v0) v7 = table_load funcref 0 v0
              v8 = table_size 0 v9 = table_size 0 v10 = I32Add v8, v9
              v11 = select funcref v10, v4, v6 v12 = select funcref v10, v11, v7 return v12";
        assert_eq!(
            run(text, &[number_values::run]),
            "block0(v0: i32, v1: funcref):; table_check 0 v0 UndefinedElement; \
             v2 = table_load funcref 0 v0; func_check v2 1; func_check v2 2; \
             table_check 1 v0 TableOutOfBounds; \
             call_ref v2 () -> () () call @0x9 [local0 i32 = v0, local1 funcref = v1 | ]; \
             v4 = table_load funcref 0 v0; func_check v4 1; \
             table_store 1 v0, v1; v6 = table_load funcref 0 v0; \
             table_fill 0 (v0, v1, v0); v7 = table_load funcref 0 v0; \
             v8 = table_size 0; v10 = I32Add v8, v8; \
             v11 = select funcref v10, v4, v6; v12 = select funcref v10, v11, v7; return v12"
        );
    }

    #[test]
    fn invariant_work_leaves_the_loop_and_what_can_trap_stays() {
        let text = "function 0 (i32, i32) -> (i32) top
            block0(v0: i32, v1: i32): jump block1(v0)
            block1(v2: i32): checkpoint loop @0x5 [local0 i32 = v2, local1 i32 = v1 | ]
              v3 = const i32 0x3 v4 = I32Shl v1, v3 v5 = I32DivU v0, v1 v6 = I32Sub v2, v4
              branch v6, block1(v6), block2
            block2: return v5";
        assert_eq!(
            run(text, &[hoist::run]),
            "block0(v0: i32, v1: i32):; v7 = const i32 0x3; v4 = I32Shl v1, v7; jump block1(v0); \
             block1(v2: i32):; checkpoint loop @0x5 [local0 i32 = v2, local1 i32 = v1 | ]; \
             v3 = const i32 0x3; v5 = I32DivU v0, v1; v6 = I32Sub v2, v4; \
             branch v6, block1(v6), block2; block2:; return v5"
        );
    }

    #[test]
    fn a_negated_comparison_swaps_the_branch() {
        let text = "function 0 (i32, i32) -> (i32) top
            block0(v0: i32, v1: i32): v2 = I32Add v0, v1 v3 = I32Eqz v2
              branch v3, block1, block2
            block1: return v0
            block2: v4 = const i32 8 v5 = I32Mul v1, v4 return v5";
        assert_eq!(
            run(text, &[simplify::run, dead_code::run]),
            "block0(v0: i32, v1: i32):; v2 = I32Add v0, v1; branch v2, block2, block1; \
             block1:; return v0; block2:; v6 = const i32 0x3; v5 = I32Shl v1, v6; return v5"
        );
    }

    #[test]
    fn unused_divisions_that_can_trap_stay() {
        let text = "function 0 (i32, i32) -> () top
            block0(v0: i32, v1: i32): v2 = I32DivU v0, v1 v3 = I32Add v0, v1 return";
        assert_eq!(
            run(text, &[dead_code::run]),
            "block0(v0: i32, v1: i32):; v2 = I32DivU v0, v1; return"
        );
    }
}
