//! Which functions are copied into their callers instead of being called: small ones that do nothing a caller's frame could
//! be missed for. They are straight, call nothing, cannot trap and cannot be suspended, so no site, backtrace or frame
//! state ever names them.

#![forbid(unsafe_code)]

use super::operators;
use crate::{
    ir::value::Type,
    wasm::{
        module::{Module, val_type},
        types::FuncIndex,
    },
};
use wasmparser::Operator;

/// Bodies of more bytes are not even read.
const MAX_BYTES: usize = 64;

/// Operators of a body that is copied, its end included.
const MAX_OPERATORS: usize = 16;

/// A body's locals, parameters not included.
const MAX_LOCALS: u32 = 8;

/// What is copied.
#[derive(Debug)]
pub(super) struct Copied<'m> {
    /// Types of the locals behind the parameters; they begin as zeros.
    pub(super) locals: Vec<Type>,
    pub(super) operators: Vec<Operator<'m>>,
}

/// What to copy for a call of `func`, if that is to be done.
pub(super) fn copied(module: &Module, func: FuncIndex) -> Option<Copied<'_>> {
    if module.is_imported(func) {
        return None;
    }
    let body = module.body(func);
    let range = body.range();
    if range.end - range.start > MAX_BYTES.try_into().expect("small") {
        return None;
    }
    let mut locals = Vec::new();
    for group in body.get_locals_reader().expect("bodies are validated") {
        let (count, ty) = group.expect("bodies are validated");
        if count > MAX_LOCALS || locals.len() > MAX_LOCALS as usize {
            return None;
        }
        locals.extend((0..count).map(|_| Type::from(val_type(ty))));
    }
    let mut found = Vec::new();
    let reader = body.get_operators_reader().expect("bodies are validated");
    for operator in reader {
        let operator = operator.expect("bodies are validated");
        if found.len() == MAX_OPERATORS || !is_harmless(&operator) {
            return None;
        }
        found.push(operator);
    }
    Some(Copied {
        locals,
        operators: found,
    })
}

/// Whether a body that is copied may contain it. The only `end` of such a body is its last operator.
fn is_harmless(operator: &Operator<'_>) -> bool {
    match operator {
        Operator::Nop
        | Operator::End
        | Operator::Drop
        | Operator::Select
        | Operator::TypedSelect { .. }
        | Operator::LocalGet { .. }
        | Operator::LocalSet { .. }
        | Operator::LocalTee { .. }
        | Operator::GlobalGet { .. }
        | Operator::GlobalSet { .. }
        | Operator::I32Const { .. }
        | Operator::I64Const { .. }
        | Operator::F32Const { .. }
        | Operator::F64Const { .. } => true,
        operator => {
            operators::binary(operator).is_some_and(|op| !op.can_trap())
                || operators::unary(operator).is_some_and(|op| !op.can_trap())
        }
    }
}
