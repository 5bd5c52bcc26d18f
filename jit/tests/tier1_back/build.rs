//! Hand-built IR.

use midair_jit::{
    code::draft::{CodeDraft, CodeKind},
    ir::value::{
        BinaryOp, Block, Callee, ENTRY, Entry, FrameState, Function, InstData, Jump, LoadOp,
        StoreOp, TrapCode, Type, UnaryOp, Value,
    },
    options::CompileOptions,
    suspension::point::{CanonicalLayout, PointKind},
    tier1::compile_ir,
    wasm::types::{FrameOffset, FuncIndex, FuncType, GlobalIndex, LocalIndex, ValType, WasmOffset},
};

pub(crate) struct Builder {
    pub(crate) ir: Function,
    pub(crate) block: Block,
    offset: u32,
}

pub(crate) fn func_type(params: &[ValType], results: &[ValType]) -> FuncType {
    FuncType {
        params: params.into(),
        results: results.into(),
    }
}

fn wasm_type(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::FuncRef => ValType::FuncRef,
        Type::ExternRef => ValType::ExternRef,
        Type::Ptr => panic!("an address in a frame state"),
    }
}

impl Builder {
    /// A function, and its parameters.
    pub(crate) fn new(params: &[ValType], results: &[ValType]) -> (Self, Vec<Value>) {
        let mut ir = Function::new(FuncIndex(0), func_type(params, results), Entry::Top);
        let params = params
            .iter()
            .map(|&ty| ir.add_param(ENTRY, ty.into()))
            .collect();
        let builder = Self {
            ir,
            block: ENTRY,
            offset: 0x100,
        };
        (builder, params)
    }

    pub(crate) fn osr(results: &[ValType]) -> Self {
        Self {
            ir: Function::new(
                FuncIndex(0),
                func_type(&[], results),
                Entry::Osr(WasmOffset(0x40)),
            ),
            block: ENTRY,
            offset: 0x100,
        }
    }

    pub(crate) fn push(&mut self, data: InstData, results: &[Type]) -> Vec<Value> {
        self.offset += 1;
        let inst = self.ir.add_inst(data, results, WasmOffset(self.offset));
        self.ir.blocks[self.block.index()].insts.push(inst);
        self.ir.insts[inst.index()].results.clone()
    }

    fn one(&mut self, data: InstData, ty: Type) -> Value {
        self.push(data, &[ty])[0]
    }

    /// Wasm offset of what was pushed last.
    pub(crate) fn last_offset(&self) -> u32 {
        self.offset
    }

    pub(crate) fn block(&mut self, params: &[Type]) -> (Block, Vec<Value>) {
        let block = self.ir.add_block();
        let params = params
            .iter()
            .map(|&ty| self.ir.add_param(block, ty))
            .collect();
        (block, params)
    }

    pub(crate) fn at(&mut self, block: Block) {
        self.block = block;
    }

    pub(crate) fn constant(&mut self, ty: Type, bits: u64) -> Value {
        self.one(InstData::Const { ty, bits }, ty)
    }

    pub(crate) fn i32(&mut self, value: i32) -> Value {
        self.constant(Type::I32, u64::from(value.cast_unsigned()))
    }

    pub(crate) fn i64(&mut self, value: i64) -> Value {
        self.constant(Type::I64, value.cast_unsigned())
    }

    pub(crate) fn unary(&mut self, op: UnaryOp, arg: Value, ty: Type) -> Value {
        self.one(InstData::Unary { op, arg }, ty)
    }

    pub(crate) fn binary(&mut self, op: BinaryOp, a: Value, b: Value, ty: Type) -> Value {
        self.one(InstData::Binary { op, args: [a, b] }, ty)
    }

    pub(crate) fn select(&mut self, cond: Value, a: Value, b: Value) -> Value {
        let ty = self.ir.type_of(a);
        self.one(
            InstData::Select {
                ty,
                cond,
                args: [a, b],
            },
            ty,
        )
    }

    pub(crate) fn frame_load(&mut self, ty: Type, slot: i32) -> Value {
        self.one(
            InstData::FrameLoad {
                ty,
                slot: FrameOffset(slot),
            },
            ty,
        )
    }

    pub(crate) fn base(&mut self) -> Value {
        self.one(InstData::MemoryBase, Type::Ptr)
    }

    pub(crate) fn check(&mut self, index: Value, end: u64) {
        self.push(InstData::BoundsCheck { index, end }, &[]);
    }

