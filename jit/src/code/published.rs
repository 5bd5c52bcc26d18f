//! Code being run: its address, its extent, and what is known about places in it.

use super::{
    cache::{CodeAddr, CodeCache},
    draft::{CodeDraft, CodeKind, Reloc, RelocTarget},
};
use crate::{
    error::CompileError,
    patchpoint::site::Patchpoint,
    suspension::point::{CanonicalLayout, ImageSource, Recipe},
    wasm::types::{CodeOffset, FrameOffset, FuncIndex, ValType, WasmOffset},
};
use std::sync::{Arc, OnceLock, Weak};

/// A suspension point of published code. Continuations point here.
#[repr(C)]
#[derive(Debug)]
pub struct Site {
    /// Tier-0 code: its refill door, read by the resume entry (which expects it first). Elsewhere 0.
    pub refill: usize,
    /// OSR and tier-1 code: the direct door. Elsewhere 0.
    pub direct_door: usize,
    /// OSR code: the door for a tier-0 frame. Elsewhere 0.
    pub tier0_door: usize,
    /// Where a call that returned at once goes on: right behind the call.
    pub return_address: usize,
    /// What Wasm sees there.
    pub layout: CanonicalLayout,
    /// Result types of the call.
    pub results: Box<[ValType]>,
    /// Words of the image.
    pub image_words: u32,
    /// One per entry of the layout.
    pub map: Box<[ImageSource]>,
    /// Words of the image that are an externref, with the frame slots they are copies of.
    pub references: Box<[(u32, FrameOffset)]>,
    /// One per image word; empty in tier-0 code.
    pub recipes: Box<[Option<Recipe>]>,
    /// The code it belongs to.
    pub code: Weak<PublishedCode>,
    /// Kind of that code.
    pub kind: CodeKind,
}

/// Names for listings.
#[derive(Debug, Default)]
pub struct Names {
    /// Names of places, by rising offset.
    pub labels: Vec<(CodeOffset, String)>,
    /// Comments on instructions, by rising offset.
    pub comments: Vec<(CodeOffset, String)>,
    /// Names of frame slots.
    pub slots: Vec<(FrameOffset, String)>,
    /// Absolute words in the code.
    pub relocs: Vec<Reloc>,
}

/// Code being run.
#[derive(Debug)]
pub struct PublishedCode {
    /// The function.
    pub func: FuncIndex,
    /// Its name, for people.
    pub name: String,
    /// The kind of code.
    pub kind: CodeKind,
    /// Its first byte.
    pub address: CodeAddr,
    /// Its length in bytes.
    pub len: usize,
    /// Where it is entered (see [`CodeDraft::entry`]).
    pub entry: CodeAddr,
    /// Tier-0: where a continuation enters.
    pub resume_entry: Option<CodeAddr>,
    /// Bytes below the frame register.
    pub frame_size: u32,
    /// Suspension points; their addresses are in the code and in continuations, so the box never moves.
    pub sites: Box<[Site]>,
    /// Patchpoints; their addresses are in the code.
    pub patchpoints: Box<[Patchpoint]>,
    /// Return addresses, by rising offset, with their Wasm operators.
    pub notes: Box<[(CodeOffset, WasmOffset)]>,
    /// Names for listings.
    pub names: Names,
    eh_frame: OnceLock<Vec<u8>>,
    /// Return addresses of calls with their sites, by rising address; made when first asked for.
    returns: OnceLock<Box<[(usize, u32)]>>,
}

