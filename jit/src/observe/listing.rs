//! Machine code as text: annotated, with names in place of addresses and frame offsets, so that it survives moving code
//! and reads like its source.
//!
//! ```text
//! ;; tier-0 sum: frame 48, code 123
//! entry:
//!   push rbp
//!   mov rbp, rsp
//!   …
//!   cmp dword ptr [r15+checkpoint], 0             ; checkpoint
//!   jne checkpoint0
//! ```
//!
//! What a displacement means depends on its base register. The frame and the context register mean the same everywhere;
//! for the others a forward walk remembers what was loaded into them: the helper table, the transfer area, a continuation.

#![forbid(unsafe_code)]

use crate::{
    arch::x86_64::registers::{CONTEXT, CONTINUATION, FRAME, Gpr, RAX},
    code::{
        draft::{CodeDraft, Reloc, RelocTarget},
        published::PublishedCode,
    },
    observe::dump::title,
    runtime::context::{GlobalSlot, TableSlot, VmLayout, offsets},
    suspension::point::ImageSource,
    wasm::types::{CodeOffset, FrameOffset, WasmOffset},
};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, Instruction, InstructionInfoFactory,
    IntelFormatter, Mnemonic, OpAccess, OpKind, Register, SymbolResolver, SymbolResult,
};
use midair_continuation::{header::HEADER_SIZE, recycle::SIZE_CLASSES};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    rc::Rc,
};

/// Where comments begin.
const COMMENT_COLUMN: usize = 48;

/// Machine code to be printed.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    title: String,
    bytes: &'a [u8],
    frame_size: u32,
    labels: &'a [(CodeOffset, String)],
    comments: &'a [(CodeOffset, String)],
    faults: &'a [(CodeOffset, WasmOffset)],
    relocs: &'a [Reloc],
    slots: HashMap<i32, &'a str>,
    layout: Option<&'a VmLayout>,
}

impl<'a> Listing<'a> {
    /// Of code that is not published.
    pub fn draft(draft: &'a CodeDraft, name: &str) -> Self {
        Self {
            title: format!(
                "{}: frame {}, code {}",
                title(draft.kind, name),
                draft.frame_size,
                draft.bytes.len()
            ),
            bytes: &draft.bytes,
            frame_size: draft.frame_size,
            labels: &draft.labels,
            comments: &draft.comments,
            faults: &draft.faults.at,
            relocs: &draft.relocs,
            slots: slots(&draft.slots),
            layout: None,
        }
    }

    /// Of published code.
    pub fn published(code: &'a PublishedCode) -> Self {
        Self {
            title: format!(
                "{}: frame {}, code {}",
                title(code.kind, &code.name),
                code.frame_size,
                code.len
            ),
            bytes: code.bytes(),
            frame_size: code.frame_size,
            labels: &code.names.labels,
            comments: &code.names.comments,
            faults: &code.faults.at,
            relocs: &code.names.relocs,
            slots: slots(&code.names.slots),
            layout: None,
        }
    }

    /// Of a stub.
    pub fn stub(title: impl Into<String>, bytes: &'a [u8]) -> Self {
        Self {
            title: format!("{}: code {}", title.into(), bytes.len()),
            bytes,
            frame_size: 0,
            labels: &[],
            comments: &[],
            faults: &[],
            relocs: &[],
            slots: HashMap::new(),
            layout: None,
        }
    }

