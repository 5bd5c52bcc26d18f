//! Wasm to SSA, from the top or from a loop header.
//!
//! ```text
//! (block $b (param) ...       ;; label of $b: a block whose parameters are the locals live there,
//!   (br_if $b ...))           ;; then the label's types; created by the first branch to it
//! ```
//!
//! One walk over the operators with an abstract operand stack and the current value of each local. Parameters that turn
//! out to be redundant are removed by a pass. How a walk can begin at a loop header is told in `osr_entry`.
//!
//! **Invariant (labels carry what lives).** Whoever enters a label passes the locals live there, so walks that begin at
//! different places can join at any label.

#![forbid(unsafe_code)]

use super::{inline, operators};
use crate::{
    error::NotOptimized,
    frame::layout::FrameLayout,
    ir::{
        builder::Cursor,
        value::{
            BinaryOp, Block, BulkOp, Callee, ENTRY, Entry, FrameState, Function, InstData, Jump,
            LoadOp, StoreOp, TableOp, TrapCode, Type, UnaryOp, Value,
        },
    },
    options::CompileOptions,
    suspension::point::{CanonicalLayout, PointKind},
    wasm::{
        liveness::{LiveLocals, Liveness},
        module::{BlockSignature, GlobalInit, Module, null_type},
        types::{
            DataIndex, ElementIndex, FuncIndex, FuncType, GlobalIndex, LocalIndex, TableIndex,
            TypeIndex, ValType, WasmOffset,
        },
    },
};
use wasmparser::Operator;

/// Copies and fills of so many bytes, known when compiling, are loads and stores.
const INLINE_BYTES: u64 = 32;

/// How so many bytes are read and written, as 64-bit integers, and where each piece begins.
fn pieces_of(len: u64) -> Vec<(LoadOp, StoreOp, u32)> {
    let sizes = [
        (LoadOp::I64Load, StoreOp::I64Store),
        (LoadOp::I64Load32U, StoreOp::I64Store32),
        (LoadOp::I64Load16U, StoreOp::I64Store16),
        (LoadOp::I64Load8U, StoreOp::I64Store8),
    ];
    let mut pieces = Vec::new();
    let mut at = 0;
    for (load, store) in sizes {
        while u64::from(at + load.access_size()) <= len {
            pieces.push((load, store, at));
            at += load.access_size();
        }
    }
    pieces
}

/// Bytes of a Wasm page.
const PAGE: u64 = 65536;

/// Builds a function's SSA form. For an OSR entry, `tier0_frame` is the frame it is entered in and `osr_stack` the types
/// of the whole operand stack at the header, from the bottom.
///
/// # Errors
/// `TooLarge`, or `UnreachableEntry` if the OSR entry is not a loop that can be reached.
///
/// # Panics
/// If the function is imported; never for the body of a module that was validated.
pub fn build(
    module: &Module,
    func: FuncIndex,
    entry: Entry,
    liveness: &Liveness,
    tier0_frame: &FrameLayout,
    osr_stack: &[ValType],
    options: &CompileOptions,
) -> Result<Function, NotOptimized> {
    let body = Body::decode(module, func, options)?;
    let mut builder = Builder::new(module, func, entry, liveness, &body, options);
    match entry {
        Entry::Top => {
            builder.enter_top()?;
            builder.walk(0, None)?;
        }
        Entry::Osr(offset) => builder.build_osr(offset, tier0_frame, osr_stack)?,
    }
    let mut func = builder.func;
    super::passes::dead_code::remove_unreachable(&mut func);
    Ok(func)
}

/// A body as a list of operators.
#[derive(Debug)]
pub(super) struct Body<'m> {
    pub(super) operators: Vec<(Operator<'m>, WasmOffset)>,
    /// For a `block`, `loop` or `else` its `end`; for an `if` its `else`, or without one its `end`.
    partner: Vec<u32>,
    /// It has loops or calls, or is to have a checkpoint all the same. What has neither takes no longer than it is long and
    /// needs none.
    comes_back: bool,
}

impl<'m> Body<'m> {
    fn decode(
        module: &'m Module,
        func: FuncIndex,
        options: &CompileOptions,
    ) -> Result<Self, NotOptimized> {
        let limit = cost_limit(options);
        let mut body = Self {
            operators: Vec::new(),
            partner: Vec::new(),
            comes_back: options.entry_checkpoints,
        };
        let reader = module.body(func).get_operators_reader();
        let reader = reader.expect("bodies are validated");
        let mut open = Vec::new();
        for (at, item) in (0u32..).zip(reader.into_iter_with_offsets()) {
            let (operator, offset) = item.expect("bodies are validated");
            if body.operators.len() > limit {
                return Err(NotOptimized::TooLarge);
            }
            body.partner.push(0);
            body.comes_back |= matches!(
                operator,
                Operator::Loop { .. }
                    | Operator::Call { .. }
                    | Operator::CallIndirect { .. }
                    | Operator::ReturnCall { .. }
                    | Operator::ReturnCallIndirect { .. }
            );
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    open.push(at);
                }
                Operator::Else => {
                    let start = open.pop().expect("bodies are validated");
                    body.partner[start as usize] = at;
                    open.push(at);
                }
                Operator::End => {
                    if let Some(start) = open.pop() {
                        body.partner[start as usize] = at;
                    }
                }
                _ => {}
            }
            let offset = u32::try_from(offset).expect("modules are below 4 GiB");
            body.operators.push((operator, WasmOffset(offset)));
        }
        Ok(body)
    }
}

