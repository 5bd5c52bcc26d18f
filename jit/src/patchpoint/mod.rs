//! Where a tier-0 frame can be handed to OSR code.

pub mod site;

pub mod policy;
