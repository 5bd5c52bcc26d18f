//! A module as the compilers see it: types, functions, memory, tables, globals; bodies stay bytes.

#![forbid(unsafe_code)]

use super::types::{FuncIndex, FuncType, GlobalIndex, TableIndex, TypeIndex, ValType, WasmOffset};
use crate::{
    error::CompileError,
    ir::{eval::eval_binary, value::BinaryOp},
};
use std::{ops::Range, sync::Arc};
use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, DataKind, Element, ElementItems, ElementKind,
    ExternalKind, FunctionBody, Name, Operator, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

/// What a module may use; everything else is refused.
const FEATURES: WasmFeatures = WasmFeatures::WASM1
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL);

/// What wasmparser has to be allowed before constant expressions may name globals of the module's own; what else that lets
/// through is refused afterwards, by name.
const FEATURES_OF_OWN_GLOBALS: WasmFeatures = FEATURES
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC);

/// Where a global's first value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalInit {
    /// It is imported.
    Imported,
    /// These bits.
    Const(u64),
    /// The value of an (earlier, immutable) global.
    Global(GlobalIndex),
    /// A reference to a function. (A null reference is the constant 0.)
    RefFunc(FuncIndex),
    /// What these operators leave, a range of [`Module::expressions`].
    Computed {
        /// The first one.
        first: u32,
        /// How many there are.
        len: u32,
    },
}

/// An operator of a constant expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstOp {
    /// Pushes these bits.
    Const(u64),
    /// Pushes the value of an (earlier, immutable) global.
    Global(GlobalIndex),
    /// Pops two values, the second operand first, and pushes what this makes of them.
    Binary(BinaryOp),
}

/// A global of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Type of its value.
    pub ty: ValType,
    /// Whether it can be written.
    pub mutable: bool,
    /// Where its first value comes from.
    pub init: GlobalInit,
}

/// The linear memory of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Pages at the start.
    pub min: u32,
    /// Pages at the most.
    pub max: Option<u32>,
    /// Whether it is imported.
    pub imported: bool,
}

/// The type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableType {
    /// Type of its elements: a reference type.
    pub element: ValType,
    /// Elements at the start.
    pub min: u32,
    /// Elements at the most.
    pub max: Option<u32>,
}

/// A table of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its type.
    pub ty: TableType,
    /// Whether it is imported.
    pub imported: bool,
}

/// When an element segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementMode {
    /// By `table.init` only.
    Passive,
    /// It is copied to a table when the module is instantiated.
    Active {
        /// To which table.
        table: TableIndex,
        /// Where in it: constant bits or an imported global.
        offset: GlobalInit,
    },
    /// Never: it says that its functions are used as values.
    Declared,
}

/// An element segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementSegment {
    /// When it is used.
    pub mode: ElementMode,
    /// Type of its elements.
    pub ty: ValType,
    /// Its elements.
    pub items: Vec<GlobalInit>,
}

/// What is exported or imported, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function.
    Func(FuncIndex),
    /// The memory.
    Memory,
    /// A global.
    Global(GlobalIndex),
    /// A table.
    Table(TableIndex),
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its module name.
    pub module: String,
    /// Its field name.
    pub name: String,
    /// What it becomes here.
    pub item: Extern,
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSegment {
    /// Where it goes at instantiation; `None` if it is passive, waiting for `memory.init`.
    pub offset: Option<GlobalInit>,
    /// Its bytes, as a range of the binary.
    pub bytes: Range<usize>,
}

/// A module as the compilers see it.
#[derive(Clone, Debug)]
pub struct Module {
    /// The binary.
    pub bytes: Arc<[u8]>,
    /// Function types.
    pub types: Vec<Arc<FuncType>>,
    /// Type of every function, imported ones first.
    pub functions: Vec<TypeIndex>,
    /// How many functions are imported.
    pub imported_functions: u32,
    /// Bodies of the functions defined here, as ranges of the binary (locals included).
    pub bodies: Vec<Range<usize>>,
    /// Every global, imported ones first.
    pub globals: Vec<Global>,
    /// The memory.
    pub memory: Option<MemoryType>,
    /// Every table, imported ones first.
    pub tables: Vec<Table>,
    /// Element segments in order.
    pub elements: Vec<ElementSegment>,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<(String, Extern)>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// Data segments in order.
    pub data: Vec<DataSegment>,
    /// The operators of constant expressions that are more than one.
    pub expressions: Vec<ConstOp>,
    /// Names of functions, from the name section or the exports.
    pub names: Vec<Option<String>>,
    /// Its own name, from the name section.
    pub name: Option<Arc<str>>,
}

