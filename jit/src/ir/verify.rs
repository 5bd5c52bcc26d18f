//! What every pass must leave true: SSA, types, frame states, epochs of addresses.

#![forbid(unsafe_code)]

use super::{
    cfg::Cfg,
    liveness,
    value::{
        BinaryOp, Block, Callee, ENTRY, Entry, Function, InstData, Jump, TableOp, Type, UnaryOp,
        Value, ValueDef,
    },
};
use std::fmt::Write;

/// Checks a function.
///
/// **Rules.** Every block but those that cannot be reached ends with a terminator and has no other; the entry has no
/// predecessors; every operand is defined on all paths to its use and has the type its user wants; frame states match
/// their layouts and hold no address; no address lives across a call, a checkpoint or a growing memory; homes are read
/// in the entry block of OSR code only.
///
/// # Errors
/// The first rule that is broken, in words.
pub fn verify_function(func: &Function) -> Result<(), String> {
    Verifier { func }.run().map_err(|error| {
        let mut message = error;
        let _ = write!(message, "\n{func}");
        message
    })
}

struct Verifier<'a> {
    func: &'a Function,
}

impl Verifier<'_> {
    fn run(&self) -> Result<(), String> {
        let func = self.func;
        for (n, block) in func.blocks.iter().enumerate() {
            let block_name = Block::new(n);
            let Some((last, rest)) = block.insts.split_last() else {
                return Err(format!("{block_name} is empty"));
            };
            if !func.insts[last.index()].data.is_terminator() {
                return Err(format!("{block_name} does not end with a terminator"));
            }
            if rest
                .iter()
                .any(|inst| func.insts[inst.index()].data.is_terminator())
            {
                return Err(format!("{block_name} goes on behind a terminator"));
            }
            for (position, &param) in block.params.iter().enumerate() {
                let def = func.values[param.index()].def;
                if def != ValueDef::Param(block_name, u32::try_from(position).unwrap_or(u32::MAX)) {
                    return Err(format!(
                        "{param} is not parameter {position} of {block_name}"
                    ));
                }
            }
            for &inst in &block.insts {
                for jump in func.insts[inst.index()].data.jumps() {
                    self.jump(jump)?;
                }
            }
        }
        let cfg = Cfg::compute(func);
        if !cfg.predecessors(ENTRY).is_empty() {
            return Err("the entry has a predecessor".to_owned());
        }
        let entry_params: Vec<Type> = func.blocks[0]
            .params
            .iter()
            .map(|&param| func.type_of(param))
            .collect();
        let wanted: Vec<Type> = match func.entry {
            Entry::Top => func.ty.params.iter().map(|&ty| ty.into()).collect(),
            Entry::Osr(_) => Vec::new(),
        };
        if entry_params != wanted {
            return Err("the entry's parameters are not the function's".to_owned());
        }
        // Position of each definition: (block, place in it).
        let mut defined = vec![None; func.values.len()];
        for &block in cfg.reverse_postorder() {
            let data = &func.blocks[block.index()];
            for &param in &data.params {
                define(&mut defined, param, block, 0)?;
            }
            for (place, &inst) in data.insts.iter().enumerate() {
                let node = &func.insts[inst.index()];
                let types: Vec<Type> = node.results.iter().map(|&v| func.type_of(v)).collect();
                if types != func.result_types(&node.data) {
                    return Err(format!("{inst} has results of wrong types"));
                }
                for (position, &result) in node.results.iter().enumerate() {
                    let position = u32::try_from(position).unwrap_or(u32::MAX);
                    if func.values[result.index()].def != ValueDef::Result(inst, position) {
                        return Err(format!("{result} is not result {position} of {inst}"));
                    }
                    define(&mut defined, result, block, place + 1)?;
                }
            }
        }
        for &block in cfg.reverse_postorder() {
            for (place, &inst) in func.blocks[block.index()].insts.iter().enumerate() {
                let node = &func.insts[inst.index()];
                let mut error = None;
                node.data.for_each_operand(|value| {
                    let dominated = match defined.get(value.index()).copied().flatten() {
                        Some((def, at)) if def == block => at <= place,
                        Some((def, _)) => cfg.dominates(def, block),
                        None => false,
                    };
                    if !dominated {
                        error = Some(format!("{value} does not reach its use in {block}"));
                    }
                });
                if let Some(error) = error {
                    return Err(error);
                }
                self.types(block, &node.data)
                    .map_err(|what| format!("{inst} in {block}: {what}"))?;
            }
        }
        if let Some((block, at)) = liveness::live_across_epochs(func, &cfg, Type::Ptr).next() {
            return Err(format!(
                "an address lives across instruction {at} of {block}"
            ));
        }
        Ok(())
    }

    fn jump(&self, jump: &Jump) -> Result<(), String> {
        let Some(target) = self.func.blocks.get(jump.block.index()) else {
            return Err(format!("{} does not exist", jump.block));
        };
        let wanted = target.params.iter().map(|&param| self.func.type_of(param));
        let given = jump.args.iter().map(|&arg| self.func.type_of(arg));
        if !wanted.eq(given) {
            return Err(format!("a jump to {} has wrong arguments", jump.block));
        }
        Ok(())
    }

    fn types(&self, block: Block, data: &InstData) -> Result<(), String> {
        let func = self.func;
        let want = |value: Value, ty: Type| {
            let found = func.type_of(value);
            if found == ty {
                Ok(())
            } else {
                Err(format!("{value} is a {found:?}, not a {ty:?}"))
            }
        };
        let reference = |value: Value| match func.type_of(value) {
            ty @ (Type::FuncRef | Type::ExternRef) => Ok(ty),
            found => Err(format!("{value} is a {found:?}, not a reference")),
        };
        // references are compared with null as the words they are
        let want_word = |value: Value| {
            want(value, Type::I64)
                .or_else(|_| want(value, Type::FuncRef))
                .or_else(|_| want(value, Type::ExternRef))
        };
        let address = |base: Value, index: Value, offset: u32| {
            want(base, Type::Ptr)?;
            if i32::try_from(offset).is_err() {
                return Err("an offset does not fit 31 bits".to_owned());
            }
            want(index, Type::I32).or_else(|_| want(index, Type::I64))
        };
        match data {
            InstData::Const { ty, bits } => {
                let fits = match ty {
                    Type::I32 | Type::F32 => *bits <= u64::from(u32::MAX),
                    Type::I64 | Type::F64 => true,
                    Type::FuncRef | Type::ExternRef => *bits == 0,
                    Type::Ptr => false,
                };
                if fits {
                    Ok(())
                } else {
                    Err(format!("no {ty:?} is {bits:#x}"))
                }
            }
            InstData::Unary {
                op: UnaryOp::I64Eqz,
                arg,
            } => want_word(*arg),
            InstData::Unary { op, arg } => want(*arg, op.types().0),
            InstData::Binary {
                op: BinaryOp::I64Eq | BinaryOp::I64Ne,
                args,
            } => {
                want_word(args[0])?;
                want_word(args[1])
            }
            InstData::Binary { op, args } => {
                want(args[0], op.types().0)?;
                // Shifts and rotations of i64 have an i64 count, as in Wasm.
                want(args[1], op.types().0)
            }
            InstData::Select { ty, cond, args } => {
                want(*cond, Type::I32)?;
                want(args[0], *ty)?;
                want(args[1], *ty)
            }
            InstData::FrameLoad { .. } => {
                if block == ENTRY && matches!(func.entry, Entry::Osr(_)) {
                    Ok(())
                } else {
                    Err("a home is read outside an OSR entry".to_owned())
                }
            }
            InstData::BoundsCheck { index, .. } => want(*index, Type::I32),
            InstData::Load {
                base,
                index,
                offset,
                ..
            } => address(*base, *index, *offset),
            InstData::Store {
                op,
                base,
                index,
                offset,
                value,
            } => {
                address(*base, *index, *offset)?;
                want(*value, op.value_type())
            }
            InstData::MemoryGrow { pages } => want(*pages, Type::I32),
            InstData::Bulk { args, .. } => args.iter().try_for_each(|&arg| want(arg, Type::I32)),
            InstData::GlobalSet { value, .. } => {
                if func.type_of(*value) == Type::Ptr {
                    return Err("an address in a global".to_owned());
                }
                Ok(())
            }
            InstData::TableCheck { index, .. } | InstData::TableLoad { index, .. } => {
                want(*index, Type::I32)
            }
            InstData::TableStore { index, value, .. } => {
                want(*index, Type::I32)?;
                reference(*value).map(drop)
            }
            InstData::Table { op, args } => {
                let element = match op {
                    TableOp::Grow(_) => args.first(),
                    TableOp::Fill(_) => args.get(1),
                    _ => None,
                };
                let element = match element {
                    Some(&element) => reference(element)?,
                    None => Type::FuncRef,
                };
                let wanted = op.params(element);
                if args.len() != wanted.len() {
                    return Err("wrong number of operands".to_owned());
                }
                args.iter()
                    .zip(wanted)
                    .try_for_each(|(&arg, ty)| want(arg, ty))
            }
            InstData::FuncCheck { func, .. } => want(*func, Type::FuncRef),
            InstData::Call {
                callee,
                ty,
                args,
                state,
            } => {
                if let Callee::Reference(func) = callee {
                    want(*func, Type::FuncRef)?;
                }
                if args.len() != ty.params.len() {
                    return Err("wrong number of arguments".to_owned());
                }
                for (&arg, &ty) in args.iter().zip(&ty.params) {
                    want(arg, ty.into())?;
                }
                self.state(state)
            }
            InstData::TailCall { callee, ty, args } => {
                if let Callee::Reference(func) = callee {
                    want(*func, Type::FuncRef)?;
                }
                if ty.results != func.ty.results {
                    return Err("a tail call with other results".to_owned());
                }
                if args.len() != ty.params.len() {
                    return Err("wrong number of arguments".to_owned());
                }
                args.iter()
                    .zip(&ty.params)
                    .try_for_each(|(&arg, &ty)| want(arg, ty.into()))
            }
            InstData::Checkpoint { state } => self.state(state),
            InstData::Branch { cond, .. } => want(*cond, Type::I32),
            InstData::BranchTable { index, targets } => {
                if targets.is_empty() {
                    return Err("no targets".to_owned());
                }
                want(*index, Type::I32)
            }
            InstData::Return { values } => {
                if values.len() != func.ty.results.len() {
                    return Err("wrong number of results".to_owned());
                }
                for (&value, &ty) in values.iter().zip(&func.ty.results) {
                    want(value, ty.into())?;
                }
                Ok(())
            }
            InstData::MemoryBase
            | InstData::MemorySize
            | InstData::TableSize { .. }
            | InstData::GlobalGet { .. }
            | InstData::DataDrop { .. }
            | InstData::RefFunc { .. }
            | InstData::Jump(_)
            | InstData::Trap { .. } => Ok(()),
        }
    }

    fn state(&self, state: &super::value::FrameState) -> Result<(), String> {
        let wanted = state.layout.types().map(Type::from);
        let given = state.values.iter().map(|&value| self.func.type_of(value));
        if !wanted.eq(given) {
            return Err("the frame state does not match its layout".to_owned());
        }
        if !state.layout.locals.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("the frame state's locals are not in order".to_owned());
        }
        Ok(())
    }
}

fn define(
    defined: &mut [Option<(Block, usize)>],
    value: Value,
    block: Block,
    place: usize,
) -> Result<(), String> {
    if defined[value.index()].replace((block, place)).is_some() {
        return Err(format!("{value} is defined twice"));
    }
    Ok(())
}
