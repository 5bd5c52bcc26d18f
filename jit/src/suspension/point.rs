//! One suspension point: its canonical layout, the image a code version saves there, and the map between.
//!
//! [essay: canonical layout and image]
//!
//! What Wasm itself can see at a suspension point, live locals in index order and then the operand stack from the
//! bottom (after a call's arguments are popped and before its results are pushed), is the *canonical layout*. It depends
//! on nothing but function and Wasm offset. A code version saves an *image*, the frame slots that live across the point
//! in that version, in an order of its own; the site's map says which word of the image (or which constant) is which
//! entry of the canonical layout.

use crate::{
    ir::value::{BinaryOp, UnaryOp},
    wasm::types::{CodeOffset, FrameOffset, FuncIndex, LocalIndex, ValType, WasmOffset},
};

/// Where in Wasm an activation can be suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// At a call; it goes on behind the call, with its results.
    Call,
    /// At a loop header's checkpoint; it goes on in the loop's body.
    LoopHeader,
    /// At the function's entry checkpoint, behind the initialization of locals.
    Entry,
}

/// The canonical layout of a suspension point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalLayout {
    /// The function.
    pub func: FuncIndex,
    /// Offset of the call or `loop` operator; for an entry, of the body's first operator.
    pub offset: WasmOffset,
    /// What stands there.
    pub kind: PointKind,
    /// Live locals, in index order.
    pub locals: Box<[(LocalIndex, ValType)]>,
    /// The operand stack, from the bottom.
    pub stack: Box<[ValType]>,
}

impl CanonicalLayout {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.locals.len() + self.stack.len()
    }

    /// Whether nothing is alive there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Types of the entries, in order.
    pub fn types(&self) -> impl Iterator<Item = ValType> + '_ {
        self.locals
            .iter()
            .map(|&(_, ty)| ty)
            .chain(self.stack.iter().copied())
    }
}

/// Where a code version keeps an entry of the canonical layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// In that word of the image.
    Word(u32),
    /// Nowhere: it is this constant (32-bit types in the low half).
    Const(u64),
}

/// How to compute an image word from the canonical layout, to enter a code version at a site that another version
/// suspended at.
#[derive(Clone, Debug, PartialEq)]
pub enum Recipe {
    /// That entry of the canonical layout.
    Canonical(u32),
    /// This constant.
    Const(u64),
    /// A pure operator.
    Unary(UnaryOp, Box<Self>),
    /// A pure operator.
    Binary(BinaryOp, Box<[Self; 2]>),
    /// `0 != 0 ? 1 : 2`.
    Select(Box<[Self; 3]>),
}

/// A suspension point in code that is not published yet.
#[derive(Clone, Debug)]
pub struct SiteDraft {
    /// What Wasm sees there.
    pub layout: CanonicalLayout,
    /// Result types of the call; empty at checkpoints.
    pub results: Box<[ValType]>,
    /// The frame slots that live across the point: word i of the image is a copy of `image[i]`.
    pub image: Vec<FrameOffset>,
    /// One per entry of the canonical layout.
    pub map: Vec<ImageSource>,
    /// Words of the image that are an externref: what keeps references alive. (A second copy of a word need not be named.)
    pub references: Vec<u32>,
    /// One per image word; `None` where it cannot be computed from the canonical layout. Empty in tier-0, whose image
    /// is the canonical layout.
    pub recipes: Vec<Option<Recipe>>,
    /// Return address of the call (or of the checkpoint's helper call): the resumption point lies right behind its
    /// exit-word test.
    pub return_offset: CodeOffset,
    /// Tier-0: refills the frame made by the resume entry, then jumps to the resumption point.
    /// OSR and tier-1: the direct door, entered by a call with the continuation in `rdi`; makes the frame and refills it.
    pub door: CodeOffset,
    /// OSR only: the door that is entered from the tier-0 resume entry, with a tier-0 frame already made.
    pub tier0_door: Option<CodeOffset>,
}