impl Module {
    /// Validates a binary and reads all of it but the bodies.
    ///
    /// # Errors
    /// `Invalid` if it is not WebAssembly, `Unsupported` if it uses what is not supported yet, `Limit` if it is larger
    /// than an offset can say.
    pub fn new(bytes: &[u8]) -> Result<Self, CompileError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(CompileError::Limit {
                what: "a module of 4 GiB".to_owned(),
            });
        }
        if let Err(error) = Validator::new_with_features(FEATURES).validate_all(bytes)
            && !names_own_globals(bytes, &error)
        {
            return Err(refuse(bytes, &error));
        }
        let mut module = Self {
            bytes: Arc::from(bytes),
            types: Vec::new(),
            functions: Vec::new(),
            imported_functions: 0,
            bodies: Vec::new(),
            globals: Vec::new(),
            memory: None,
            tables: Vec::new(),
            elements: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            start: None,
            data: Vec::new(),
            expressions: Vec::new(),
            names: Vec::new(),
            name: None,
        };
        let mut names = None;
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        for payload in parser.parse_all(bytes) {
            let payload = payload.map_err(|error| invalid(&error))?;
            if let Some((offset, what)) = unsupported_in(&payload) {
                return Err(CompileError::Unsupported { offset, what });
            }
            if let Payload::CustomSection(section) = &payload
                && let wasmparser::KnownCustom::Name(reader) = section.as_known()
            {
                names = Some(reader);
                continue;
            }
            module
                .read_section(payload)
                .map_err(|error| invalid(&error))?;
        }
        module.read_names(names);
        Ok(module)
    }

    fn read_section(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    self.types.push(Arc::new(FuncType {
                        params: ty.params().iter().map(|&ty| val_type(ty)).collect(),
                        results: ty.results().iter().map(|&ty| val_type(ty)).collect(),
                    }));
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    self.read_import(&import?);
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.functions.push(TypeIndex(ty?));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memory = Some(memory_type(&memory?, false));
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.tables.push(Table {
                        ty: table_type(&table?.ty),
                        imported: false,
                    });
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments {
                    let segment = self.element_segment(segment?)?;
                    self.elements.push(segment);
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    let init = self.constant(&global.init_expr)?;
                    self.globals.push(Global {
                        ty: val_type(global.ty.content_type),
                        mutable: global.ty.mutable,
                        init,
                    });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let item = match export.kind {
                        ExternalKind::Func => Extern::Func(FuncIndex(export.index)),
                        ExternalKind::Memory => Extern::Memory,
                        ExternalKind::Global => Extern::Global(GlobalIndex(export.index)),
                        ExternalKind::Table => Extern::Table(TableIndex(export.index)),
                        ExternalKind::Tag | ExternalKind::FuncExact => {
                            unreachable!("refused before")
                        }
                    };
                    self.exports.push((export.name.to_owned(), item));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(FuncIndex(func)),
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    let offset = match &segment.kind {
                        DataKind::Active { offset_expr, .. } => Some(self.constant(offset_expr)?),
                        DataKind::Passive => None,
                    };
                    let end = position(segment.range.end);
                    self.data.push(DataSegment {
                        offset,
                        bytes: end - segment.data.len()..end,
                    });
                }
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                self.bodies.push(position(range.start)..position(range.end));
            }
            _ => {}
        }
        Ok(())
    }

    fn read_import(&mut self, import: &wasmparser::Import<'_>) {
        let item = match import.ty {
            TypeRef::Func(ty) => {
                self.functions.push(TypeIndex(ty));
                self.imported_functions += 1;
                Extern::Func(FuncIndex::new(self.functions.len() - 1))
            }
            TypeRef::Memory(memory) => {
                self.memory = Some(memory_type(&memory, true));
                Extern::Memory
            }
            TypeRef::Global(global) => {
                self.globals.push(Global {
                    ty: val_type(global.content_type),
                    mutable: global.mutable,
                    init: GlobalInit::Imported,
                });
                Extern::Global(GlobalIndex::new(self.globals.len() - 1))
            }
            TypeRef::Table(table) => {
                self.tables.push(Table {
                    ty: table_type(&table),
                    imported: true,
                });
                Extern::Table(TableIndex::new(self.tables.len() - 1))
            }
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => {
                unreachable!("refused before")
            }
        };
        self.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            item,
        });
    }

    /// A constant expression, computed as far as the module alone says what it is.
    fn constant(&mut self, expr: &ConstExpr<'_>) -> Result<GlobalInit, BinaryReaderError> {
        let first = self.expressions.len();
        let mut reader = expr.get_operators_reader();
        loop {
            let op = match reader.read()? {
                Operator::RefFunc { function_index } => {
                    return Ok(GlobalInit::RefFunc(FuncIndex(function_index)));
                }
                Operator::RefNull { .. } => ConstOp::Const(0),
                Operator::I32Const { value } => ConstOp::Const(u64::from(value.cast_unsigned())),
                Operator::I64Const { value } => ConstOp::Const(value.cast_unsigned()),
                Operator::F32Const { value } => ConstOp::Const(u64::from(value.bits())),
                Operator::F64Const { value } => ConstOp::Const(value.bits()),
                Operator::GlobalGet { global_index } => {
                    match self.globals[global_index as usize].init {
                        GlobalInit::RefFunc(func) => return Ok(GlobalInit::RefFunc(func)),
                        GlobalInit::Const(bits) => ConstOp::Const(bits),
                        _ => ConstOp::Global(GlobalIndex(global_index)),
                    }
                }
                Operator::I32Add => ConstOp::Binary(BinaryOp::I32Add),
                Operator::I32Sub => ConstOp::Binary(BinaryOp::I32Sub),
                Operator::I32Mul => ConstOp::Binary(BinaryOp::I32Mul),
                Operator::I64Add => ConstOp::Binary(BinaryOp::I64Add),
                Operator::I64Sub => ConstOp::Binary(BinaryOp::I64Sub),
                Operator::I64Mul => ConstOp::Binary(BinaryOp::I64Mul),
                Operator::End => break,
                _ => unreachable!("refused by validation"),
            };
            // an operator on two constants is a constant
            if let ConstOp::Binary(op) = op
                && let [.., ConstOp::Const(a), ConstOp::Const(b)] = self.expressions[first..]
            {
                self.expressions.truncate(self.expressions.len() - 2);
                self.expressions.push(ConstOp::Const(computed(op, [a, b])));
            } else {
                self.expressions.push(op);
            }
        }
        let init = match self.expressions[first..] {
            [ConstOp::Const(bits)] => GlobalInit::Const(bits),
            [ConstOp::Global(global)] => GlobalInit::Global(global),
            ref ops => {
                let bound = |n: usize| u32::try_from(n).expect("a binary is below 4 GiB");
                return Ok(GlobalInit::Computed {
                    first: bound(first),
                    len: bound(ops.len()),
                });
            }
        };
        self.expressions.truncate(first);
        Ok(init)
    }

    fn element_segment(
        &mut self,
        segment: Element<'_>,
    ) -> Result<ElementSegment, BinaryReaderError> {
        let (ty, items) = match segment.items {
            ElementItems::Functions(functions) => {
                let items = functions
                    .into_iter()
                    .map(|func| Ok(GlobalInit::RefFunc(FuncIndex(func?))))
                    .collect::<Result<_, BinaryReaderError>>()?;
                (ValType::FuncRef, items)
            }
            ElementItems::Expressions(ty, expressions) => {
                let items = expressions
                    .into_iter()
                    .map(|expression| self.constant(&expression?))
                    .collect::<Result<_, _>>()?;
                (val_type(wasmparser::ValType::Ref(ty)), items)
            }
        };
        let mode = match segment.kind {
            ElementKind::Passive => ElementMode::Passive,
            ElementKind::Declared => ElementMode::Declared,
            ElementKind::Active {
                table_index,
                offset_expr,
            } => ElementMode::Active {
                table: TableIndex(table_index.unwrap_or(0)),
                offset: self.constant(&offset_expr)?,
            },
        };
        Ok(ElementSegment { mode, ty, items })
    }

    /// The bits of a constant expression, given the values of globals and references to functions.
    ///
    /// # Panics
    /// If it is that of an imported global.
    pub fn constant_value(
        &self,
        init: GlobalInit,
        global: impl Fn(GlobalIndex) -> u64,
        reference: impl FnOnce(FuncIndex) -> u64,
    ) -> u64 {
        match init {
            GlobalInit::Imported => panic!("an imported global has no expression"),
            GlobalInit::RefFunc(func) => reference(func),
            GlobalInit::Const(bits) => bits,
            GlobalInit::Global(index) => global(index),
            GlobalInit::Computed { first, len } => {
                let mut stack = Vec::new();
                for op in &self.expressions[first as usize..][..len as usize] {
                    let value = match *op {
                        ConstOp::Const(bits) => bits,
                        ConstOp::Global(index) => global(index),
                        ConstOp::Binary(op) => {
                            let b = stack.pop().expect("validated");
                            let a = stack.pop().expect("validated");
                            computed(op, [a, b])
                        }
                    };
                    stack.push(value);
                }
                stack.pop().expect("validated")
            }
        }
    }

    /// Names from the name section as far as it can be read, then from exports.
    fn read_names(&mut self, section: Option<wasmparser::NameSectionReader<'_>>) {
        self.names = vec![None; self.functions.len()];
        for subsection in section.into_iter().flatten() {
            let Ok(subsection) = subsection else { break };
            let map = match subsection {
                Name::Function(map) => map,
                Name::Module { name, .. } => {
                    self.name = Some(name.into());
                    continue;
                }
                _ => continue,
            };
            for naming in map {
                let Ok(naming) = naming else { break };
                if let Some(name) = self.names.get_mut(naming.index as usize) {
                    *name = Some(naming.name.to_owned());
                }
            }
        }
        for (export, item) in &self.exports {
            if let Extern::Func(func) = item {
                self.names[func.index()].get_or_insert_with(|| export.clone());
            }
        }
    }

    /// Types of a defined function's locals, parameters first.
    ///
    /// # Panics
    /// If the function is imported.
    pub fn locals(&self, func: FuncIndex) -> Vec<ValType> {
        let mut locals = self.func_type(func).params.to_vec();
        let reader = self.body(func).get_locals_reader();
        for group in reader.expect("bodies are validated") {
            let (count, ty) = group.expect("bodies are validated");
            locals.extend(std::iter::repeat_n(val_type(ty), count as usize));
        }
        locals
    }

    /// Number of a defined function's locals, parameters included.
    ///
    /// # Panics
    /// If the function is imported.
    pub fn local_count(&self, func: FuncIndex) -> u32 {
        let mut count = u32::try_from(self.func_type(func).params.len()).expect("at most 1000");
        let reader = self.body(func).get_locals_reader();
        for group in reader.expect("bodies are validated") {
            count += group.expect("bodies are validated").0;
        }
        count
    }

    /// Parameters and results of a block.
    pub fn block_type(&self, ty: wasmparser::BlockType) -> BlockSignature<'_> {
        match ty {
            wasmparser::BlockType::Empty => BlockSignature {
                params: &[],
                results: &[],
            },
            wasmparser::BlockType::Type(ty) => BlockSignature {
                params: &[],
                results: match val_type(ty) {
                    ValType::I32 => &[ValType::I32],
                    ValType::I64 => &[ValType::I64],
                    ValType::F32 => &[ValType::F32],
                    ValType::F64 => &[ValType::F64],
                    ValType::FuncRef => &[ValType::FuncRef],
                    ValType::ExternRef => &[ValType::ExternRef],
                },
            },
            wasmparser::BlockType::FuncType(index) => {
                let ty = &self.types[index as usize];
                BlockSignature {
                    params: &ty.params,
                    results: &ty.results,
                }
            }
        }
    }

    /// Type of a function.
    pub fn func_type(&self, func: FuncIndex) -> &Arc<FuncType> {
        &self.types[self.functions[func.index()].index()]
    }

    /// Whether each function can be named as a value: it is exported, or an element or a global refers to it. Validation
    /// lets `ref.func` name no others.
    pub fn functions_as_values(&self) -> Vec<bool> {
        let mut found = vec![false; self.functions.len()];
        let exported = self.exports.iter().filter_map(|(_, item)| match item {
            Extern::Func(func) => Some(*func),
            _ => None,
        });
        let items = self.elements.iter().flat_map(|segment| &segment.items);
        let globals = self.globals.iter().map(|global| &global.init);
        let initial = items.chain(globals).filter_map(|init| match init {
            GlobalInit::RefFunc(func) => Some(*func),
            _ => None,
        });
        for func in exported.chain(initial) {
            found[func.index()] = true;
        }
        found
    }

    /// Whether a function is imported.
    pub fn is_imported(&self, func: FuncIndex) -> bool {
        func.0 < self.imported_functions
    }

    /// The body of a function defined here, as wasmparser reads it; offsets are offsets in the binary.
    ///
    /// # Panics
    /// If the function is imported.
    pub fn body(&self, func: FuncIndex) -> FunctionBody<'_> {
        let range = self.bodies[func.index() - self.imported_functions as usize].clone();
        FunctionBody::new(wasmparser::BinaryReader::new(
            &self.bytes[range.clone()],
            range.start as u64,
        ))
    }

    /// A function's name for people: from the name section, its export, or `func N`.
    pub fn name(&self, func: FuncIndex) -> String {
        self.names
            .get(func.index())
            .cloned()
            .flatten()
            .unwrap_or_else(|| format!("func {}", func.0))
    }
}

