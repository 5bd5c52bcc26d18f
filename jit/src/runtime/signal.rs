//! The signal handler that turns a fault of guest code into a trap.
//!
//! ```text
//!   SIGSEGV ─▶ raised by an access, at an instruction of published code that may fault, inside that instance's memory?
//!                yes ─▶ the thread goes on at the trap site of that code, with the operator's offset in place
//!                no  ─▶ whoever had the signal before gets it, as if this handler were not there
//! ```
//!
//! The memory is address space of [`RESERVATION`] bytes, of which the first part can be read and written. No index and
//! offset that Wasm can write reach beyond it. An access that crosses the end of the first part writes nothing: the
//! machine raises the fault before.
//!
//! The handler runs on the thread's alternate stack if it has one, else on the stack of the guest, whose limit leaves room
//! for helpers. It takes no lock, allocates nothing and calls only what may be called there.

use super::context::VmContext;
use crate::code::faults;
use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};
use std::{
    io,
    mem::zeroed,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes of address space of a guarded memory: what a 32-bit index and a 32-bit offset reach, and the widest access.
pub const RESERVATION: usize = (8 << 30) + (64 << 10);

/// Where the program counter lies among the saved registers.
const RIP: usize = libc::REG_RIP as usize;
/// The pinned context register.
const R15: usize = libc::REG_R15 as usize;
/// The trap helper's third argument.
const RDX: usize = libc::REG_RDX as usize;

/// Who had the signal before.
static PREVIOUS: OnceLock<sigaction> = OnceLock::new();
/// It wanted the signal once, and got it.
static SPENT: AtomicBool = AtomicBool::new(false);

/// Installs the handler, once per process.
///
/// # Errors
/// The system's.
pub fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| install_now().map_err(|error| error.raw_os_error().unwrap_or_default()))
        .map_err(io::Error::from_raw_os_error)
}

fn install_now() -> io::Result<()> {
    // SAFETY: all zeros is a valid value to be overwritten.
    let mut previous = unsafe { zeroed::<sigaction>() };
    // The handler may run as soon as it is there, so what it passes signals on to is asked for first.
    // SAFETY: only reads the disposition.
    if unsafe { sigaction(libc::SIGSEGV, ptr::null(), &raw mut previous) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let _ = PREVIOUS.set(previous);
    // SAFETY: all zeros is a valid value: no flags, no signals blocked meanwhile.
    let mut action = unsafe { zeroed::<sigaction>() };
    let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handler;
    #[expect(
        clippy::fn_to_numeric_cast_any,
        reason = "the system calls it by address"
    )]
    {
        action.sa_sigaction = handler as usize;
    }
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: a handler of the type that these flags promise.
    if unsafe { sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// # Safety
/// 1. Called by the system, for a signal of the calling thread.
unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: (1).
    if !unsafe { turned_into_a_trap(info, context.cast()) } {
        // SAFETY: (1).
        unsafe { pass_on(signal, info, context) };
    }
}

/// # Safety
/// 1. `info` and `context` are what the system gave the handler on this thread.
unsafe fn turned_into_a_trap(info: *mut siginfo_t, context: *mut ucontext_t) -> bool {
    // SAFETY: (1).
    let info = unsafe { &*info };
    let code = info.si_code;
    if code != SEGV_MAPERR && code != SEGV_ACCERR {
        return false;
    }
    // SAFETY: (1).
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let word = |register: i64| usize::try_from(register.cast_unsigned()).expect("64 bits");
    // SAFETY: (1): this thread was interrupted there.
    let Some(fault) = (unsafe { faults::find(word(registers[RIP])) }) else {
        return false;
    };
    let guest = ptr::with_exposed_provenance::<VmContext>(word(registers[R15]));
    // SAFETY: the thread was in the body of guest code, where the pinned register holds the instance's live context.
    let base = unsafe { (*guest).memory_base }.addr();
    // SAFETY: a fault has an address.
    let address = unsafe { info.si_addr() }.addr();
    if !(base..base + RESERVATION).contains(&address) {
        return false;
    }
    registers[RIP] = i64::try_from(fault.landing).expect("code lies in the lower half");
    registers[RDX] = i64::from(fault.offset.0);
    true
}

const SEGV_MAPERR: c_int = 1;
const SEGV_ACCERR: c_int = 2;

/// Does what the system would have done without this handler.
///
/// # Safety
/// 1. Called by the handler with its own arguments.
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(previous) = PREVIOUS.get() else {
        // SAFETY: (1).
        return unsafe { by_default(signal, info) };
    };
    let flags = previous.sa_flags;
    let once = flags & libc::SA_RESETHAND != 0;
    match previous.sa_sigaction {
        libc::SIG_DFL => {
            // SAFETY: (1).
            unsafe { by_default(signal, info) };
        }
        // the system lets nobody ignore a fault, only a signal that somebody sent
        libc::SIG_IGN => {
            // SAFETY: (1).
            if unsafe { (*info).si_code } > 0 {
                // SAFETY: (1).
                unsafe { by_default(signal, info) };
            }
        }
        _ if once && SPENT.swap(true, Ordering::Relaxed) => {
            // SAFETY: (1).
            unsafe { by_default(signal, info) };
        }
        address => {
            // What is blocked while that handler runs; the end of this one restores the mask.
            // SAFETY: both are signal sets of this thread's own.
            unsafe {
                libc::pthread_sigmask(
                    libc::SIG_BLOCK,
                    &raw const previous.sa_mask,
                    ptr::null_mut(),
                )
            };
            if flags & libc::SA_NODEFER != 0 {
                // SAFETY: all zeros is an empty set.
                let mut own = unsafe { zeroed::<libc::sigset_t>() };
                // SAFETY: a set and a signal that exists.
                unsafe { libc::sigaddset(&raw mut own, signal) };
                // SAFETY: as above.
                unsafe {
                    libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const own, ptr::null_mut())
                };
            }
            if flags & libc::SA_SIGINFO == 0 {
                // SAFETY: the handler that was installed without that flag has this type.
                let handler: unsafe extern "C" fn(c_int) = unsafe { std::mem::transmute(address) };
                // SAFETY: (1): as the system would have called it.
                unsafe { handler(signal) };
            } else {
                // SAFETY: the handler that was installed with that flag has this type.
                let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    unsafe { std::mem::transmute(address) };
                // SAFETY: (1): as the system would have called it.
                unsafe { handler(signal, info, context) };
            }
        }
    }
}

/// The default action, which ends the process: a fault is raised again when the handler returns, a signal that was sent is
/// sent again.
///
/// # Safety
/// 1. Called by the handler, `info` is its own.
unsafe fn by_default(signal: c_int, info: *mut siginfo_t) {
    // SAFETY: all zeros is the default action.
    let action = unsafe { zeroed::<sigaction>() };
    // SAFETY: the default needs nothing.
    unsafe { sigaction(signal, &raw const action, ptr::null_mut()) };
    // SAFETY: (1).
    if unsafe { (*info).si_code } <= 0 {
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(signal) };
    }
}
