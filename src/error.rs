//! What can go wrong, for those who run guests.

use std::{any::Any, error::Error as StdError, fmt, sync::Arc};

pub use midair_jit::error::CompileError;
use midair_jit::runtime::trap::MAX_TRACE;

/// Any error of this crate, or one that a host function returned.
///
/// Like wasmtime's, it is opaque and can be downcast: to [`Trap`], [`CannotSuspend`], [`LinkError`], [`CompileError`], or to
/// whatever type a host function's error had. [`Error::backtrace`] says where guest code stood, and so does a downcast to
/// [`WasmBacktrace`]. `{}` prints the error, `{:#}` with what caused it in one line, `{:?}` with the backtrace too.
///
/// # Examples
/// ```
/// # fn main() -> midair::Result<()> {
/// let engine = midair::Engine::default();
/// let module = midair::Module::new(&engine, r#"(module (func (export "f") unreachable))"#)?;
/// let mut store = midair::Store::new(&engine, ());
/// let instance = midair::Linker::new(&engine).instantiate(&mut store, &module)?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.downcast_ref(), Some(&midair::Trap::Unreachable));
/// assert_eq!(error.backtrace().unwrap().frames()[0].func_name(), "f");
/// # Ok(()) }
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    error: Box<dyn StdError + Send + Sync>,
    backtrace: Option<WasmBacktrace>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an error.
    pub fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            inner: Box::new(Inner {
                error: Box::new(error),
                backtrace: None,
            }),
        }
    }

    /// An error that is just a message.
    pub fn msg(message: impl fmt::Display) -> Self {
        Self {
            inner: Box::new(Inner {
                error: message.to_string().into(),
                backtrace: None,
            }),
        }
    }

    /// The error inside, if it is an `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        let backtrace: Option<&(dyn StdError + 'static)> = match &self.inner.backtrace {
            Some(backtrace) => Some(backtrace),
            None => None,
        };
        self.inner
            .error
            .downcast_ref()
            .or_else(|| backtrace?.downcast_ref())
    }

    /// Whether the error inside is an `E`.
    pub fn is<E: StdError + 'static>(&self) -> bool {
        self.downcast_ref::<E>().is_some()
    }

    /// The error inside, by value.
    ///
    /// # Errors
    /// This error, if it is something else.
    pub fn downcast<E: StdError + 'static>(self) -> std::result::Result<E, Self> {
        let Inner { error, backtrace } = *self.inner;
        match error.downcast() {
            Ok(error) => Ok(*error),
            Err(error) => Err(Self {
                inner: Box::new(Inner { error, backtrace }),
            }),
        }
    }

    /// Where guest code stood, if it was running.
    pub fn backtrace(&self) -> Option<&WasmBacktrace> {
        self.inner.backtrace.as_ref()
    }

    /// Adds where guest code stood: behind what is known already, because then that code has called, through a host
    /// function, what failed.
    pub(crate) fn with_backtrace(mut self, backtrace: WasmBacktrace) -> Self {
        match &mut self.inner.backtrace {
            Some(inner) => {
                let room = MAX_TRACE.saturating_sub(inner.frames.len());
                inner.frames.extend(backtrace.frames.into_iter().take(room));
            }
            None if backtrace.frames.is_empty() => (),
            none => *none = Some(backtrace),
        }
        self
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// An [`Error`] in a box, as other libraries pass errors on: it prints as before, backtrace included.
struct Boxed(Error);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for Boxed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.inner.error.source()
    }
}

/// For functions that return boxed errors. What is to be downcast is downcast before.
impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        Box::new(Boxed(error))
    }
}

/// As into `Box<dyn Error + Send + Sync>`.
impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        Box::new(Boxed(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.error)?;
        if f.alternate() {
            let mut source = self.inner.error.source();
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.error)?;
        let mut source = self.inner.error.source();
        while let Some(error) = source {
            write!(f, "\ncaused by: {error}")?;
            source = error.source();
        }
        if let Some(backtrace) = &self.inner.backtrace {
            write!(f, "\n{backtrace}")?;
        }
        Ok(())
    }
}