/// Parameters and results of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSignature<'a> {
    /// What it takes from the operand stack.
    pub params: &'a [ValType],
    /// What it leaves there.
    pub results: &'a [ValType],
}

/// The type of a null reference in a validated body.
pub(crate) fn null_type(ty: wasmparser::HeapType) -> ValType {
    if ty == wasmparser::HeapType::FUNC {
        ValType::FuncRef
    } else {
        ValType::ExternRef
    }
}

/// A value type that validation let through.
pub(crate) fn val_type(ty: wasmparser::ValType) -> ValType {
    match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::FUNCREF => ValType::FuncRef,
        wasmparser::ValType::EXTERNREF => ValType::ExternRef,
        wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => {
            unreachable!("refused by validation")
        }
    }
}

fn memory_type(memory: &wasmparser::MemoryType, imported: bool) -> MemoryType {
    let pages = |pages: u64| u32::try_from(pages).expect("validated: at most 65536 pages");
    MemoryType {
        min: pages(memory.initial),
        max: memory.maximum.map(pages),
        imported,
    }
}

fn table_type(table: &wasmparser::TableType) -> TableType {
    let elements = |count: u64| u32::try_from(count).expect("validated: a 32-bit table");
    TableType {
        element: val_type(wasmparser::ValType::Ref(table.element_type)),
        min: elements(table.initial),
        max: table.maximum.map(elements),
    }
}

