//! A continuation from one code version to another: normalizing, and entering tier-1 from the canonical layout.
//!
//! [essay: migration]
//!
//! ```text
//!   image of version A ──map──▶ canonical layout ──recipes──▶ image of version B
//!                                      │
//!                                      └──▶ tier-0's image, which it is
//! ```
//!
//! **Invariant (normalizing never changes the result).** A site's map gives the value of every entry of the canonical
//! layout, so tier-0 can go on from there; what else an image holds is only what its own code version wants to find.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "finding a place and the one access to it are argued together"
)]

use super::functions::CompiledModule;
use crate::{
    code::{draft::CodeKind, published::Site},
    error::CompileError,
    ir::eval,
    observe::events::Event,
    suspension::point::{ImageSource, Recipe},
    wasm::types::ValType,
};
use midair_continuation::{
    Header,
    header::{FLAG_COUNT_RESUMES, payload},
    recycle::{FreeLists, SIZE_CLASSES},
};
use std::{num::NonZeroUsize, ptr::NonNull};

/// The site a guest continuation is parked at.
///
/// # Safety
/// `block` is a live guest continuation, and its code lives as long as `'a`.
pub unsafe fn site_of<'a>(block: NonNull<Header>) -> &'a Site {
    // SAFETY: the caller's.
    let site = unsafe { block.as_ref() }.site;
    // SAFETY: a guest continuation's `site` points to one.
    unsafe { &*site.cast::<Site>() }
}

/// The canonical layout's values of a guest continuation, one word each; 32-bit types have zero upper halves.
///
/// # Safety
/// As for [`site_of`]; the image is initialized.
pub unsafe fn canonical_values(block: NonNull<Header>) -> Vec<u64> {
    // SAFETY: the caller's.
    let site = unsafe { site_of(block) };
    let image = payload(block).cast::<u64>();
    site.map
        .iter()
        .zip(site.layout.types())
        .map(|(source, ty)| {
            let bits = match *source {
                // SAFETY: the image has `site.image_words` words, and the map names no other.
                ImageSource::Word(word) => unsafe { image.add(word as usize).read() },
                ImageSource::Const(bits) => bits,
            };
            if matches!(ty, ValType::I32 | ValType::F32) {
                bits & u64::from(u32::MAX)
            } else {
                bits
            }
        })
        .collect()
}

/// Rewrites a guest continuation into its canonical layout and nulls its resume address, so that any version can go on from
/// it. Gives the block that now is the continuation: the same one if the layout fits it. The caller relinks.
///
/// # Errors
/// What tier-0's compiler says, if the function has no tier-0 code yet; the continuation is unchanged then.
///
/// # Safety
/// 1. `block` is a live guest continuation of `module`, owned by the caller.
/// 2. `lists` are the free lists of its store.
pub unsafe fn normalize(
    module: &CompiledModule,
    lists: &mut FreeLists,
    block: NonNull<Header>,
) -> Result<NonNull<Header>, CompileError> {
    // SAFETY: (1).
    let site = unsafe { site_of(block) };
    // SAFETY: (1).
    let values = unsafe { canonical_values(block) };
    let (code, index) = module.tier0_site(&site.layout)?;
    let resume = code.resume_entry.expect("tier-0 code has a resume entry").0;
    module.shared.observer.record(|| Event::Normalize {
        func: site.layout.func,
        offset: site.layout.offset,
    });
    // SAFETY: (1), (2); a tier-0 image is the canonical layout.
    Ok(unsafe {
        rewrite(
            module,
            lists,
            block,
            &values,
            &code.sites[index],
            resume,
            None,
        )
    })
}

/// Moves a guest continuation to its function's tier-1 code, if there is some and it can be entered there. Gives the block
/// that now is the continuation; the caller relinks.
///
/// # Safety
/// As for [`normalize`].
pub unsafe fn tier_up(
    module: &CompiledModule,
    lists: &mut FreeLists,
    block: NonNull<Header>,
) -> Option<NonNull<Header>> {
    // SAFETY: (1) of `normalize`.
    let site = unsafe { site_of(block) };
    let layout = &site.layout;
    if site.kind == CodeKind::Tier1 || !module.has_tier1(layout.func) {
        return None;
    }
    let code = module.tier1(layout.func).ok()?;
    let target = code.site_at(layout)?;
    // SAFETY: (1) of `normalize`.
    let canonical = unsafe { canonical_values(block) };
    let image: Option<Vec<u64>> = target
        .recipes
        .iter()
        .map(|recipe| evaluate(recipe.as_ref()?, &canonical))
        .collect();
    let image = image?;
    module.shared.observer.record(|| Event::TierUp {
        func: layout.func,
        offset: layout.offset,
    });
    let address = NonZeroUsize::new(target.return_address);
    // SAFETY: (1), (2) of `normalize`; the image has what this site's door expects.
    Some(unsafe {
        rewrite(
            module,
            lists,
            block,
            &image,
            target,
            target.direct_door,
            address,
        )
    })
}

/// # Safety
/// As for [`normalize`], and `words` is an image for `site`, `resume` a way in that takes it.
unsafe fn rewrite(
    module: &CompiledModule,
    lists: &mut FreeLists,
    block: NonNull<Header>,
    words: &[u64],
    site: &Site,
    resume: usize,
    resume_address: Option<NonZeroUsize>,
) -> NonNull<Header> {
    // SAFETY: the caller's.
    let old = unsafe { block.as_ref() };
    let (next, counter, context) = (old.next, old.counter, old.context);
    let room = SIZE_CLASSES
        .get(usize::from(old.flags.to_le_bytes()[0]))
        .copied()
        .unwrap_or(0);
    let mut target = block;
    // machine code gives a block back by the size class of its site, so the classes must agree
    if midair_continuation::recycle::class_for_payload(8 * words.len())
        != midair_continuation::recycle::class_for_payload(room.saturating_sub(size_of::<Header>()))
        || room == 0
    {
        target = lists.take(8 * words.len());
        // SAFETY: the old block's contents were read.
        unsafe { lists.give(block) };
    }
    let image = payload(target).cast::<u64>();
    for (i, &word) in words.iter().enumerate() {
        // SAFETY: there is room for that many words.
        unsafe { image.add(i).write(word) };
    }
    // SAFETY: a block of ours.
    let header = unsafe { target.as_mut() };
    header.next = next;
    header.counter = counter;
    header.context = context;
    header.resume = resume;
    header.resume_address = resume_address;
    header.site = std::ptr::from_ref(site).cast();
    header.flags &= 0xff;
    if module.shared.options.count_resumes && site.kind != CodeKind::Tier1 {
        header.flags |= FLAG_COUNT_RESUMES;
    }
    target
}

fn evaluate(recipe: &Recipe, canonical: &[u64]) -> Option<u64> {
    Some(match recipe {
        Recipe::Canonical(i) => canonical[*i as usize],
        Recipe::Const(bits) => *bits,
        Recipe::Unary(op, arg) => eval::eval_unary(*op, evaluate(arg, canonical)?)?,
        Recipe::Binary(op, args) => eval::eval_binary(
            *op,
            [
                evaluate(&args[0], canonical)?,
                evaluate(&args[1], canonical)?,
            ],
        )?,
        Recipe::Select(parts) => {
            let chosen = if evaluate(&parts[0], canonical)? == 0 {
                2
            } else {
                1
            };
            evaluate(&parts[chosen], canonical)?
        }
    })
}