/// Why guest code trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trap {
    /// `unreachable` was executed.
    Unreachable,
    /// A load or store outside the memory.
    MemoryOutOfBounds,
    /// Integer division by zero.
    IntegerDivisionByZero,
    /// A quotient, or a float converted to an integer, does not fit.
    IntegerOverflow,
    /// NaN converted to an integer.
    BadConversionToInteger,
    /// No room left on the stack.
    StackOverflow,
    /// The store's epoch deadline was reached.
    Interrupt,
    /// An access outside a table.
    TableOutOfBounds,
    /// An indirect call outside its table.
    UndefinedElement,
    /// An indirect call of a null reference.
    UninitializedElement,
    /// An indirect call of a function of another type.
    IndirectCallTypeMismatch,
}

impl Trap {
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        use midair_jit::ir::value::TrapCode;
        Some(match code {
            c if c == TrapCode::Unreachable as u32 => Self::Unreachable,
            c if c == TrapCode::MemoryOutOfBounds as u32 => Self::MemoryOutOfBounds,
            c if c == TrapCode::IntegerDivisionByZero as u32 => Self::IntegerDivisionByZero,
            c if c == TrapCode::IntegerOverflow as u32 => Self::IntegerOverflow,
            c if c == TrapCode::BadConversionToInteger as u32 => Self::BadConversionToInteger,
            c if c == TrapCode::StackOverflow as u32 => Self::StackOverflow,
            c if c == TrapCode::Interrupt as u32 => Self::Interrupt,
            c if c == TrapCode::TableOutOfBounds as u32 => Self::TableOutOfBounds,
            c if c == TrapCode::UndefinedElement as u32 => Self::UndefinedElement,
            c if c == TrapCode::UninitializedElement as u32 => Self::UninitializedElement,
            c if c == TrapCode::IndirectCallTypeMismatch as u32 => Self::IndirectCallTypeMismatch,
            _ => return None,
        })
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "wasm trap: unreachable",
            Self::MemoryOutOfBounds => "wasm trap: out of bounds memory access",
            Self::IntegerDivisionByZero => "wasm trap: integer divide by zero",
            Self::IntegerOverflow => "wasm trap: integer overflow",
            Self::BadConversionToInteger => "wasm trap: invalid conversion to integer",
            Self::StackOverflow => "wasm trap: call stack exhausted",
            Self::Interrupt => "wasm trap: interrupt",
            Self::TableOutOfBounds => "wasm trap: out of bounds table access",
            Self::UndefinedElement => "wasm trap: undefined element",
            Self::UninitializedElement => "wasm trap: uninitialized element",
            Self::IndirectCallTypeMismatch => "wasm trap: indirect call type mismatch",
        })
    }
}

impl StdError for Trap {}

/// An await that could not finish at once, beneath something that cannot wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannotSuspend {
    /// The import that awaits.
    pub awaiting: String,
    /// What is in the way: a synchronous host function, a synchronous `call`, or an `instantiate`.
    pub beneath: String,
}