fn computed(op: BinaryOp, args: [u64; 2]) -> u64 {
    eval_binary(op, args).expect("sums, differences and products do not trap")
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset in the binary")
}

fn wasm_offset(offset: u64) -> WasmOffset {
    WasmOffset(u32::try_from(offset).unwrap_or(u32::MAX))
}

fn invalid(error: &BinaryReaderError) -> CompileError {
    CompileError::Invalid {
        offset: wasm_offset(error.offset()),
        message: error.message().to_owned(),
    }
}

/// Whether validation failed only because a constant expression names a global of the module's own.
fn names_own_globals(bytes: &[u8], error: &BinaryReaderError) -> bool {
    error
        .message()
        .contains("global.get of locally defined global")
        && Validator::new_with_features(FEATURES_OF_OWN_GLOBALS)
            .validate_all(bytes)
            .is_ok()
}

/// Why validation failed: because of something that is not supported, or for good?
fn refuse(bytes: &[u8], error: &BinaryReaderError) -> CompileError {
    let unsupported = |what: &str| CompileError::Unsupported {
        offset: wasm_offset(error.offset()),
        what: what.to_owned(),
    };
    let mut all = Validator::new_with_features(WasmFeatures::all());
    if let Err(anyway) = all.validate_all(bytes) {
        let names = |words: &[&str]| words.iter().any(|word| error.message().contains(word));
        // the validator is built without SIMD: such bodies are not validated any further
        if names(&["SIMD"]) || anyway.message().contains("SIMD opcode") {
            return unsupported("SIMD");
        }
        // whether it is valid behind the use of another proposal does not matter
        if names(&["enabled", "feature", "multiple memories", "proposal"]) {
            return unsupported(error.message());
        }
        return invalid(error);
    }
    let (offset, what) = Parser::new(0)
        .parse_all(bytes)
        .filter_map(Result::ok)
        .find_map(|payload| unsupported_in(&payload))
        .unwrap_or_else(|| (wasm_offset(error.offset()), error.message().to_owned()));
    CompileError::Unsupported { offset, what }
}