    /// Names globals, tables and imports by the module's layout.
    #[must_use]
    pub fn layout(mut self, layout: &'a VmLayout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// OSR code keeps a tier-0 frame above its own part: names its slots.
    #[must_use]
    pub fn tier0(mut self, tier0: &'a PublishedCode) -> Self {
        for (&offset, &name) in &slots(&tier0.names.slots) {
            self.slots.entry(offset).or_insert(name);
        }
        self
    }

    /// Where the data at the end begins: jump tables and constants.
    fn code_end(&self) -> usize {
        let data = |name: &str| {
            name == "constants"
                || name
                    .strip_prefix("table")
                    .is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let first = self
            .labels
            .iter()
            .filter(|(_, name)| data(name))
            .map(|(at, _)| at.0 as usize)
            .min();
        let end = first.unwrap_or(self.bytes.len());
        // what aligns the data
        let padding = if first.is_some() {
            self.bytes[..end]
                .iter()
                .rev()
                .take_while(|&&byte| byte == 0xcc)
                .count()
        } else {
            0
        };
        end - padding.min(7)
    }

    fn instructions(&self) -> Vec<Instruction> {
        Decoder::with_ip(64, &self.bytes[..self.code_end()], 0, DecoderOptions::NONE)
            .iter()
            .collect()
    }

    /// Names of all places that are jumped to or that have one.
    fn places(&self, instructions: &[Instruction]) -> BTreeMap<u64, Vec<String>> {
        let mut places: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (at, name) in self.labels {
            places
                .entry(u64::from(at.0))
                .or_default()
                .push(name.clone());
        }
        let at: HashMap<u64, usize> = instructions
            .iter()
            .enumerate()
            .map(|(i, inst)| (inst.ip(), i))
            .collect();
        let end = self.bytes.len() as u64;
        let code_end = self.code_end() as u64;
        let targets = instructions
            .iter()
            .filter_map(local_target)
            .chain(self.table_targets(end));
        let unnamed: std::collections::BTreeSet<u64> = targets
            .filter(|target| *target <= end && !places.contains_key(target))
            .collect();
        let (mut labels, mut constants) = (0, 0);
        for target in unnamed {
            let trap = at
                .get(&target)
                .and_then(|&i| trap_site(&instructions[i..], &places));
            let name = trap.unwrap_or_else(|| {
                let data = target >= code_end;
                let (prefix, number) = if data {
                    ("constant", &mut constants)
                } else {
                    ("L", &mut labels)
                };
                *number += 1;
                format!("{prefix}{}", *number - 1)
            });
            places.entry(target).or_default().push(name);
        }
        places
    }

    /// Where the entries of jump tables lead.
    fn table_targets(&self, end: u64) -> Vec<u64> {
        self.tables()
            .into_iter()
            .flat_map(|(_, targets)| targets)
            .filter(|&target| target <= end)
            .collect()
    }

    /// Jump tables: each a name and where its entries lead.
    fn tables(&self) -> Vec<(usize, Vec<u64>)> {
        let starts: Vec<usize> = self
            .labels
            .iter()
            .filter(|(_, name)| name.starts_with("table"))
            .map(|(at, _)| at.0 as usize)
            .collect();
        let end_of = |i: usize| starts.get(i + 1).copied().unwrap_or(self.bytes.len());
        (0..starts.len())
            .map(|i| {
                let words = self.bytes[starts[i]..end_of(i)].chunks_exact(4);
                let target = |word: &[u8]| {
                    let distance = i32::from_le_bytes(word.try_into().expect("four bytes"));
                    (starts[i] as u64).wrapping_add_signed(i64::from(distance))
                };
                (starts[i], words.map(target).collect())
            })
            .collect()
    }

    fn slot(&self, instruction: &Instruction, displacement: i64) -> Option<String> {
        let displacement = i32::try_from(displacement).ok()?;
        // making room: the slot that happens to be the last one is not meant
        let room = matches!(instruction.op0_register(), Register::RSP | Register::R11);
        if instruction.mnemonic() == Mnemonic::Lea && room {
            return (i64::from(displacement) == -i64::from(self.frame_size))
                .then(|| "frame_end".to_owned());
        }
        if let Some(name) = self.slots.get(&displacement) {
            return Some((*name).to_owned());
        }
        match displacement {
            0 => Some("caller_frame".to_owned()),
            8 => Some("return_address".to_owned()),
            _ => None,
        }
    }

    fn context_field(&self, displacement: i64) -> Option<String> {
        let displacement = i32::try_from(displacement).ok()?;
        let classes = i32::try_from(SIZE_CLASSES.len()).expect("a handful");
        let word = |start: i32, count: i32| {
            let distance = displacement - start;
            (distance >= 0 && distance < 8 * count && distance % 8 == 0).then_some(distance / 8)
        };
        let named = [
            (offsets::CHECKPOINT, "checkpoint"),
            (offsets::STACK_LIMIT, "stack_limit"),
            (offsets::RESUME_FLOOR, "resume_floor"),
            (offsets::MEMORY_BASE, "memory_base"),
            (offsets::MEMORY_LEN, "memory_len"),
            (offsets::ENTRIES, "entries"),
            (offsets::HELPERS, "helpers"),
            (offsets::TRANSFER, "transfer"),
            (offsets::CHAIN_HEAD, "chain_head"),
            (offsets::CHAIN_TAIL, "chain_tail"),
            (offsets::KEPT, "kept"),
        ];
        if let Some((_, name)) = named.iter().find(|(at, _)| *at == displacement) {
            return Some((*name).to_owned());
        }
        if let Some(n) = word(offsets::RESULTS, 4) {
            return Some(
                [
                    "results.int0",
                    "results.int1",
                    "results.float0",
                    "results.float1",
                ][usize::try_from(n).ok()?]
                .into(),
            );
        }
        if let Some(class) = word(offsets::FREE_LISTS, classes) {
            return Some(format!("free_list{class}"));
        }
        let layout = self.layout?;
        let global = layout.globals.iter().position(
            |slot| matches!(slot, GlobalSlot::Own(at) | GlobalSlot::Imported(at) if *at == displacement),
        );
        if let Some(n) = global {
            let imported = matches!(layout.globals[n], GlobalSlot::Imported(_));
            return Some(format!(
                "global{n}{}",
                if imported { ".address" } else { "" }
            ));
        }
        for (n, slot) in layout.tables.iter().enumerate() {
            match *slot {
                TableSlot::Own(at) if displacement == at + offsets::TABLE_LEN => {
                    return Some(format!("table{n}.len"));
                }
                TableSlot::Own(at) if displacement == at + offsets::TABLE_ELEMENTS => {
                    return Some(format!("table{n}.elements"));
                }
                TableSlot::Imported(at) if displacement == at => {
                    return Some(format!("table{n}.address"));
                }
                _ => {}
            }
        }
        let func_ref = layout
            .func_refs
            .iter()
            .position(|at| *at == Some(displacement));
        if let Some(n) = func_ref {
            return Some(format!("func{n}.reference"));
        }
        let import_size = layout.import(1) - layout.import(0);
        let distance = displacement - layout.imports;
        if distance >= 0 && displacement < i32::try_from(layout.size).ok()? {
            let field = match distance % import_size {
                offsets::IMPORT_CODE => "code",
                offsets::IMPORT_ENVIRONMENT => "environment",
                _ => return None,
            };
            return Some(format!("import{}.{field}", distance / import_size));
        }
        None
    }

    fn reloc_in(&self, instruction: &Instruction) -> Option<String> {
        let inside = |reloc: &&Reloc| {
            (instruction.ip()..instruction.next_ip()).contains(&u64::from(reloc.at.0))
        };
        self.relocs
            .iter()
            .find(inside)
            .map(|reloc| match reloc.target {
                RelocTarget::Site(n) => format!("site{n}"),
                RelocTarget::Patchpoint(n) => format!("patchpoint{n}"),
                RelocTarget::Tier0ResumeEntry => "tier0::resume".to_owned(),
            })
    }
}

fn slots(names: &[(FrameOffset, String)]) -> HashMap<i32, &str> {
    names
        .iter()
        .map(|(at, name)| (at.0, name.as_str()))
        .collect()
}

/// Where a branch or a rip-relative operand of this code leads.
fn local_target(instruction: &Instruction) -> Option<u64> {
    if instruction.op0_kind() == OpKind::NearBranch64 {
        return Some(instruction.near_branch64());
    }
    instruction
        .is_ip_rel_memory_operand()
        .then(|| instruction.ip_rel_memory_address())
}

/// The name of a trap site: `mov edx, offset; jmp trap.Code`.
fn trap_site(instructions: &[Instruction], places: &BTreeMap<u64, Vec<String>>) -> Option<String> {
    let (mov, jmp) = (instructions.first()?, instructions.get(1)?);
    let at = match (mov.mnemonic(), mov.op0_register()) {
        (Mnemonic::Mov, Register::EDX) => u64::from(mov.immediate32()),
        (Mnemonic::Xor, Register::EDX) => 0,
        _ => return None,
    };
    if jmp.mnemonic() != Mnemonic::Jmp {
        return None;
    }
    let name = places
        .get(&local_target(jmp)?)?
        .iter()
        .find(|name| name.starts_with("trap."))?;
    Some(format!("{name}@{at:#x}"))
}

/// What a register points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pointer {
    Helpers,
    Entries,
    Transfer,
    Continuation,
}

/// What each general register points to.
type Pointers = [Option<Pointer>; 16];

impl Pointer {
    /// What the context field at that offset points to.
    fn loaded_from(displacement: i64) -> Option<Self> {
        let displacement = i32::try_from(displacement).ok()?;
        let free_lists = offsets::FREE_LISTS
            ..offsets::FREE_LISTS + 8 * i32::try_from(SIZE_CLASSES.len()).expect("a handful");
        match displacement {
            offsets::HELPERS => Some(Self::Helpers),
            offsets::ENTRIES => Some(Self::Entries),
            offsets::TRANSFER => Some(Self::Transfer),
            offsets::CHAIN_HEAD | offsets::CHAIN_TAIL | offsets::KEPT => Some(Self::Continuation),
            _ if free_lists.contains(&displacement) => Some(Self::Continuation),
            _ => None,
        }
    }

