//! Calls from one instance into another: the context register changes hands.
//!
//! ```text
//!   guest code of A ──call──▶ cross_call: r15 = B ──call──▶ guest code of B
//! ```
//!
//! When B suspends, the stub adds a continuation of its own, one word long: A's context. Resuming it moves the results from
//! B's context to A's and returns; the caller's continuation comes next.
//!
//! A *tail call* out of B finds the stub's own return address on the stack: the frame below leads back to A already, so none
//! is added, and instances that call each other in tail position for ever need one frame. The dispatch loop does the same to
//! continuations: of two ways back in a row only the last counts.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "size classes are a handful, in constants"
)]

use crate::{
    frame::abi::EXIT_SUSPENDED,
    runtime::context::{FuncEntry, VmContext, offsets},
};
use midair_continuation::{
    Header,
    header::{FLAG_SWITCH, HEADER_SIZE},
    recycle::class_for_words,
};
use std::ptr::NonNull;

/// The environment of such an import.
#[repr(C)]
#[derive(Debug)]
pub struct CrossCall {
    /// The callee's context.
    pub context: *mut VmContext,
    /// The callee, in its module's table.
    pub entry: *const FuncEntry,
}

const CLASS: usize = match class_for_words(1) {
    Some(class) => class as usize,
    None => panic!("one word fits the smallest class"),
};
const FREE_LIST: i32 = offsets::FREE_LISTS + 8 * CLASS as i32;
const CONTEXT: usize = std::mem::offset_of!(CrossCall, context);
const ENTRY: usize = std::mem::offset_of!(CrossCall, entry);

/// The code of such an import.
///
/// # Machine contract
/// *On entry*: as an imported function, `r10` points to a [`CrossCall`]. *On exit*: as from a guest function, `r15` is the
/// caller's context again. *Stack shape*: a frame with the caller's context in its first slot, or none if such a frame is
/// what it would return to.
///
/// # Safety
/// Only guest code calls it.
#[unsafe(naked)]
pub unsafe extern "C" fn cross_call() {
    std::arch::naked_asm!(
        "mov r11, [r15 + {stack_limit}]",
        "mov rax, [r10 + {entry}]",
        "mov r10, [r10 + {context}]",
        "mov [r10 + {stack_limit}], r11",
        "mov qword ptr [r10 + {resume_floor}], -1",
        "lea r11, [rip + 7f]",
        "cmp r11, [rsp]",
        "je 6f",
        "push rbp",
        "mov rbp, rsp",
        "sub rsp, 16",
        "mov [rbp - 8], r15",
        "mov r15, r10",
        "call [rax + {entry_code}]",
        "7:",
        "mov r10, [rbp - 8]",
        "test edx, edx",
        "jne 2f",
        "mov r15, r10",
        "leave",
        "ret",
        "2:",
        // r10 = caller's context, r15 = callee's
        "js 5f",
        "mov rdi, [r15 + {free_list}]",
        "test rdi, rdi",
        "je 4f",
        "mov rax, [rdi + {next}]",
        "mov [r15 + {free_list}], rax",
        "3:",
        "lea rax, [rip + {resume_stub}]",
        "mov [rdi + {resume}], rax",
        "mov qword ptr [rdi + {resume_address}], 0",
        "mov qword ptr [rdi + {site}], 0",
        "mov dword ptr [rdi + {flags}], {flags_value}",
        "mov dword ptr [rdi + {counter}], 0",
        "mov qword ptr [rdi + {task_context}], 0",
        "mov [rdi + {image}], r10",
        "mov rax, [r15 + {chain_tail}]",
        "mov [rax + {next}], rdi",
        // the chain goes on in the caller's context
        "mov rax, [r15 + {chain_head}]",
        "mov [r10 + {chain_head}], rax",
        "mov [r10 + {chain_tail}], rdi",
        "mov edx, {suspended}",
        "5:",
        "mov r15, r10",
        "leave",
        "ret",
        // a tail call out of a callee: its frame is gone, the one below stays
        "6:",
        "mov r15, r10",
        "jmp [rax + {entry_code}]",
        "4:",
        "mov rdi, r15",
        "mov esi, 1",
        "mov rax, [r15 + {helpers}]",
        "call [rax + {allocate}]",
        "mov rdi, rax",
        "mov r10, [rbp - 8]",
        "jmp 3b",
        stack_limit = const offsets::STACK_LIMIT,
        resume_floor = const offsets::RESUME_FLOOR,
        entry = const ENTRY,
        context = const CONTEXT,
        entry_code = const offsets::ENTRY_CODE,
        free_list = const FREE_LIST,
        next = const offsets::NEXT,
        resume = const offsets::RESUME,
        resume_address = const offsets::RESUME_ADDRESS,
        site = const offsets::SITE,
        flags = const offsets::FLAGS,
        counter = const offsets::COUNTER,
        task_context = const offsets::TASK_CONTEXT,
        image = const HEADER_SIZE,
        flags_value = const CLASS as u32 | FLAG_SWITCH,
        chain_head = const offsets::CHAIN_HEAD,
        chain_tail = const offsets::CHAIN_TAIL,
        helpers = const offsets::HELPERS,
        allocate = const offsets::HELPER_ALLOCATE,
        resume_stub = sym resume_switch,
        suspended = const EXIT_SUSPENDED,
    )
}

/// The context that the continuation of a [`cross_call`] leads back to.
///
/// # Safety
/// 1. The continuation is live, is one of `cross_call`'s, and nobody else uses it meanwhile.
pub unsafe fn switch_target<'a>(continuation: NonNull<Header>) -> &'a mut *mut VmContext {
    // SAFETY: (1): its image is one word.
    let mut image = unsafe { continuation.byte_add(HEADER_SIZE) }.cast();
    // SAFETY: (1): that word is the context.
    unsafe { image.as_mut() }
}

/// Resumes the continuation of a [`cross_call`]: the callee has returned in its own context.
///
/// # Machine contract
/// *On entry*: by a call from `enter`; `rdi` = continuation, `r15` = the callee's context with the results. *On exit*:
/// returned, `r15` = the caller's context, result registers set.
///
/// # Safety
/// Only `enter` calls it.
#[unsafe(naked)]
unsafe extern "C" fn resume_switch() {
    std::arch::naked_asm!(
        "mov r10, [rdi + {image}]",
        "mov r11, [r15 + {stack_limit}]",
        "mov [r10 + {stack_limit}], r11",
        "mov qword ptr [r10 + {resume_floor}], -1",
        "mov rax, [r15 + {results}]",
        "mov rcx, [r15 + {results} + 8]",
        "movsd xmm0, [r15 + {results} + 16]",
        "movsd xmm1, [r15 + {results} + 24]",
        "mov r15, r10",
        "xor edx, edx",
        "ret",
        image = const HEADER_SIZE,
        stack_limit = const offsets::STACK_LIMIT,
        resume_floor = const offsets::RESUME_FLOOR,
        results = const offsets::RESULTS,
    )
}