/// The first thing in a (valid) section that is not supported.
fn unsupported_in(payload: &Payload<'_>) -> Option<(WasmOffset, String)> {
    let found = match payload {
        Payload::TypeSection(types) => {
            types
                .clone()
                .into_iter_with_offsets()
                .flatten()
                .find_map(|(offset, group)| {
                    if group.is_explicit_rec_group() {
                        return Some((offset, "recursion group".to_owned()));
                    }
                    group
                        .types()
                        .find_map(unsupported_type)
                        .map(|what| (offset, what))
                })
        }
        Payload::ImportSection(imports) => imports
            .clone()
            .into_imports_with_offsets()
            .flatten()
            .find_map(|(offset, import)| {
                let what = match import.ty {
                    TypeRef::Func(_) => return None,
                    TypeRef::Memory(memory) => unsupported_memory(&memory)?,
                    TypeRef::Global(global) => unsupported_value(global.content_type)?,
                    TypeRef::Table(table) => unsupported_table(&table)?,
                    TypeRef::Tag(_) => "imported tag".to_owned(),
                    TypeRef::FuncExact(_) => "exact function import".to_owned(),
                };
                Some((offset, what))
            }),
        Payload::TableSection(tables) => tables
            .clone()
            .into_iter_with_offsets()
            .flatten()
            .find_map(|(offset, table)| unsupported_table(&table.ty).map(|what| (offset, what))),
        Payload::TagSection(tags) if tags.count() > 0 => {
            Some((tags.range().start, "tag".to_owned()))
        }
        Payload::MemorySection(memories) => memories
            .clone()
            .into_iter_with_offsets()
            .flatten()
            .enumerate()
            .find_map(|(n, (offset, memory))| {
                if n > 0 {
                    return Some((offset, "second memory".to_owned()));
                }
                unsupported_memory(&memory).map(|what| (offset, what))
            }),
        Payload::GlobalSection(globals) => globals
            .clone()
            .into_iter_with_offsets()
            .flatten()
            .find_map(|(offset, global)| {
                unsupported_value(global.ty.content_type)
                    .map(|what| (offset, what))
                    .or_else(|| unsupported_operator(global.init_expr.get_operators_reader()))
            }),
        Payload::ElementSection(segments) => segments
            .clone()
            .into_iter_with_offsets()
            .flatten()
            .find_map(|(offset, segment)| unsupported_segment(offset, &segment)),
        Payload::DataSection(segments) => segments
            .clone()
            .into_iter_with_offsets()
            .flatten()
            .find_map(|(_, segment)| match &segment.kind {
                DataKind::Passive => None,
                DataKind::Active { offset_expr, .. } => {
                    unsupported_operator(offset_expr.get_operators_reader())
                }
            }),
        Payload::CodeSectionEntry(body) => unsupported_in_body(body),
        _ => None,
    };
    found.map(|(offset, what)| (wasm_offset(offset), what))
}

fn unsupported_type(ty: &wasmparser::SubType) -> Option<String> {
    if !ty.is_final || !ty.supertype_idxs.is_empty() {
        return Some("explicit subtype".to_owned());
    }
    match &ty.composite_type.inner {
        CompositeInnerType::Func(func) => func
            .params()
            .iter()
            .chain(func.results())
            .find_map(|&ty| unsupported_value(ty)),
        CompositeInnerType::Array(_) => Some("array type".to_owned()),
        CompositeInnerType::Struct(_) => Some("struct type".to_owned()),
        CompositeInnerType::Cont(_) => Some("continuation type".to_owned()),
    }
}

fn unsupported_value(ty: wasmparser::ValType) -> Option<String> {
    match ty {
        wasmparser::ValType::V128 => Some("v128 (SIMD)".to_owned()),
        wasmparser::ValType::FUNCREF | wasmparser::ValType::EXTERNREF => None,
        wasmparser::ValType::Ref(ty) => Some(format!("reference type {ty}")),
        _ => None,
    }
}

fn unsupported_memory(memory: &wasmparser::MemoryType) -> Option<String> {
    let what = if memory.memory64 {
        "64-bit memory"
    } else if memory.shared {
        "shared memory"
    } else if memory.page_size_log2.is_some() {
        "custom page size"
    } else {
        return None;
    };
    Some(what.to_owned())
}

