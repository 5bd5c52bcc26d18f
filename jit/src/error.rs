//! What can go wrong while making code, sorted by who should read it.

use crate::wasm::types::WasmOffset;

/// Why a module is refused or its code cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not valid WebAssembly. For the module's author.
    #[error("invalid module at offset {:#x}: {message}", offset.0)]
    Invalid {
        /// Where.
        offset: WasmOffset,
        /// What.
        message: String,
    },
    /// Valid, but not supported yet. For the module's author.
    #[error("unsupported at offset {:#x}: {what}", offset.0)]
    Unsupported {
        /// Where.
        offset: WasmOffset,
        /// What, by its name in the specification.
        what: String,
    },
    /// A limit of this implementation. For the operator.
    #[error("limit exceeded: {what}")]
    Limit {
        /// Which limit.
        what: String,
    },
    /// The system refused memory. For the host.
    #[error("out of resources: {what}")]
    Resource {
        /// What was asked for.
        what: String,
    },
}

/// Why a function was not optimized; never an error, tier-0 goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotOptimized {
    /// More SSA instructions than `CompileOptions::max_optimized_insts`.
    TooLarge,
    /// The register allocator gave up.
    RegisterAllocation,
    /// The OSR entry lies in code that the builder considers unreachable.
    UnreachableEntry,
    /// The system refused code memory.
    CodeMemory,
    /// `CompileOptions::only` names another function.
    Excluded,
}
