//! Helpers of the test machines for segments and tables: data segments of known bytes, and no tables at all.

use midair_jit::runtime::{context::VmContext, helpers};

/// Every segment is `0 1 2 .. 9` and then its number.
pub(crate) unsafe extern "C" fn memory_init(
    context: *mut VmContext,
    segment: u32,
    to: u32,
    from: u32,
    len: u32,
) -> u32 {
    let mut bytes: Vec<u8> = (0..10).collect();
    bytes.extend(u8::try_from(segment));
    // SAFETY: called by guest code that the machine entered.
    let context = unsafe { &mut *context };
    // SAFETY: the same.
    unsafe { helpers::memory_init(context, to, from, len, &bytes) }
}

/// Overwrites the first byte with the segment's number.
pub(crate) unsafe extern "C" fn data_drop(context: *mut VmContext, segment: u32) {
    // SAFETY: called by guest code that the machine entered.
    let status = unsafe { helpers::memory_fill(context, 0, segment, 1) };
    assert_eq!(status, 0);
}

pub(crate) unsafe extern "C" fn no_table_grow(_: *mut VmContext, _: u32, _: u64, _: u32) -> u32 {
    std::process::abort()
}

pub(crate) unsafe extern "C" fn no_table_fill(
    _: *mut VmContext,
    _: u32,
    _: u32,
    _: u64,
    _: u32,
) -> u32 {
    std::process::abort()
}

pub(crate) unsafe extern "C" fn no_table_move(
    _: *mut VmContext,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> u32 {
    std::process::abort()
}

pub(crate) unsafe extern "C" fn no_elem_drop(_: *mut VmContext, _: u32) {
    std::process::abort()
}
