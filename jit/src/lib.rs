//! Core WebAssembly in, machine code out.
//!
//! The modules stand in the order in which a loop meets them: its body is read ([`wasm`]), tier-0 gives every value a
//! home ([`frame`], [`tier0`]), its header counts ([`patchpoint`]), an optimized body is built ([`ir`], [`tier1`]),
//! calls in it may return late ([`suspension`]), and all of it is published ([`code`]) for a machine ([`arch`]) that is
//! helped by Rust ([`runtime`]) and watched ([`observe`]).

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("midair generates machine code for x86-64 Linux only, so far");

/// Core Wasm, as the compilers see it.
pub mod wasm;

/// Calling convention and frame layouts.
pub mod frame;

/// The intermediate representation of the optimizing tier.
pub mod ir;

/// A suspension point is a call that returns late.
pub mod suspension;

/// The baseline compiler: one pass, every value has a home.
pub mod tier0;

/// Where a tier-0 frame can be handed to OSR code.
pub mod patchpoint;

/// The optimizing compiler: whole functions, and OSR code that starts at a loop header.
pub mod tier1;

/// What differs per machine.
pub mod arch;

/// Code being written, published and found again.
pub mod code;

/// What machine code is given, and the Rust functions it may call.
pub mod runtime;

/// Seeing what happens.
pub mod observe;

/// Every knob.
pub mod options;

/// What can go wrong while making code.
pub mod error;
