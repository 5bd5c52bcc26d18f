//! What `words/guest.ts` does, said again in Rust.

use super::host::next;
use std::collections::BTreeMap;

pub(super) extern "C" fn areas(n: u32) -> u64 {
    let area = |i| {
        let x = next(i);
        let (size, other) = (f64::from(x >> 8 & 0xff), f64::from(x >> 16 & 0xff));
        let area = match x % 3 {
            0 => size * size,
            1 => 3.0 * size * size,
            _ => size * other / 2.0,
        };
        let by = f64::from(i & 3);
        area * by * by
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as the guest does"
    )]
    let sum = (0..n).map(area).sum::<f64>() as u64;
    sum
}

pub(super) extern "C" fn words(n: u32) -> u64 {
    let mut counts = BTreeMap::<String, u64>::new();
    for i in 0..n {
        let x = next(i);
        let letter = |j: u32| char::from(b'a' + (x >> (8 + 2 * j) & 3).to_le_bytes()[0]);
        *counts
            .entry((0..1 + x % 2).map(letter).collect())
            .or_default() += 1;
    }
    counts.iter().fold(0u64, |sum, (word, count)| {
        let sum = word.bytes().fold(sum, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        sum.wrapping_mul(1_000_003).wrapping_add(*count)
    })
}

pub(super) extern "C" fn garbage(n: u32) -> u64 {
    let mut kept = Vec::new();
    let mut sum = 0u64;
    for i in 0..n {
        let list: Vec<u32> = (0..20).map(|j: u32| i.wrapping_mul(j)).collect();
        if i % 16 == 0 {
            kept = list.iter().map(|&x| x.wrapping_add(next(x) % 10)).collect();
        }
        let all = list.iter().fold(0u32, |a, &b| a.wrapping_add(b));
        sum = sum
            .wrapping_mul(31)
            .wrapping_add(u64::from(all))
            .wrapping_add(u64::from(kept[(i % 20) as usize]));
    }
    sum
}