fn unsupported_table(table: &wasmparser::TableType) -> Option<String> {
    if table.table64 {
        return Some("64-bit table".to_owned());
    }
    if table.shared {
        return Some("shared table".to_owned());
    }
    let ty = table.element_type;
    (ty != wasmparser::RefType::FUNCREF && ty != wasmparser::RefType::EXTERNREF)
        .then(|| format!("table of reference type {ty}"))
}

fn unsupported_in_body(body: &FunctionBody<'_>) -> Option<(u64, String)> {
    let mut locals = body.get_locals_reader().ok()?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (_, ty) = locals.read().ok()?;
        if let Some(what) = unsupported_value(ty) {
            return Some((offset, what));
        }
    }
    unsupported_operator(body.get_operators_reader().ok()?)
}

fn unsupported_segment(offset: u64, segment: &Element<'_>) -> Option<(u64, String)> {
    if let ElementKind::Active { offset_expr, .. } = &segment.kind
        && let Some(found) = unsupported_operator(offset_expr.get_operators_reader())
    {
        return Some(found);
    }
    let ElementItems::Expressions(ty, items) = &segment.items else {
        return None;
    };
    if let Some(what) = unsupported_value(wasmparser::ValType::Ref(*ty)) {
        return Some((offset, what));
    }
    items
        .clone()
        .into_iter()
        .flatten()
        .find_map(|item| unsupported_operator(item.get_operators_reader()))
}

fn unsupported_operator(reader: wasmparser::OperatorsReader<'_>) -> Option<(u64, String)> {
    reader
        .into_iter_with_offsets()
        .flatten()
        .find_map(|(operator, offset)| {
            if !is_supported(&operator) {
                return Some((offset, operator_name(&operator)));
            }
            unsupported_immediate(&operator).map(|what| (offset, what))
        })
}

/// A type among an operator's immediates that is not supported. (A module that was validated with more proposals than are
/// supported may have some, see [`names_own_globals`].)
fn unsupported_immediate(operator: &Operator<'_>) -> Option<String> {
    match operator {
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            match blockty {
                wasmparser::BlockType::Type(ty) => unsupported_value(*ty),
                wasmparser::BlockType::Empty | wasmparser::BlockType::FuncType(_) => None,
            }
        }
        Operator::TypedSelect { ty } => unsupported_value(*ty),
        Operator::RefNull { hty } => (*hty != wasmparser::HeapType::FUNC
            && *hty != wasmparser::HeapType::EXTERN)
            .then(|| format!("null of type {hty:?}")),
        _ => None,
    }
}

macro_rules! define_is_supported {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// Whether an operator belongs to what is supported.
        fn is_supported(operator: &Operator<'_>) -> bool {
            let proposal = match operator {
                $(Operator::$op { .. } => define_is_supported!(proposal $proposal),)*
                _ => false,
            };
            proposal
                || matches!(
                    operator,
                    Operator::RefNull { .. }
                        | Operator::RefIsNull
                        | Operator::RefFunc { .. }
                        | Operator::TypedSelect { .. }
                        | Operator::TableGet { .. }
                        | Operator::TableSet { .. }
                        | Operator::TableSize { .. }
                        | Operator::TableGrow { .. }
                        | Operator::TableFill { .. }
                        | Operator::TableCopy { .. }
                        | Operator::TableInit { .. }
                        | Operator::ElemDrop { .. }
                )
        }
    };
    (proposal mvp) => { true };
    (proposal sign_extension) => { true };
    (proposal saturating_float_to_int) => { true };
    (proposal bulk_memory) => { true };
    (proposal tail_call) => { true };
    (proposal $other:ident) => { false };
}
wasmparser::for_each_operator!(define_is_supported);