    /// The name of what lies at that offset behind it.
    fn field(self, displacement: i64) -> Option<String> {
        let displacement = i32::try_from(displacement).ok()?;
        let word = |from: i32| {
            (displacement >= from && displacement % 8 == 0).then_some((displacement - from) / 8)
        };
        match self {
            Self::Helpers => helper(displacement).map(|name| format!("helper::{name}")),
            Self::Entries => {
                let field = match displacement % offsets::ENTRY_SIZE {
                    offsets::ENTRY_CODE => "code",
                    offsets::ENTRY_CALL_COUNTER => "call_counter",
                    _ => return None,
                };
                Some(format!(
                    "func{}.{field}",
                    displacement / offsets::ENTRY_SIZE
                ))
            }
            Self::Transfer => word(0).map(|n| format!("word{n}")),
            Self::Continuation => {
                let named = [
                    (offsets::NEXT, "next"),
                    (offsets::RESUME, "resume"),
                    (offsets::RESUME_ADDRESS, "resume_address"),
                    (offsets::SITE, "site"),
                    (offsets::FLAGS, "flags"),
                    (offsets::COUNTER, "counter"),
                    (offsets::TASK_CONTEXT, "task_context"),
                ];
                let known = named
                    .iter()
                    .find(|(at, _)| *at == displacement)
                    .map(|(_, name)| (*name).to_owned());
                known
                    .or_else(|| word(i32::try_from(HEADER_SIZE).ok()?).map(|n| format!("image{n}")))
            }
        }
    }
}

/// The name of a helper.
fn helper(displacement: i32) -> Option<&'static str> {
    let named = [
        (offsets::HELPER_TRAP, "trap"),
        (offsets::HELPER_PATCHPOINT_HIT, "patchpoint_hit"),
        (offsets::HELPER_CHECKPOINT, "checkpoint"),
        (offsets::HELPER_MEMORY_GROW, "memory_grow"),
        (offsets::HELPER_ALLOCATE, "allocate"),
        (offsets::HELPER_CALL_COUNT, "call_count"),
        (offsets::HELPER_COMPILE, "compile"),
        (offsets::HELPER_PATCHPOINT_RESUME, "patchpoint_resume"),
    ];
    named
        .iter()
        .find(|(at, _)| *at == displacement)
        .map(|(_, name)| *name)
}

