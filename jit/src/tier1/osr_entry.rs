//! Entering at a loop header: the entry block whose values are tier-0 homes, and what keeps enclosing loops single-entry.
//!
//! ```text
//! (loop $a  A1 (loop $b  B (br_if $b ..)) A2 (br_if $a ..)) C       entered at $b
//!
//! entry:  load homes          ->  $b
//! $b:     B                   ->  $b or A2'
//! A2':                        ->  $a or C
//! $a:     A1 (loop $b' B) A2  ->  $a or C
//! ```
//!
//! The first walk translates what follows the header, to the end of the function. A branch back to an enclosing loop
//! goes to a fresh copy of that loop, made by a walk of its own, inner loops first. A copy's exits join the labels of the first
//! walk, or the copies of loops further out. Each copy contains the loops inside it, so the whole is bounded by nesting depth
//! times size.
//!
//! Whatever lies on the operand stack beneath an enclosing construct stays what it was at the entry, so the entry's
//! values stand for it everywhere.

#![forbid(unsafe_code)]

use super::build::{Builder, Kind, Walk, val_type};
use crate::{
    error::NotOptimized,
    frame::layout::FrameLayout,
    ir::value::{Entry, Function, InstData},
    suspension::point::PointKind,
    wasm::types::{ValType, WasmOffset},
};

impl Builder<'_, '_> {
    /// Builds OSR code that is entered at the `loop` operator at `offset`.
    pub(super) fn build_osr(
        &mut self,
        offset: WasmOffset,
        frame: &FrameLayout,
        osr_stack: &[ValType],
    ) -> Result<(), NotOptimized> {
        let header = self
            .body
            .operators
            .binary_search_by_key(&offset, |&(_, offset)| offset)
            .map_err(|_| NotOptimized::UnreachableEntry)?;
        let stack = self.find_enclosing(header)?;
        debug_assert_eq!(stack, osr_stack, "the tiers agree on the operand stack");

        self.offset = offset;
        for local in self.liveness.live_at(PointKind::LoopHeader, offset) {
            let value = self.push_value(InstData::FrameLoad {
                ty: self.local_types[local.index()].into(),
                slot: frame.local(local),
            })?;
            self.locals[local.index()] = Some(value);
        }
        for (&ty, entry) in stack.iter().zip(0..) {
            let value = self.push_value(InstData::FrameLoad {
                ty: ty.into(),
                slot: frame.stack(entry),
            })?;
            self.stack.push(value);
        }
        let entry_stack = self.stack.clone();
        let enclosing = self.open.clone();
        self.walk(header, None)?;

        for (depth, &shared) in enclosing.iter().enumerate().rev() {
            let control = self.controls[shared].clone();
            let Some(label) = control.label else { continue };
            if control.kind != Kind::Loop {
                continue;
            }
            self.open = enclosing[..depth].to_vec();
            self.stack = entry_stack[..control.height].to_vec();
            self.locals.fill(None);
            self.offset = control.offset;
            self.open.push(self.controls.len());
            let at = control.at;
            self.controls.push(super::build::Control {
                label: Some(label),
                shared: false,
                last: true,
                ..control
            });
            self.enter_header(self.controls.len() - 1)?;
            self.walk(at + 1, None)?;
        }
        Ok(())
    }

    /// Walks up to the header without keeping the code, to learn what is open around it; gives the operand stack there.
    fn find_enclosing(&mut self, header: usize) -> Result<Vec<ValType>, NotOptimized> {
        let entry = std::mem::replace(&mut self.func.entry, Entry::Top);
        self.enter_top()?;
        if self.walk(0, Some(header))? != Walk::Stopped {
            return Err(NotOptimized::UnreachableEntry);
        }
        let is_loop = matches!(
            self.body.operators[header].0,
            wasmparser::Operator::Loop { .. }
        );
        if !is_loop {
            return Err(NotOptimized::UnreachableEntry);
        }
        let stack = self
            .stack
            .iter()
            .map(|&value| val_type(self.func.type_of(value)))
            .collect();
        self.controls = self
            .open
            .iter()
            .map(|&control| super::build::Control {
                label: None,
                else_arm: None,
                undo: 0,
                shared: true,
                exit: None,
                ..self.controls[control].clone()
            })
            .collect();
        self.open = (0..self.controls.len()).collect();
        self.forget_prefix();
        self.func = Function::new(self.func.index, self.func.ty.clone(), entry);
        Ok(stack)
    }
}