/// Bounds everything that is not an SSA instruction: operators, operands, parameters.
fn cost_limit(options: &CompileOptions) -> usize {
    (options.max_optimized_insts as usize).saturating_mul(16)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Body,
    Block,
    Loop,
    /// The first arm of an `if`.
    Then,
    Else,
}

/// A structured construct that is being walked.
#[derive(Clone, Debug)]
pub(super) struct Control<'m> {
    pub(super) kind: Kind,
    /// Its `block`, `loop`, `if` or `else` operator.
    pub(super) at: usize,
    /// Offset of its `block`, `loop` or `if` operator.
    pub(super) offset: WasmOffset,
    pub(super) signature: BlockSignature<'m>,
    /// Height of the operand stack beneath its parameters.
    pub(super) height: usize,
    /// Where a branch to it goes, once there is one.
    pub(super) label: Option<Block>,
    /// The second arm of an `if`, and what it finds on the stack.
    pub(super) else_arm: Option<(Block, Vec<Value>)>,
    /// Length of the undo log at the start of an `if`.
    pub(super) undo: usize,
    /// It was open around the OSR entry: its label is shared with walks to come.
    pub(super) shared: bool,
    /// Block behind the end of a shared loop, or of the copy that a walk makes of it.
    pub(super) exit: Option<Block>,
    /// A walk ends with it.
    pub(super) last: bool,
}

/// The state of a walk.
#[derive(Debug)]
pub(super) struct Builder<'m, 'b> {
    pub(super) module: &'m Module,
    pub(super) index: FuncIndex,
    pub(super) liveness: &'b Liveness,
    pub(super) body: &'b Body<'m>,
    pub(super) func: Function,
    pub(super) local_types: Vec<ValType>,
    /// Current values; `None` where code that never runs would read them.
    pub(super) locals: Vec<Option<Value>>,
    pub(super) stack: Vec<Value>,
    /// All constructs met so far; `open` holds the places of those still open.
    pub(super) controls: Vec<Control<'m>>,
    pub(super) open: Vec<usize>,
    undo: Vec<(LocalIndex, Option<Value>)>,
    open_ifs: usize,
    /// Whether the operator at hand can be reached.
    pub(super) reachable: bool,
    pub(super) block: Block,
    pub(super) offset: WasmOffset,
    cost: usize,
    max_cost: usize,
    max_insts: usize,
    /// Small callees are copied.
    copies: bool,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// At the end of its last construct.
    Ended,
    /// In front of the operator it was to stop at.
    Stopped,
}

impl<'m, 'b> Builder<'m, 'b> {
    pub(super) fn new(
        module: &'m Module,
        index: FuncIndex,
        entry: Entry,
        liveness: &'b Liveness,
        body: &'b Body<'m>,
        options: &CompileOptions,
    ) -> Self {
        let ty = module.func_type(index);
        let local_types = module.locals(index);
        Self {
            module,
            index,
            liveness,
            body,
            func: Function::new(index, ty.as_ref().clone(), entry),
            locals: vec![None; local_types.len()],
            local_types,
            stack: Vec::new(),
            controls: Vec::new(),
            open: Vec::new(),
            undo: Vec::new(),
            open_ifs: 0,
            reachable: true,
            block: ENTRY,
            offset: liveness.first_operator(),
            cost: 0,
            max_cost: cost_limit(options),
            max_insts: options.max_optimized_insts as usize,
            copies: !options.entry_checkpoints,
        }
    }

    /// Fills the entry block of a function that is entered at the top.
    pub(super) fn enter_top(&mut self) -> Result<(), NotOptimized> {
        let ty = self.module.func_type(self.index);
        for (n, &ty) in ty.params.iter().enumerate() {
            self.locals[n] = Some(self.func.add_param(ENTRY, ty.into()));
        }
        let mut zeros: Vec<(ValType, Value)> = Vec::new();
        for n in ty.params.len()..self.local_types.len() {
            let ty = self.local_types[n];
            let zero = zeros.iter().find(|zero| zero.0 == ty).map(|zero| zero.1);
            let zero = zero.unwrap_or_else(|| {
                let zero = self.cursor().constant(ty.into(), 0);
                zeros.push((ty, zero));
                zero
            });
            self.locals[n] = Some(zero);
        }
        self.push_control(Kind::Body, 0, self.body_signature());
        if self.body.comes_back {
            let live = self.liveness.live_at(PointKind::Entry, self.offset);
            let state = self.frame_state(PointKind::Entry, live, 0);
            self.push(InstData::Checkpoint { state })?;
        }
        Ok(())
    }