/// An operator's name as text format has it, from the name of wasmparser's variant.
fn operator_name(operator: &Operator<'_>) -> String {
    let debug = format!("{operator:?}");
    let mut name = String::new();
    for c in debug.chars().take_while(char::is_ascii_alphanumeric) {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    const DOTTED: [&str; 14] = [
        "memory", "table", "ref", "elem", "data", "struct", "array", "i32", "i64", "f32", "f64",
        "v128", "i31", "atomic",
    ];
    match name.split_once('_') {
        Some((prefix, rest)) if DOTTED.contains(&prefix) => {
            let rest = rest.strip_prefix("atomic_").map_or_else(
                || rest.to_owned(),
                |operation| format!("atomic.{operation}"),
            );
            format!("{prefix}.{rest}")
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(wat: &str) -> Result<Module, CompileError> {
        Module::new(&wat::parse_str(wat).expect("text is well-formed"))
    }

    fn unsupported(wat: &str) -> (usize, String) {
        match module(wat) {
            Err(CompileError::Unsupported { offset, what }) => (offset.0 as usize, what),
            other => panic!("expected Unsupported, got {other:?}"),
        }
    }

    #[test]
    fn every_section_is_read() {
        let module = module(
            r#"(module
                (import "env" "f" (func $f (param i32) (result i64)))
                (import "env" "g" (global $g i32))
                (import "env" "memory" (memory 1 3))
                (global $h (mut f32) (f32.const 1.5))
                (global $i i32 (global.get $g))
                (data (i32.const 8) "abc")
                (data (global.get $g) "de")
                (start $main)
                (func $main (local i32 i64 i64))
                (func (export "run") (export "walk") (param f64 f32)))"#,
        )
        .expect("it is supported");
        assert_eq!(module.imported_functions, 1);
        assert_eq!(module.functions.len(), 3);
        assert_eq!(module.bodies.len(), 2);
        assert_eq!(module.imports[1].item, Extern::Global(GlobalIndex(0)));
        assert_eq!(
            module.memory,
            Some(MemoryType {
                min: 1,
                max: Some(3),
                imported: true
            })
        );
        assert_eq!(
            module.globals.iter().map(|g| g.init).collect::<Vec<_>>(),
            [
                GlobalInit::Imported,
                GlobalInit::Const(1.5f32.to_bits().into()),
                GlobalInit::Global(GlobalIndex(0))
            ]
        );
        assert_eq!(&module.bytes[module.data[0].bytes.clone()], b"abc");
        assert_eq!(&module.bytes[module.data[1].bytes.clone()], b"de");
        assert_eq!(module.start, Some(FuncIndex(1)));
        assert_eq!(module.name(FuncIndex(1)), "main");
        assert_eq!(module.name(FuncIndex(2)), "run");
        assert_eq!(
            module.locals(FuncIndex(1)),
            [ValType::I32, ValType::I64, ValType::I64]
        );
        assert_eq!(module.locals(FuncIndex(2)), [ValType::F64, ValType::F32]);
        assert_eq!(module.func_type(FuncIndex(0)).to_string(), "(i32) -> (i64)");
    }

    #[test]
    fn tables_and_segments_of_every_encoding_are_read() {
        let module = module(
            r#"(module
                (import "env" "t" (table $t 1 5 funcref))
                (import "env" "f" (func $f))
                (import "env" "g" (global $g i32))
                (table $u 4294967295 externref)
                (elem (i32.const 1) $f $h)
                (elem (table $t) (global.get $g) func $h)
                (elem func $h)
                (elem declare func $h)
                (elem (i32.const 2) funcref (ref.func $f) (ref.null func))
                (elem (table $u) (i32.const 0) externref (ref.null extern))
                (elem funcref (item ref.null func))
                (elem declare funcref (ref.func $h))
                (func $h)
                (func $unnamed)
                (func $exported (export "e"))
                (export "u" (table $u)))"#,
        )
        .expect("it is supported");
        let table = |element, min, max| TableType { element, min, max };
        assert_eq!(module.tables[0].ty, table(ValType::FuncRef, 1, Some(5)));
        assert!(module.tables[0].imported);
        assert_eq!(
            module.tables[1].ty,
            table(ValType::ExternRef, u32::MAX, None)
        );
        assert!(!module.tables[1].imported);
        assert_eq!(module.exports[1].1, Extern::Table(TableIndex(1)));
        let [f, h] = [0, 1].map(|func| GlobalInit::RefFunc(FuncIndex(func)));
        let null = GlobalInit::Const(0);
        let active = |table, offset| ElementMode::Active {
            table: TableIndex(table),
            offset,
        };
        let found: Vec<_> = module
            .elements
            .iter()
            .map(|segment| (segment.mode, segment.items.as_slice()))
            .collect();
        assert_eq!(
            found,
            [
                (active(0, GlobalInit::Const(1)), &[f, h][..]),
                (active(0, GlobalInit::Global(GlobalIndex(0))), &[h]),
                (ElementMode::Passive, &[h]),
                (ElementMode::Declared, &[h]),
                (active(0, GlobalInit::Const(2)), &[f, null]),
                (active(1, GlobalInit::Const(0)), &[null]),
                (ElementMode::Passive, &[null]),
                (ElementMode::Declared, &[h]),
            ]
        );
        assert_eq!(module.functions_as_values(), [true, true, false, true]);
    }

    #[test]
    fn tables_that_are_not_supported_are_refused_by_name() {
        assert_eq!(
            unsupported("(module (table i64 1 funcref))").1,
            "64-bit table"
        );
        let found = unsupported("(module (table 1 (ref null any)))").1;
        assert_eq!(found, "table of reference type anyref");
    }

    #[test]
    fn operators_are_refused_where_they_stand() {
        let wat = "(module (func (param i64) (result i64 i64)
            (i64.add128 (local.get 0) (local.get 0) (local.get 0) (local.get 0))))";
        let bytes = wat::parse_str(wat).expect("well-formed");
        let (offset, what) = unsupported(wat);
        assert_eq!(what, "i64.add128");
        assert_eq!(bytes[offset..offset + 2], [0xfc, 19]);
    }

    #[test]
    fn constant_expressions_are_computed_as_far_as_the_module_knows() {
        let module = module(
            r#"(module
                (import "env" "g" (global $g i32))
                (import "env" "h" (global $h i64))
                (memory 1)
                (global $a i32 (i32.add (i32.const 40) (i32.const 2)))
                (global $b i64 (i64.mul (i64.sub (i64.const 1) (i64.const 3)) (i64.const -1)))
                (global $c i32 (i32.sub (global.get $a) (i32.const 43)))
                (global $d i32 (i32.mul (i32.add (global.get $g) (i32.mul (i32.const 2) (i32.const 3))) (global.get $a)))
                (global $e i32 (global.get $d))
                (global $f i64 (i64.sub (i64.const 1) (global.get $h)))
                (data (i32.add (global.get $e) (global.get $c)) "x")
                (data "passive"))"#,
        )
        .expect("it is supported");
        let inits: Vec<GlobalInit> = module.globals.iter().map(|global| global.init).collect();
        assert_eq!(
            inits[2..5],
            [
                GlobalInit::Const(42),
                GlobalInit::Const(2),
                GlobalInit::Const(0xffff_ffff)
            ]
        );
        assert_eq!(inits[6], GlobalInit::Global(GlobalIndex(5)));
        let mut values: Vec<u64> = vec![4, 10];
        for &init in &inits[2..] {
            let value = module.constant_value(init, |index| values[index.index()], |_| 0);
            values.push(value);
        }
        assert_eq!(
            values,
            [4, 10, 42, 2, 0xffff_ffff, 420, 420, (-9i64).cast_unsigned()]
        );
        let offset = module.data[0].offset.expect("it is active");
        assert_eq!(
            module.constant_value(offset, |index| values[index.index()], |_| 0),
            419
        );
        assert_eq!(module.data[1].offset, None);
        assert_eq!(&module.bytes[module.data[1].bytes.clone()], b"passive");
    }

    #[test]
    fn proposals_are_refused_by_name() {
        for (wat, what) in [
            ("(module (func (param v128)))", "v128 (SIMD)"),
            ("(module (func (drop (v128.const i64x2 0 0))))", "SIMD"),
            ("(module (func (param anyref)))", "reference type anyref"),
            ("(module (func (local anyref)))", "reference type anyref"),
            (
                "(module (type $t (func)) (global (ref func) (ref.func 0)) (func (type $t)))",
                "reference type (ref func)",
            ),
            (
                "(module (global $g i32 (i32.const 0)) (global i32 (global.get $g)) (type (sub (func))))",
                "explicit subtype",
            ),
            ("(module (memory i64 1))", "64-bit memory"),
            ("(module (memory 1 1 shared))", "shared memory"),
            ("(module (memory 1) (memory 1))", "second memory"),
            ("(module (tag))", "tag"),
        ] {
            assert_eq!(unsupported(wat).1, what, "{wat}");
        }
    }

    /// Own globals in constant expressions are let through by more proposals than are supported: what else these let through
    /// was compiled, or panicked.
    #[test]
    fn proposals_behind_own_globals_are_refused_too() {
        for (wat, what) in [
            (
                "(table 1 funcref) (type $t (func)) (func $g (type $t)) (elem (table 0) (i32.const 0) (ref $t) (ref.func $g))",
                "reference type (ref (module 0))",
            ),
            (
                "(type $t (func)) (func (drop (block (result (ref null $t)) (unreachable))))",
                "reference type (ref null (module 0))",
            ),
            (
                "(type $t (func)) (func (drop (ref.null $t)))",
                "null of type",
            ),
            ("(func (drop (ref.null nofunc)))", "null of type"),
            ("(func (drop (ref.null any)))", "null of type"),
            (
                "(type $t (func)) (func (param i32) (drop (select (result (ref null $t)) (unreachable) (unreachable) (local.get 0))))",
                "reference type (ref null (module 0))",
            ),
            (
                "(table 1 funcref) (elem (table 0) (i32.const 0) funcref (ref.null nofunc))",
                "null of type",
            ),
        ] {
            let wat = format!(
                "(module (global $a i32 (i32.const 1)) (global $b i32 (global.get $a)) {wat})"
            );
            let found = unsupported(&wat).1;
            assert!(found.starts_with(what), "{wat}: {found}");
        }
    }

    #[test]
    fn a_select_of_several_types_is_refused() {
        // no text says it: `select` with two types
        let mut bytes = wat::parse_str(
            "(module (func (result i32) (select (result i32) (i32.const 1) (i32.const 2) (i32.const 3))))",
        )
        .expect("well-formed");
        let at = bytes
            .windows(3)
            .position(|window| window == [0x1c, 1, 0x7f])
            .expect("its select");
        bytes[at + 1] = 2;
        bytes.insert(at + 2, 0x7f);
        // the lengths of the body and of its section
        for length in [at - 8, at - 10] {
            bytes[length] += 1;
        }
        let error = Module::new(&bytes).expect_err("it has two types");
        assert!(error.to_string().contains("arity"), "{error}");
    }

    #[test]
    fn invalid_bytes_are_invalid() {
        for bytes in [
            &b"\0asm"[..],
            &b"hello"[..],
            &wat::parse_str("(module (func (result i32) (i64.const 0)))").expect("well-formed"),
            &wat::parse_str("(module (func (drop (i32.load (i32.const 0)))))")
                .expect("well-formed"),
        ] {
            assert!(matches!(
                Module::new(bytes),
                Err(CompileError::Invalid { .. })
            ));
        }
    }

    #[test]
    fn a_malformed_name_section_is_ignored() {
        let mut bytes = wat::parse_str(r#"(module (func (export "f")))"#).expect("well-formed");
        bytes.extend([0, 10, 4, b'n', b'a', b'm', b'e', 1, 3, 9, 9, 9]);
        let module = Module::new(&bytes).expect("names do not matter");
        assert_eq!(module.name(FuncIndex(0)), "f");
    }
}