    pub(crate) fn load(
        &mut self,
        op: LoadOp,
        base: Value,
        index: Value,
        offset: u32,
        ty: Type,
    ) -> Value {
        self.one(
            InstData::Load {
                op,
                base,
                index,
                offset,
            },
            ty,
        )
    }

    pub(crate) fn store(
        &mut self,
        op: StoreOp,
        base: Value,
        index: Value,
        offset: u32,
        value: Value,
    ) {
        self.push(
            InstData::Store {
                op,
                base,
                index,
                offset,
                value,
            },
            &[],
        );
    }

    pub(crate) fn global_get(&mut self, global: u32, ty: Type) -> Value {
        let global = GlobalIndex(global);
        self.one(InstData::GlobalGet { ty, global }, ty)
    }

    pub(crate) fn global_set(&mut self, global: u32, value: Value) {
        let global = GlobalIndex(global);
        self.push(InstData::GlobalSet { global, value }, &[]);
    }

    /// A frame state whose entries are locals with these values.
    pub(crate) fn state(&self, kind: PointKind, values: &[Value]) -> Box<FrameState> {
        Box::new(FrameState {
            layout: CanonicalLayout {
                func: FuncIndex(0),
                offset: WasmOffset(self.offset + 1),
                kind,
                locals: values
                    .iter()
                    .zip(0..)
                    .map(|(&value, n)| (LocalIndex(n), wasm_type(self.ir.type_of(value))))
                    .collect(),
                stack: Box::default(),
            },
            values: values.to_vec(),
        })
    }

    pub(crate) fn call(
        &mut self,
        callee: Callee,
        ty: &FuncType,
        args: &[Value],
        live: &[Value],
    ) -> Vec<Value> {
        let state = self.state(PointKind::Call, live);
        let results: Vec<Type> = ty.results.iter().map(|&ty| ty.into()).collect();
        self.push(
            InstData::Call {
                callee,
                ty: Box::new(ty.clone()),
                args: args.to_vec(),
                state,
            },
            &results,
        )
    }

    pub(crate) fn checkpoint(&mut self, live: &[Value]) {
        let state = self.state(PointKind::LoopHeader, live);
        self.push(InstData::Checkpoint { state }, &[]);
    }

    pub(crate) fn jump(&mut self, block: Block, args: &[Value]) {
        let jump = Jump {
            block,
            args: args.to_vec(),
        };
        self.push(InstData::Jump(jump), &[]);
    }

    pub(crate) fn branch(
        &mut self,
        cond: Value,
        then: (Block, &[Value]),
        otherwise: (Block, &[Value]),
    ) {
        let jump = |(block, args): (Block, &[Value])| Jump {
            block,
            args: args.to_vec(),
        };
        self.push(
            InstData::Branch {
                cond,
                then: jump(then),
                otherwise: jump(otherwise),
            },
            &[],
        );
    }

    pub(crate) fn ret(&mut self, values: &[Value]) {
        let values = values.to_vec();
        self.push(InstData::Return { values }, &[]);
    }

    pub(crate) fn trap(&mut self, code: TrapCode) {
        self.push(InstData::Trap { code }, &[]);
    }

    pub(crate) fn compile(mut self) -> CodeDraft {
        let (kind, frame) = match self.ir.entry {
            Entry::Top => (CodeKind::Tier1, 0),
            Entry::Osr(offset) => (CodeKind::Osr(offset), 64),
        };
        let options = CompileOptions {
            checkers: true,
            ..CompileOptions::default()
        };
        compile_ir(
            &mut self.ir,
            kind,
            frame,
            &super::machine::layout(),
            &options,
        )
        .expect("it is optimized")
    }
}

/// The hot part of a draft as text: from its entry to the first place out of line.
pub(crate) fn listing(draft: &CodeDraft) -> Vec<String> {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    let mut formatter = IntelFormatter::new();
    let mut lines = Vec::new();
    let mut labels = draft.labels.iter().peekable();
    for instruction in Decoder::with_ip(64, &draft.bytes, 0, DecoderOptions::NONE).iter() {
        while let Some((_, name)) = labels.next_if(|(at, _)| u64::from(at.0) <= instruction.ip()) {
            if name == "constants" || name.starts_with("table") {
                return lines;
            }
            lines.push(format!("{name}:"));
        }
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        lines.push(format!("  {:4x} {text}", instruction.ip()));
    }
    lines
}