impl fmt::Display for CannotSuspend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` cannot suspend beneath {}",
            self.awaiting, self.beneath
        )
    }
}

impl StdError for CannotSuspend {}

/// An instance could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// Nothing of that name was defined.
    UnknownImport {
        /// Its module name.
        module: String,
        /// Its field name.
        name: String,
    },
    /// Something else was defined under that name.
    IncompatibleImport {
        /// Its module name.
        module: String,
        /// Its field name.
        name: String,
        /// What the module wants.
        expected: String,
        /// What was defined.
        found: String,
    },
    /// Something of that name is defined already.
    Duplicate {
        /// Its module name.
        module: String,
        /// Its field name.
        name: String,
    },
    /// What was given lives in another store than the one an instance is made in.
    OtherStore {
        /// Its module name.
        module: String,
        /// Its field name.
        name: String,
        /// What was given.
        found: String,
    },
    /// A list of imports is too short or too long.
    WrongNumberOfImports {
        /// How many the module has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownImport { module, name } => {
                write!(f, "unknown import: `{module}::{name}` has not been defined")
            }
            Self::IncompatibleImport {
                module,
                name,
                expected,
                found,
            } => {
                write!(
                    f,
                    "incompatible import type for `{module}::{name}`: expected {expected}, found {found}"
                )
            }
            Self::Duplicate { module, name } => write!(f, "`{module}::{name}` is defined twice"),
            Self::OtherStore {
                module,
                name,
                found,
            } => write!(
                f,
                "`{module}::{name}` was given {found} of another store than the instance's"
            ),
            Self::WrongNumberOfImports { expected, found } => write!(
                f,
                "wrong number of imports: the module has {expected}, given were {found}"
            ),
        }
    }
}

impl StdError for LinkError {}

/// Bytes are not what [`Module::serialize`](crate::Module::serialize) gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeserializeError {
    /// They do not begin as a serialized module does.
    NotAModule,
    /// Another version of this crate wrote them, in a format that this one does not read.
    Version {
        /// The format's version.
        found: u32,
        /// The one that is read here.
        supported: u32,
    },
    /// There are fewer or more of them than they say.
    Length,
    /// Some of them have changed.
    Checksum,
    /// They say something about a function that the module does not have.
    UnknownFunction {
        /// Its index.
        index: u32,
    },
}

impl fmt::Display for DeserializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAModule => write!(f, "not a serialized module"),
            Self::Version { found, supported } => write!(
                f,
                "a serialized module of format {found}; this version reads format {supported}"
            ),
            Self::Length => write!(f, "a serialized module was cut off or has bytes too many"),
            Self::Checksum => write!(f, "a serialized module was damaged: its checksum is wrong"),
            Self::UnknownFunction { index } => write!(
                f,
                "a serialized module speaks of function {index}, which it does not define"
            ),
        }
    }
}

impl StdError for DeserializeError {}

/// The handle of a call was used when its call could not be: see the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCurrent {
    /// An [`AsyncCaller`](crate::AsyncCaller) was used while its call was not being polled.
    AsyncCaller,
    /// An [`AsyncCaller`](crate::AsyncCaller) was used inside its own `with`.
    AlreadyBorrowed,
    /// A [`Resumption`](crate::Resumption) was dropped without being used.
    ResumptionDropped,
    /// The call was cancelled.
    Cancelled,
}

impl fmt::Display for NotCurrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsyncCaller => "the call of this AsyncCaller is not current",
            Self::AlreadyBorrowed => "this AsyncCaller's store is borrowed already",
            Self::ResumptionDropped => "the resumption of this call was dropped without being used",
            Self::Cancelled => "the call was cancelled",
        })
    }
}

impl StdError for NotCurrent {}

/// Where guest code stood, innermost function first, through suspended callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WasmBacktrace {
    pub(crate) frames: Vec<FrameInfo>,
}

impl WasmBacktrace {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm backtrace:")?;
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "\n  {i:>3}: {frame}")?;
        }
        Ok(())
    }
}

/// So that it can be asked for like any error: `error.downcast_ref::<WasmBacktrace>()`.
impl StdError for WasmBacktrace {}

/// One frame of a [`WasmBacktrace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    pub(crate) func_index: u32,
    pub(crate) func_name: String,
    pub(crate) module_name: Option<Arc<str>>,
    pub(crate) offset: Option<u32>,
}

impl FrameInfo {
    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.func_index
    }

    /// The function's name, from the name section or an export; `func N` if it has none.
    pub fn func_name(&self) -> &str {
        &self.func_name
    }

    /// The module's name, if its name section has one.
    pub fn module_name(&self) -> Option<&str> {
        self.module_name.as_deref()
    }

    /// Byte offset of the operator in the module, where it is known.
    pub fn module_offset(&self) -> Option<u32> {
        self.offset
    }
}

impl fmt::Display for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{offset:#7x} - ")?,
            None => write!(f, "      ? - ")?,
        }
        if let Some(module) = &self.module_name {
            write!(f, "{module}!")?;
        }
        f.write_str(&self.func_name)
    }
}

/// What made guest code leave without a result.
pub(crate) enum Pending {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}