/// The hardware number of a general register of any width.
fn number(register: Register) -> Option<usize> {
    register.is_gpr().then(|| register.full_register().number())
}

fn is(register: Register, role: Gpr) -> bool {
    number(register) == Some(usize::from(role.number()))
}

/// The forward walk that knows what registers point to.
struct Walk {
    pointers: Pointers,
    /// What they point to where a jump from further up arrives.
    arriving: HashMap<u64, Pointers>,
    /// Whether the previous instruction does not go on here.
    ended: bool,
    info: InstructionInfoFactory,
}

impl Walk {
    /// Before an instruction.
    fn at(&mut self, ip: u64, labels: &[String]) {
        if self.ended {
            self.pointers = self.arriving.get(&ip).copied().unwrap_or_default();
            self.ended = false;
        }
        let entered_with_continuation = |name: &str| {
            ["door", "refill", "resume"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        };
        if labels.iter().any(|name| entered_with_continuation(name)) {
            self.pointers[usize::from(CONTINUATION.number())] = Some(Pointer::Continuation);
        }
    }

    fn pointer(&self, register: Register) -> Option<Pointer> {
        self.pointers[number(register)?]
    }

    /// Behind an instruction.
    fn step(&mut self, instruction: &Instruction) {
        let loaded = match (
            instruction.mnemonic(),
            instruction.op0_kind(),
            instruction.op1_kind(),
        ) {
            (Mnemonic::Mov, OpKind::Register, OpKind::Memory)
                if is(instruction.memory_base(), CONTEXT) =>
            {
                Pointer::loaded_from(instruction.memory_displacement64().cast_signed())
            }
            (Mnemonic::Mov, OpKind::Register, OpKind::Register) => {
                self.pointer(instruction.op1_register())
            }
            _ => None,
        };
        let allocates = instruction.mnemonic() == Mnemonic::Call
            && self.pointer(instruction.memory_base()) == Some(Pointer::Helpers)
            && instruction.memory_displacement64()
                == u64::from(offsets::HELPER_ALLOCATE.cast_unsigned());
        match instruction.flow_control() {
            FlowControl::Call | FlowControl::IndirectCall => self.pointers = Pointers::default(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                if let Some(target) = local_target(instruction) {
                    self.arriving.entry(target).or_insert(self.pointers);
                }
            }
            _ => {
                for used in self.info.info(instruction).used_registers() {
                    let writes = matches!(
                        used.access(),
                        OpAccess::Write
                            | OpAccess::ReadWrite
                            | OpAccess::CondWrite
                            | OpAccess::ReadCondWrite
                    );
                    if writes && let Some(number) = number(used.register()) {
                        self.pointers[number] = None;
                    }
                }
            }
        }
        if allocates {
            self.pointers[usize::from(RAX.number())] = Some(Pointer::Continuation);
        }
        if let (Some(pointer), Some(number)) = (loaded, number(instruction.op0_register())) {
            self.pointers[number] = Some(pointer);
        }
        self.ended = matches!(
            instruction.flow_control(),
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        );
    }
}

/// Names for the operands of the instruction being printed.
#[derive(Debug, Default)]
struct Operands {
    memory: Option<String>,
    immediate: Option<String>,
    branch: Option<String>,
}

/// Gives the formatter the names that were worked out before.
struct Names(Rc<RefCell<Operands>>);

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _: u32,
        operand: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let names = self.0.borrow();
        let name = match instruction.op_kind(operand?) {
            OpKind::Memory => names.memory.clone(),
            OpKind::NearBranch64 => names.branch.clone(),
            _ => names.immediate.clone(),
        };
        name.map(|name| SymbolResult::with_string(address, name))
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, ";; {}", self.title)?;
        let instructions = self.instructions();
        let places = self.places(&instructions);
        let name_of = |at: u64| places.get(&at).and_then(|names| names.first()).cloned();
        let operands = Rc::new(RefCell::new(Operands::default()));
        let mut formatter =
            IntelFormatter::with_options(Some(Box::new(Names(Rc::clone(&operands)))), None);
        let options = formatter.options_mut();
        options.set_space_after_operand_separator(true);
        options.set_show_branch_size(false);
        options.set_rip_relative_addresses(false);
        let mut walk = Walk {
            pointers: Pointers::default(),
            arriving: HashMap::new(),
            ended: false,
            info: InstructionInfoFactory::new(),
        };
        let mut comments = self.comments.iter().peekable();
        let mut text = String::new();
        for instruction in &instructions {
            let at = instruction.ip();
            let here = places.get(&at).map(Vec::as_slice).unwrap_or_default();
            for name in here {
                writeln!(f, "{name}:")?;
            }
            walk.at(at, here);
            let (base, displacement) = (
                instruction.memory_base(),
                instruction.memory_displacement64().cast_signed(),
            );
            let memory = if instruction.is_ip_rel_memory_operand() {
                name_of(instruction.ip_rel_memory_address())
            } else if instruction.memory_index() != Register::None {
                None
            } else if is(base, FRAME) {
                self.slot(instruction, displacement)
            } else if is(base, CONTEXT) {
                self.context_field(displacement)
            } else {
                walk.pointer(base)
                    .and_then(|pointer| pointer.field(displacement))
            };
            *operands.borrow_mut() = Operands {
                memory,
                immediate: self.reloc_in(instruction),
                branch: local_target(instruction).and_then(name_of),
            };
            text.clear();
            formatter.format(instruction, &mut text);
            let mut said = Vec::new();
            while let Some((_, comment)) =
                comments.next_if(|(offset, _)| u64::from(offset.0) < instruction.next_ip())
            {
                said.push(comment.clone());
            }
            let fault = |&(at, _): &(CodeOffset, _)| u64::from(at.0).cmp(&instruction.ip());
            if let Ok(n) = self.faults.binary_search_by(fault) {
                said.push(format!("or trap.MemoryOutOfBounds{:?}", self.faults[n].1));
            }
            let line = format!("  {}", text.replace("offset ", ""));
            match said.is_empty() {
                true => writeln!(f, "{line}")?,
                false => writeln!(f, "{line:<COMMENT_COLUMN$}; {}", said.join("; "))?,
            }
            walk.step(instruction);
        }
        self.fmt_data(f, &places)
    }
}

