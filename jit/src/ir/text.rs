//! The IR as text: a printer, and for tests a parser of the same text.
//!
//! ```text
//! function 0 (i32) -> (i32) top
//! block0(v0: i32):
//!   v1 = const i32 0x5
//!   v2 = I32Add v0, v1 @0x24
//!   branch v2, block1(v0), block2
//! ```

#![forbid(unsafe_code)]

use super::value::{
    BulkOp, Callee, Entry, FrameState, Function, InstData, Jump, TableOp, Type, Value,
};
use crate::{suspension::point::PointKind, wasm::types::ValType};
use std::fmt::{self, Display, Formatter};

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
            Self::Ptr => "ptr",
        })
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: impl IntoIterator<Item = T>) -> fmt::Result {
    for (n, item) in items.into_iter().enumerate() {
        write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
    }
    Ok(())
}

impl Display for Jump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.block)?;
        if !self.args.is_empty() {
            write!(f, "(")?;
            list(f, &self.args)?;
            write!(f, ")")?;
        }
        Ok(())
    }
}

impl Display for FrameState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.layout.kind {
            PointKind::Call => "call",
            PointKind::LoopHeader => "loop",
            PointKind::Entry => "entry",
        };
        write!(f, "{kind} {} [", self.layout.offset)?;
        let locals = &self.layout.locals;
        list(
            f,
            locals
                .iter()
                .zip(&self.values)
                .map(|((local, ty), value)| format!("{local} {ty} = {value}")),
        )?;
        write!(f, " | ")?;
        list(
            f,
            self.layout
                .stack
                .iter()
                .zip(self.values.iter().skip(locals.len()))
                .map(|(ty, value): (&ValType, &Value)| format!("{ty} = {value}")),
        )?;
        write!(f, "]")
    }
}

