//! Backtraces: which Wasm operators the frames of a thread stand at.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "finding a place and the one access to it are argued together"
)]

use crate::{
    code::{pc_table::PcTable, published::PublishedCode},
    wasm::types::WasmOffset,
};

/// The most frames a backtrace holds; deeper ones keep their innermost frames.
pub const MAX_TRACE: usize = 100;

/// Follows frame registers outwards from the frame whose code contains `pc`, calling `visit` for each guest frame, until
/// the outermost guest frame of this entry.
///
/// # Safety
/// `frame` is the frame register of a live frame of guest code or of a host stub, on this thread's stack, entered through
/// `enter` (which ends the list of saved frame registers with 0).
pub unsafe fn walk(
    table: &PcTable,
    mut pc: usize,
    mut frame: usize,
    mut visit: impl FnMut(&PublishedCode, Option<WasmOffset>),
) {
    for _ in 0..MAX_TRACE {
        if let Some(code) = table.lookup(pc) {
            visit(&code, code.wasm_offset(pc));
        }
        if frame == 0 {
            return;
        }
        let saved = std::ptr::with_exposed_provenance::<usize>(frame);
        // SAFETY: a live frame: its saved frame register.
        let outer = unsafe { saved.read() };
        // SAFETY: the return address lies above it.
        pc = unsafe { saved.add(1).read() };
        frame = outer;
    }
}

/// Follows frame registers outwards from a host stub's frame, calling `visit` with each guest frame's register and the
/// address it goes on at, until the outermost guest frame of this entry. All frames there are; 0 has none.
///
/// # Safety
/// As for [`walk`], of a host stub.
pub unsafe fn walk_frames(mut frame: usize, mut visit: impl FnMut(usize, usize)) {
    while frame != 0 {
        let saved = std::ptr::with_exposed_provenance::<usize>(frame);
        // SAFETY: a live frame: its saved frame register.
        let outer = unsafe { saved.read() };
        // SAFETY: the return address lies above it.
        let pc = unsafe { saved.add(1).read() };
        if outer != 0 {
            visit(pc, outer);
        }
        frame = outer;
    }
}
