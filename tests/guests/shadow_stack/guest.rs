//! Address-taken locals across awaits: arrays and structs live on the shadow stack in linear memory, and the host writes to
//! them while the guest is suspended. Rust without its standard library.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub(crate) safe fn next(x: u32) -> u32;
        #[link_name = "fill"]
        unsafe fn fill_bytes(to: *mut u8, len: u32, seed: u32);
    }

    pub(crate) fn fill(bytes: &mut [u8], seed: u32) {
        // SAFETY: the host writes to these bytes only.
        unsafe { fill_bytes(bytes.as_mut_ptr(), bytes.len() as u32, seed) };
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
#[cfg(not(target_arch = "wasm32"))]
use super::host;

use core::hint::black_box;

fn mixed(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, &byte| {
        (sum.rotate_left(7) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// A loop that awaits, with an array whose address the host has.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn filled(n: u32) -> u64 {
    let mut bytes = [0u8; 96];
    let mut sums = [0u64; 4];
    for turn in 0..n {
        let from = (turn % 32) as usize;
        host::fill(&mut bytes[from..from + 64], turn);
        let last = black_box(&mut sums);
        last[(turn & 3) as usize] = mixed(last[(turn.wrapping_add(1) & 3) as usize], &bytes);
    }
    sums[0] ^ sums[1] ^ sums[2] ^ sums[3]
}

struct Frame<'a> {
    depth: u32,
    scratch: [u32; 12],
    outer: Option<&'a Self>,
}

fn deeper(outer: Option<&Frame<'_>>, depth: u32, left: u32) -> u64 {
    let mut frame = Frame {
        depth,
        scratch: [depth; 12],
        outer,
    };
    for n in 0..3 {
        let at = ((depth + n) % 12) as usize;
        frame.scratch[at] = host::next(frame.scratch[at].wrapping_add(n));
    }
    let frame = black_box(&frame);
    let beneath = if left == 0 {
        // the whole chain of frames, through their addresses
        let mut sum = 0u64;
        let mut next = Some(frame);
        while let Some(frame) = next {
            for &word in &frame.scratch {
                sum = sum
                    .wrapping_mul(31)
                    .wrapping_add(u64::from(word ^ frame.depth));
            }
            next = frame.outer;
        }
        sum
    } else {
        deeper(Some(frame), depth + 1, left - 1)
    };
    // nobody has written to it meanwhile
    let kept = frame
        .scratch
        .iter()
        .fold(0u64, |sum, &word| sum + u64::from(word));
    beneath.rotate_left(5) ^ kept
}

/// Frames `n` deep, each with an array that the next one refers to; every frame awaits three times.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn nested(n: u32) -> u64 {
    deeper(None, 0, n)
}

/// Sorts numbers that come from the host one by one into an array, by insertion.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn sorted(n: u32) -> u64 {
    let mut numbers = [0u32; 64];
    let n = (n as usize).min(numbers.len());
    for len in 0..n {
        let number = host::next(len as u32);
        let at = numbers[..len].partition_point(|&known| known <= number);
        numbers.copy_within(at..len, at + 1);
        numbers[at] = number;
        black_box(&mut numbers);
    }
    let mut sum = 0u64;
    for pair in numbers[..n].windows(2) {
        sum = sum
            .wrapping_mul(1_000_003)
            .wrapping_add(u64::from(pair[1] - pair[0]));
    }
    sum
}