impl Display for InstData {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Const { ty, bits } => write!(f, "const {ty} {bits:#x}"),
            Self::Unary { op, arg } => write!(f, "{op:?} {arg}"),
            Self::Binary { op, args: [a, b] } => write!(f, "{op:?} {a}, {b}"),
            Self::Select {
                ty,
                cond,
                args: [a, b],
            } => write!(f, "select {ty} {cond}, {a}, {b}"),
            Self::FrameLoad { ty, slot } => write!(f, "frame_load {ty} {}", slot.0),
            Self::MemoryBase => write!(f, "memory_base"),
            Self::BoundsCheck { index, end } => write!(f, "bounds_check {index}, {end}"),
            Self::Load {
                op,
                base,
                index,
                offset,
            } => write!(f, "{op:?} {base}, {index}, {offset}"),
            Self::Store {
                op,
                base,
                index,
                offset,
                value,
            } => write!(f, "{op:?} {base}, {index}, {offset}, {value}"),
            Self::MemorySize => write!(f, "memory_size"),
            Self::MemoryGrow { pages } => write!(f, "memory_grow {pages}"),
            Self::Bulk {
                op,
                args: [a, b, c],
            } => match op {
                BulkOp::Copy => write!(f, "memory_copy {a}, {b}, {c}"),
                BulkOp::Fill => write!(f, "memory_fill {a}, {b}, {c}"),
                BulkOp::Init(data) => write!(f, "memory_init {} {a}, {b}, {c}", data.0),
            },
            Self::DataDrop { segment } => write!(f, "data_drop {}", segment.0),
            Self::GlobalGet { ty, global } => write!(f, "global_get {ty} {}", global.0),
            Self::RefFunc { func } => write!(f, "ref_func {}", func.0),
            Self::GlobalSet { global, value } => write!(f, "global_set {}, {value}", global.0),
            Self::TableCheck { table, index, code } => {
                write!(f, "table_check {} {index} {code:?}", table.0)
            }
            Self::TableLoad { ty, table, index } => {
                write!(f, "table_load {ty} {} {index}", table.0)
            }
            Self::TableStore {
                table,
                index,
                value,
            } => write!(f, "table_store {} {index}, {value}", table.0),
            Self::TableSize { table } => write!(f, "table_size {}", table.0),
            Self::Table { op, args } => {
                match op {
                    TableOp::Grow(table) => write!(f, "table_grow {} (", table.0)?,
                    TableOp::Fill(table) => write!(f, "table_fill {} (", table.0)?,
                    TableOp::Copy { to, from } => write!(f, "table_copy {} {} (", to.0, from.0)?,
                    TableOp::Init { table, segment } => {
                        write!(f, "table_init {} {} (", table.0, segment.0)?;
                    }
                    TableOp::DropSegment(segment) => write!(f, "elem_drop {} (", segment.0)?,
                }
                list(f, args)?;
                write!(f, ")")
            }
            Self::FuncCheck { func, ty } => write!(f, "func_check {func} {}", ty.0),
            Self::Call {
                callee,
                ty,
                args,
                state,
            } => {
                match callee {
                    Callee::Defined(func) => write!(f, "call {} {ty} (", func.0)?,
                    Callee::Imported(func) => write!(f, "call_import {} {ty} (", func.0)?,
                    Callee::Reference(func) => write!(f, "call_ref {func} {ty} (")?,
                }
                list(f, args)?;
                write!(f, ") {state}")
            }
            Self::TailCall { callee, ty, args } => {
                match callee {
                    Callee::Defined(func) => write!(f, "tail_call {} {ty} (", func.0)?,
                    Callee::Imported(func) => write!(f, "tail_call_import {} {ty} (", func.0)?,
                    Callee::Reference(func) => write!(f, "tail_call_ref {func} {ty} (")?,
                }
                list(f, args)?;
                write!(f, ")")
            }
            Self::Checkpoint { state } => write!(f, "checkpoint {state}"),
            Self::Jump(jump) => write!(f, "jump {jump}"),
            Self::Branch {
                cond,
                then,
                otherwise,
            } => write!(f, "branch {cond}, {then}, {otherwise}"),
            Self::BranchTable { index, targets } => {
                write!(f, "branch_table {index}, ")?;
                list(f, targets)
            }
            Self::Return { values } => {
                write!(f, "return ")?;
                list(f, values)
            }
            Self::Trap { code } => write!(f, "trap {code:?}"),
        }
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "function {} {} ", self.index.0, self.ty)?;
        match self.entry {
            Entry::Top => writeln!(f, "top")?,
            Entry::Osr(offset) => writeln!(f, "osr {offset}")?,
        }
        for (n, block) in self.blocks.iter().enumerate() {
            if block.insts.is_empty() {
                // Removed.
                continue;
            }
            write!(f, "block{n}")?;
            if !block.params.is_empty() {
                write!(f, "(")?;
                list(
                    f,
                    block
                        .params
                        .iter()
                        .map(|&param| format!("{param}: {}", self.type_of(param))),
                )?;
                write!(f, ")")?;
            }
            writeln!(f, "{}:", if block.cold { " cold" } else { "" })?;
            for &inst in &block.insts {
                let node = &self.insts[inst.index()];
                write!(f, "  ")?;
                if !node.results.is_empty() {
                    list(f, &node.results)?;
                    write!(f, " = ")?;
                }
                write!(f, "{}", node.data.to_string().trim_end())?;
                if node.offset.0 != 0 {
                    write!(f, " {}", node.offset)?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) use parse::parse;

#[cfg(test)]
mod parse {
    use super::*;
    use crate::{
        ir::{
            ops::{ALL_BINARY, ALL_LOADS, ALL_STORES, ALL_UNARY},
            value::{Block, BlockData, InstNode, TrapCode, ValueData, ValueDef},
        },
        suspension::point::CanonicalLayout,
        wasm::types::{
            DataIndex, ElementIndex, FrameOffset, FuncIndex, FuncType, GlobalIndex, LocalIndex,
            TableIndex, TypeIndex, WasmOffset,
        },
    };

    /// Reads a function; values and blocks keep their numbers.
    ///
    /// # Panics
    /// If the text is malformed: tests write it.
    pub(crate) fn parse(text: &str) -> Function {
        let mut tokens = tokenize(text);
        tokens.reverse();
        Parser { tokens }.function()
    }

    fn tokenize(text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        for line in text.lines() {
            let line = line.split(';').next().unwrap_or_default();
            let spaced: String = line
                .chars()
                .flat_map(|c| match c {
                    '(' | ')' | ',' | ':' | '=' | '[' | ']' | '|' => vec![' ', c, ' '],
                    c => vec![c],
                })
                .collect();
            tokens.extend(spaced.split_whitespace().map(str::to_owned));
        }
        tokens
    }

    struct Parser {
        /// The next one last.
        tokens: Vec<String>,
    }

    fn named<T: Copy + fmt::Debug>(all: &[T], name: &str) -> Option<T> {
        all.iter().copied().find(|op| format!("{op:?}") == name)
    }

    impl Parser {
        fn peek(&self) -> &str {
            self.tokens.last().map_or("", String::as_str)
        }

        fn next(&mut self) -> String {
            self.tokens.pop().expect("text goes on")
        }

        fn accept(&mut self, token: &str) -> bool {
            let found = self.peek() == token;
            if found {
                self.tokens.pop();
            }
            found
        }

        fn expect(&mut self, token: &str) {
            let found = self.next();
            assert_eq!(found, token);
        }

        fn number(&mut self) -> u64 {
            let token = self.next();
            let token = token.trim_start_matches('@');
            token
                .strip_prefix("0x")
                .map_or_else(|| token.parse(), |hex| u64::from_str_radix(hex, 16))
                .expect("a number")
        }

        fn u32(&mut self) -> u32 {
            u32::try_from(self.number()).expect("32 bits")
        }

        fn prefixed(&mut self, prefix: &str) -> u32 {
            let token = self.next();
            token
                .strip_prefix(prefix)
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("{prefix}N expected, found {token}"))
        }

        fn value(&mut self) -> Value {
            Value(self.prefixed("v"))
        }

        fn comma_value(&mut self) -> Value {
            self.expect(",");
            self.value()
        }

        fn val_type(&mut self) -> ValType {
            match self.next().as_str() {
                "i32" => ValType::I32,
                "i64" => ValType::I64,
                "f32" => ValType::F32,
                "f64" => ValType::F64,
                "funcref" => ValType::FuncRef,
                "externref" => ValType::ExternRef,
                other => panic!("a type expected, found {other}"),
            }
        }

        fn ty(&mut self) -> Type {
            if self.accept("ptr") {
                Type::Ptr
            } else {
                self.val_type().into()
            }
        }

        fn types(&mut self) -> Box<[ValType]> {
            self.expect("(");
            let mut types = Vec::new();
            while !self.accept(")") {
                types.push(self.val_type());
                self.accept(",");
            }
            types.into()
        }

        fn func_type(&mut self) -> FuncType {
            let params = self.types();
            self.expect("->");
            let results = self.types();
            FuncType { params, results }
        }

        fn values(&mut self) -> Vec<Value> {
            let mut values = Vec::new();
            while self.peek().starts_with('v') {
                values.push(self.value());
                if !self.accept(",") {
                    break;
                }
            }
            values
        }

        fn jump(&mut self) -> Jump {
            let block = Block(self.prefixed("block"));
            let mut args = Vec::new();
            if self.accept("(") {
                args = self.values();
                self.expect(")");
            }
            Jump { block, args }
        }

        fn state(&mut self, func: FuncIndex) -> Box<FrameState> {
            let kind = match self.next().as_str() {
                "call" => PointKind::Call,
                "loop" => PointKind::LoopHeader,
                "entry" => PointKind::Entry,
                other => panic!("a kind of point expected, found {other}"),
            };
            let offset = WasmOffset(self.u32());
            let (mut locals, mut stack, mut values) = (Vec::new(), Vec::new(), Vec::new());
            self.expect("[");
            while !self.accept("|") {
                let local = LocalIndex(self.prefixed("local"));
                locals.push((local, self.val_type()));
                self.expect("=");
                values.push(self.value());
                self.accept(",");
            }
            while !self.accept("]") {
                stack.push(self.val_type());
                self.expect("=");
                values.push(self.value());
                self.accept(",");
            }
            Box::new(FrameState {
                layout: CanonicalLayout {
                    func,
                    offset,
                    kind,
                    locals: locals.into(),
                    stack: stack.into(),
                },
                values,
            })
        }

        fn function(&mut self) -> Function {
            self.expect("function");
            let index = FuncIndex(self.u32());
            let ty = self.func_type();
            let entry = if self.accept("top") {
                Entry::Top
            } else {
                self.expect("osr");
                Entry::Osr(WasmOffset(self.u32()))
            };
            let mut func = Function::new(index, ty, entry);
            while !self.tokens.is_empty() {
                self.block(&mut func);
            }
            func
        }

        fn define(func: &mut Function, value: Value, ty: Type, def: ValueDef) {
            while func.values.len() <= value.index() {
                func.values.push(ValueData {
                    ty: Type::I32,
                    def: ValueDef::Param(Block(u32::MAX), 0),
                });
            }
            func.values[value.index()] = ValueData { ty, def };
        }

        fn block(&mut self, func: &mut Function) {
            let block = Block(self.prefixed("block"));
            while func.blocks.len() <= block.index() {
                func.blocks.push(BlockData::default());
            }
            if self.accept("(") {
                while !self.accept(")") {
                    let value = self.value();
                    self.expect(":");
                    let ty = self.ty();
                    let params = &mut func.blocks[block.index()].params;
                    params.push(value);
                    let position = u32::try_from(params.len() - 1).expect("few");
                    Self::define(func, value, ty, ValueDef::Param(block, position));
                    self.accept(",");
                }
            }
            func.blocks[block.index()].cold = self.accept("cold");
            self.expect(":");
            while !self.tokens.is_empty() && !self.peek().starts_with("block") {
                self.inst(func, block);
            }
        }

        fn inst(&mut self, func: &mut Function, block: Block) {
            let results = self.values();
            if !results.is_empty() {
                self.expect("=");
            }
            let data = self.data(func.index);
            let inst = super::super::value::Inst::new(func.insts.len());
            for ((&result, ty), position) in results.iter().zip(func.result_types(&data)).zip(0..) {
                Self::define(func, result, ty, ValueDef::Result(inst, position));
            }
            let offset = if self.peek().starts_with('@') {
                WasmOffset(self.u32())
            } else {
                WasmOffset(0)
            };
            func.insts.push(InstNode {
                data,
                results,
                offset,
            });
            func.blocks[block.index()].insts.push(inst);
        }

        fn data(&mut self, func: FuncIndex) -> InstData {
            let name = self.next();
            match name.as_str() {
                "const" => InstData::Const {
                    ty: self.ty(),
                    bits: self.number(),
                },
                "select" => InstData::Select {
                    ty: self.ty(),
                    cond: self.value(),
                    args: [self.comma_value(), self.comma_value()],
                },
                "frame_load" => InstData::FrameLoad {
                    ty: self.ty(),
                    slot: FrameOffset(self.next().parse().expect("a number")),
                },
                "memory_base" => InstData::MemoryBase,
                "bounds_check" => {
                    let index = self.value();
                    self.expect(",");
                    InstData::BoundsCheck {
                        index,
                        end: self.number(),
                    }
                }
                "memory_size" => InstData::MemorySize,
                "memory_grow" => InstData::MemoryGrow {
                    pages: self.value(),
                },
                "memory_copy" | "memory_fill" | "memory_init" => {
                    let op = match name.as_str() {
                        "memory_copy" => BulkOp::Copy,
                        "memory_fill" => BulkOp::Fill,
                        _ => BulkOp::Init(DataIndex(self.u32())),
                    };
                    InstData::Bulk {
                        op,
                        args: [self.value(), self.comma_value(), self.comma_value()],
                    }
                }
                "data_drop" => InstData::DataDrop {
                    segment: DataIndex(self.u32()),
                },
                "global_get" => InstData::GlobalGet {
                    ty: self.ty(),
                    global: GlobalIndex(self.u32()),
                },
                "ref_func" => InstData::RefFunc {
                    func: FuncIndex(self.u32()),
                },
                "global_set" => InstData::GlobalSet {
                    global: GlobalIndex(self.u32()),
                    value: self.comma_value(),
                },
                "table_check" => InstData::TableCheck {
                    table: TableIndex(self.u32()),
                    index: self.value(),
                    code: self.trap_code(),
                },
                "table_load" => InstData::TableLoad {
                    ty: self.ty(),
                    table: TableIndex(self.u32()),
                    index: self.value(),
                },
                "table_store" => InstData::TableStore {
                    table: TableIndex(self.u32()),
                    index: self.value(),
                    value: self.comma_value(),
                },
                "table_size" => InstData::TableSize {
                    table: TableIndex(self.u32()),
                },
                "table_grow" | "table_fill" | "table_copy" | "table_init" | "elem_drop" => {
                    let first = self.u32();
                    let table = TableIndex(first);
                    let op = match name.as_str() {
                        "table_grow" => TableOp::Grow(table),
                        "table_fill" => TableOp::Fill(table),
                        "table_copy" => TableOp::Copy {
                            to: table,
                            from: TableIndex(self.u32()),
                        },
                        "table_init" => TableOp::Init {
                            table,
                            segment: ElementIndex(self.u32()),
                        },
                        _ => TableOp::DropSegment(ElementIndex(first)),
                    };
                    self.expect("(");
                    let args = self.values();
                    self.expect(")");
                    InstData::Table { op, args }
                }
                "func_check" => InstData::FuncCheck {
                    func: self.value(),
                    ty: TypeIndex(self.u32()),
                },
                "call" | "call_import" | "call_ref" => {
                    let callee = match name.as_str() {
                        "call" => Callee::Defined(FuncIndex(self.u32())),
                        "call_import" => Callee::Imported(FuncIndex(self.u32())),
                        _ => Callee::Reference(self.value()),
                    };
                    let ty = Box::new(self.func_type());
                    self.expect("(");
                    let args = self.values();
                    self.expect(")");
                    InstData::Call {
                        callee,
                        ty,
                        args,
                        state: self.state(func),
                    }
                }
                "tail_call" | "tail_call_import" | "tail_call_ref" => {
                    let callee = match name.as_str() {
                        "tail_call" => Callee::Defined(FuncIndex(self.u32())),
                        "tail_call_import" => Callee::Imported(FuncIndex(self.u32())),
                        _ => Callee::Reference(self.value()),
                    };
                    let ty = Box::new(self.func_type());
                    self.expect("(");
                    let args = self.values();
                    self.expect(")");
                    InstData::TailCall { callee, ty, args }
                }
                "checkpoint" => InstData::Checkpoint {
                    state: self.state(func),
                },
                "jump" => InstData::Jump(self.jump()),
                "branch" => {
                    let cond = self.value();
                    self.expect(",");
                    let then = self.jump();
                    self.expect(",");
                    let otherwise = self.jump();
                    InstData::Branch {
                        cond,
                        then,
                        otherwise,
                    }
                }
                "branch_table" => {
                    let index = self.value();
                    let mut targets = Vec::new();
                    while self.accept(",") {
                        targets.push(self.jump());
                    }
                    InstData::BranchTable { index, targets }
                }
                "return" => InstData::Return {
                    values: self.values(),
                },
                "trap" => InstData::Trap {
                    code: self.trap_code(),
                },
                _ => self.operator(&name),
            }
        }

        fn trap_code(&mut self) -> TrapCode {
            let code = self.next();
            let codes = [
                TrapCode::Unreachable,
                TrapCode::MemoryOutOfBounds,
                TrapCode::IntegerDivisionByZero,
                TrapCode::IntegerOverflow,
                TrapCode::BadConversionToInteger,
                TrapCode::StackOverflow,
                TrapCode::Interrupt,
                TrapCode::TableOutOfBounds,
                TrapCode::UndefinedElement,
                TrapCode::UninitializedElement,
                TrapCode::IndirectCallTypeMismatch,
            ];
            named(&codes, &code).expect("a trap code")
        }

        fn operator(&mut self, name: &str) -> InstData {
            if let Some(op) = named(&ALL_UNARY, name) {
                return InstData::Unary {
                    op,
                    arg: self.value(),
                };
            }
            if let Some(op) = named(&ALL_BINARY, name) {
                return InstData::Binary {
                    op,
                    args: [self.value(), self.comma_value()],
                };
            }
            let base = self.value();
            let index = self.comma_value();
            self.expect(",");
            let offset = self.u32();
            if let Some(op) = named(&ALL_LOADS, name) {
                return InstData::Load {
                    op,
                    base,
                    index,
                    offset,
                };
            }
            InstData::Store {
                op: named(&ALL_STORES, name).unwrap_or_else(|| panic!("no operator {name}")),
                base,
                index,
                offset,
                value: self.comma_value(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::verify::verify_function;

    #[test]
    fn text_survives_reading_and_printing() {
        let text = "\
function 3 (i32, i64) -> (i32) top
block0(v0: i32, v1: i64):
  v2 = const i32 0x5
  checkpoint entry @0x20 [local0 i32 = v0, local1 i64 = v1 | ]
  v3 = I32Add v0, v2 @0x24
  v4 = memory_base
  bounds_check v3, 12
  v5 = I32Load8U v4, v3, 11
  I32Store v4, v3, 8, v5
  v6, v7 = call_import 1 (i32) -> (i32, f64) (v5) call @0x30 [local1 i64 = v1 | i32 = v3] @0x30
  v8 = select i32 v6, v3, v5
  branch v8, block1(v8, v7), block2
block1(v9: i32, v10: f64):
  v11 = global_get f64 2
  global_set 2, v10
  branch_table v9, block2, block2, block3
block2 cold:
  trap Unreachable
block3:
  v12 = memory_grow v9
  memory_copy v9, v12, v9 @0x40
  memory_fill v9, v12, v9
  memory_init 3 v9, v12, v9
  data_drop 3
  branch v12, block4, block5
block4:
  tail_call 7 (i32, i32) -> (i32) (v9, v12) @0x48
block5:
  tail_call_import 0 () -> (i32) ()
";
        let func = parse(text);
        assert_eq!(func.to_string(), text);
        verify_function(&func).expect("it is well-formed");
    }

    #[test]
    fn the_verifier_sees_what_is_wrong() {
        for (text, wrong) in [
            (
                "function 0 () -> () top block0: jump block0",
                "the entry has a predecessor",
            ),
            (
                "function 0 () -> (i32) top block0: v0 = const i64 1 return v0",
                "not a I32",
            ),
            (
                "function 0 (i32) -> (i32) top block0(v0: i32): branch v0, block1, block2
                 block1: v1 = const i32 1 jump block2 block2: return v1",
                "does not reach its use",
            ),
            (
                "function 0 (i32) -> (i32) top block0(v0: i32): v1 = memory_base
                 call 1 () -> () () call @0x9 [|] v2 = I32Load v1, v0, 0 return v2",
                "an address lives across",
            ),
            (
                "function 0 (i32) -> () top block0(v0: i32): jump block1 block1: jump block2(v0)
                 block2: return",
                "wrong arguments",
            ),
            (
                "function 0 (i32) -> () top block0(v0: i32):
                 checkpoint entry @0x1 [local0 i64 = v0 | ] return",
                "does not match its layout",
            ),
            (
                "function 0 () -> () top block0: v0 = frame_load i32 -16 return",
                "outside an OSR entry",
            ),
        ] {
            let error = verify_function(&parse(text)).expect_err(wrong);
            assert!(error.contains(wrong), "{error}");
        }
    }
}