impl PublishedCode {
    /// Publishes a draft. `tier0_resume_entry` is that of the same function, for OSR code.
    ///
    /// # Errors
    /// [`CompileError::Resource`] when the system refuses memory.
    pub fn publish(
        mut draft: CodeDraft,
        name: String,
        cache: &CodeCache,
        tier0_resume_entry: Option<CodeAddr>,
    ) -> Result<Arc<Self>, CompileError> {
        let mut failed = None;
        let code = Arc::new_cyclic(|this: &Weak<Self>| {
            let (func, kind) = (draft.func, draft.kind);
            let mut sites: Box<[Site]> = std::mem::take(&mut draft.sites)
                .into_iter()
                .map(|site| Site {
                    refill: if kind == CodeKind::Tier0 {
                        site.door.0 as usize
                    } else {
                        0
                    },
                    direct_door: if kind == CodeKind::Tier0 {
                        0
                    } else {
                        site.door.0 as usize
                    },
                    tier0_door: site.tier0_door.map_or(0, |door| door.0 as usize),
                    return_address: site.return_offset.0 as usize,
                    image_words: u32::try_from(site.image.len())
                        .expect("fewer slots than bytes of Wasm"),
                    references: site
                        .references
                        .iter()
                        .map(|&word| (word, site.image[word as usize]))
                        .collect(),
                    layout: site.layout,
                    results: site.results,
                    map: site.map.into(),
                    recipes: site.recipes.into(),
                    code: Weak::clone(this),
                    kind,
                })
                .collect();
            let patchpoints: Box<[Patchpoint]> = std::mem::take(&mut draft.patchpoints)
                .into_iter()
                .map(|patchpoint| Patchpoint::new(func, patchpoint))
                .collect();
            let relocs = std::mem::take(&mut draft.relocs);
            let published = cache.publish(&mut draft.bytes, |_, bytes| {
                for reloc in &relocs {
                    let word = match reloc.target {
                        RelocTarget::Site(n) => (&raw const sites[n as usize]).addr(),
                        RelocTarget::Patchpoint(n) => (&raw const patchpoints[n as usize]).addr(),
                        RelocTarget::Tier0ResumeEntry => {
                            tier0_resume_entry
                                .expect("OSR code is made for a tier-0 function")
                                .0
                        }
                    };
                    let at = reloc.at.0 as usize;
                    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                }
            });
            let address = published.unwrap_or_else(|error| {
                failed = Some(error);
                CodeAddr(0)
            });
            for site in &mut sites {
                for door in [
                    &mut site.refill,
                    &mut site.direct_door,
                    &mut site.tier0_door,
                    &mut site.return_address,
                ] {
                    if *door != 0 {
                        *door += address.0;
                    }
                }
            }
            Self {
                func,
                name,
                kind,
                address,
                len: draft.bytes.len(),
                entry: address.at(draft.entry),
                resume_entry: draft.resume_entry.map(|entry| address.at(entry)),
                frame_size: draft.frame_size,
                sites,
                patchpoints,
                notes: draft.notes.into(),
                names: Names {
                    labels: draft.labels,
                    comments: draft.comments,
                    slots: draft.slots,
                    relocs,
                },
                eh_frame: OnceLock::new(),
                returns: OnceLock::new(),
            }
        });
        match failed {
            None => Ok(code),
            Some(error) => Err(error),
        }
    }

    /// The machine code, for listings and tables.
    pub fn bytes(&self) -> &[u8] {
        let start = std::ptr::with_exposed_provenance::<u8>(self.address.0);
        // SAFETY: **Invariant (published code never moves)**: readable and unchanged while this lives, because whoever
        // holds it holds the module that owns the cache.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    /// Its frame table in the `.eh_frame` format, made when first asked for.
    pub fn eh_frame(&self) -> &[u8] {
        self.eh_frame
            .get_or_init(|| super::cfi::eh_frame(self.address.0, self.bytes()))
    }

    /// The Wasm operator that a return address belongs to.
    pub fn wasm_offset(&self, pc: usize) -> Option<WasmOffset> {
        let offset = CodeOffset(u32::try_from(pc.checked_sub(self.address.0)?).ok()?);
        let at = self
            .notes
            .binary_search_by_key(&offset, |&(at, _)| at)
            .ok()?;
        Some(self.notes[at].1)
    }

    /// The suspension point whose call returns to `pc`.
    pub fn site_returning_to(&self, pc: usize) -> Option<&Site> {
        let returns = self.returns.get_or_init(|| {
            let mut returns: Box<[(usize, u32)]> = (0..)
                .zip(&self.sites)
                .map(|(n, site)| (site.return_address, n))
                .collect();
            returns.sort_unstable();
            returns
        });
        let at = returns.binary_search_by_key(&pc, |&(at, _)| at).ok()?;
        Some(&self.sites[returns[at].1 as usize])
    }

    /// The suspension point at a Wasm offset.
    pub fn site_at(&self, layout: &CanonicalLayout) -> Option<&Site> {
        self.sites
            .iter()
            .find(|site| site.layout.offset == layout.offset && site.layout.kind == layout.kind)
    }
}