impl Listing<'_> {
    /// Constants and jump tables.
    fn fmt_data(
        &self,
        f: &mut fmt::Formatter<'_>,
        places: &BTreeMap<u64, Vec<String>>,
    ) -> fmt::Result {
        let tables = self.tables();
        let constants = self
            .labels
            .iter()
            .find(|(_, name)| name == "constants")
            .map(|(at, _)| at.0 as usize);
        if let Some(start) = constants {
            let end = tables.first().map_or(self.bytes.len(), |&(at, _)| at);
            for (i, word) in self.bytes[start..end].chunks_exact(8).enumerate() {
                for name in places.get(&((start + 8 * i) as u64)).into_iter().flatten() {
                    writeln!(f, "{name}:")?;
                }
                let bits = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                writeln!(f, "  dq {bits:#x}")?;
            }
        }
        for (at, targets) in tables {
            for name in places.get(&(at as u64)).into_iter().flatten() {
                writeln!(f, "{name}:")?;
            }
            for target in targets {
                match places.get(&target).and_then(|names| names.first()) {
                    Some(name) => writeln!(f, "  dd {name}")?,
                    None => writeln!(f, "  dd ?")?,
                }
            }
        }
        Ok(())
    }
}

/// A line per suspension point of published code: what its image holds, and where the canonical layout finds it.
#[derive(Clone, Copy, Debug)]
pub struct Sites<'a>(pub &'a PublishedCode);

impl fmt::Display for Sites<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, site) in self.0.sites.iter().enumerate() {
            write!(
                f,
                ";; site{n} {}: image of {} words;",
                site.layout.offset, site.image_words
            )?;
            let locals = site
                .layout
                .locals
                .iter()
                .map(|(local, _)| format!("local{}", local.0));
            let stack = (0..site.layout.stack.len()).map(|n| format!("stack{n}"));
            for (name, source) in locals.chain(stack).zip(&site.map) {
                match source {
                    ImageSource::Word(word) => write!(f, " {name}=image{word}")?,
                    ImageSource::Const(value) => write!(f, " {name}={value:#x}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
