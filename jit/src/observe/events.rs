//! What happened, in order: the log that journeys are tested by.

use crate::{
    code::draft::CodeKind,
    error::NotOptimized,
    wasm::types::{FuncIndex, WasmOffset},
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A patchpoint's counter ran out.
    Hit {
        /// Which function.
        func: FuncIndex,
        /// Its loop header.
        offset: WasmOffset,
    },
    /// A compilation was asked for.
    Trigger {
        /// Which function.
        func: FuncIndex,
        /// The loop header; `None` for a whole function.
        offset: Option<WasmOffset>,
    },
    /// Code was published.
    Publish {
        /// Which function.
        func: FuncIndex,
        /// Which kind of code.
        kind: CodeKind,
        /// How much of it.
        bytes: usize,
    },
    /// A frame went from tier-0 to OSR code.
    Transition {
        /// Which function.
        func: FuncIndex,
        /// At which loop header.
        offset: WasmOffset,
    },
    /// A call was suspended; told of its innermost guest frame.
    Suspend {
        /// Which function.
        func: FuncIndex,
        /// Where.
        offset: WasmOffset,
        /// In which code.
        kind: CodeKind,
        /// Words of its image.
        live: u32,
    },
    /// A frame is resumed in tier-0, through its entry.
    Resume {
        /// Which function.
        func: FuncIndex,
        /// Where.
        offset: WasmOffset,
    },
    /// A frame is resumed in optimized code, by a non-local jump.
    Jump {
        /// Which function.
        func: FuncIndex,
        /// Where.
        offset: WasmOffset,
        /// In which code.
        kind: CodeKind,
    },
    /// A continuation was rewritten into its canonical layout.
    Normalize {
        /// Which function.
        func: FuncIndex,
        /// Where.
        offset: WasmOffset,
    },
    /// A continuation moved to tier-1.
    TierUp {
        /// Which function.
        func: FuncIndex,
        /// Where.
        offset: WasmOffset,
    },
    /// A function or loop stays in tier-0.
    NotOptimized {
        /// Which function.
        func: FuncIndex,
        /// Why.
        reason: NotOptimized,
    },
    /// The outermost guest frame returned.
    Return,
    /// The call trapped.
    Trap,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |kind: &CodeKind| match kind {
            CodeKind::Tier0 => "tier0".to_owned(),
            CodeKind::Osr(offset) => format!("osr{offset}"),
            CodeKind::Tier1 => "tier1".to_owned(),
        };
        match self {
            Self::Hit { func, offset } => write!(f, "hit {func}{offset}"),
            Self::Trigger {
                func,
                offset: Some(offset),
            } => write!(f, "trigger {func}{offset}"),
            Self::Trigger { func, offset: None } => write!(f, "trigger {func}"),
            Self::Publish { func, kind, .. } => write!(f, "publish {func} {}", code(kind)),
            Self::Transition { func, offset } => write!(f, "transition {func}{offset}"),
            Self::Suspend {
                func,
                offset,
                kind,
                live,
            } => {
                write!(f, "suspend {func}{offset} in {}, {live} live", code(kind))
            }
            Self::Resume { func, offset } => write!(f, "resume {func}{offset}"),
            Self::Jump { func, offset, kind } => {
                write!(f, "jump {func}{offset} into {}", code(kind))
            }
            Self::Normalize { func, offset } => write!(f, "normalize {func}{offset}"),
            Self::TierUp { func, offset } => write!(f, "tier-up {func}{offset}"),
            Self::NotOptimized { func, reason } => write!(f, "not optimized {func}: {reason:?}"),
            Self::Return => write!(f, "return"),
            Self::Trap => write!(f, "trap"),
        }
    }
}

/// Who is told of events; nobody by default, at the price of one branch where they happen.
#[derive(Default)]
pub struct Observer {
    sink: Option<Box<dyn Fn(Event) + Send + Sync>>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("watching", &self.is_watching())
            .finish()
    }
}

impl Observer {
    /// Tells `sink` of every event, on the thread where it happens.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            sink: Some(Box::new(sink)),
        }
    }

    /// Whether anybody is told.
    #[inline]
    pub fn is_watching(&self) -> bool {
        self.sink.is_some()
    }

    /// Tells of an event, which is made only if somebody listens. Guest code may be above: a panic of the listener is
    /// reported by the panic hook and goes no further.
    #[inline]
    pub fn record(&self, event: impl FnOnce() -> Event) {
        if let Some(sink) = &self.sink {
            let event = event();
            drop(catch_unwind(AssertUnwindSafe(|| sink(event))));
        }
    }
}