    pub(super) fn body_signature(&self) -> BlockSignature<'m> {
        BlockSignature {
            params: &[],
            results: &self.module.func_type(self.index).results,
        }
    }

    fn cursor(&mut self) -> Cursor<'_> {
        Cursor::new(&mut self.func, self.block, self.offset)
    }

    pub(super) fn push(&mut self, data: InstData) -> Result<Option<Value>, NotOptimized> {
        let mut operands = 1;
        data.for_each_operand(|_| operands += 1);
        self.pay(operands)?;
        if self.func.insts.len() >= self.max_insts {
            return Err(NotOptimized::TooLarge);
        }
        let inst = self.cursor().push(data);
        Ok(self.func.insts[inst.index()].results.first().copied())
    }

    pub(super) fn pay(&mut self, cost: usize) -> Result<(), NotOptimized> {
        self.cost += cost;
        if self.cost > self.max_cost {
            return Err(NotOptimized::TooLarge);
        }
        Ok(())
    }

    pub(super) fn push_value(&mut self, data: InstData) -> Result<Value, NotOptimized> {
        Ok(self.push(data)?.expect("it has a result"))
    }

    fn constant(&mut self, ty: Type, bits: u64) -> Result<Value, NotOptimized> {
        self.push_value(InstData::Const { ty, bits })
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().expect("bodies are validated")
    }

    pub(super) fn push_control(&mut self, kind: Kind, at: usize, signature: BlockSignature<'m>) {
        let height = self.stack.len() - signature.params.len();
        self.open.push(self.controls.len());
        self.controls.push(Control {
            kind,
            at,
            offset: self.offset,
            signature,
            height,
            label: None,
            else_arm: None,
            undo: self.undo.len(),
            shared: false,
            exit: None,
            last: kind == Kind::Body,
        });
    }

    fn set_local(&mut self, local: LocalIndex, value: Option<Value>) {
        let old = std::mem::replace(&mut self.locals[local.index()], value);
        if self.open_ifs > 0 {
            self.undo.push((local, old));
        }
    }

    /// Forgets the values of a walk whose code is not kept.
    pub(super) fn forget_prefix(&mut self) {
        self.locals.fill(None);
        self.stack.clear();
        self.undo.clear();
        self.open_ifs = 0;
        self.block = ENTRY;
        self.cost = 0;
    }

    fn roll_back(&mut self, to: usize) {
        while self.undo.len() > to {
            let (local, old) = self.undo.pop().expect("just counted");
            self.locals[local.index()] = old;
        }
    }

    /// The current value of a local. Code that never runs may find none: it gets a zero.
    pub(super) fn local(&mut self, local: LocalIndex) -> Result<Value, NotOptimized> {
        match self.locals[local.index()] {
            Some(value) => Ok(value),
            None => self.constant(self.local_types[local.index()].into(), 0),
        }
    }

    /// Locals live at a construct's label.
    fn live_at_label(&self, control: usize) -> Result<LiveLocals<'b>, NotOptimized> {
        let control = &self.controls[control];
        if control.kind == Kind::Body {
            return Ok(LiveLocals::Listed([].iter()));
        }
        self.liveness
            .live_at_label(control.offset)
            .ok_or(NotOptimized::TooLarge)
    }

    fn label_types(&self, control: usize) -> &'m [ValType] {
        let control = &self.controls[control];
        match control.kind {
            Kind::Loop => control.signature.params,
            _ => control.signature.results,
        }
    }

    /// A block that takes live locals and values of some types.
    fn make_label(
        &mut self,
        live: LiveLocals<'_>,
        types: &[ValType],
    ) -> Result<Block, NotOptimized> {
        self.pay(1 + live.len() + types.len())?;
        let block = self.func.add_block();
        for local in live {
            let ty = self.local_types[local.index()];
            self.func.add_param(block, ty.into());
        }
        for &ty in types {
            self.func.add_param(block, ty.into());
        }
        Ok(block)
    }

    /// Where a branch to a construct goes.
    pub(super) fn label(&mut self, control: usize) -> Result<Block, NotOptimized> {
        if let Some(label) = self.controls[control].label {
            return Ok(label);
        }
        let live = self.live_at_label(control)?;
        let label = self.make_label(live, self.label_types(control))?;
        self.controls[control].label = Some(label);
        Ok(label)
    }

    /// Values of live locals, then the topmost values of the stack.
    fn label_args(
        &mut self,
        live: LiveLocals<'_>,
        values: usize,
    ) -> Result<Vec<Value>, NotOptimized> {
        let mut args = Vec::with_capacity(live.len() + values);
        for local in live {
            args.push(self.local(local)?);
        }
        args.extend_from_slice(&self.stack[self.stack.len() - values..]);
        Ok(args)
    }

    /// The jump of a branch to a construct.
    fn branch(&mut self, control: usize) -> Result<Jump, NotOptimized> {
        let block = self.label(control)?;
        let live = self.live_at_label(control)?;
        let args = self.label_args(live, self.label_types(control).len())?;
        Ok(Jump { block, args })
    }

    fn jump_to(&mut self, control: usize) -> Result<(), NotOptimized> {
        let jump = self.branch(control)?;
        self.push(InstData::Jump(jump))?;
        Ok(())
    }

    /// Goes on in a block made by `make_label`: its parameters become the locals and the top of the stack.
    pub(super) fn enter_label(&mut self, block: Block, live: LiveLocals<'_>, height: usize) {
        self.block = block;
        let locals = live.len();
        for (n, local) in live.enumerate() {
            let param = self.func.blocks[block.index()].params[n];
            self.set_local(local, Some(param));
        }
        self.stack.truncate(height);
        self.stack
            .extend_from_slice(&self.func.blocks[block.index()].params[locals..]);
    }

    /// The frame state of the current operator, without the topmost `popped` values.
    fn frame_state(
        &mut self,
        kind: PointKind,
        live: LiveLocals<'_>,
        popped: usize,
    ) -> Box<FrameState> {
        let beneath = self.stack.len() - popped;
        let mut values = Vec::with_capacity(live.len() + beneath);
        let mut locals = Vec::with_capacity(live.len());
        for local in live {
            let ty = self.local_types[local.index()];
            locals.push((local, ty));
            values.push(
                self.locals[local.index()].unwrap_or_else(|| self.cursor().constant(ty.into(), 0)),
            );
        }
        values.extend_from_slice(&self.stack[..beneath]);
        let stack = self.stack[..beneath]
            .iter()
            .map(|&value| val_type(self.func.type_of(value)));
        Box::new(FrameState {
            layout: CanonicalLayout {
                func: self.index,
                offset: self.offset,
                kind,
                locals: locals.into(),
                stack: stack.collect(),
            },
            values,
        })
    }

    /// Walks from an operator on, until the innermost construct that was marked as last ends, or in front of `stop`.
    pub(super) fn walk(&mut self, from: usize, stop: Option<usize>) -> Result<Walk, NotOptimized> {
        let body = self.body;
        let mut at = from;
        self.reachable = true;
        loop {
            match stop {
                Some(stop) if at == stop => return Ok(Walk::Stopped),
                // It lies in unreachable code.
                Some(stop) if at > stop => return Ok(Walk::Ended),
                _ => {}
            }
            let (operator, offset) = &body.operators[at];
            self.offset = *offset;
            self.pay(1)?;
            match operator {
                Operator::End => {
                    if self.end()? {
                        return Ok(Walk::Ended);
                    }
                    at += 1;
                }
                Operator::Else => {
                    at = if self.else_arm(at)? {
                        at + 1
                    } else {
                        body.partner[at] as usize
                    };
                    continue;
                }
                operator => {
                    self.operator(operator, at)?;
                    at += 1;
                }
            }
            if !self.reachable {
                // Nothing is reached before the construct's next arm or its end.
                let control = &self.controls[self.innermost()];
                at = match control.kind {
                    Kind::Body => body.operators.len() - 1,
                    _ => body.partner[control.at] as usize,
                };
            }
        }
    }

    fn innermost(&self) -> usize {
        *self.open.last().expect("bodies are validated")
    }

    /// Begins the second arm of an `if`; not if the walk began in its first arm.
    fn else_arm(&mut self, at: usize) -> Result<bool, NotOptimized> {
        let control = self.innermost();
        if self.reachable {
            self.jump_to(control)?;
        }
        self.reachable = false;
        self.controls[control].kind = Kind::Else;
        self.controls[control].at = at;
        let Some((block, params)) = self.controls[control].else_arm.take() else {
            return Ok(false);
        };
        self.enter_else_arm(control, block, &params);
        Ok(true)
    }

    fn enter_else_arm(&mut self, control: usize, block: Block, params: &[Value]) {
        self.roll_back(self.controls[control].undo);
        self.open_ifs -= 1;
        self.block = block;
        self.reachable = true;
        self.stack.truncate(self.controls[control].height);
        self.stack.extend_from_slice(params);
    }

    /// Ends the innermost construct; whether the walk ends with it.
    fn end(&mut self) -> Result<bool, NotOptimized> {
        let control = self.innermost();
        if let Some((block, params)) = self.controls[control].else_arm.take() {
            // An `if` without `else`: the other arm passes the parameters on.
            if self.reachable {
                self.jump_to(control)?;
            }
            self.enter_else_arm(control, block, &params);
            if self.controls[control].label.is_some() {
                self.jump_to(control)?;
                self.reachable = false;
            }
        }
        self.open.pop();
        let Control {
            kind,
            offset,
            signature,
            height,
            shared,
            exit,
            last,
            ..
        } = self.controls[control];
        let liveness = self.liveness;
        if kind == Kind::Loop {
            if shared || exit.is_some() {
                let live = liveness
                    .live_behind_loop(offset)
                    .ok_or(NotOptimized::TooLarge)?;
                let exit = match exit {
                    Some(exit) => exit,
                    None => self.make_label(live.clone(), signature.results)?,
                };
                self.controls[control].exit = Some(exit);
                if self.reachable {
                    let args = self.label_args(live.clone(), signature.results.len())?;
                    self.push(InstData::Jump(Jump { block: exit, args }))?;
                }
                if !last {
                    self.enter_label(exit, live, height);
                    self.reachable = true;
                }
            }
            return Ok(last);
        }
        if shared {
            // Walks to come may branch here even if this one did not.
            self.label(control)?;
        }
        if let Some(label) = self.controls[control].label {
            if self.reachable {
                self.jump_to(control)?;
            }
            let live = self.live_at_label(control)?;
            self.enter_label(label, live, height);
            self.reachable = true;
        } else if !self.reachable {
            self.stack.truncate(height);
        }
        if kind == Kind::Body && self.reachable {
            self.return_values()?;
        }
        Ok(last)
    }

    fn return_values(&mut self) -> Result<(), NotOptimized> {
        let results = self.func.ty.results.len();
        let values = self.stack.split_off(self.stack.len() - results);
        self.push(InstData::Return { values })?;
        self.reachable = false;
        Ok(())
    }

    fn trap(&mut self, code: TrapCode) -> Result<(), NotOptimized> {
        self.push(InstData::Trap { code })?;
        self.reachable = false;
        Ok(())
    }

    /// The construct that a branch of some depth aims at.
    fn target(&self, depth: u32) -> usize {
        self.open[self.open.len() - 1 - depth as usize]
    }

    fn operator(&mut self, operator: &Operator<'m>, at: usize) -> Result<(), NotOptimized> {
        match *operator {
            Operator::Nop => {}
            Operator::Unreachable => self.trap(TrapCode::Unreachable)?,
            Operator::Block { blockty } => {
                self.push_control(Kind::Block, at, self.module.block_type(blockty));
            }
            Operator::Loop { blockty } => {
                self.push_control(Kind::Loop, at, self.module.block_type(blockty));
                let control = self.innermost();
                self.jump_to(control)?;
                self.enter_header(control)?;
            }
            Operator::If { blockty } => {
                let cond = self.pop();
                let then = self.func.add_block();
                let otherwise = self.func.add_block();
                let jump = |block| Jump {
                    block,
                    args: Vec::new(),
                };
                self.push(InstData::Branch {
                    cond,
                    then: jump(then),
                    otherwise: jump(otherwise),
                })?;
                self.push_control(Kind::Then, at, self.module.block_type(blockty));
                self.open_ifs += 1;
                let control = self.innermost();
                let params = self.stack[self.controls[control].height..].to_vec();
                self.pay(params.len())?;
                self.controls[control].else_arm = Some((otherwise, params));
                self.block = then;
            }
            Operator::Br { relative_depth } => {
                let control = self.target(relative_depth);
                if self.controls[control].kind == Kind::Body {
                    self.return_values()?;
                } else {
                    self.jump_to(control)?;
                    self.reachable = false;
                }
            }
            Operator::BrIf { relative_depth } => {
                let cond = self.pop();
                let then = self.branch(self.target(relative_depth))?;
                let next = self.func.add_block();
                self.push(InstData::Branch {
                    cond,
                    then,
                    otherwise: Jump {
                        block: next,
                        args: Vec::new(),
                    },
                })?;
                self.block = next;
            }
            Operator::BrTable { ref targets } => {
                let index = self.pop();
                let mut jumps = Vec::new();
                let depths = targets.targets().map(|depth| depth.expect("valid"));
                for depth in depths.chain([targets.default()]) {
                    let jump = self.branch(self.target(depth))?;
                    self.pay(1 + jump.args.len())?;
                    jumps.push(jump);
                }
                self.push(InstData::BranchTable {
                    index,
                    targets: jumps,
                })?;
                self.reachable = false;
            }
            Operator::Return => self.return_values()?,
            Operator::Call { function_index } => self.call(FuncIndex(function_index))?,
            Operator::ReturnCall { function_index } => {
                self.return_call(FuncIndex(function_index))?;
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(TypeIndex(type_index), TableIndex(table_index))?,
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.return_call_indirect(TypeIndex(type_index), TableIndex(table_index))?,
            Operator::TableGet { table } => {
                let table = TableIndex(table);
                let index = self.pop();
                self.table_check(table, index, TrapCode::TableOutOfBounds)?;
                let ty = self.module.tables[table.index()].ty.element.into();
                self.result(InstData::TableLoad { ty, table, index })?;
            }
            Operator::TableSet { table } => {
                let table = TableIndex(table);
                let value = self.pop();
                let index = self.pop();
                self.table_check(table, index, TrapCode::TableOutOfBounds)?;
                self.push(InstData::TableStore {
                    table,
                    index,
                    value,
                })?;
            }
            Operator::TableSize { table } => {
                let table = TableIndex(table);
                self.result(InstData::TableSize { table })?;
            }
            Operator::TableGrow { table } => self.table_op(TableOp::Grow(TableIndex(table)), 2)?,
            Operator::TableFill { table } => self.table_op(TableOp::Fill(TableIndex(table)), 3)?,
            Operator::TableCopy {
                dst_table,
                src_table,
            } => {
                let (to, from) = (TableIndex(dst_table), TableIndex(src_table));
                self.table_op(TableOp::Copy { to, from }, 3)?;
            }
            Operator::TableInit { elem_index, table } => {
                let (table, segment) = (TableIndex(table), ElementIndex(elem_index));
                self.table_op(TableOp::Init { table, segment }, 3)?;
            }
            Operator::ElemDrop { elem_index } => {
                self.table_op(TableOp::DropSegment(ElementIndex(elem_index)), 0)?;
            }
            Operator::Drop => {
                self.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let cond = self.pop();
                let b = self.pop();
                let a = self.pop();
                let ty = self.func.type_of(a);
                let args = [a, b];
                self.result(InstData::Select { ty, cond, args })?;
            }
            Operator::LocalGet { local_index } => {
                let value = self.local(LocalIndex(local_index))?;
                self.stack.push(value);
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                self.set_local(LocalIndex(local_index), Some(value));
            }
            Operator::LocalTee { local_index } => {
                let value = *self.stack.last().expect("bodies are validated");
                self.set_local(LocalIndex(local_index), Some(value));
            }
            Operator::GlobalGet { global_index } => {
                let global = &self.module.globals[global_index as usize];
                let ty = global.ty.into();
                self.result(match global.init {
                    GlobalInit::Const(bits) if !global.mutable => InstData::Const { ty, bits },
                    _ => InstData::GlobalGet {
                        ty,
                        global: GlobalIndex(global_index),
                    },
                })?;
            }
            Operator::GlobalSet { global_index } => {
                let value = self.pop();
                self.push(InstData::GlobalSet {
                    global: GlobalIndex(global_index),
                    value,
                })?;
            }
            Operator::RefNull { hty } => {
                let ty = null_type(hty).into();
                self.result(InstData::Const { ty, bits: 0 })?;
            }
            Operator::RefIsNull => {
                let arg = self.pop();
                let op = UnaryOp::I64Eqz;
                self.result(InstData::Unary { op, arg })?;
            }
            Operator::RefFunc { function_index } => self.result(InstData::RefFunc {
                func: FuncIndex(function_index),
            })?,
            Operator::MemorySize { .. } => self.result(InstData::MemorySize)?,
            Operator::MemoryGrow { .. } => {
                let pages = self.pop();
                self.result(InstData::MemoryGrow { pages })?;
            }
            Operator::MemoryCopy { .. } => self.bulk(BulkOp::Copy)?,
            Operator::MemoryFill { .. } => self.bulk(BulkOp::Fill)?,
            Operator::MemoryInit { data_index, .. } => {
                self.bulk(BulkOp::Init(DataIndex(data_index)))?;
            }
            Operator::DataDrop { data_index } => {
                self.push(InstData::DataDrop {
                    segment: DataIndex(data_index),
                })?;
            }
            Operator::I32Const { value } => self.result(InstData::Const {
                ty: Type::I32,
                bits: value.cast_unsigned().into(),
            })?,
            Operator::I64Const { value } => self.result(InstData::Const {
                ty: Type::I64,
                bits: value.cast_unsigned(),
            })?,
            Operator::F32Const { value } => self.result(InstData::Const {
                ty: Type::F32,
                bits: value.bits().into(),
            })?,
            Operator::F64Const { value } => self.result(InstData::Const {
                ty: Type::F64,
                bits: value.bits(),
            })?,
            ref operator => self.numeric_or_memory(operator)?,
        }
        Ok(())
    }

    fn result(&mut self, data: InstData) -> Result<(), NotOptimized> {
        let value = self.push_value(data)?;
        self.stack.push(value);
        Ok(())
    }

    /// Goes on in a loop's header, with its checkpoint.
    pub(super) fn enter_header(&mut self, control: usize) -> Result<(), NotOptimized> {
        let header = self.label(control)?;
        let live = self.live_at_label(control)?;
        self.enter_label(header, live.clone(), self.controls[control].height);
        self.pay(live.len() + self.stack.len())?;
        let state = self.frame_state(PointKind::LoopHeader, live, 0);
        self.push(InstData::Checkpoint { state })?;
        Ok(())
    }

    fn call(&mut self, callee: FuncIndex) -> Result<(), NotOptimized> {
        // half of what is allowed stays for the function's own operators
        if self.copies
            && self.func.insts.len() < self.max_insts / 2
            && let Some(copied) = inline::copied(self.module, callee)
        {
            return self.copy_body(callee, &copied);
        }
        let ty = self.module.func_type(callee).as_ref().clone();
        let callee = if self.module.is_imported(callee) {
            Callee::Imported(callee)
        } else {
            Callee::Defined(callee)
        };
        self.call_of_type(callee, ty)
    }

    /// Does what a callee does.
    fn copy_body(
        &mut self,
        callee: FuncIndex,
        copied: &inline::Copied<'m>,
    ) -> Result<(), NotOptimized> {
        let params = self.module.func_type(callee).params.len();
        self.pay(params + copied.locals.len() + copied.operators.len())?;
        let mut locals = self.stack.split_off(self.stack.len() - params);
        for &ty in &copied.locals {
            locals.push(self.constant(ty, 0)?);
        }
        for operator in &copied.operators {
            match *operator {
                Operator::End => {}
                Operator::LocalGet { local_index } => {
                    self.stack.push(locals[local_index as usize]);
                }
                Operator::LocalSet { local_index } => {
                    locals[local_index as usize] = self.pop();
                }
                Operator::LocalTee { local_index } => {
                    let value = *self.stack.last().expect("bodies are validated");
                    locals[local_index as usize] = value;
                }
                // of no construct, so it matters not which operator of this body stands there
                ref operator => self.operator(operator, 0)?,
            }
        }
        Ok(())
    }

    fn call_indirect(&mut self, ty: TypeIndex, table: TableIndex) -> Result<(), NotOptimized> {
        let (callee, ty) = self.element_to_call(ty, table)?;
        self.call_of_type(callee, ty)
    }

    fn return_call_indirect(
        &mut self,
        ty: TypeIndex,
        table: TableIndex,
    ) -> Result<(), NotOptimized> {
        let (callee, ty) = self.element_to_call(ty, table)?;
        self.tail_call_of_type(callee, ty)
    }

    fn element_to_call(
        &mut self,
        ty: TypeIndex,
        table: TableIndex,
    ) -> Result<(Callee, FuncType), NotOptimized> {
        let index = self.pop();
        self.table_check(table, index, TrapCode::UndefinedElement)?;
        let func = self.push_value(InstData::TableLoad {
            ty: Type::FuncRef,
            table,
            index,
        })?;
        self.push(InstData::FuncCheck { func, ty })?;
        let ty = self.module.types[ty.index()].as_ref().clone();
        Ok((Callee::Reference(func), ty))
    }

    /// Traps unless an index is within a table.
    fn table_check(
        &mut self,
        table: TableIndex,
        index: Value,
        code: TrapCode,
    ) -> Result<(), NotOptimized> {
        let min = u64::from(self.module.tables[table.index()].ty.min);
        if self.func.constant(index).is_none_or(|index| index >= min) {
            self.push(InstData::TableCheck { table, index, code })?;
        }
        Ok(())
    }

    fn table_op(&mut self, op: TableOp, operands: usize) -> Result<(), NotOptimized> {
        let args = self.stack.split_off(self.stack.len() - operands);
        let result = self.push(InstData::Table { op, args })?;
        self.stack.extend(result);
        Ok(())
    }

    fn call_of_type(&mut self, callee: Callee, ty: FuncType) -> Result<(), NotOptimized> {
        let live = self.liveness.live_at(PointKind::Call, self.offset);
        self.pay(live.len() + self.stack.len())?;
        let state = self.frame_state(PointKind::Call, live, ty.params.len());
        let args = self.stack.split_off(self.stack.len() - ty.params.len());
        let data = InstData::Call {
            callee,
            ty: Box::new(ty),
            args,
            state,
        };
        self.push(data)?;
        let call = self.func.insts.last().expect("just pushed");
        self.stack.extend_from_slice(&call.results);
        Ok(())
    }

    fn callee(&self, func: FuncIndex) -> Callee {
        if self.module.is_imported(func) {
            Callee::Imported(func)
        } else {
            Callee::Defined(func)
        }
    }

    fn return_call(&mut self, callee: FuncIndex) -> Result<(), NotOptimized> {
        let ty = self.module.func_type(callee).as_ref().clone();
        self.tail_call_of_type(self.callee(callee), ty)
    }

    fn tail_call_of_type(&mut self, callee: Callee, ty: FuncType) -> Result<(), NotOptimized> {
        self.pay(ty.params.len())?;
        let args = self.stack.split_off(self.stack.len() - ty.params.len());
        self.push(InstData::TailCall {
            callee,
            ty: Box::new(ty),
            args,
        })?;
        self.reachable = false;
        Ok(())
    }

    fn bulk(&mut self, op: BulkOp) -> Result<(), NotOptimized> {
        let [len, from, to] = [self.pop(), self.pop(), self.pop()];
        match (op, self.func.constant(len)) {
            (BulkOp::Copy, Some(len)) if len <= INLINE_BYTES => self.small_copy(to, from, len),
            (BulkOp::Fill, Some(len)) if len <= INLINE_BYTES => self.small_fill(to, from, len),
            _ => {
                self.push(InstData::Bulk {
                    op,
                    args: [to, from, len],
                })?;
                Ok(())
            }
        }
    }

    /// A copy of few bytes: all are read before any is written.
    fn small_copy(&mut self, to: Value, from: Value, len: u64) -> Result<(), NotOptimized> {
        let Some(to) = self.range(to, len)? else {
            return Ok(());
        };
        let Some((base, index, offset)) = self.range(from, len)? else {
            return Ok(());
        };
        let mut pieces = Vec::new();
        for (load, store, at) in pieces_of(len) {
            let value = self.push_value(InstData::Load {
                op: load,
                base,
                index,
                offset: offset + at,
            })?;
            pieces.push((store, at, value));
        }
        for (store, at, value) in pieces {
            self.store_piece(store, to, at, value)?;
        }
        Ok(())
    }

    fn small_fill(&mut self, to: Value, byte: Value, len: u64) -> Result<(), NotOptimized> {
        let Some(to) = self.range(to, len)? else {
            return Ok(());
        };
        let wide = self.push_value(InstData::Unary {
            op: UnaryOp::I64ExtendI32U,
            arg: byte,
        })?;
        let mask = self.constant(Type::I64, 0xff)?;
        let byte = self.push_value(InstData::Binary {
            op: BinaryOp::I64And,
            args: [wide, mask],
        })?;
        let everywhere = self.constant(Type::I64, 0x0101_0101_0101_0101)?;
        let value = self.push_value(InstData::Binary {
            op: BinaryOp::I64Mul,
            args: [byte, everywhere],
        })?;
        for (_, store, at) in pieces_of(len) {
            self.store_piece(store, to, at, value)?;
        }
        Ok(())
    }

    fn store_piece(
        &mut self,
        op: StoreOp,
        (base, index, offset): (Value, Value, u32),
        at: u32,
        value: Value,
    ) -> Result<(), NotOptimized> {
        self.push(InstData::Store {
            op,
            base,
            index,
            offset: offset + at,
            value,
        })?;
        Ok(())
    }

    /// Checks a short range and gives its address; what lies within it is an offset away that is small enough.
    fn range(
        &mut self,
        index: Value,
        len: u64,
    ) -> Result<Option<(Value, Value, u32)>, NotOptimized> {
        let len = u32::try_from(len).expect("it is short");
        let Some((base, index, offset)) = self.address(index, 0, len)? else {
            return Ok(None);
        };
        if i32::try_from(offset + len).is_ok() {
            return Ok(Some((base, index, offset)));
        }
        // only constant addresses have offsets here
        let index = self.constant(Type::I64, u64::from(offset))?;
        Ok(Some((base, index, 0)))
    }

    fn numeric_or_memory(&mut self, operator: &Operator<'_>) -> Result<(), NotOptimized> {
        if let Some(op) = operators::binary(operator) {
            let b = self.pop();
            let a = self.pop();
            self.result(InstData::Binary { op, args: [a, b] })
        } else if let Some(op) = operators::unary(operator) {
            let arg = self.pop();
            self.result(InstData::Unary { op, arg })
        } else if let Some((op, offset)) = operators::load(operator) {
            let index = self.pop();
            if let Some((base, index, offset)) = self.address(index, offset, op.access_size())? {
                self.result(InstData::Load {
                    op,
                    base,
                    index,
                    offset,
                })?;
            }
            Ok(())
        } else if let Some((op, offset)) = operators::store(operator) {
            let value = self.pop();
            let index = self.pop();
            if let Some((base, index, offset)) = self.address(index, offset, op.access_size())? {
                self.push(InstData::Store {
                    op,
                    base,
                    index,
                    offset,
                    value,
                })?;
            }
            Ok(())
        } else {
            unreachable!("{operator:?} is refused when a module is made")
        }
    }

    /// Checks an access and gives its address: base, index, offset. `None` if it always traps.
    fn address(
        &mut self,
        index: Value,
        offset: u64,
        size: u32,
    ) -> Result<Option<(Value, Value, u32)>, NotOptimized> {
        let memory = self.module.memory.expect("bodies are validated");
        let largest = u64::from(memory.max.unwrap_or(65536)) * PAGE;
        let constant = self.func.constant(index);
        let offset = offset + constant.unwrap_or(0);
        let end = offset + u64::from(size);
        if end > largest {
            self.trap(TrapCode::MemoryOutOfBounds)?;
            return Ok(None);
        }
        let index = if constant.is_some() {
            self.constant(Type::I32, 0)?
        } else {
            index
        };
        if constant.is_none() || end > u64::from(memory.min) * PAGE {
            self.push(InstData::BoundsCheck { index, end })?;
        }
        let (index, offset) = match u32::try_from(offset) {
            Ok(offset) if i32::try_from(offset).is_ok() => (index, offset),
            _ => {
                let wide = self.push_value(InstData::Unary {
                    op: UnaryOp::I64ExtendI32U,
                    arg: index,
                })?;
                let offset = self.constant(Type::I64, offset)?;
                let sum = self.push_value(InstData::Binary {
                    op: BinaryOp::I64Add,
                    args: [wide, offset],
                })?;
                (sum, 0)
            }
        };
        let base = self.push_value(InstData::MemoryBase)?;
        Ok(Some((base, index, offset)))
    }
}

pub(super) fn val_type(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::FuncRef => ValType::FuncRef,
        Type::ExternRef => ValType::ExternRef,
        Type::Ptr => unreachable!("no address is on the operand stack"),
    }
}
